/**
 * A storage that lives in this process: for tests, and for an app that has one node today.
 *
 * @example
 * ```ts
 * import { memory } from "@txid/proxy/memory";
 *
 * const storage = memory();
 * storage.advance();
 * ```
 *
 * @module
 */
import type { Position, Primary, Storage } from "../src/storage.ts";
import { createSubscribers } from "./storage/subscribers.ts";

/** What {@linkcode memory} takes. */
export interface MemoryOptions {
  /**
   * The position to begin at; `undefined` given by name means that there is no database yet.
   *
   * @default "0000000000000000"
   */
  readonly position?: Position | undefined;
  /**
   * Where writes run.
   *
   * @default { at: "here" }
   */
  readonly primary?: Primary;
  /**
   * The lag in milliseconds; `undefined` given by name means that it is not known.
   *
   * @default 0
   */
  readonly lag?: number | undefined;
}

/** A storage whose state its owner sets. */
export interface MemoryStorage extends Storage {
  /** Returns the position that was set last, or `undefined` for no database. */
  position(): Position | undefined;
  /** Returns the role that was set last. */
  primary(): Primary;
  /** Returns the lag that was set last, in milliseconds. */
  lag(): number | undefined;
  /** Returns the history that was set last, whatever the position. */
  historyAt(position: Position): string | undefined;
  /** Calls `changed` in each call that sets the position or the role, after it is set. */
  subscribe(changed: () => void): () => void;
  /** Removes the subscribers; the state can still be read and set. */
  close(): void;
  /**
   * Moves to the position after this one, the first where there was no database, and returns it.
   *
   * @throws {RangeError} When the position is the greatest there is.
   */
  advance(): Position;
  /**
   * Moves to a position, backwards as well; `undefined` drops the database.
   *
   * @throws {TypeError} When it is not 16 lower-case hexadecimal digits.
   */
  setPosition(position: Position | undefined): void;
  /** Sets what tells this history from others; undefined: nothing does. */
  setHistory(history: string | undefined): void;
  /** Sets where writes run. */
  setPrimary(primary: Primary): void;
  /** Sets the lag in milliseconds. */
  setLag(lag: number | undefined): void;
}

const START: Position = "0".repeat(16);
const END: Position = "f".repeat(16);

/**
 * Creates a storage in memory. Positions are TXIDs as LiteFS writes them.
 *
 * @param options What to begin with.
 * @throws {TypeError} When the position is not 16 lower-case hexadecimal digits.
 */
export function memory(options: MemoryOptions = {}): MemoryStorage {
  const subscribers = createSubscribers();
  let position = "position" in options ? checked(options.position) : START;
  let primary: Primary = options.primary ?? { at: "here" };
  let lag = "lag" in options ? options.lag : 0;
  let history: string | undefined;

  function fire(): void {
    subscribers.each((changed) => changed());
  }

  function setPosition(next: Position | undefined): void {
    position = checked(next);
    fire();
  }

  return {
    position: () => position,
    primary: () => primary,
    lag: () => lag,
    historyAt: () => history,
    subscribe: subscribers.add,
    close: subscribers.clear,
    advance: () => {
      if (position === END)
        throw new RangeError("Cannot advance: the position is the greatest there is");
      const next = (BigInt(`0x${position ?? START}`) + 1n).toString(16).padStart(16, "0");
      setPosition(next);
      return next;
    },
    setPosition,
    setHistory: (next) => {
      history = next;
    },
    setPrimary: (next) => {
      primary = next;
      fire();
    },
    setLag: (next) => {
      lag = next;
    },
  };
}

function checked(position: Position | undefined): Position | undefined {
  if (position === undefined || /^[0-9a-f]{16}$/.test(position)) return position;
  throw new TypeError(
    `Cannot set position: it must be 16 lower-case hexadecimal digits, received ${JSON.stringify(position)}`,
  );
}
