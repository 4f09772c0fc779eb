import type { Position } from "./storage.ts";

/**
 * A position as a client carries it. On the wire it is LiteFS's way to write one, `TXID` or `TXID/CHECKSUM`, and up to
 * four fields more: `POSITION/HISTORY/CLUSTER/ISSUED/KEY/SIGNATURE`.
 */
export interface Token {
  /** The position. */
  readonly position: Position;
  /** What tells the history that the position belongs to from others that use the same number. */
  readonly history: string | undefined;
  /** The cluster that minted the token. */
  readonly cluster: string | undefined;
  /** Who vouches for it, in a token that is signed. */
  readonly proof: Proof | undefined;
}

/** The signed part of a token. */
interface Proof {
  /** When the token was minted, in seconds since the Unix epoch. */
  readonly issued: number;
  /** The id of the key. */
  readonly key: string;
  /** The signature in base64url, without padding. */
  readonly signature: string;
}

/** The names and marks that a token may hold: they pass through cookies and header lists as they are. */
export const TOKEN_WORD: RegExp = /^[\w.~-]{1,64}$/;

/** The longest text that can be a token, in characters. */
const LONGEST = 300;

/**
 * Reads a position as LiteFS does: exactly 16 hexadecimal digits of either case, not all of them zero.
 *
 * @param text The value as the client sent it.
 * @returns The position in lower case, or undefined when the text is none.
 */
export function parsePosition(text: string): Position | undefined {
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
 * Reads a token.
 *
 * @param text The value as the client sent it.
 * @returns The token, or undefined when the text is none.
 */
export function parseToken(text: string): Token | undefined {
  if (text.length === 16) {
    const position = parsePosition(text);
    return position === undefined ? undefined : bare(position);
  }
  if (text.length > LONGEST) return undefined;
  const fields = text.split("/");
  const [first = "", history = "", cluster = "", issued = "", key = "", signature = ""] = fields;
  const position = parsePosition(first);
  if (position === undefined || !isWordOrEmpty(history) || !isWordOrEmpty(cluster))
    return undefined;
  const token = { ...bare(position), history: history || undefined, cluster: cluster || undefined };
  if (fields.length <= 3) return token;
  const isSigned =
    fields.length === 6 &&
    /^\d{1,12}$/.test(issued) &&
    TOKEN_WORD.test(key) &&
    /^[\w-]{43}$/.test(signature);
  return isSigned ? { ...token, proof: { issued: Number(issued), key, signature } } : undefined;
}

/** Makes the token that says no more than LiteFS's. */
export function bare(position: Position): Token {
  return { position, history: undefined, cluster: undefined, proof: undefined };
}

/** Writes a token. */
export function formatToken({ position, history, cluster, proof }: Token): string {
  if (proof !== undefined) {
    const { issued, key, signature } = proof;
    return [position, history ?? "", cluster ?? "", issued, key, signature].join("/");
  }
  if (cluster !== undefined) return [position, history ?? "", cluster].join("/");
  return history === undefined ? position : `${position}/${history}`;
}

function isWordOrEmpty(text: string): boolean {
  return text === "" || TOKEN_WORD.test(text);
}
