import { slopeOf } from "./statistics.ts";

/** The part of the time that is not looked at: until then pools, caches and the compilers' heaps fill. */
const WARM_UP = 1 / 3;

/** Up to how much more memory at the end than after the warm-up is no leak: a part of all, for garbage is not collected at once. */
export const TOLERANCE: number = 0.1;

/** What became of the memory of a process under load. */
export interface Growth {
  /** MiB an hour. */
  readonly slope: number;
  /** What that came to after the warm-up, in percent of the memory then. */
  readonly growth: number;
  readonly isFlat: boolean;
}

/**
 * Judges whether memory grows.
 *
 * @param points Milliseconds from the start, and KiB, in order.
 */
export function judge(points: readonly (readonly [time: number, rss: number])[]): Growth {
  const end = points.at(-1)?.[0] ?? 0;
  const late = points.filter(([time]) => time >= end * WARM_UP);
  const slope = slopeOf(late);
  const base = late[0]?.[1] ?? Number.NaN;
  const growth = (slope * end * (1 - WARM_UP)) / base;
  return {
    slope: (slope / 1024) * 3_600_000,
    growth: growth * 100,
    isFlat: growth <= TOLERANCE,
  };
}
