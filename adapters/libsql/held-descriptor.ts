import { statSync } from "node:fs";
import { closeDescriptor, type Descriptor, openDescriptor } from "../storage/descriptor.ts";
import { isMissing } from "../storage/error.ts";

/** The descriptor of a file that is read often. */
export interface HeldDescriptor {
  /**
   * Reads the file.
   *
   * @param read Gets the file and its size in bytes; what it throws is thrown on.
   * @returns What `read` returns, or undefined when there is no such file.
   */
  use<T>(read: (file: Descriptor, size: number) => T): T | undefined;
  /** Gives the descriptor back. */
  close(): void;
}

/**
 * Creates what holds a descriptor for as long as the path leads to the same file: what is written into the file is seen,
 * and so is a file that takes its place.
 *
 * @param path The file.
 */
export function createHeldDescriptor(path: string): HeldDescriptor {
  let held: Descriptor | undefined;

  function release(): void {
    const file = held;
    held = undefined;
    closeDescriptor(file);
  }

  return {
    use: (read) => {
      try {
        const { dev, ino, size } = statSync(path, { bigint: true });
        if (held !== undefined && (held.device !== dev || held.inode !== ino)) release();
        held ??= openDescriptor(path);
        return read(held, Number(size));
      } catch (error) {
        release();
        if (isMissing(error)) return undefined;
        throw error;
      }
    },
    close: release,
  };
}
