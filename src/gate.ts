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

/** How many places at the front of the queue may be empty before it is moved up. */
const COMPACT = 1024;

/**
 * Creates a gate.
 *
 * @param limit How many may be inside at once.
 * @param clock The time.
 */
export function createGate(limit: number, clock: Clock): Gate {
  const queue: { signal: AbortSignal; admit(leave: (() => void) | undefined): void }[] = [];
  /** Who is inside, in the order in which they came in. */
  const inside = new Set<{ readonly since: number }>();
  let head = 0;
  let timer: unknown;

  function enter(): () => void {
    const place = { since: clock.now() };
    inside.add(place);
    return () => {
      if (inside.delete(place)) admit();
    };
  }

  /** Lets in whom there is room for, and looks again when whoever has been inside for longest is there too long. */
  function admit(): void {
    for (const place of inside) {
      if (head === queue.length || clock.now() - place.since < LONGEST) break;
      inside.delete(place);
    }
    while (inside.size < limit && head < queue.length) {
      const next = queue[head++];
      next?.admit(next.signal.aborted ? undefined : enter());
    }
    if (head > COMPACT) head -= queue.splice(0, head).length;
    clock.clearTimeout(timer);
    timer = undefined;
    const [oldest] = inside;
    if (head < queue.length && oldest !== undefined) {
      timer = clock.setTimeout(admit, oldest.since + LONGEST - clock.now());
      return;
    }
    queue.splice(0, head);
    head = 0;
  }

  return {
    enter: (signal) => {
      if (signal.aborted) return Promise.resolve(undefined);
      if (inside.size < limit) return Promise.resolve(enter());
      return new Promise((resolve) => {
        queue.push({ signal, admit: resolve });
        if (timer === undefined) admit();
      });
    },
  };
}
