import type { HeaderLines, ResponseMessage } from "./message.ts";

const encoder = new TextEncoder();

/**
 * Makes an answer of the proxy's own: a line of plain text that tells a person what happened and nothing of the inside.
 *
 * @param status The status code.
 * @param text The line, without its end.
 * @param headers Lines to add.
 */
export function answer(status: number, text: string, headers: HeaderLines = []): ResponseMessage {
  return answerWith(status, "text/plain; charset=utf-8", `${text}\n`, headers);
}

/**
 * Makes an answer of the proxy's own in a given media type.
 *
 * @param status The status code.
 * @param type The media type.
 * @param text The content.
 * @param headers Lines to add.
 */
export function answerWith(
  status: number,
  type: string,
  text: string,
  headers: HeaderLines = [],
): ResponseMessage {
  const body = encoder.encode(text);
  return {
    status,
    statusText: REASONS[status] ?? "",
    headers: [
      "Content-Type",
      type,
      "Content-Length",
      String(body.length),
      "X-Content-Type-Options",
      "nosniff",
      "Cache-Control",
      "no-store",
      ...headers,
    ],
    body,
  };
}

/** How soon a client should come again, in seconds (RFC 9110 section 10.2.3). */
export const RETRY: HeaderLines = ["Retry-After", "1"];

/** The reason phrases of the statuses with which the proxy itself answers (RFC 9110 section 15). */
const REASONS: Readonly<Record<number, string>> = {
  200: "OK",
  400: "Bad Request",
  405: "Method Not Allowed",
  409: "Conflict",
  411: "Length Required",
  412: "Precondition Failed",
  413: "Content Too Large",
  500: "Internal Server Error",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
};

/** Answers for a node that stays behind what a client has seen. */
export function tooLate(): ResponseMessage {
  return answer(504, "Proxy timeout", RETRY);
}

/** Answers where nobody more may wait. */
export function tooMany(): ResponseMessage {
  return answer(503, "Proxy error: too many requests wait", RETRY);
}

/** Answers whoever waits in a proxy that is closing; a client that is gone does not see it. */
export function shuttingDown(): ResponseMessage {
  return answer(503, "Shutting down", RETRY);
}

/** Answers what belongs to a primary that moves from node to node meanwhile. */
export function moving(): ResponseMessage {
  return answer(503, "Proxy error: the primary is moving", RETRY);
}

/** Answers what belongs to a primary whose proxy takes no connection. */
export function unreachable(): ResponseMessage {
  return answer(503, "Proxy error: primary unreachable", RETRY);
}

/** Answers what belongs to the primary, where the app has read the body before that was known. */
export function usedUp(): ResponseMessage {
  return answer(503, "Proxy error: the request cannot be sent on to the primary", RETRY);
}

/** Answers a request whose URL names no host. */
export function noHost(): ResponseMessage {
  return answer(400, "Bad request: no valid Host");
}

/** Answers where the proxy itself, or an app in this process, has failed. */
export function internalError(): ResponseMessage {
  return answer(500, "Proxy error: internal error");
}
