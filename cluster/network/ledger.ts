import type { Clock } from "../../src/clock.ts";
import type { Transaction } from "../database.ts";
import { origin } from "../format.ts";
import type { Point } from "../format.ts";

/** A transaction that a change of the primary has thrown away. */
export interface Lost {
  /** What nobody has any more. */
  readonly transaction: Transaction;
  /** When it was lost, in milliseconds since the Unix epoch. */
  readonly at: number;
}

/**
 * What the primary has committed, in order: what replicas are still to get is in here. A transaction's number is its
 * TXID's, so that the first one has 1. The oldest ones are forgotten when there are many.
 */
export interface Ledger {
  /** Takes the transaction that follows the last one. */
  add(transaction: Transaction): void;
  /** Returns the number of the last transaction. */
  last(): number;
  /** Returns the number of the transaction that ends at a point; undefined: it is of another history, or forgotten. */
  find(point: Point): number | undefined;
  /**
   * Returns transactions that follow another one.
   *
   * @param number The number of that one, which `find` returned.
   * @param count How many at most. @default all of them
   */
  after(number: number, count?: number): readonly Transaction[];
  /** Goes back to a point: what follows it is lost. When it is of another history, that one begins here. */
  backTo(point: Point): void;
  /**
   * Forgets the oldest transactions, once there are many.
   *
   * @param needed The numbers of transactions that others must still be found after.
   */
  trim(needed: readonly number[]): void;
  /** Returns every transaction that was lost. */
  lost(): readonly Lost[];
}

// How many transactions are kept for a replica that comes back; with twice as many the oldest are forgotten.
const retained = 10_000;

/** Creates the ledger of a cluster in which nothing has been committed. */
export function createLedger(clock: Clock): Ledger {
  const lost: Lost[] = [];
  // Where the first transaction of the log begins.
  let base: Point = origin;
  let log: Transaction[] = [];

  function find(point: Point): number | undefined {
    const index = numberOf(point) - numberOf(base);
    const known = index === 0 ? base : log[index - 1];
    return known?.checksum === point.checksum ? numberOf(point) : undefined;
  }

  return {
    add(transaction) {
      log.push(transaction);
    },
    last: () => numberOf(log.at(-1) ?? base),
    find,
    after(number, count = Infinity) {
      const index = number - numberOf(base);
      return log.slice(index, index + count);
    },
    backTo(point) {
      const found = find(point);
      const kept = found === undefined ? 0 : found - numberOf(base);
      lost.push(...log.slice(kept).map((transaction) => ({ transaction, at: clock.now() })));
      if (found === undefined) {
        log = [];
        base = { txid: point.txid, checksum: point.checksum };
        return;
      }
      log.length = kept;
    },
    trim(needed) {
      if (log.length <= 2 * retained) {
        return;
      }
      const unneeded = needed.map((number) => number - numberOf(base));
      const count = Math.min(log.length - retained, ...unneeded);
      const last = log[count - 1];
      if (last !== undefined) {
        base = { txid: last.txid, checksum: last.checksum };
        log.splice(0, count);
      }
    },
    lost: () => lost,
  };
}

/** Returns the number of the transaction that ends at a point. */
export function numberOf(point: Point): number {
  // Positions here start at 0 and stay small, whatever LiteFS's may do.
  return Number(BigInt(`0x${point.txid}`));
}
