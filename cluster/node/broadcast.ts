/** Tells everybody who listens. */
export interface Broadcast<T> {
  /** Tells a value to all listeners. */
  tell(value: T): void;
  /** Calls `listener` with each value, until the returned function is called. */
  subscribe(listener: (value: T) => void): () => void;
}

/** Creates a broadcast to which nobody listens. */
export function createBroadcast<T>(): Broadcast<T> {
  const listeners = new Set<(value: T) => void>();
  return {
    tell(value) {
      for (const listener of listeners) {
        listener(value);
      }
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
