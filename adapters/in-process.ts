import { answer } from "../src/answer.ts";
import { fetchTransport } from "../src/fetch-transport.ts";
import {
  connectionInfo,
  createProxy,
  type HeaderLines,
  type Proxy,
  type ProxyOptions,
  type ResponseMessage,
  type Transport,
} from "../src/index.ts";
import { fromRequest, toResponse } from "../src/web.ts";

/**
 * How an app behaves that is consistent by itself: as a proxy in front of it would, with the same options but those that
 * are about reaching the app. The health path is answered as well, where requests for it come by here.
 */
export interface ConsistencyOptions extends Omit<
  ProxyOptions,
  "target" | "targetConnectTimeout" | "healthTarget"
> {
  /**
   * Sends what belongs to the primary there.
   *
   * @default the exact HTTP/1.1 client of `@txid/proxy/serve`; where there is no `node:net`, WHATWG fetch
   */
  readonly transport?: Transport | undefined;
}

/** What a consistent app has beside its answers. */
export type Controls = Pick<Proxy, "health" | "drain" | "close">;

/** The policy of a proxy, around an app that is in the same process. */
export interface InProcess extends Controls {
  /**
   * Answers a request, as a rule by running it on the app.
   *
   * @param request The request.
   * @param clientAddress The address of the connection's peer, where it is known.
   * @param run Runs the request on the app; undefined: the app has answered in a way of its own.
   * @returns What the app has given, the very same object wherever its runtime lets its header lines be changed, or an
   *   answer of the proxy's.
   * @throws What `run` throws.
   */
  answer<T extends Response | void>(
    request: Request,
    clientAddress: string | undefined,
    run: () => Promise<T>,
  ): Promise<T | Response>;
}

/**
 * Creates the policy of a proxy around an app in the same process.
 *
 * @param options How it behaves.
 */
export function createInProcess(options: ConsistencyOptions): InProcess {
  const failures = new WeakSet<Error>();
  const transport = createExactTransport();
  const { health, drain, close, handle } = createProxy({
    ...options,
    // Every request brings its own.
    target: () => toResponse(answer(500, "Proxy error: internal error")),
    onError: (error) => {
      // What the app throws is not for the proxy to report: whoever runs the app gets it.
      if (!(error instanceof Error && failures.has(error))) options.onError?.(error);
    },
  });

  async function answerTo<T extends Response | void>(
    request: Request,
    clientAddress: string | undefined,
    run: () => Promise<T>,
  ): Promise<T | Response> {
    // Without an address nothing says that the request came over a wire.
    const info = clientAddress === undefined ? undefined : connectionInfo({ clientAddress });
    const message = fromRequest(request, info);
    if (message === undefined) return toResponse(answer(400, "Bad request: no valid Host"));
    const outcome: { given?: Given<T>; thrown?: { readonly error: unknown } } = {};

    async function app(): Promise<ResponseMessage> {
      try {
        const given = await run().then(hold);
        outcome.given = given;
        return given.message;
      } catch (error) {
        outcome.thrown = { error };
        const failure = new Error("The app failed", { cause: error });
        failures.add(failure);
        throw failure;
      }
    }

    const result = await handle({ ...message, transport: transport.send, app });
    const { given, thrown } = outcome;
    if (thrown !== undefined) throw thrown.error;
    if (given === undefined || given.message.body !== result.body) return toResponse(result);
    return given.withLines(result);
  }

  return {
    answer: answerTo,
    health,
    drain,
    close: () => {
      close();
      transport.close();
    },
  };
}

/** What the app has given, and what stands for it while the proxy decides what its header lines are. */
interface Given<T> {
  readonly message: ResponseMessage;
  /** Returns what the app has given, with the lines that it is to have. */
  withLines(message: ResponseMessage): T | Response;
}

/** The lines that responses had which were given before: one without a body may be given to many. */
const pristine = new WeakMap<Response, HeaderLines>();

/**
 * Reads what an app has given, without touching its body: on Bun a text whose stream was looked at is sent without its
 * type (https://github.com/oven-sh/bun/issues/21193), and what hands a connection over is more than its parts.
 */
function hold<T extends Response | void>(value: T): Given<T> {
  if (value === undefined)
    return { message: messageOf(101, "", [], () => {}), withLines: () => value };
  // TypeScript does not take `void` for the undefined that was ruled out.
  const given = renewed(value as Response);
  const lines = linesOf(given.headers);
  const message = messageOf(given.status, given.statusText, lines, () => given.body?.cancel());
  return {
    message: { ...message, source: given },
    withLines: ({ headers, source }) => {
      if (source === given) return given;
      pristine.set(given, lines);
      return withLines(given, headers);
    },
  };
}

/** A message whose body is nobody's to read: it tells which message it is, and lets go of what the app has given. */
function messageOf(
  status: number,
  statusText: string,
  headers: HeaderLines,
  cancel: () => unknown,
): ResponseMessage {
  const body: AsyncIterable<Uint8Array> = {
    [Symbol.asyncIterator]: () => ({
      next: () => Promise.resolve({ done: true, value: undefined }),
      return: async () => {
        await cancel();
        return { done: true, value: undefined };
      },
    }),
  };
  return { status, statusText, headers, body };
}

/** Returns a response as the app has made it, though it was given before and has the lines of that answer on it. */
function renewed(response: Response): Response {
  const lines = pristine.get(response);
  if (lines === undefined) return response;
  return withLines(new Response(response.body, response), lines);
}

/** Returns the response with these lines: itself, where they can be changed, else a copy. */
function withLines(response: Response, lines: HeaderLines): Response {
  try {
    setLines(response.headers, lines);
    return response;
  } catch {
    // What fetch() returns can be given, not changed (https://fetch.spec.whatwg.org/#concept-headers-guard).
    const copy = new Response(response.body, response);
    setLines(copy.headers, lines);
    return copy;
  }
}

function setLines(headers: Headers, lines: HeaderLines): void {
  const before = valuesOf(linesOf(headers));
  const after = valuesOf(lines);
  for (const name of before.keys()) if (!after.has(name)) headers.delete(name);
  for (const [name, values] of after) {
    if (before.get(name)?.join("\n") === values.join("\n")) continue;
    headers.delete(name);
    for (const value of values) headers.append(name, value);
  }
}

function valuesOf(lines: HeaderLines): Map<string, string[]> {
  const values = new Map<string, string[]>();
  for (let index = 0; index < lines.length; index += 2) {
    const name = (lines[index] ?? "").toLowerCase();
    values.set(name, [...(values.get(name) ?? []), lines[index + 1] ?? ""]);
  }
  return values;
}

function linesOf(headers: Headers): HeaderLines {
  const lines: HeaderLines = [];
  for (const [name, value] of headers) lines.push(name, value);
  return lines;
}

/** Makes a transport that is loaded when something is sent for the first time, for most apps never send anything. */
function createExactTransport(): { readonly send: Transport; close(): void } {
  let loaded: Promise<{ readonly send: Transport; close?(): void }> | undefined;
  let isClosed = false;

  async function load(): Promise<{ readonly send: Transport; close?(): void }> {
    try {
      const { createHttp1Client } = await import("./http1/client.ts");
      const send = createHttp1Client();
      if (isClosed) send.close();
      return { send, close: send.close };
    } catch {
      // Not every runtime that runs apps has sockets.
      return { send: fetchTransport() };
    }
  }

  return {
    send: async (request) => {
      loaded ??= load();
      const { send } = await loaded;
      return send(request);
    },
    close: () => {
      isClosed = true;
      void loaded?.then(({ close }) => close?.());
    },
  };
}
