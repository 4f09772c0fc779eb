import { allValues } from "./headers.ts";
import type { HeaderLines } from "./message.ts";
import type { Position } from "./storage.ts";

/** The name of LiteFS's cookie. */
export const COOKIE_NAME = "__txid";

/**
 * Reads a token as LiteFS does: exactly 16 hexadecimal digits of either case, not all of them zero.
 *
 * @param text The value as the client sent it.
 * @returns The position in lower case, or undefined when the text is no token.
 */
export function parseToken(text: string): Position | undefined {
  if (text.length !== 16) return undefined;
  let zero = true;
  for (let index = 0; index < 16; index++) {
    const code = text.charCodeAt(index);
    const lower = code | 32;
    if (!((code >= 48 && code <= 57) || (lower >= 97 && lower <= 102))) return undefined;
    if (code !== 48) zero = false;
  }
  return zero ? undefined : text.toLowerCase();
}

/**
 * Returns the greatest token among a request's cookies called `name`. What is not a token does not count.
 *
 * @param headers The request's header section.
 * @param name The cookie's name.
 */
export function readToken(headers: HeaderLines, name: string): Position | undefined {
  let greatest: Position | undefined;
  for (const line of allValues(headers, "cookie")) {
    if (!line.includes(name)) continue;
    for (const pair of line.split(";")) {
      const equals = pair.indexOf("=");
      if (equals === -1 || pair.slice(0, equals).trim() !== name) continue;
      const token = parseToken(unquote(pair.slice(equals + 1).trimEnd()));
      if (token !== undefined && (greatest === undefined || token > greatest)) greatest = token;
    }
  }
  return greatest;
}

/** Takes off the double quotes that may stand around a cookie's value (RFC 6265 section 4.1.1). */
function unquote(value: string): string {
  return value.length > 1 && value.startsWith('"') && value.endsWith('"')
    ? value.slice(1, -1)
    : value;
}
