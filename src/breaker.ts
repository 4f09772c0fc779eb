import type { Clock } from "./clock.ts";
import { TransportError } from "./message.ts";
import { isUnsent } from "./target.ts";

/** Keeps a crowd of requests from knocking at a door that does not open (a circuit breaker). */
export interface Breaker {
  /**
   * Sends by the given function, unless this origin could not be reached a moment ago.
   *
   * @throws {TransportError} What sending throws, or `"unreachable"` when nothing was tried.
   */
  guard<T>(origin: string, send: () => Promise<T>): Promise<T>;
}

/** After so many failures in a row an origin counts as down. */
const FAILURES = 5;

/** How long nobody tries it then, in milliseconds, and how long the one that tries next is alone. */
const PAUSE = 250;

/** An origin that could not be reached. */
interface Door {
  readonly failures: number;
  /** Until when nobody tries it. */
  closedUntil: number;
  /** Whether somebody has tried since, and has not failed yet. */
  isTried: boolean;
}

/** Creates a breaker. */
export function createBreaker(clock: Clock): Breaker {
  const doors = new Map<string, Door>();

  /** Tells whether an origin is to be left alone; whoever is let through tries for all. */
  function isClosed(origin: string): boolean {
    const door = doors.get(origin);
    if (door === undefined || door.failures < FAILURES) return false;
    const now = clock.now();
    if (now < door.closedUntil) return true;
    // What nobody has tried for a while, and what did not fail at once, is no longer known to be down.
    if (door.isTried || now >= door.closedUntil + PAUSE) doors.delete(origin);
    door.closedUntil = now + PAUSE;
    door.isTried = true;
    return false;
  }

  return {
    guard: async (origin, send) => {
      if (isClosed(origin)) throw new TransportError("unreachable", `Not tried: ${origin} is down`);
      try {
        const result = await send();
        doors.delete(origin);
        return result;
      } catch (error) {
        if (isUnsent(error)) {
          const failures = (doors.get(origin)?.failures ?? 0) + 1;
          doors.set(origin, { failures, closedUntil: clock.now() + PAUSE, isTried: false });
        } else doors.delete(origin);
        throw error;
      }
    },
  };
}
