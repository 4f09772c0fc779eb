/**
 * A `fetch` for clients of an app behind the proxy, in browsers, Bun, Deno and Node: it carries what it has seen from
 * request to request in a header, and keeps the greatest. Cookies cannot do that, for of two answers that come at once
 * the later one overwrites the other.
 *
 * @example
 * ```ts
 * import { createSession } from "@txid/proxy/client";
 *
 * const session = createSession({ origin: "https://app.example" });
 * // const response = await session("https://app.example/items", { method: "POST", body: "…" });
 * ```
 *
 * @module
 */
import { parsePosition, TOKEN_WORD } from "../src/token.ts";
import { createFollower, type Send } from "./client/redirects.ts";

/** The part of `fetch` that a session needs. */
export type Fetch = (input: Request) => Promise<Response>;

/** Where a session keeps what it has seen, by origin; `sessionStorage` behind these two functions is one. */
export interface SessionStore {
  /** Returns what was kept, or null or undefined for nothing. */
  get(origin: string): string | null | undefined;
  /** Keeps what was seen. */
  set(origin: string, tokens: string): void;
}

/** What {@linkcode createSession} takes. */
export interface SessionOptions {
  /**
   * The origins of the app, such as `https://app.example`. Requests to others pass as they are, for they must not learn
   * what this client has seen.
   *
   * @default the page's own, in a browser
   */
  readonly origin?: string | readonly string[] | undefined;
  /**
   * Makes the requests. Redirects are followed by the session, one request each; but browsers follow them themselves.
   *
   * @default the runtime's
   */
  readonly fetch?: Fetch | undefined;
  /**
   * Keeps what the session has seen, so that it outlives the page. What it throws costs no answer: the session goes on
   * with what it has in memory.
   *
   * @default memory
   */
  readonly store?: SessionStore | undefined;
}

/**
 * What a session has seen of one origin: tokens by the name of their database, empty for the first. There are several
 * where answers have come at once: they may be of two histories, of which only the primary knows the lost one.
 */
type Tokens = ReadonlyMap<string, readonly string[]>;

/** The header field that carries tokens both ways. */
const FIELD = "Txid";

/**
 * Creates a session: a function with the shape of `fetch`. Each request carries what the answers so far have shown, in
 * whatever order they came; so that a read through it never shows an older state than any answer before.
 *
 * @param options Whose answers it remembers.
 * @throws {TypeError} When an origin is none, or none is given where there is no page.
 *
 * @example
 * ```ts
 * import { createSession } from "@txid/proxy/client";
 *
 * const session = createSession({
 *   origin: "http://localhost:8080",
 *   fetch: () => Promise.resolve(new Response("hello", { headers: { Txid: "0000000000000001" } })),
 * });
 * const response = await session("http://localhost:8080/items");
 * console.log(await response.text());
 * ```
 */
export function createSession(
  options: SessionOptions = {},
): (input: string | URL | Request, init?: RequestInit) => Promise<Response> {
  const origins = new Set(originsOf(options.origin).map(checkedOrigin));
  const { fetch: given } = options;
  const send: Send = (request, signal) =>
    given === undefined ? fetch(request, signal === undefined ? {} : { signal }) : given(request);
  const { store } = options;
  const seen = new Map<string, Tokens>();

  function tokensOf(origin: string): Tokens {
    let tokens = seen.get(origin);
    if (tokens === undefined) {
      tokens = parse(orNothing(() => store?.get(origin)) ?? "");
      seen.set(origin, tokens);
    }
    return tokens;
  }

  /** Takes in what an answer says; `carried` is what its request said. */
  function learn(origin: string, text: string, carried: Tokens): void {
    const tokens = replaced(tokensOf(origin), carried, parse(text), resetsIn(text));
    seen.set(origin, tokens);
    orNothing(() => store?.set(origin, format(tokens)));
  }

  async function sendOnce(
    request: Request,
    signal: AbortSignal | null | undefined,
  ): Promise<Response> {
    const { origin } = new URL(request.url);
    if (!origins.has(origin)) return send(request, signal);
    const tokens = tokensOf(origin);
    request.headers.set(FIELD, format(tokens));
    const response = await send(request, signal);
    const text = response.headers.get(FIELD);
    // A browser may have followed a redirect to somebody whose word does not count.
    const answering = response.url === "" ? origin : new URL(response.url).origin;
    if (text !== null && origins.has(answering))
      learn(answering, text, answering === origin ? tokens : NONE);
    return response;
  }

  return createFollower(sendOnce, (url) => origins.has(new URL(url).origin));
}

