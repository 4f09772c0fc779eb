/** Returns what an error says, on one line that a table can hold. */
export function told(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replaceAll(/\s+/g, " ").replaceAll("|", "/").slice(0, 200);
}
