import { Buffer } from "node:buffer";
import { readSync } from "node:fs";
import { createHeldDescriptor } from "./held-descriptor.ts";

/** SQLite's write-ahead log: what is before the frames, and a frame, with the one size of pages that is replicated. */
const HEADER = 32;
const FRAME = 24 + 4096;

/** The salts of a log, in its header and in each frame (https://www.sqlite.org/fileformat2.html#walformat). */
const SALTS = 8;
const SALTS_IN_HEADER = 16;
const SALTS_IN_FRAME = 8;

/** What a write-ahead log has. */
export interface Extent {
  /** What tells the file from others that were there before. */
  readonly inode: bigint;
  /** How many frames it has, those of a transaction that is yet to end as well. */
  readonly frames: number;
}

/** What a log that is missing has. */
const MISSING: Extent = { inode: 0n, frames: 0 };

/** A write-ahead log that is measured often. */
export interface Wal {
  /** Measures it; one that is missing has no frames. */
  measure(): Extent;
  /** Gives the descriptor back. */
  close(): void;
}

/**
 * Creates what measures a write-ahead log. Its size alone does not tell: a log that was checkpointed may begin anew in
 * the same file, and frames of the old one are behind those of the new one then. The index beside it would tell as well,
 * but SQLite holds locks on that, and a process loses those of a file with the first descriptor of it that it closes.
 *
 * @param path The file.
 */
export function createWal(path: string): Wal {
  const salts = Buffer.alloc(SALTS);
  const found = Buffer.alloc(SALTS);
  const held = createHeldDescriptor(path);

  function isOfThisLog(descriptor: number, frame: number): boolean {
    const at = HEADER + (frame - 1) * FRAME + SALTS_IN_FRAME;
    return readSync(descriptor, found, 0, SALTS, at) === SALTS && found.equals(salts);
  }

  /** Returns how many of so many frames are of this log: the first ones. */
  function count(descriptor: number, most: number): number {
    readSync(descriptor, salts, 0, SALTS, SALTS_IN_HEADER);
    if (most === 0 || isOfThisLog(descriptor, most)) return most;
    let [known, beyond] = [0, most];
    while (beyond - known > 1) {
      const middle = Math.floor((known + beyond) / 2);
      if (isOfThisLog(descriptor, middle)) known = middle;
      else beyond = middle;
    }
    return known;
  }

  return {
    measure: () =>
      held.use(({ descriptor, inode }, size) => {
        const most = Math.max(0, Math.floor((size - HEADER) / FRAME));
        return { inode, frames: count(descriptor, most) };
      }) ?? MISSING,
    close: held.close,
  };
}
