/** A value, or the promise of one: a storage that has its answer at hand costs no turn of the event loop. */
export type MaybePromise<T> = T | Promise<T>;

/**
 * How far a database has come, as text whose order is the order of its transactions. LiteFS's is the TXID:
 * 16 lower-case hexadecimal digits. It is compared, never computed with, and never a number.
 */
export type Position = string;

/** Where writes run now: on this node, on another one, wherever they come, or nobody knows. */
export type Primary =
  | { readonly at: "here" }
  /**
   * Every node takes writes, for its engine brings them to the primary by itself: they run where they come. No node can
   * be asked for what this one has yet to apply.
   */
  | { readonly at: "everywhere" }
  | {
      readonly at: "elsewhere";
      /** The primary's name as the cluster knows it; on Fly.io the id of its Machine. */
      readonly hostname: string;
    }
  | { readonly at: "unknown" };

/**
 * What a proxy must know of one replicated database on this node. An implementation answers from what it holds
 * wherever it can: `position()` runs on every request that carries a token and on every write.
 */
export interface Storage {
  /**
   * Returns the position that this node has applied, or `undefined` when there is no such database (yet).
   *
   * @throws When the position cannot be read. An error is an error and never the first position.
   */
  position(): MaybePromise<Position | undefined>;
  /** Returns where writes run now. */
  primary(): MaybePromise<Primary>;
  /** Returns a position that covers every write answered before this call. Left out: `position()`. */
  commit?(): MaybePromise<Position | undefined>;
  /**
   * Returns a position that covers everything that could be read here before this call, for a storage whose `position()`
   * says what is here for sure, and may say it later than it can be read. Left out: `position()`.
   */
  seen?(): MaybePromise<Position | undefined>;
  /**
   * Returns how many transactions lie between two positions at least; undefined: nobody can tell. It decides which tokens
   * are too far ahead to be true. Left out: the difference of the two as hexadecimal numbers.
   */
  gap?(ahead: Position, behind: Position): number | undefined;
  /**
   * Returns what tells this node's history at `position` from every other history that has used the position, such as
   * LiteFS's checksum: a word of up to 64 letters, digits, `_`, `.`, `~` or `-`; undefined: not known (any more). After
   * a failover that loses transactions, and in a node that is cut off, positions are used twice. Left out: they never are.
   */
  historyAt?(position: Position): MaybePromise<string | undefined>;
  /**
   * Calls `changed` whenever the position or the primary may have moved, until the returned function is called.
   * Left out: the proxy polls while somebody waits.
   */
  subscribe?(changed: () => void): () => void;
  /**
   * Returns how many milliseconds this node is behind the primary: 0 on the primary, `Infinity` before the first
   * synchronisation, `undefined` when it is not known.
   */
  lag?(): MaybePromise<number | undefined>;
  /** Gives back what the storage holds: files, connections, timers. */
  close?(): MaybePromise<void>;
}

/**
 * Tells whether writes run on this node, be it the primary or one whose engine brings them there.
 *
 * @param primary Where writes run.
 */
export function takesWrites(primary: Primary): boolean {
  return primary.at === "here" || primary.at === "everywhere";
}
