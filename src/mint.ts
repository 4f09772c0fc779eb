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
  /** In the header. */
  readonly byHeader: boolean;
  /** In cookies. */
  readonly byCookie: boolean;
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
 *
 * @param method The request's method.
 * @param headers The response's headers.
 * @param now The time of day, in milliseconds since the Unix epoch.
 */
export function isShareable(method: string, headers: HeaderLines, now: number): boolean {
  if (!isStorable(method, headers)) return false;
  const fields = cacheFields(headers);
  if (fields.size === 0) return false;
  if (isForNginx(headers)) return true;
  const isFor = (name: string, lifetime?: number): boolean =>
    isForAll(method, directivesOf(headers, name), lifetime);
  return targeted(fields).some((name) => isFor(name)) || isFor(CONTROL, lifetimeOf(headers, now));
}

/**
 * Tells whether any cache may store an answer to this method. What answers a POST is stored only when it names what it is
 * (RFC 9110 section 9.3.3), what answers a QUERY as if that were a GET.
 */
function isStorable(method: string, headers: HeaderLines): boolean {
  if (method === "POST") return firstValue(headers, "content-location") !== undefined;
  return method === "GET" || method === "HEAD" || method === "QUERY";
}

const CONTROL = "cache-control";

const FOR_NGINX = "x-accel-expires";

/** Fields that speak to every cache, and the one that nginx has of its own. */
const COMMON: ReadonlySet<string> = new Set([CONTROL, "expires", FOR_NGINX]);

const COMMON_LENGTHS: ReadonlySet<number> = new Set(Array.from(COMMON, ({ length }) => length));

const NONE: ReadonlySet<string> = new Set();

/** Fields that speak to some of the shared caches, which then take no notice of any other (RFC 9213). */
const TARGETED = /^(?:[\w-]+-)?cdn-cache-control$|^surrogate-control$/;

/** The length of the shortest of their names. */
const SHORTEST = 17;

/** Returns the names, in lower case, of the fields that say something to caches. Most responses have none. */
function cacheFields(headers: HeaderLines): ReadonlySet<string> {
  let names = NONE;
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index] ?? "";
    // A look at the lengths is enough for almost all others.
    if (!COMMON_LENGTHS.has(name.length) && name.length < SHORTEST) continue;
    const lower = name.toLowerCase();
    if (COMMON.has(lower) || TARGETED.test(lower)) names = new Set(names).add(lower);
  }
  return names;
}

/** Returns those that speak to some of the shared caches. */
function targeted(fields: ReadonlySet<string>): readonly string[] {
  return [...fields].filter((name) => TARGETED.test(name));
}

/**
 * Tells whether nginx is told how long to store an answer, above whatever else that says
 * (https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_cache_valid).
 */
function isForNginx(headers: HeaderLines): boolean {
  return /^@?0*[1-9]/.test(firstValue(headers, FOR_NGINX) ?? "");
}

/** Tells whether directives let a shared cache store an answer that any cache may store. */
function isForAll(
  method: string,
  directives: ReadonlyMap<string, string>,
  expires: number | undefined,
): boolean {
  // With names of fields behind it, all but those may be stored (RFC 9111 section 5.2.2.7).
  if (directives.get("private") === "" || directives.has("no-store")) return false;
  const told = directives.get("s-maxage") ?? directives.get("max-age");
  const lifetime = told === undefined ? expires : Number(told);
  if (lifetime === undefined) return directives.has("public") && method !== "POST";
  // A response that is stale from the start says that it must not be reused; what is no number may mean anything.
  return !(lifetime <= 0);
}

function directivesOf(headers: HeaderLines, name: string): ReadonlyMap<string, string> {
  const directives = new Map<string, string>();
  for (const directive of listMembers(allValues(headers, name))) {
    const [word = "", value = ""] = directive.split("=");
    directives.set(word, value.replaceAll('"', ""));
  }
  return directives;
}

/** Returns for how long a response is fresh by `Expires`, in milliseconds; what is no date means the past (RFC 9111 section 5.3). */
function lifetimeOf(headers: HeaderLines, now: number): number | undefined {
  const expires = firstValue(headers, "expires");
  if (expires === undefined) return undefined;
  const end = parseDate(expires);
  return end === undefined ? 0 : end - (parseDate(firstValue(headers, "date") ?? "") ?? now);
}

/** Reads a date; what is none, such as `0`, may look like one to the runtime. */
function parseDate(text: string): number | undefined {
  const time = /[a-z]/i.test(text) ? Date.parse(text) : NaN;
  return Number.isNaN(time) ? undefined : time;
}

/**
 * Returns the response with tokens on it. Cookies and header lines of the same names that the app set are dropped, for
 * a client would believe the later one. A response that a cache might store becomes private: no cache that serves many
 * users may store what belongs to one of them (RFC 9111 section 5.2.2.7).
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
  const cookies = carriage.byCookie ? minted.flatMap(cookiesOf) : [];
  const headers = withoutTokens(response.headers, cookies);
  for (const { name, value } of cookies)
    headers.push("Set-Cookie", formatCookie(name, value, carriage));
  if (carriage.byHeader) headers.push(HEADER_NAME, headerOf(minted, carriage.reset));
  if (isStorable(method, headers)) makePrivate(headers);
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
  for (const name of targeted(cacheFields(headers))) {
    const directives = directivesOf(headers, name);
    // Not every one of these knows `private`.
    if (directives.get("private") !== "" && !directives.has("no-store"))
      headers.push(name, "no-store");
  }
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
