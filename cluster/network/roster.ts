import type { Member } from "../member.ts";
import type { Delivery } from "./delivery.ts";

/** What the network knows of one node. */
export interface Seat {
  /** The node's name. */
  readonly name: string;
  /** The node; undefined while it is down. */
  member: Member | undefined;
  /** Whether it is cut off from the other nodes. */
  partitioned: boolean;
  /** Its own lag, in milliseconds; undefined: it has that of all. */
  lag: number | undefined;
  /** What brings it transactions; undefined while nothing does. */
  delivery: Delivery | undefined;
}

/** The nodes of a cluster, those that are down included, and which of them is the primary. */
export interface Roster {
  /** Returns every node's seat. */
  all(): readonly Seat[];
  /**
   * Returns the seat of a node.
   *
   * @throws {RangeError} When there is no such node.
   */
  get(name: string): Seat;
  /** Gives a node its seat: a new one, or the one that it had before it went down. */
  take(member: Member): Seat;
  /** Returns the primary's seat, though it may be down; undefined before the first node came. */
  primary(): Seat | undefined;
  /** Makes another node the primary. */
  setPrimary(seat: Seat): void;
  /** Returns how long transactions travel to a node, in milliseconds. */
  lagOf(seat: Seat): number;
  /**
   * Sets how long transactions travel.
   *
   * @param lag Milliseconds.
   * @param name The node. @default all of them, those that have a lag of their own included
   * @returns The seats for which it is new.
   * @throws {RangeError} When there is no such node.
   */
  setLag(lag: number, name?: string): readonly Seat[];
}

/**
 * Creates a roster without nodes.
 *
 * @param initialLag How long transactions travel, in milliseconds.
 */
export function createRoster(initialLag: number): Roster {
  const seats = new Map<string, Seat>();
  let lag = initialLag;
  let primary: Seat | undefined;

  function get(name: string): Seat {
    const seat = seats.get(name);
    if (seat === undefined) {
      throw new RangeError(`Cannot find node "${name}"`);
    }
    return seat;
  }

  return {
    all: () => [...seats.values()],
    get,
    take(member) {
      const { name } = member;
      const free = { name, partitioned: false, lag: undefined, delivery: undefined };
      const seat: Seat = seats.get(name) ?? { ...free, member };
      seat.member = member;
      seats.set(name, seat);
      return seat;
    },
    primary: () => primary,
    setPrimary(seat) {
      primary = seat;
    },
    lagOf: (seat) => seat.lag ?? lag,
    setLag(value, name) {
      if (name !== undefined) {
        const seat = get(name);
        seat.lag = value;
        return [seat];
      }
      lag = value;
      for (const seat of seats.values()) {
        seat.lag = undefined;
      }
      return [...seats.values()];
    },
  };
}
