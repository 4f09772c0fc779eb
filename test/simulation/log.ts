/**
 * What a cluster has committed: a tree of transactions, for a failover or a restore lets another history go on from an
 * earlier point. Only the part that the current primary has is alive.
 *
 * @module
 */

/** A line of transactions that goes on from a point of an older one. */
export interface Branch {
  /** Its number, in the order of their beginnings. */
  readonly id: number;
  /** The transaction it goes on from; undefined: it begins with the first. */
  readonly from: Transaction | undefined;
}

/** A transaction of one database. */
export interface Transaction {
  /** The database's index. */
  readonly database: number;
  readonly branch: Branch;
  /** How many transactions its history has up to this one, as LiteFS numbers them. */
  readonly number: number;
  readonly parent: Transaction | undefined;
  /** When it was committed, in milliseconds. */
  readonly at: number;
  /** The index of the reign in which it was committed. */
  readonly reign: number;
  /** The exchange that committed it; -1: it was there from the beginning. */
  readonly exchange: number;
  /** What tells its history from others: LiteFS's checksum. */
  readonly mark: string;
}

/** From when on whose state is the cluster's. */
export interface Reign {
  /** When it began, in milliseconds. */
  readonly at: number;
  /** The last transaction of each database at that moment. */
  readonly heads: readonly (Transaction | undefined)[];
  /** Whether it began without something that had been committed. */
  readonly isLossy: boolean;
  /** The branches on which it commits, one for each database. */
  readonly branches: readonly Branch[];
}

/** Tells whether `earlier` belongs to the history that ends with `later`. */
export function includes(later: Transaction | undefined, earlier: Transaction): boolean {
  if (later === undefined) return false;
  let { branch, number } = later;
  while (branch.id !== earlier.branch.id) {
    const { from } = branch;
    if (from === undefined) return false;
    branch = from.branch;
    number = Math.min(number, from.number);
  }
  return earlier.number <= number;
}

/** Returns the transaction with that number in the history that ends with `head`. */
export function ancestor(head: Transaction | undefined, number: number): Transaction | undefined {
  let found = head;
  while (found !== undefined && found.number > number) found = found.parent;
  return found;
}

/** Writes a transaction's number as LiteFS does. */
export function positionOf(transaction: Transaction): string {
  return transaction.number.toString(16).padStart(16, "0");
}

/** Writes a transaction for people. */
export function show(transaction: Transaction | undefined): string {
  if (transaction === undefined) return "empty";
  return `${transaction.database}:${transaction.number}${branchName(transaction.branch)}`;
}

function branchName({ id }: Branch): string {
  return String.fromCharCode(97 + (id % 26)).repeat(1 + Math.floor(id / 26));
}
