import { Buffer } from "node:buffer";
import { readSync } from "node:fs";
import { createHeldDescriptor } from "./held-descriptor.ts";

/** A small file that is read often. */
export interface HeldFile {
  /** Returns its bytes, or undefined when there is no such file; they are overwritten by the next read. */
  read(): Buffer | undefined;
  /** Gives the descriptor back. */
  close(): void;
}

/**
 * Creates the reader of a file whose descriptor is held.
 *
 * @param path The file.
 * @param size The most bytes that are of interest.
 */
export function createHeldFile(path: string, size: number): HeldFile {
  const buffer = Buffer.alloc(size);
  const held = createHeldDescriptor(path);
  return {
    read: () =>
      held.use(({ descriptor }) => buffer.subarray(0, readSync(descriptor, buffer, 0, size, 0))),
    close: held.close,
  };
}
