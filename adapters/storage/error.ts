/**
 * Tells whether an error of the file system means that there is no such file.
 *
 * @param error What was thrown.
 */
export function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}

/**
 * Makes the error of a position that cannot be read.
 *
 * @param cause What was thrown.
 * @param path The file that should hold it.
 */
export function unreadable(cause: unknown, path: string): Error {
  return new Error(`Cannot read position: ${messageOf(cause)} (${path})`, { cause });
}

/**
 * Returns what an error says.
 *
 * @param error What was thrown.
 */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
