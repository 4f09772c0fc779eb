import { Buffer } from "node:buffer";
import type { Limits } from "./limits.ts";
import { createJoiner, headEnd } from "./parse.ts";

/** What has come on a connection and belongs to no message yet. */
export interface Inbox {
  /** Takes what has come. */
  add(bytes: Buffer): void;
  /** Drops an empty line at the start and tells whether there was one. */
  skipEmptyLine(): boolean;
  /**
   * Returns the next head in latin-1, up to and without its last two line ends, or undefined when it is not all there.
   *
   * @throws {ProtocolError} When it cannot become a valid head any more.
   */
  takeHead(): string | undefined;
  /** Returns as many bytes as are asked for, or undefined when they are not all there. */
  take(length: number): Buffer | undefined;
  /** Returns all that is there. */
  takeAll(): Buffer;
  /** Returns how many bytes are there. */
  size(): number;
}

/**
 * Creates an empty inbox.
 *
 * @param limits The limits of a head.
 */
export function createInbox(limits: Limits): Inbox {
  const join = createJoiner();
  let held: Buffer = EMPTY;
  // How many of the bytes have already been searched for the end of a head.
  let seen = 0;

  function drop(length: number): void {
    held = length === held.length ? EMPTY : held.subarray(length);
    seen = 0;
  }

  return {
    add: (bytes) => {
      held = join(held, bytes);
    },
    skipEmptyLine: () => {
      if (held[0] !== 13 || held[1] !== 10) return false;
      drop(2);
      return true;
    },
    takeHead: () => {
      if (held.length === 0) return undefined;
      const end = headEnd(held, seen, limits);
      if (end === -1) {
        seen = held.length;
        return undefined;
      }
      const text = held.toString("latin1", 0, end - 4);
      drop(end);
      return text;
    },
    take: (length) => {
      if (length > held.length) return undefined;
      const bytes = held.subarray(0, length);
      drop(length);
      return bytes;
    },
    takeAll: () => {
      const all = held;
      drop(held.length);
      return all;
    },
    size: () => held.length,
  };
}

const EMPTY: Buffer = Buffer.alloc(0);
