import { Buffer } from "node:buffer";
import { closeSync, fstatSync, openSync, readSync, statSync } from "node:fs";
import { isMissing } from "../storage/error.ts";

/** A small file that is read often. */
export interface HeldFile {
  /** Returns its bytes, or undefined when there is no such file; they are overwritten by the next read. */
  read(): Buffer | undefined;
  /** Gives the descriptor back. */
  close(): void;
}

/** A descriptor and the file it was opened on. */
interface Held {
  readonly descriptor: number;
  readonly device: number;
  readonly inode: number;
}

/**
 * Creates the reader of a file. Its descriptor is held for as long as the path leads to it: what is written into the
 * file is seen, and so is a file that takes its place. The number of an inode is not given again while a descriptor
 * holds it, so that equal means same.
 *
 * @param path The file.
 * @param size The most bytes that are of interest.
 */
export function createHeldFile(path: string, size: number): HeldFile {
  const buffer = Buffer.alloc(size);
  let held: Held | undefined;

  function release(): void {
    const file = held;
    held = undefined;
    if (file !== undefined) closeSync(file.descriptor);
  }

  function open(): Held {
    const descriptor = openSync(path, "r");
    const { dev, ino } = fstatSync(descriptor);
    return { descriptor, device: dev, inode: ino };
  }

  return {
    read: () => {
      try {
        const { dev, ino } = statSync(path);
        if (held !== undefined && (held.device !== dev || held.inode !== ino)) release();
        held ??= open();
        return buffer.subarray(0, readSync(held.descriptor, buffer, 0, size, 0));
      } catch (error) {
        release();
        if (isMissing(error)) return undefined;
        throw error;
      }
    },
    close: release,
  };
}
