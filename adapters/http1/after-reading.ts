/**
 * Calls back once the sockets have been read. A loop that is late runs its timers first, and what came in time is not late;
 * two turns, for Deno reads one later than Node.
 */
export function afterReading(callback: () => void): void {
  setImmediate(() => setImmediate(callback));
}
