import { Buffer } from "node:buffer";
import { readSync, statSync } from "node:fs";
import { closeDescriptor, type Descriptor, openDescriptor } from "../storage/descriptor.ts";
import { isMissing } from "../storage/error.ts";

/** A small file that is read often. */
export interface HeldFile {
  /** Returns its bytes, or undefined when there is no such file; they are overwritten by the next read. */
  read(): Buffer | undefined;
  /** Gives the descriptor back. */
  close(): void;
}

/**
 * Creates the reader of a file. Its descriptor is held for as long as the path leads to it: what is written into the
 * file is seen, and so is a file that takes its place.
 *
 * @param path The file.
 * @param size The most bytes that are of interest.
 */
export function createHeldFile(path: string, size: number): HeldFile {
  const buffer = Buffer.alloc(size);
  let held: Descriptor | undefined;

  function release(): void {
    const file = held;
    held = undefined;
    closeDescriptor(file);
  }

  return {
    read: () => {
      try {
        const { dev, ino } = statSync(path, { bigint: true });
        if (held !== undefined && (held.device !== dev || held.inode !== ino)) release();
        held ??= openDescriptor(path);
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
