/**
 * Tells whether an error of the file system means that there is no such file.
 *
 * @param error What was thrown.
 */
export function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
