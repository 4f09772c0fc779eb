/**
 * Spells control characters out: what a client or a file says must not write lines of its own, nor move a terminal's
 * cursor.
 *
 * @param text The text.
 */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, (found) => {
    return `\\x${found.charCodeAt(0).toString(16).padStart(2, "0")}`;
  });
}
