/** The middle of some values, and between what they lay. */
export interface Spread {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

/** Returns the value below which a part of the values lies; the values are sorted in place. */
export function quantile(values: number[], part: number): number {
  values.sort((a, b) => a - b);
  return values[Math.min(values.length - 1, Math.floor(values.length * part))] ?? Number.NaN;
}

/** Returns the quantiles that are told of how long things took; the values are sorted in place. */
export function summary(times: number[]): { p50: number; p99: number; p999: number } {
  const [p50 = 0, p99 = 0, p999 = 0] = [0.5, 0.99, 0.999].map((part) => quantile(times, part));
  return { p50, p99, p999 };
}

/** Returns the middle of some values: of an even number of them the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length / 2;
  const low = sorted[Math.ceil(half) - 1] ?? Number.NaN;
  const high = sorted[Math.floor(half)] ?? Number.NaN;
  return (low + high) / 2;
}

/** Returns the middle and the ends of what is a number; undefined when nothing is. */
export function spreadOf(values: readonly number[]): Spread | undefined {
  const numbers = values.filter((value) => Number.isFinite(value));
  if (numbers.length === 0) return undefined;
  return { median: median(numbers), least: Math.min(...numbers), most: Math.max(...numbers) };
}

/**
 * Returns by how much values rise for each unit of time: the median of the slopes between all pairs (Theil and Sen),
 * which the saw teeth of a garbage collector do not bend.
 *
 * @param points Time and value of each sample.
 */
export function slopeOf(points: readonly (readonly [time: number, value: number])[]): number {
  const slopes: number[] = [];
  for (const [index, [time, value]] of points.entries())
    for (const [later, other] of points.slice(index + 1))
      if (later > time) slopes.push((other - value) / (later - time));
  return median(slopes);
}
