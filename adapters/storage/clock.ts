import { clearTimeout, setTimeout } from "node:timers";
import { type Clock, LONGEST_DELAY } from "../../src/clock.ts";

/** A clock that never steps back, with timers that can let the process end on Bun, Deno and Node alike. */
export const steadyClock: Clock = {
  now: () => performance.timeOrigin + performance.now(),
  // Deno's own setTimeout returns a number, which cannot be unreferenced; the one of node:timers returns an object.
  setTimeout: (callback, delay) => setTimeout(callback, Math.min(delay, LONGEST_DELAY)),
  // The handle comes from the line above: whoever injects a clock injects both.
  clearTimeout: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
};

/**
 * Calls `callback` once, unless the process has nothing else to do before. Returns what `clock.clearTimeout` takes.
 *
 * @param clock The time.
 * @param callback What to call.
 * @param delay When, in milliseconds from now.
 */
export function later(clock: Clock, callback: () => void, delay: number): unknown {
  const timer = clock.setTimeout(callback, delay);
  if (typeof timer === "object" && timer !== null && "unref" in timer) {
    if (typeof timer.unref === "function") timer.unref();
  }
  return timer;
}
