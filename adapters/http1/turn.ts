/**
 * Calls back once the sockets have been read: a loop that is late runs its timers first, and what came in time is not late.
 * Deno reads a turn later than Node.
 *
 * @param look What is to be called.
 */
export function afterReading(look: () => void): void {
  setImmediate(() => setImmediate(look));
}
