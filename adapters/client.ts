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
import { parsePosition } from "../src/token.ts";

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
   * Makes the requests.
   *
   * @default the runtime's
   */
  readonly fetch?: Fetch | undefined;
  /**
   * Keeps what the session has seen, so that it outlives the page.
   *
   * @default memory
   */
  readonly store?: SessionStore | undefined;
}

/** What a session has seen of one origin: a token for each database, the empty name for the first. */
type Tokens = ReadonlyMap<string, string>;

/** What is known of one origin. */
interface Known {
  tokens: Tokens;
  /** How often a past was lost: what a request brings back from before that does not count. */
  resets: number;
}

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
  const send = options.fetch ?? ((request: Request) => fetch(request));
  const { store } = options;
  const seen = new Map<string, Known>();

  function knownOf(origin: string): Known {
    let known = seen.get(origin);
    if (known === undefined) {
      known = { tokens: parse(store?.get(origin) ?? ""), resets: 0 };
      seen.set(origin, known);
    }
    return known;
  }

  /** Takes in what an answer says; `resets` is what was known when its request went out. */
  function learn(origin: string, text: string, resets: number): void {
    const known = knownOf(origin);
    const isReset = /;\s*reset\b/i.test(text);
    const isLate = resets !== known.resets;
    // What was on its way when the past was lost may be of that past; only what replaces it counts.
    if (isLate && !isReset) return;
    if (isReset && !isLate) {
      known.resets++;
      known.tokens = parse(text);
    } else known.tokens = merged(known.tokens, parse(text));
    store?.set(origin, format(known.tokens));
  }

  return async (input, init) => {
    const request = new Request(input, init);
    const { origin } = new URL(request.url);
    if (!origins.has(origin)) return send(request);
    const { tokens, resets } = knownOf(origin);
    request.headers.set(FIELD, format(tokens));
    const response = await send(request);
    const text = response.headers.get(FIELD);
    if (text !== null) learn(origin, text, resets);
    return response;
  };
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
  if (url !== undefined && /^https?:$/.test(url.protocol) && url.origin === text.replace(/\/$/, ""))
    return url.origin;
  throw new TypeError(
    `Cannot create session: \`origin\` must be scheme, host and port alone, received ${JSON.stringify(text)}`,
  );
}

/** Reads the tokens of a header value, `TOKEN, name=TOKEN`; what is none is left out. */
function parse(text: string): Tokens {
  const tokens = new Map<string, string>();
  for (const member of text.split(",")) {
    const equals = member.indexOf("=");
    const [token = ""] = member.slice(equals + 1).split(";");
    if (positionOf(token.trim()) !== "")
      tokens.set(equals === -1 ? "" : member.slice(0, equals).trim(), token.trim());
  }
  return tokens;
}

/** Writes tokens as a header value; `0` asks for them where there are none yet. */
function format(tokens: Tokens): string {
  if (tokens.size === 0) return "0";
  return [...tokens].map(([name, token]) => (name === "" ? token : `${name}=${token}`)).join(", ");
}

function merged(known: Tokens, told: Tokens): Tokens {
  const greatest = new Map(known);
  for (const [name, token] of told) {
    if (positionOf(token) >= positionOf(greatest.get(name) ?? "")) greatest.set(name, token);
  }
  return greatest;
}

/** The position of a token, whose order is the order of text; empty when it is none. */
function positionOf(token: string): string {
  return parsePosition(token.slice(0, 16)) ?? "";
}
