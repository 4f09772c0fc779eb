import { COOKIE_NAME, cookieName, HEADER_NAME, SEEN_COOKIE_NAME } from "./claims.ts";
import { allValues, filterLines, firstValue, listMembers } from "./headers.ts";
import { createDateSpeller } from "./http-date.ts";
import type { HeaderLines, ResponseMessage } from "./message.ts";
import { formatToken, type Token } from "./token.ts";

/** A token on its way to a client. */
export interface Minted {
  /** The name of the database. */
  readonly database: string;
  /** The token; undefined takes away what the client holds. */
  readonly token: Token | undefined;
  /** Whether it becomes what the client has written. */
  readonly written: boolean;
  /** Whether it becomes what the client has seen. */
  readonly seen: boolean;
}

/** How tokens travel to one client. */
export interface Carriage {
  /** In the header instead of cookies. */
  readonly byHeader: boolean;
  /** Whether they stand for less than the client holds, and it must take them all the same. */
  readonly reset: boolean;
  /** How long a browser keeps a cookie, in milliseconds. */
  readonly expiry: number;
  /** Whether `Secure` and `SameSite=Lax` are set. */
  readonly secure: boolean;
  /** The time of day, in milliseconds since the Unix epoch. */
  readonly now: number;
}

/**
 * Writes the `Set-Cookie` value that carries a token: LiteFS's attributes, plus `Max-Age`, for which a client's wrong
 * clock does not matter, and plus `Secure` and `SameSite=Lax` on request (RFC 6265 section 4.1).
 *
 * @param name The cookie's name.
 * @param value Its value; undefined deletes it.
 * @param carriage How it travels.
 */
export function formatCookie(
  name: string,
  value: string | undefined,
  { expiry, secure, now }: Pick<Carriage, "expiry" | "secure" | "now">,
): string {
  const expires = value === undefined ? PAST : spellExpiry(now + expiry);
  const seconds = value === undefined ? 0 : Math.ceil(expiry / 1000);
  const last = spelled.get(name);
  const isLast = last?.value === value && last?.expires === expires && last?.secure === secure;
  // Proxies of one process may keep their cookies for times of their own.
  if (last?.seconds === seconds && isLast) return last.line;
  const flags = secure ? "; HttpOnly; Secure; SameSite=Lax" : "; HttpOnly";
  const line = `${name}=${value ?? ""}; Path=/; Expires=${expires}; Max-Age=${seconds}${flags}`;
  spelled.set(name, { value, expires, secure, seconds, line });
  return line;
}

/** What each cookie was last: until the next transaction or the next second all clients get the same. */
const spelled = new Map<
  string,
  {
    value: string | undefined;
    expires: string;
    secure: boolean;
    seconds: number;
    line: string;
  }
>();

const spellExpiry = createDateSpeller();

const PAST = new Date(0).toUTCString();

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
 * Returns the response with tokens on it. Cookies and header lines of the same names that the app set are dropped, for
 * a client would believe the later one. A response to a safe method becomes private: no cache that serves many users
 * may store what belongs to one of them (RFC 9111 section 5.2.2.7).
 *
 * @param response The response to put the tokens on.
 * @param method The request's method.
 * @param minted The tokens.
 * @param carriage How they travel.
 */
export function withTokens(
  response: ResponseMessage,
  method: string,
  minted: readonly Minted[],
  carriage: Carriage,
): ResponseMessage {
  const cookies = carriage.byHeader ? [] : minted.flatMap(cookiesOf);
  const headers = withoutTokens(response.headers, cookies);
  for (const { name, value } of cookies)
    headers.push("Set-Cookie", formatCookie(name, value, carriage));
  if (carriage.byHeader) headers.push(HEADER_NAME, headerOf(minted, carriage.reset));
  if (method === "GET" || method === "HEAD") makePrivate(headers);
  return { ...response, headers, source: undefined };
}

/** A token as a cookie; without a value it is taken away. */
interface Cookie {
  readonly name: string;
  readonly value: string | undefined;
}

/** Returns a copy of the lines without these cookies and without tokens. */
function withoutTokens(headers: HeaderLines, cookies: readonly Cookie[]): HeaderLines {
  const isSet = firstValue(headers, "set-cookie") ?? firstValue(headers, "txid");
  if (isSet === undefined) return headers.slice();
  const names = cookies.map(({ name }) => name);
  return filterLines(
    headers,
    (name, value) =>
      (name !== "set-cookie" || !names.includes(value.slice(0, value.indexOf("=")).trim())) &&
      name !== "txid",
  );
}

/** The cookies of one database. LiteFS's own holds what LiteFS understands, unless tokens are signed. */
function cookiesOf({ database, token, written, seen }: Minted): readonly Cookie[] {
  const cookies: Cookie[] = [];
  const full = token && formatToken(token);
  if (written) {
    const value = token === undefined || token.proof !== undefined ? full : token.position;
    cookies.push({ name: cookieName(COOKIE_NAME, database), value });
  }
  if (seen) cookies.push({ name: cookieName(SEEN_COOKIE_NAME, database), value: full });
  return cookies;
}

function headerOf(minted: readonly Minted[], reset: boolean): string {
  const members = minted.map(({ database, token }) => {
    const text = token === undefined ? "0" : formatToken(token);
    return `${database === "" ? "" : `${database}=`}${text}${reset ? ";reset" : ""}`;
  });
  return members.join(", ");
}

/** Adds `private` to what a response says of caching, and takes away what would speak against it. */
function makePrivate(headers: HeaderLines): void {
  const directives = allValues(headers, "cache-control")
    .flatMap((value) => value.split(","))
    .map((directive) => directive.trim())
    .filter((directive) => directive !== "");
  if (directives.length === 0) {
    headers.push("Cache-Control", "private");
    return;
  }
  const isPrivate = directives.some((directive) => /^(?:private|no-store)$/i.test(directive));
  if (isPrivate) return;
  const kept = directives.filter((directive) => !/^(?:public|s-maxage=.*)$/i.test(directive));
  for (let index = headers.length - 2; index >= 0; index -= 2) {
    if (headers[index]?.toLowerCase() === "cache-control") headers.splice(index, 2);
  }
  headers.push("Cache-Control", [...kept, "private"].join(", "));
}
