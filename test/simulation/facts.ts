import type { Exchange } from "./history.ts";
import { includes, type Reign, type Transaction } from "./log.ts";
import type { History } from "./world.ts";

/** A promise that was not kept. */
export interface Violation {
  /** Which promise. */
  readonly rule: string;
  /** What happened instead. */
  readonly text: string;
  /** The request to which it happened. */
  readonly exchange: number | undefined;
  /** Which weakness explains it; undefined: none. */
  readonly known?: Weakness | undefined;
}

/** What does not hold, as the README says. */
export type Weakness =
  /**
   * A replica that has yet to drop its lost history serves it to who comes from the new one, when it may not ask the
   * primary: where no edge replays, and when its share of such reads is used up.
   */
  "lost history where the primary cannot be asked";

/** A rule and how it was broken. */
export type Finding = readonly [rule: string, text: string];

/** Tells whether any transaction was ever lost. */
export function losesAnything(reigns: readonly Reign[]): boolean {
  return reigns.some((reign, index) => index > 0 && reign.isLossy);
}

/** Tells what is left of a transaction's history in a reign. */
export type Survivors = (transaction: Transaction, reign: number) => Transaction | undefined;

/** Returns a function that tells what is left of a transaction's history in a reign: the greatest part that never was lost. */
export function createSurvivors(reigns: readonly Reign[]): Survivors {
  const known = new Map<Transaction, Map<number, Transaction | undefined>>();
  return (transaction, until) => {
    const found = known.get(transaction) ?? new Map<number, Transaction | undefined>();
    known.set(transaction, found);
    if (found.has(until)) return found.get(until);
    let left: Transaction | undefined = transaction;
    for (let index = transaction.reign + 1; index <= until; index++) {
      const head = reigns[index]?.heads[transaction.database];
      while (left !== undefined && !includes(head, left)) left = left.parent;
    }
    found.set(until, left);
    return left;
  };
}

/** Tells whether the last proxy that a request met was LiteFS's own. */
export function isLastOld({ trips }: Exchange): boolean {
  return trips.at(-1)?.isOld === true;
}

/** Tells whether a node's app or storage was out of order at some moment of a time. */
export function isTroubled(
  { troubles }: History,
  index: number,
  start: number,
  end: number,
): boolean {
  return troubles.some(({ node, from, to }) => node === index && from <= end && to >= start);
}

/** Tells whether a node was the primary at some moment of a time, or in all of it. */
export function wasPrimary(
  { cluster }: History,
  node: number,
  from: number,
  to: number,
  when: "ever" | "always",
): boolean {
  const moments = cluster.replicas[node]?.moments ?? [];
  const until = (index: number): number => moments[index + 1]?.at ?? Infinity;
  if (when === "ever") {
    return moments.some(
      ({ at, isPrimary }, index) => isPrimary && at <= to && until(index) >= from,
    );
  }
  return moments.every(({ at, isPrimary }, index) => isPrimary || at > to || until(index) <= from);
}
