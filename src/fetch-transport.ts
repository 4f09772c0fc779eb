import { allValues, filterLines, firstValue } from "./headers.ts";
import {
  type Body,
  type HeaderLines,
  type ResponseMessage,
  type Transport,
  TransportError,
  type TransportFailure,
  type UpstreamRequest,
} from "./message.ts";
import { fromResponse, requestPairs, toStream } from "./web.ts";

/** The part of WHATWG `fetch` that the transport calls. */
export type FetchFunction = (url: string, init: RequestInit) => Promise<Response>;

/** What `fetch` is told beyond the standard; runtimes that do not know a key ignore it. */
interface FetchInit extends RequestInit {
  /** A streamed body is sent while the answer may already come (https://fetch.spec.whatwg.org/#dom-requestinit-duplex). */
  duplex: "half";
  /** Bun decodes compressed bodies unless told not to (https://bun.sh/docs/api/fetch). */
  decompress: false;
}

/** What each runtime's fetch decodes whatever it is told; Bun obeys `decompress`. */
const DECODED_BY: Readonly<Record<string, ReadonlySet<string>>> = {
  Deno: new Set(["gzip", "br"]),
  Bun: new Set(),
  other: new Set(["gzip", "x-gzip", "deflate", "br", "zstd"]),
};

/**
 * Makes a transport of WHATWG `fetch`. It is possible everywhere and exact nowhere: fetch adds headers of its own,
 * joins equal ones, normalises the path and may decode the body; the adapters bring transports that do not.
 *
 * @param fetch The function to call. Left out: the runtime's.
 */
export function fetchTransport(
  fetch: FetchFunction = (url, init) => globalThis.fetch(url, init),
): Transport {
  return async (request) => {
    let pulled = false;
    const body =
      request.body === null ? null : toStream(noticing(request.body, () => (pulled = true)));
    const init: FetchInit = {
      method: request.method,
      headers: requestPairs(sendable(request)),
      body,
      redirect: "manual",
      signal: request.signal,
      duplex: "half",
      decompress: false,
    };
    try {
      const response = await fetch(request.origin + request.target, init);
      request.connect?.done();
      return asSent(fromResponse(response), request.method);
    } catch (error) {
      const failure = request.signal.aborted ? "aborted" : failureOf(error);
      // A body that fetch has begun to read cannot be read again: the request counts as sent.
      throw new TransportError(
        pulled && (failure === "refused" || failure === "unreachable") ? "reset" : failure,
        "Fetch failed",
        { cause: error },
      );
    }
  };
}

/** Fetch takes the framing and the connection into its own hands, and on Node refuses `Expect`. */
function sendable(request: UpstreamRequest): HeaderLines {
  return filterLines(
    request.headers,
    (name) => name !== "expect" && name !== "connection" && name !== "upgrade",
  );
}

/**
 * Says of a body what it is: where fetch has decoded it, `Content-Encoding` and `Content-Length` no longer hold and the
 * entity tag names other bytes (RFC 9110 section 8.8.1).
 */
function asSent(response: ResponseMessage, method: string): ResponseMessage {
  const codings = allValues(response.headers, "content-encoding").join(",").toLowerCase();
  if (codings === "" || response.body === null || method === "HEAD" || !isDecoded(codings))
    return response;
  const etag = firstValue(response.headers, "etag");
  const headers = filterLines(
    response.headers,
    (name) => name !== "content-encoding" && name !== "content-length" && name !== "etag",
  );
  if (etag !== undefined) headers.push("ETag", etag.startsWith("W/") ? etag : `W/${etag}`);
  return { ...response, headers, source: undefined };
}

function isDecoded(codings: string): boolean {
  const runtime = globalThis.navigator?.userAgent.split("/")[0] ?? "";
  const decoded = DECODED_BY[runtime] ?? DECODED_BY["other"];
  const list = codings.split(",").map((coding) => coding.trim());
  // Deno leaves a body alone that was coded more than once.
  return (
    (runtime !== "Deno" || list.length === 1) &&
    list.every((coding) => decoded?.has(coding) ?? false)
  );
}

/** Finds the reason in an error of fetch: Bun puts a code on it, Node on its cause, Deno only into its cause's text. */
function failureOf(error: unknown): TransportFailure {
  const cause = isRecord(error) && isRecord(error["cause"]) ? error["cause"] : {};
  const code = String((isRecord(error) ? error["code"] : undefined) ?? cause["code"] ?? "");
  const text = `${isRecord(error) ? String(error["message"]) : ""} ${String(cause["message"] ?? "")}`;
  if (code === "ECONNREFUSED" || code === "ConnectionRefused" || /connection refused/i.test(text))
    return "refused";
  if (code === "ENOTFOUND" || code === "EAI_AGAIN" || /dns error|failed to lookup/i.test(text))
    return "unreachable";
  return "reset";
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

/** Passes a body on and calls back when its first bytes are asked for. */
async function* noticing(body: Body, notice: () => void): AsyncIterable<Uint8Array> {
  notice();
  if (body instanceof Uint8Array) yield body;
  else yield* body;
}
