import { closeSync, fstatSync, openSync } from "node:fs";

/** A descriptor and the file it was opened on. */
export interface Descriptor {
  readonly descriptor: number;
  readonly device: bigint;
  readonly inode: bigint;
}

/**
 * Opens a file for reading. The number of an inode is not given again while a descriptor holds it, so that equal means
 * same.
 *
 * @param path The file.
 * @throws {Error} When it cannot be opened; nothing is left open then.
 */
export function openDescriptor(path: string): Descriptor {
  const descriptor = openSync(path, "r");
  try {
    const { dev, ino } = fstatSync(descriptor, { bigint: true });
    return { descriptor, device: dev, inode: ino };
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

/** Gives a descriptor back, if there is one. */
export function closeDescriptor(file: Descriptor | undefined): void {
  if (file === undefined) return;
  try {
    closeSync(file.descriptor);
  } catch {
    // The descriptor is gone either way: close() of a dead mount fails and frees it nevertheless.
  }
}
