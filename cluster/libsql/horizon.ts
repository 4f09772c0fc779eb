import { indexOf } from "./log.ts";
import type { Log, Place } from "./log.ts";

/** How far into the log each replica may look, by its token. */
export interface Horizon {
  /** Returns how far a replica may look now. It never gets less, for a longer delay takes nothing back. */
  of(replica: string): Place;
  /**
   * Sets how long a transaction takes until replicas can have it.
   *
   * @param ms Milliseconds.
   * @param replica The replica. @default all that have no delay of their own
   */
  setDelay(ms: number, replica?: string): void;
  /** Makes what is called when a statement of a replica has run: it may look at once as far as its own transactions go. */
  ranFor(replica: string): () => void;
}

/**
 * Creates the horizon of a log.
 *
 * @param delay How long a transaction takes until replicas can have it, in milliseconds.
 */
export function createHorizon(log: Log, delay: number): Horizon {
  const delays = new Map<string, number>();
  const shown = new Map<string, Place>();
  let common = delay;
  let end = log.collect();

  function show(replica: string, place: Place): Place {
    const known = shown.get(replica);
    const further = known === undefined || indexOf(place) > indexOf(known) ? place : known;
    shown.set(replica, further);
    return further;
  }

  return {
    of(replica) {
      log.collect();
      return show(replica, log.ago(delays.get(replica) ?? common));
    },
    setDelay(ms, replica) {
      if (replica === undefined) {
        common = ms;
      } else {
        delays.set(replica, ms);
      }
    },
    ranFor: (replica) => () => {
      // Statements run without a pause between them and this, so whatever is new is this replica's own.
      const before = indexOf(end);
      end = log.collect();
      if (indexOf(end) > before) {
        show(replica, end);
      }
    },
  };
}
