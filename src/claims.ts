import { allValues } from "./headers.ts";
import type { HeaderLines } from "./message.ts";
import type { Position } from "./storage.ts";
import { parseToken, type Token } from "./token.ts";

/** The name of LiteFS's cookie: what the client has written. */
export const COOKIE_NAME = "__txid";

/** The name of the cookie for what the client has seen: a slow read must not lower what a write has put into the other. */
export const SEEN_COOKIE_NAME = "__txid_seen";

/** Tells whether a database may not have a name: its cookie would be the one for what is seen of another database. */
export function isTakenName(name: string): boolean {
  return name === "seen" || name.startsWith("seen_");
}

/** The name of the header field that carries tokens for clients without cookies, both ways. */
export const HEADER_NAME = "Txid";

/** What a request says that its client has seen. */
export interface Claims {
  /** What it has seen of each database, in the order of the names; undefined: nothing. */
  readonly claims: readonly (Claim | undefined)[];
  /** Whether there is any claim. */
  readonly isEmpty: boolean;
  /** Whether the client takes its tokens from the header. */
  readonly byHeader: boolean;
  /** Whether it holds tokens in cookies, as a browser does whose page sends the header. */
  readonly byCookie: boolean;
}

/** What a request without tokens says. */
export const NO_CLAIMS: Claims = { claims: [], isEmpty: true, byHeader: false, byCookie: false };

/** What a client has seen of one database. */
export interface Claim {
  /** The greatest position of all tokens. */
  readonly position: Position;
  /** The tokens, the greatest ones where there are many. */
  readonly tokens: readonly Token[];
}

/** How many tokens of one database count: a client that follows the rules has two or three. */
const MAX_TOKENS = 8;

/**
 * Makes the reader of claims.
 *
 * @param names The names of the databases; the empty one is that of the storage itself.
 */
export function createClaimReader(names: readonly string[]): (headers: HeaderLines) => Claims {
  const cookies = new Map<string, number>();
  const members = new Map<string, number>();
  for (const [index, name] of names.entries()) {
    cookies.set(cookieName(COOKIE_NAME, name), index);
    cookies.set(cookieName(SEEN_COOKIE_NAME, name), index);
    members.set(name, index);
  }
  const nothing: Claims = { ...NO_CLAIMS, claims: names.map(() => undefined) };

  return (headers) => {
    const found: (Claim | undefined)[] = names.map(() => undefined);
    let isEmpty = true;
    const add = (index: number | undefined, text: string): void => {
      const token = index === undefined ? undefined : parseToken(text);
      if (index === undefined || token === undefined) return;
      found[index] = withClaim(found[index], token);
      isEmpty = false;
    };
    for (const line of allValues(headers, "cookie")) {
      if (!line.includes(COOKIE_NAME)) continue;
      for (const pair of line.split(";")) {
        const equals = pair.indexOf("=");
        if (equals === -1) continue;
        add(cookies.get(pair.slice(0, equals).trim()), unquote(pair.slice(equals + 1).trimEnd()));
      }
    }
    const byCookie = !isEmpty;
    const lines = allValues(headers, "txid");
    for (const line of lines) {
      for (const member of line.split(",")) {
        const equals = member.indexOf("=");
        const name = equals === -1 ? "" : member.slice(0, equals).trim();
        // What a response says of a token is no part of it; a client may send it back as it came.
        const [text = ""] = member.slice(equals + 1).split(";");
        add(members.get(name), text.trim());
      }
    }
    const byHeader = lines.length > 0;
    return isEmpty && !byHeader ? nothing : { claims: found, isEmpty, byHeader, byCookie };
  };
}

/** Returns the name of a database's cookie. */
export function cookieName(base: string, database: string): string {
  return database === "" ? base : `${base}_${database}`;
}

/** Adds a token to a claim. */
function withClaim(claim: Claim | undefined, token: Token): Claim {
  if (claim === undefined) return { position: token.position, tokens: [token] };
  const tokens = [...claim.tokens, token];
  if (tokens.length > MAX_TOKENS) {
    tokens.sort((a, b) => (a.position < b.position ? 1 : -1));
    tokens.pop();
  }
  const position = token.position > claim.position ? token.position : claim.position;
  return { position, tokens };
}

/** Takes off the double quotes that may stand around a cookie's value (RFC 6265 section 4.1.1). */
function unquote(value: string): string {
  return value.length > 1 && value.startsWith('"') && value.endsWith('"')
    ? value.slice(1, -1)
    : value;
}
