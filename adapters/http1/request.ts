import { firstValue } from "../../src/headers.ts";
import type { HeaderLines, UpstreamRequest } from "../../src/index.ts";
import { isTarget, isToken } from "./parse.ts";
import { type BodyFraming, declaredLength, spellHead } from "./write.ts";

/** A request as it goes out. */
export interface FramedRequest {
  /** The head in latin-1. */
  readonly head: string;
  /** What goes out with the head: the whole body when it is at hand, else nothing. */
  readonly whole: Uint8Array | undefined;
  /** The body when it is still to come. */
  readonly stream: AsyncIterable<Uint8Array> | undefined;
  /** How the stream goes out. */
  readonly framing: BodyFraming;
}

/**
 * Decides how a request goes out (RFC 9112 section 6).
 *
 * @param request The request.
 * @throws {TypeError} When it cannot go out so that it is read as it is meant.
 */
export function frameRequest(request: UpstreamRequest): FramedRequest {
  const { method, target, headers, body } = request;
  if (!isToken(method) || !isTarget(target))
    throw new TypeError("Cannot send request: malformed method or target");
  const declared = declaredLength(headers);
  const stream = body === null || body instanceof Uint8Array ? undefined : body;
  const whole = body instanceof Uint8Array ? body : undefined;
  const length = whole?.length ?? 0;
  if (stream === undefined && (declared ?? length) !== length)
    throw new TypeError("Cannot send request: the body misses its length");
  const chunked = stream !== undefined && declared === undefined;
  let framing = "";
  if (chunked) framing = "Transfer-Encoding: chunked\r\n";
  else if (declared === undefined && (whole !== undefined || announcesEmpty(method)))
    framing = `Content-Length: ${length}\r\n`;
  return {
    head: spellHead(`${method} ${target} HTTP/1.1`, headers, framing),
    whole,
    stream,
    framing: { length: declared, chunked },
  };
}

/**
 * Tells whether a request waits for 100 before its body goes out (RFC 9110 section 10.1.1).
 *
 * @param headers Its header section.
 */
export function expectsContinue(headers: HeaderLines): boolean {
  return firstValue(headers, "expect") !== undefined;
}

/** Methods whose requests are expected to have content say so when they have none (RFC 9110 section 8.6). */
function announcesEmpty(method: string): boolean {
  return method === "POST" || method === "PUT" || method === "PATCH";
}
