import { type Token, TOKEN_WORD } from "./token.ts";

/** A secret by which a cluster knows its own tokens. */
export interface SigningKey {
  /** The name of the key in the tokens: up to 64 letters, digits, `_`, `.`, `~` or `-`. */
  readonly id: string;
  /** The secret: 16 bytes or more, best 32 random ones; text counts as UTF-8. */
  readonly secret: string | Uint8Array;
}

/** How tokens are signed: HMAC-SHA-256 (RFC 2104) by WebCrypto. */
export interface SigningOptions {
  /** The keys: the first one signs, and all of them are believed, so that keys can be replaced one after the other. */
  readonly keys: readonly SigningKey[];
}

/** The keys of a cluster, at work. */
export interface Keyring {
  /** Signs a message with the first key. */
  sign(message: string): Promise<Signature>;
  /** Tells whether one of the keys has signed the message. */
  verify(message: string, signature: Signature): Promise<boolean>;
}

/** A signature and the id of its key. */
interface Signature {
  readonly key: string;
  /** In base64url, without padding. */
  readonly signature: string;
}

/** Signs tokens and knows its own. */
export interface Signer {
  /** Returns the token with a proof; the same for the same token of the same second. */
  sign(token: Token, database: string, now: number): Promise<Token>;
  /** Tells whether one of the keys has signed the token for this database; never whether it is old. */
  verify(token: Token, database: string): Promise<boolean>;
}

const encoder = new TextEncoder();

const ALGORITHM: { readonly name: string; readonly hash: string } = {
  name: "HMAC",
  hash: "SHA-256",
};

/** The shortest secret, in bytes. */
const SHORTEST = 16;

/**
 * Puts the keys of a cluster to work.
 *
 * @param options The keys.
 * @throws {TypeError} When a key has the wrong shape.
 * @throws {RangeError} When there is no key, an id is not fit or there twice, or a secret is too short.
 */
export function createKeyring(options: SigningOptions): Keyring {
  const keys = new Map<string, Promise<CryptoKey>>();
  let first = "";
  for (const { id, secret } of checkedKeys(options)) {
    if (first === "") first = id;
    keys.set(id, importKey(secret));
  }
  return {
    sign: async (message) => {
      const key = await keys.get(first);
      if (key === undefined) throw new Error("Cannot sign: there is no key");
      const bytes = await crypto.subtle.sign(ALGORITHM, key, encoder.encode(message));
      return { key: first, signature: toBase64url(new Uint8Array(bytes)) };
    },
    verify: async (message, { key: id, signature }) => {
      const key = await keys.get(id);
      const bytes = fromBase64url(signature);
      if (key === undefined || bytes === undefined) return false;
      // WebCrypto compares in constant time.
      return crypto.subtle.verify(ALGORITHM, key, bytes, encoder.encode(message));
    },
  };
}

/** Makes the signer of a cluster's tokens. */
export function createSigner(keyring: Keyring): Signer {
  // Many answers in a second carry the same token.
  const signed = new Map<string, { readonly message: string; readonly token: Promise<Token> }>();

  async function signAnew(token: Token, message: string, issued: number): Promise<Token> {
    return { ...token, proof: { issued, ...(await keyring.sign(message)) } };
  }

  return {
    sign: (token, database, now) => {
      const issued = Math.floor(now / 1000);
      const message = signedText(token, database, issued);
      const last = signed.get(database);
      if (last?.message === message) return last.token;
      const made = signAnew(token, message, issued);
      signed.set(database, { message, token: made });
      return made;
    },
    verify: async (token, database) => {
      const { proof } = token;
      return (
        proof !== undefined && keyring.verify(signedText(token, database, proof.issued), proof)
      );
    },
  };
}

/** Returns what is signed; no field can hold a line feed. */
function signedText(token: Token, database: string, issued: number): string {
  const { position, history = "", cluster = "" } = token;
  return ["txid-token-1", database, position, history, cluster, issued].join("\n");
}

function checkedKeys(options: SigningOptions): readonly SigningKey[] {
  const { keys } = options;
  if (!Array.isArray(keys)) {
    throw new TypeError("Cannot create proxy: `signing.keys` must be a list of { id, secret }");
  }
  if (keys.length === 0)
    throw new RangeError("Cannot create proxy: `signing.keys` must hold a key, received none");
  const ids = new Set<string>();
  for (const key of keys as readonly SigningKey[]) {
    if (typeof key?.id !== "string" || !TOKEN_WORD.test(key.id) || ids.has(key.id)) {
      throw new RangeError(
        `Cannot create proxy: the \`id\` of each signing key must be a word of its own, received ${JSON.stringify(key?.id)}`,
      );
    }
    ids.add(key.id);
    if (secretBytes(key.secret).length < SHORTEST) {
      throw new RangeError(
        `Cannot create proxy: the secret of signing key "${key.id}" must have ${SHORTEST} bytes or more`,
      );
    }
  }
  return keys;
}

function secretBytes(secret: string | Uint8Array): Uint8Array<ArrayBuffer> {
  if (typeof secret === "string") return encoder.encode(secret);
  if (secret instanceof Uint8Array) return new Uint8Array(secret);
  throw new TypeError("Cannot create proxy: the secret of a signing key must be text or bytes");
}

function importKey(secret: string | Uint8Array): Promise<CryptoKey> {
  const bytes = secretBytes(secret);
  return crypto.subtle.importKey("raw", bytes, ALGORITHM, false, ["sign", "verify"]);
}

function toBase64url(bytes: Uint8Array): string {
  const text = btoa(String.fromCharCode(...bytes));
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function fromBase64url(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (!/^[\w-]{43}$/.test(text)) return undefined;
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (char) => char.charCodeAt(0));
}
