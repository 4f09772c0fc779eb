import type { Clock } from "../../src/clock.ts";
import { later } from "./clock.ts";
import { createSubscribers } from "./subscribers.ts";

/** Those who want to be told of changes, and the one timer that looks for changes on their behalf. */
export interface Watch {
  /** Adds a subscriber; the returned function removes it. */
  subscribe(changed: () => void): () => void;
  /** Tells all subscribers that something may have changed. */
  fire(): void;
  /** Looks at once if anybody subscribes, and counts the interval anew. */
  hurry(): void;
  /** Removes all subscribers. */
  close(): void;
}

/** What a watch looks with. */
export interface Watched {
  /** Returns how long to wait for the next look, in milliseconds. */
  interval(): number;
  /** Remembers how things are now; nothing before is a change. */
  begin(): void;
  /** Compares how things are with how they were. Calls `fire` when they differ. */
  look(): void;
}

/**
 * Creates a watch. The timer runs only while somebody subscribes.
 *
 * @param clock The time.
 * @param watched What to look with.
 * @param onError Gets what subscribers throw.
 */
export function createWatch(
  clock: Clock,
  watched: Watched,
  onError: (error: unknown) => void,
): Watch {
  const subscribers = createSubscribers();
  let timer: unknown;

  function schedule(): void {
    clock.clearTimeout(timer);
    timer = undefined;
    if (subscribers.size() > 0) timer = later(clock, look, watched.interval());
  }

  function look(): void {
    watched.look();
    schedule();
  }

  function fire(): void {
    subscribers.each((changed) => {
      try {
        changed();
      } catch (error) {
        onError(error);
      }
    });
  }

  return {
    subscribe: (changed) => {
      const remove = subscribers.add(changed);
      if (subscribers.size() === 1) {
        watched.begin();
        schedule();
      }
      return () => {
        remove();
        if (subscribers.size() === 0) schedule();
      };
    },
    fire,
    hurry: () => {
      if (subscribers.size() > 0) look();
    },
    close: () => {
      subscribers.clear();
      schedule();
    },
  };
}
