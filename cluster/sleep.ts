import type { Clock } from "../src/clock.ts";
import { wallClock } from "./wall-clock.ts";

/** Resolves after a delay in milliseconds. */
export function sleep(delay: number, clock: Clock = wallClock): Promise<void> {
  return new Promise((resolve) => {
    clock.setTimeout(resolve, delay);
  });
}
