import type { Position } from "../../src/storage.ts";

/** What a node remembers of its way: the checksum after each of the last transactions. */
export interface History {
  /** Notes where the node is now; what it knew beyond that is no longer its past. */
  at(position: Position, checksum: string): void;
  /** Notes a transaction of which the node tells, maybe late. */
  passed(position: Position, checksum: string): void;
  /** Returns the checksum after the transaction, if it is remembered. */
  checksum(position: Position): string | undefined;
}

/** How many transactions are remembered; LiteFS makes about 100 a second. */
const KEPT = 16_384;

/** Creates an empty history. */
export function createHistory(): History {
  const checksums = new Map<Position, string>();
  let latest: Position = "";

  function passed(position: Position, checksum: string): void {
    if (checksums.get(position) === checksum) return;
    // Deleted first, so that what is noted last is the last to be forgotten.
    checksums.delete(position);
    checksums.set(position, checksum);
    if (checksums.size <= KEPT) return;
    for (const oldest of checksums.keys()) {
      checksums.delete(oldest);
      return;
    }
  }

  return {
    at: (position, checksum) => {
      if (position < latest) {
        for (const known of checksums.keys()) if (known > position) checksums.delete(known);
      }
      latest = position;
      passed(position, checksum);
    },
    passed,
    checksum: (position) => checksums.get(position),
  };
}