/** What a session has seen of an origin that it has not asked. */
const NONE: Tokens = new Map();

/** Uses a store, which may be full, or closed to this page. */
function orNothing<T>(use: () => T): T | undefined {
  try {
    return use();
  } catch {
    return undefined;
  }
}

function originsOf(given: string | readonly string[] | undefined): readonly string[] {
  if (typeof given === "string") return [given];
  if (given !== undefined) return given;
  // Only pages have a location.
  const page = (globalThis as { location?: { origin?: string } }).location?.origin;
  if (page !== undefined && page !== "null") return [page];
  throw new TypeError(
    'Cannot create session: `origin` must be the app\'s, such as "https://app.example", received undefined',
  );
}

function checkedOrigin(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  // Whatever else a URL may have makes it longer; a port that goes without saying and capitals do not.
  if (url !== undefined && /^https?:$/.test(url.protocol) && url.href === `${url.origin}/`)
    return url.origin;
  throw new TypeError(
    `Cannot create session: \`origin\` must be scheme, host and port alone, received ${JSON.stringify(text)}`,
  );
}

/** What tokens are made of: what else a store holds by now could be no header value. */
const TOKEN = /^[\w./~-]{16,300}$/;

/** Reads the tokens of a header value, `TOKEN, name=TOKEN`; what is none is left out. */
function parse(text: string): Tokens {
  const tokens = new Map<string, string[]>();
  for (const member of text.split(",")) {
    const name = nameOf(member);
    const [token = ""] = member.slice(member.indexOf("=") + 1).split(";");
    const isSendable = (name === "" || TOKEN_WORD.test(name)) && TOKEN.test(token.trim());
    if (!isSendable || parsePosition(token.trim().slice(0, 16)) === undefined) continue;
    tokens.set(name, [...(tokens.get(name) ?? []), token.trim()]);
  }
  return tokens;
}

/** Returns the name of a member's database. */
function nameOf(member: string): string {
  const equals = member.indexOf("=");
  return equals === -1 ? "" : member.slice(0, equals).trim();
}

/** Returns the databases whose tokens are taken back: of one that could not be read nothing is said, and so nothing is lost. */
function resetsIn(text: string): ReadonlySet<string> {
  return new Set(
    text
      .split(",")
      .filter((member) => /;\s*reset\b/i.test(member))
      .map(nameOf),
  );
}

/** Writes tokens as a header value; `0` asks for them where there are none yet. */
function format(tokens: Tokens): string {
  const members = [...tokens].flatMap(([name, all]) =>
    all.map((token) => (name === "" ? token : `${name}=${token}`)),
  );
  return members.length === 0 ? "0" : members.join(", ");
}

/** How many tokens of one database are kept: so many count at the proxy. */
const MAX_TOKENS = 8;

/** Tells whether a token says what none of the others does: one without a history is compared by its position alone. */
function isNeeded(token: string, _index: number, all: readonly string[]): boolean {
  return token.includes("/") || !all.some((other) => other !== token && other > token);
}

/**
 * Replaces what a request carried by what its answer says, which covers it or stands for the loss of it. What other answers
 * have brought meanwhile stays.
 */
function replaced(
  known: Tokens,
  carried: Tokens,
  told: Tokens,
  resets: ReadonlySet<string>,
): Tokens {
  const tokens = new Map<string, readonly string[]>();
  for (const name of new Set([...known.keys(), ...told.keys()])) {
    const brought = told.get(name) ?? [];
    const isReset = resets.has(name);
    const gone = isReset || brought.length > 0 ? (carried.get(name) ?? []) : [];
    const kept = (known.get(name) ?? []).filter((token) => !gone.includes(token));
    const all = [...new Set([...kept, ...brought])].filter(isNeeded);
    // Positions are ordered as text is.
    if (all.length > MAX_TOKENS) all.sort((a, b) => (a < b ? 1 : -1)).splice(MAX_TOKENS);
    if (all.length > 0) tokens.set(name, all);
  }
  return tokens;
}
