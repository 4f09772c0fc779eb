import { answer } from "./answer.ts";
import { firstValue } from "./headers.ts";
import type { HeaderLines, IncomingRequest, ResponseMessage } from "./message.ts";

/** The greatest body that Fly Proxy replays, in bytes (https://fly.io/docs/networking/dynamic-request-routing/). */
const MAX_BODY = 2 ** 20;

/**
 * Answers with `fly-replay`, by which Fly Proxy takes the request to the named Machine and shows the client its answer.
 * The status is 409 and the text says why: where no Fly Proxy stands in front, the client must not take a write that
 * nobody has run for a success.
 *
 * @param hostname The primary's name: on Fly.io the id of its Machine.
 */
export function replay(hostname: string): ResponseMessage {
  return answer(409, "This node is not the primary: the request must be replayed there", [
    "Fly-Replay",
    `instance=${hostname}`,
  ]);
}

/**
 * Tells whether a request says that Fly Proxy brought it. Anybody can say so: who does it without is answered with a
 * replay that nobody carries out.
 */
export function cameThroughFly(headers: HeaderLines): boolean {
  return (
    firstValue(headers, "fly-request-id") !== undefined ||
    firstValue(headers, "fly-client-ip") !== undefined
  );
}

/** Tells whether a request has been replayed already, or Fly Proxy has tried in vain. */
export function wasReplayed(headers: HeaderLines): boolean {
  return (
    firstValue(headers, "fly-replay-src") !== undefined ||
    firstValue(headers, "fly-replay-failed") !== undefined
  );
}

/** Tells whether Fly Proxy can replay a request: it has no body, or one of at most 1 MiB and a length that is said. */
export function isReplayable(request: IncomingRequest): boolean {
  if (request.body === null) return true;
  const length = Number(firstValue(request.headers, "content-length") ?? Infinity);
  return length <= MAX_BODY;
}
