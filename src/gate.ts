import type { Clock } from "./clock.ts";

/** Lets requests that have waited together go on a few at a time, in the order in which they come. */
export interface Gate {
  /**
   * Waits for a free place and takes it.
   *
   * @param signal Gives up waiting when it aborts.
   * @returns A function that frees the place; undefined when the signal has aborted.
   */
  enter(signal: AbortSignal): Promise<(() => void) | undefined>;
}

/** How long a place is held at most, in milliseconds: a few slow requests must not hold up all others. */
const LONGEST = 1000;

/**
 * Creates a gate.
 *
 * @param limit How many may be inside at once.
 * @param clock The time.
 */
export function createGate(limit: number, clock: Clock): Gate {
  const queue: { signal: AbortSignal; admit(leave: (() => void) | undefined): void }[] = [];
  let inside = 0;
  let head = 0;

  function place(): () => void {
    let held = true;
    inside++;
    const leave = (): void => {
      if (!held) return;
      held = false;
      inside--;
      clock.clearTimeout(timer);
      admitNext();
    };
    const timer = clock.setTimeout(leave, LONGEST);
    return leave;
  }

  function admitNext(): void {
    while (inside < limit && head < queue.length) {
      const next = queue[head++];
      if (head === queue.length) {
        queue.length = 0;
        head = 0;
      }
      next?.admit(next.signal.aborted ? undefined : place());
    }
  }

  return {
    enter: (signal) => {
      if (signal.aborted) return Promise.resolve(undefined);
      if (inside < limit && head === queue.length) return Promise.resolve(place());
      return new Promise((resolve) => {
        queue.push({ signal, admit: resolve });
      });
    },
  };
}
