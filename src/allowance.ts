import type { Clock } from "./clock.ts";

/**
 * Creates an allowance of so many a second: whoever asks gets one as long as there are any, and after a pause there are
 * those of one second.
 *
 * @param perSecond How many.
 * @param clock The time.
 * @returns A function that takes one and tells whether there was one.
 */
export function createAllowance(perSecond: number, clock: Clock): () => boolean {
  const most = perSecond === 0 ? 0 : Math.max(1, perSecond);
  let left = most;
  let since = clock.now();
  return () => {
    const now = clock.now();
    left = Math.min(most, left + ((now - since) / 1000) * perSecond);
    since = now;
    if (left < 1) return false;
    left--;
    return true;
  };
}
