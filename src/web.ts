import { allValues, filterLines, firstValue } from "./headers.ts";
import type { Body, HeaderLines, IncomingRequest, ResponseMessage, Transport } from "./message.ts";

/** Marks what `connectionInfo()` made; shared by all copies of this module that a process may have loaded. */
const brand: unique symbol = Symbol.for("@txid/proxy/connection-info");

/** What an adapter knows of a request's connection and a `Request` does not say. */
export interface ConnectionInfo {
  /** The address of the connection's peer. */
  readonly clientAddress?: string | undefined;
  /** How the runtime reaches an upstream best. */
  readonly transport?: Transport | undefined;
}

/**
 * Makes the second argument of `proxy.fetch()`, for adapters. Only what this function made is believed.
 *
 * @param facts What the adapter knows of the connection.
 */
export function connectionInfo(facts: ConnectionInfo): ConnectionInfo {
  return Object.assign({ ...facts }, { [brand]: true });
}

function isConnectionInfo(value: unknown): value is ConnectionInfo {
  return typeof value === "object" && value !== null && brand in value;
}

/**
 * Reads a Web request as a message.
 *
 * @param request The request, as a server or a framework made it.
 * @param info What an adapter knows beside it; anything else is ignored.
 * @returns The message, or undefined when the request's URL is not that of an HTTP request.
 */
export function fromRequest(request: Request, info: unknown): IncomingRequest | undefined {
  const { url } = request;
  // Bun.serve passes a bare path on when the Host header makes no URL.
  const authority = url.indexOf("://") + 3;
  const slash = url.indexOf("/", authority);
  // Deno.serve passes an absolute target on as it came, and that may have a query and no path.
  const query = url.indexOf("?", authority);
  const path = query !== -1 && (slash === -1 || query < slash) ? query : slash;
  if (authority === 2 || path === -1 || url.startsWith("/")) return undefined;
  const fragment = url.indexOf("#", path);
  const adapter = isConnectionInfo(info) ? info : undefined;
  const headers: HeaderLines = [];
  for (const [name, value] of request.headers) headers.push(name, value);
  // What an adapter hands in came over a wire, where a body without framing is no body; Bun and Deno make one of it.
  const framed = firstValue(headers, "content-length") ?? firstValue(headers, "transfer-encoding");
  if (firstValue(headers, "host") === undefined) headers.push("Host", url.slice(authority, path));
  return {
    method: request.method,
    target: `${path === query ? "/" : ""}${url.slice(path, fragment === -1 ? undefined : fragment)}`,
    headers,
    body: adapter !== undefined && framed === undefined ? null : fromStream(request.body),
    signal: request.signal,
    scheme: url.startsWith("https:") ? "https" : "http",
    clientAddress: adapter?.clientAddress,
    canUpgrade: false,
    transport: adapter?.transport,
    source: request,
  };
}

/** Makes the Web request that an app in this process gets: the very one that came in, where there is one. */
export function toRequest(message: IncomingRequest): Request {
  if (message.source !== undefined) return message.source;
  // A Host that is empty or makes no URL would let the path's first segment become the host.
  const named = firstValue(message.headers, "host") ?? "";
  const host = !/^$|[/?#@\\]/.test(named) && URL.canParse(`http://${named}/`) ? named : "localhost";
  const hasBody = message.body !== null && message.method !== "GET" && message.method !== "HEAD";
  const init: RequestInit & { duplex: "half" } = {
    method: message.method,
    headers: requestPairs(message.headers),
    body: hasBody && message.body !== null ? toStream(message.body) : null,
    signal: message.signal,
    duplex: "half",
  };
  return new Request(
    `${message.scheme}://${host}${message.target === "*" ? "/*" : message.target}`,
    init,
  );
}

/** Reads a Web response as a message. */
export function fromResponse(response: Response): ResponseMessage {
  const headers: HeaderLines = [];
  for (const [name, value] of response.headers) headers.push(name, value);
  return {
    status: response.status,
    statusText: response.statusText,
    headers,
    body: fromStream(response.body),
    source: response,
  };
}

/** Statuses whose response has no content (https://fetch.spec.whatwg.org/#null-body-status). */
const NULL_BODY: ReadonlySet<number> = new Set([204, 205, 304]);

/** Makes a Web response of a message: the very one that the message was read from, where nothing was changed. */
export function toResponse(message: ResponseMessage): Response {
  if (message.source !== undefined) return message.source;
  const hasBody = message.body !== null && !NULL_BODY.has(message.status);
  return new Response(hasBody && message.body !== null ? toBodyInit(message.body) : null, {
    status: message.status,
    statusText: message.statusText,
    headers: headerPairs(message.headers),
  });
}

function toBodyInit(body: Body): BodyInit {
  // TypeScript tells apart bytes over shared memory, which no body is made of.
  return body instanceof Uint8Array ? (body as Uint8Array<ArrayBuffer>) : toStream(body);
}

/** Returns header lines as pairs, as `Headers` takes them. */
function headerPairs(lines: HeaderLines): [string, string][] {
  const pairs: [string, string][] = [];
  for (let index = 0; index < lines.length; index += 2)
    pairs.push([lines[index] ?? "", lines[index + 1] ?? ""]);
  return pairs;
}

/**
 * Returns the lines of a request as pairs, with its cookies in one line, as they were meant (RFC 9113 section 8.2.3):
 * Deno's `Headers` would join them by commas, which are part of a cookie's value.
 */
export function requestPairs(lines: HeaderLines): [string, string][] {
  const cookies = allValues(lines, "cookie");
  if (cookies.length < 2) return headerPairs(lines);
  const others = filterLines(lines, (name) => name !== "cookie");
  return [...headerPairs(others), ["Cookie", cookies.join("; ")]];
}

/** Makes a stream of a body. Nothing is read ahead, so that a slow reader slows the writer down. */
export function toStream(body: Body): ReadableStream<Uint8Array<ArrayBuffer>> {
  if (body instanceof ReadableStream) return body;
  const chunks = body instanceof Uint8Array ? once(body) : body[Symbol.asyncIterator]();
  return new ReadableStream(
    {
      pull: async (controller) => {
        const next = await chunks.next();
        if (next.done === true) controller.close();
        // As above: the bytes of a body are never shared memory.
        else controller.enqueue(next.value as Uint8Array<ArrayBuffer>);
      },
      cancel: async () => {
        await chunks.return?.();
      },
    },
    { highWaterMark: 0 },
  );
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** Reads a stream as a body; runtimes differ in whether a stream can be iterated by itself. */
function fromStream(stream: ReadableStream<Uint8Array> | null): AsyncIterable<Uint8Array> | null {
  if (stream === null) return null;
  // Iterable in every server runtime (https://streams.spec.whatwg.org/#rs-asynciterator); the DOM types do not say so.
  return stream as ReadableStream<Uint8Array> & AsyncIterable<Uint8Array>;
}
