import { allValues, filterLines, firstValue, listMembers } from "./headers.ts";
import type { HeaderLines, ResponseMessage } from "./message.ts";
import type { Position } from "./storage.ts";

/** How a token's cookie is written. */
export interface CookieSettings {
  /** The cookie's name. */
  readonly name: string;
  /** How long a browser keeps it, in milliseconds. */
  readonly expiry: number;
  /** Whether `Secure` and `SameSite=Lax` are set. */
  readonly secure: boolean;
}

/**
 * Writes the `Set-Cookie` value that carries a position: LiteFS's attributes, plus `Max-Age`, for which a client's
 * wrong clock does not matter, and plus `Secure` and `SameSite=Lax` on request (RFC 6265 section 4.1).
 *
 * @param position The position to carry.
 * @param now Milliseconds since the Unix epoch.
 * @param cookie How the cookie is written.
 */
export function formatCookie(position: Position, now: number, cookie: CookieSettings): string {
  const expires = new Date(now + cookie.expiry).toUTCString();
  const seconds = Math.ceil(cookie.expiry / 1000);
  const flags = cookie.secure ? "; HttpOnly; Secure; SameSite=Lax" : "; HttpOnly";
  return `${cookie.name}=${position}; Path=/; Expires=${expires}; Max-Age=${seconds}${flags}`;
}

/**
 * Tells whether a cache that serves many users may store the response to this method by what the response says of
 * itself (RFC 9111 sections 3 and 5.2.2): a token there would reach strangers.
 */
export function isShareable(method: string, headers: HeaderLines): boolean {
  const directives = new Map<string, string>();
  for (const directive of listMembers(allValues(headers, "cache-control"))) {
    const [name = "", value = ""] = directive.split("=");
    directives.set(name, value.replaceAll('"', ""));
  }
  if (directives.has("private") || directives.has("no-store")) return false;
  const lifetime = directives.get("s-maxage") ?? directives.get("max-age");
  const expires = firstValue(headers, "expires");
  // A response that is stale from the start says that it must not be reused.
  const isStale =
    lifetime !== undefined ? Number(lifetime) <= 0 : expires !== undefined && !isDate(expires);
  if (isStale) return false;
  const isFresh = lifetime !== undefined || expires !== undefined;
  if (method === "GET" || method === "HEAD") return isFresh || directives.has("public");
  // The answer to a POST is stored only when it is fresh and names what it is (RFC 9110 section 9.3.3); others never.
  return method === "POST" && isFresh && firstValue(headers, "content-location") !== undefined;
}

/** Tells whether text is a date; what is not, such as `0`, means the past (RFC 9111 section 5.3). */
function isDate(text: string): boolean {
  return /[a-z]/i.test(text) && !Number.isNaN(Date.parse(text));
}

/**
 * Returns the response with the position in its cookie. A cookie of the same name that the app set is dropped, for a
 * browser would believe the later line. A response to a safe method that does not speak of caching becomes private.
 *
 * @param response The response to put the token on.
 * @param method The request's method.
 * @param position The position to carry.
 * @param now Milliseconds since the Unix epoch.
 * @param cookie How the cookie is written.
 */
export function withToken(
  response: ResponseMessage,
  method: string,
  position: Position,
  now: number,
  cookie: CookieSettings,
): ResponseMessage {
  const headers = filterLines(
    response.headers,
    (name, value) => name !== "set-cookie" || !sets(value, cookie.name),
  );
  headers.push("Set-Cookie", formatCookie(position, now, cookie));
  const isSafe = method === "GET" || method === "HEAD";
  if (isSafe && firstValue(headers, "cache-control") === undefined)
    headers.push("Cache-Control", "private");
  return { ...response, headers, source: undefined };
}

/** Tells whether a `Set-Cookie` value sets the cookie called `name`. */
function sets(value: string, name: string): boolean {
  const equals = value.indexOf("=");
  return equals !== -1 && value.slice(0, equals).trim() === name;
}
