import { Buffer } from "node:buffer";
import type { ResponseMessage } from "../../src/index.ts";
import { firstValue } from "../../src/headers.ts";
import { createDateSpeller } from "../../src/http-date.ts";
import type { RequestHead } from "./parse.ts";
import { type BodyFraming, declaredLength, inChunks, spellHead } from "./write.ts";

/** A response as it goes out. */
export interface FramedResponse {
  /** The head in latin-1. */
  readonly head: string;
  /** What goes out with the head: the whole body when it is at hand, else nothing. */
  readonly whole: Uint8Array | undefined;
  /** The body when it is still to come. */
  readonly stream: AsyncIterable<Uint8Array> | undefined;
  /** How the stream goes out. */
  readonly framing: BodyFraming;
  /** Whether the connection ends with the response. */
  readonly close: boolean;
}

/**
 * Decides how a response goes out (RFC 9112 section 6).
 *
 * @param request The head of the request that it answers.
 * @param response The response; not 101.
 * @param mustClose Whether the connection is to end with it in any case.
 * @throws {TypeError} When it cannot go out so that it is read as it is meant.
 */
export function frameResponse(
  request: RequestHead,
  response: ResponseMessage,
  mustClose: boolean,
): FramedResponse {
  const { status, body, headers, trailers } = response;
  const bodiless = request.method === "HEAD" || status === 204 || status === 304 || status < 200;
  const stream = bodiless || body === null || body instanceof Uint8Array ? undefined : body;
  const known = !bodiless && body instanceof Uint8Array ? body : undefined;
  const declared = declaredLength(headers);
  if (
    !bodiless &&
    stream === undefined &&
    (declared ?? known?.length ?? 0) !== (known?.length ?? 0)
  )
    throw new TypeError("Cannot answer: the body misses its length");
  // What came in chunks goes out in chunks, whether or not all of it was at hand at once.
  const isChunks = stream !== undefined || (known !== undefined && trailers !== undefined);
  const chunked = isChunks && declared === undefined && request.minor === 1;
  const untilClose = stream !== undefined && declared === undefined && request.minor === 0;
  const close = mustClose || untilClose;

  let framing = "";
  if (chunked) framing += "Transfer-Encoding: chunked\r\n";
  else if (!bodiless && !untilClose && declared === undefined)
    framing += `Content-Length: ${known?.length ?? 0}\r\n`;
  if (firstValue(headers, "date") === undefined) framing += `Date: ${spellDate(Date.now())}\r\n`;
  if (close) framing += "Connection: close\r\n";
  else if (request.minor === 0) framing += "Connection: keep-alive\r\n";
  return {
    head: spellHead(statusLine(response), headers, framing),
    whole: chunked && known !== undefined ? inChunks(known, trailers) : known,
    stream,
    framing: { length: declared, chunked },
    close,
  };
}

/**
 * Spells a head without content: one that informs, or one that switches protocols.
 *
 * @param response The response, with a status below 200.
 */
export function informationalHead(response: ResponseMessage): string {
  return spellHead(statusLine(response), response.headers, "");
}

/**
 * Makes a response of a short text.
 *
 * @param status The status code.
 * @param text What it says, in ASCII, without a line end.
 */
export function plain(status: number, text: string): ResponseMessage {
  const body = Buffer.from(`${text}\n`, "latin1");
  return {
    status,
    statusText: "",
    headers: ["Content-Type", "text/plain; charset=utf-8", "Content-Length", String(body.length)],
    body,
  };
}

function statusLine(response: ResponseMessage): string {
  return `HTTP/1.1 ${response.status} ${response.statusText}`;
}

const spellDate = createDateSpeller();
