import type { Clock } from "./clock.ts";
import { TransportError } from "./message.ts";
import { isUnsent } from "./target.ts";

/** Keeps a crowd of requests from knocking at a door that does not open (a circuit breaker). */
export interface Breaker {
  /**
   * Sends by the given function, unless this origin could not be reached a moment ago. The function says when it has a
   * connection.
   *
   * @throws {TransportError} What sending throws, or `"unreachable"` when nothing was tried.
   */
  guard<T>(origin: string, send: (connected: () => void) => Promise<T>): Promise<T>;
  /** Tells whether all may try an origin, one for all of them, or none. */
  state(origin: string): "open" | "due" | "closed";
}

/** After so many failures in a row an origin counts as down. */
const FAILURES = 5;

/** How long nobody tries it then, in milliseconds. */
const PAUSE = 250;

/** How long the one that tries next is alone at most, in milliseconds, while it has no connection. */
const ALONE = 1000;

/** An origin that could not be reached. */
interface Door {
  readonly failures: number;
  /** Until when nobody tries it. */
  closedUntil: number;
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
    // What nobody has tried for a while is no longer known to be down.
    if (now >= door.closedUntil + PAUSE) doors.delete(origin);
    door.closedUntil = now + ALONE;
    return false;
  }

  return {
    state: (origin) => {
      const door = doors.get(origin);
      if (door === undefined || door.failures < FAILURES) return "open";
      return clock.now() < door.closedUntil ? "closed" : "due";
    },
    guard: async (origin, send) => {
      if (isClosed(origin)) throw new TransportError("unreachable", `Not tried: ${origin} is down`);
      try {
        const result = await send(() => void doors.delete(origin));
        doors.delete(origin);
        return result;
      } catch (error) {
        if (isUnsent(error)) {
          const failures = (doors.get(origin)?.failures ?? 0) + 1;
          doors.set(origin, { failures, closedUntil: clock.now() + PAUSE });
        }
        throw error;
      }
    },
  };
}
