import type { Clock } from "../src/index.ts";

/** A clock that stands still until it is told to go on. */
export interface FakeClock extends Clock {
  /** Lets time pass, calling what falls due in its order, and lets promises settle in between. */
  advance(milliseconds: number): Promise<void>;
  /** How many timers are set. */
  timers(): number;
}

/** Creates a clock that starts at a round time. */
export function fakeClock(): FakeClock {
  let time = Date.UTC(2026, 0, 1);
  let next = 1;
  const due = new Map<number, { at: number; callback: () => void }>();
  return {
    now: () => time,
    setTimeout: (callback, delay) => {
      due.set(next, { at: time + delay, callback });
      return next++;
    },
    clearTimeout: (timer) => void due.delete(timer as number),
    advance: async (milliseconds) => {
      const end = time + milliseconds;
      await settled();
      for (;;) {
        const first = [...due]
          .filter(([, timer]) => timer.at <= end)
          .sort(([, a], [, b]) => a.at - b.at)[0];
        if (first === undefined) break;
        due.delete(first[0]);
        time = Math.max(time, first[1].at);
        first[1].callback();
        await settled();
      }
      time = end;
      await settled();
    },
    timers: () => due.size,
  };
}

/** Lets everything run that waits for nothing but its turn. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 100; turn++) await Promise.resolve();
}
