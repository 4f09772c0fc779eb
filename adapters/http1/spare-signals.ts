/** Signals that were listened to for one request, and that nobody listens to any more. */
const spare = new WeakSet<AbortSignal>();

/**
 * Says of a request's signal that nobody listens to it any more, so that the next request of its connection can have the
 * same one. To make a signal costs more than to parse a head: a third of the time that Node spends on a small request.
 */
export function spareSignal(signal: AbortSignal): void {
  spare.add(signal);
}

/** Takes a signal for the next request, and tells whether it may have it: somebody has spared it since it was taken last. */
export function takeSignal(signal: AbortSignal): boolean {
  return spare.delete(signal);
}
