import { setImmediate } from "node:timers";

/** What happens when: the time of a world, in which nothing happens but what was planned. */
export interface Timeline {
  /** Returns the milliseconds since the world began. */
  now(): number;
  /** Plans a call; what is planned for the same moment happens in the order of planning. */
  at(time: number, action: () => void): Planned;
  /** Plans a call `delay` milliseconds from now. */
  after(delay: number, action: () => void): Planned;
  /** Cancels what `after` has returned; anything else is ignored. */
  cancel(planned: unknown): void;
  /** Resolves `delay` milliseconds from now. */
  sleep(delay: number): Promise<void>;
  /**
   * Lets time pass until `end`, or until nothing is planned; between two calls all promises come to rest.
   *
   * @returns Whether it got there: a world that is too busy never does.
   */
  run(end: number): Promise<boolean>;
  /** Returns how many calls have been made. */
  steps(): number;
}

/** A call that is planned. */
export interface Planned {
  /** When it happens. */
  readonly time: number;
  /** Undefined once it has happened or is cancelled. */
  action: (() => void) | undefined;
}

/** How many calls a world may make. */
const MAX_STEPS = 60_000;

interface Entry {
  readonly order: number;
  readonly planned: Planned;
}

/** Creates a timeline that begins at 0. */
export function createTimeline(): Timeline {
  const heap: Entry[] = [];
  let now = 0;
  let order = 0;
  let steps = 0;

  function isBefore(a: Entry, b: Entry): boolean {
    return a.planned.time === b.planned.time ? a.order < b.order : a.planned.time < b.planned.time;
  }

  function push(entry: Entry): void {
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !isBefore(entry, above)) return;
      heap[at] = above;
      heap[parent] = entry;
      at = parent;
    }
  }

  function pop(): Entry | undefined {
    const top = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return top;
    let at = 0;
    for (;;) {
      let least = last;
      let next = at;
      for (let child = 2 * at + 1; child <= 2 * at + 2; child++) {
        const candidate = heap[child];
        if (candidate !== undefined && isBefore(candidate, least)) {
          least = candidate;
          next = child;
        }
      }
      heap[at] = least;
      if (next === at) return top;
      at = next;
    }
  }

  function at(time: number, action: () => void): Planned {
    const planned: Planned = { time: Math.max(time, now), action };
    push({ order: order++, planned });
    return planned;
  }

  return {
    now: () => now,
    at,
    after: (delay, action) => at(now + delay, action),
    cancel: (planned) => {
      // The core hands back what it was given, and knows it as unknown.
      const known = planned as Planned | undefined;
      if (known !== undefined) known.action = undefined;
    },
    sleep: (delay) => new Promise((resolve) => void at(now + delay, resolve)),
    run: async (end) => {
      await atRest();
      for (;;) {
        const planned = heap[0]?.planned;
        if (planned === undefined || planned.time > end) break;
        if (steps >= MAX_STEPS) return false;
        pop();
        const { action } = planned;
        if (action === undefined) continue;
        planned.action = undefined;
        now = planned.time;
        steps++;
        action();
        await atRest();
      }
      now = Math.max(now, end);
      return true;
    },
    steps: () => steps,
  };
}

/** Resolves when no promise has anything left to do: the runtime gets to its next task only then. */
function atRest(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}
