import type { MaybePromise, Position } from "../../src/storage.ts";

/** Where the positions of a database come from. */
export interface Source {
  /** Returns the position that this node has applied. */
  position(): MaybePromise<Position | undefined>;
  /** Returns a position that covers every write answered before; left out: `position()` does. */
  commit?(): MaybePromise<Position | undefined>;
  /** Returns a position that covers everything that could be read here before; left out: `position()` does. */
  seen?(): MaybePromise<Position | undefined>;
  /** Returns what tells the history at a position from others; left out: there is only one. */
  historyAt?(position: Position): string | undefined;
  /** Returns how many transactions lie between two positions; left out: positions count them one by one. */
  gap?(ahead: Position, behind: Position): number | undefined;
  /** Gives back what it holds. */
  close(): void;
}
