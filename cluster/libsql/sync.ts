import { readFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { bytes, json } from "./http.ts";
import type { Log, Place } from "./log.ts";

/**
 * Answers `/sync/GENERATION/FROM/TO` with frames.
 *
 * @param horizon How far the replica may look.
 * @param from The number of the first frame.
 * @param to The number after the last one; there may be fewer.
 */
export function sendFrames(
  response: ServerResponse,
  log: Log,
  horizon: Place,
  [generation = 0, from = 0, to = 0]: readonly number[],
): void {
  const reach = horizon.generation === generation ? horizon.frame : (log.end(generation) ?? 0);
  if (generation > horizon.generation || from > reach) {
    // The end of a generation, or of the log: a replica goes on to the next one when it is not there yet.
    json(response, 400, { generation: Math.max(horizon.generation, generation) });
    return;
  }
  bytes(response, log.frames(generation, from, Math.min(to - 1, reach)));
}

/** Answers `/export/GENERATION` with the database as it was when that generation began. */
export function sendBase(
  response: ServerResponse,
  log: Log,
  [generation = NaN]: readonly number[],
): void {
  const path = log.base(generation);
  if (path === undefined) {
    json(response, 404, { error: "There is no such generation" });
    return;
  }
  bytes(response, readFileSync(path));
}
