/** The time, and a way to be called later; tests inject their own. */
export interface Clock {
  /** Returns milliseconds of a clock that never steps back; only differences count. */
  now(): number;
  /** Returns the time of day in milliseconds since the Unix epoch. Left out: `now()`. */
  date?(): number;
  /** Calls `callback` once, `delay` milliseconds from now, unless it is cancelled. */
  setTimeout(callback: () => void, delay: number): unknown;
  /** Cancels what `setTimeout` returned. */
  clearTimeout(timer: unknown): void;
}

/** The longest delay that timers know, in milliseconds: with a longer one runtimes call back at once. */
export const LONGEST_DELAY: number = 2 ** 31 - 1;

/** The clock of the runtime; what is to be called in more than 24 days is called in 24 days. */
export const systemClock: Clock = {
  now: () => performance.now(),
  date: () => Date.now(),
  setTimeout: (callback, delay) => setTimeout(callback, Math.min(delay, LONGEST_DELAY)),
  // The handle is a number or an object, as the runtime likes; only its own clearTimeout sees it again.
  clearTimeout: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
};

/** Returns the time of day on a clock, in milliseconds since the Unix epoch. */
export function timeOfDay(clock: Clock): number {
  return clock.date?.() ?? clock.now();
}

/** Resolves after a delay in milliseconds, or as soon as the signal aborts. */
export function pause(delay: number, signal: AbortSignal, clock: Clock): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clock.clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = clock.setTimeout(end, delay);
    signal.addEventListener("abort", end, { once: true });
  });
}
