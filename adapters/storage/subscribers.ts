/** Those who want to be told of changes. */
export interface Subscribers {
  /** Adds one; the returned function removes it. */
  add(changed: () => void): () => void;
  /** Calls each by the given function. One that is removed meanwhile is not called. */
  each(call: (changed: () => void) => void): void;
  /** Returns how many there are. */
  size(): number;
  /** Removes all. */
  clear(): void;
}

/** Creates an empty list of subscribers. */
export function createSubscribers(): Subscribers {
  const subscribers = new Set<{ readonly changed: () => void }>();
  return {
    add: (changed) => {
      // An object of its own, so that the same function can subscribe twice.
      const subscriber = { changed };
      subscribers.add(subscriber);
      return () => void subscribers.delete(subscriber);
    },
    each: (call) => {
      // A copy, for a subscriber that subscribes anew when it is called would be called for ever.
      for (const subscriber of Array.from(subscribers)) {
        if (subscribers.has(subscriber)) call(subscriber.changed);
      }
    },
    size: () => subscribers.size,
    clear: () => subscribers.clear(),
  };
}
