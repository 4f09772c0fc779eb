import { answer } from "./answer.ts";
import type { ResponseMessage } from "./message.ts";

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
