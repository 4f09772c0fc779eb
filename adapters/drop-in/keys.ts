import { isTakenName } from "../../src/claims.ts";
import { REGIONS } from "../../src/replay.ts";
import { TOKEN_WORD } from "../../src/token.ts";
import { compileTrust, PRIVATE_NETWORKS } from "../../src/trust.ts";
import { type Address, formatAddress, parseAddress, parseOrigin } from "./address.ts";
import { ConfigError } from "./error.ts";
import { boolean, booleanFrom, count, duration, type Key, list, word } from "./kinds.ts";
import { parsePrimaryUrl } from "./primary-url.ts";

/** The value of each key, of LiteFS's `proxy:` section first and then of ours; durations are milliseconds. */
export interface Values {
  /** Where the proxy listens; undefined: not given. */
  addr: Address | undefined;
  /** The app's origin; empty: not given. */
  target: string;
  /** The name of the database; empty: not given. */
  db: string;
  /** How far a healthy node may be behind the primary; 0 or less: any lag is fine. */
  "max-lag": number;
  /** Whether each decision is logged. */
  debug: boolean;
  /** Globs of paths that go to the app as they are. */
  passthrough: readonly string[];
  /** Globs of paths whose GET, HEAD and QUERY requests run on the primary. */
  "always-forward": readonly string[];
  /** How long a write waits while no primary is known. */
  "primary-redirect-timeout": number;
  /** How long a client may take to send a request; 0 or less: any time. */
  "read-timeout": number;
  /** How long a client may take to send a request's head; 0: the same as `read-timeout`, less: any time. */
  "read-header-timeout": number;
  /** How long an answer may take to be sent; 0 or less: any time. */
  "write-timeout": number;
  /** How long a connection is kept between requests; 0: the same as `read-timeout`, less: any time. */
  "idle-timeout": number;
  /** The directory where LiteFS is mounted; empty: `fuse.dir`. */
  dir: string;
  /** The origin of LiteFS's API, or false; undefined: `http.addr`. */
  api: string | false | undefined;
  /** How long a read waits for the position of its token. */
  "wait-timeout": number;
  /** Which reads put a token on their answer. */
  reads: "session" | "all" | "off";
  /** Further databases of the app. */
  databases: readonly string[];
  /** Keys that sign the tokens, each as `id:secret`. */
  "signing-keys": readonly string[];
  /** The name of the cluster, which its tokens carry; empty: none. */
  cluster: string;
  /** What becomes of a read whose token is of another cluster or of a lost history. */
  "foreign-tokens": "primary" | "ignore" | "error";
  /** How what belongs to the primary gets there. */
  forward: "auto" | "replay" | "direct";
  /** The origin of the primary's proxy, with `{hostname}` for its name; false: none; undefined: by where this runs. */
  "primary-url": string | false | undefined;
  /** How `fly-replay` names the primary. */
  "replay-by": "instance" | "prefer_instance" | "region";
  /** The regions where the primary may be; empty: not said. */
  "replay-region": string;
  /** How long an edge tries to reach the primary; 0: as long as it likes. */
  "replay-timeout": number;
  /** Where an edge takes what it cannot take to the primary. */
  "replay-fallback": "force_self" | "prefer_self" | "off";
  /** How many requests that were sent to the primary may await its answer at once. */
  "max-forwards": number;
  /** How long the answer to a write that was sent to the primary is held until this node has caught up; 0: not at all. */
  hold: number;
  /** Whether a read that this node cannot serve in time goes to the primary. */
  "primary-reads": "auto" | "always" | "never";
  /** How many reads a second this node sends to the primary at most. */
  "primary-read-rate": number;
  /** Globs of paths that may be answered by a node that is behind. */
  stale: readonly string[];
  /** How many requests may wait at once. */
  "max-waiters": number;
  /** How many of them may be of one client. */
  "max-waiters-per-client": number;
  /** The header field in which a trusted proxy names the client; empty: `X-Forwarded-For`. */
  "client-header": string;
  /** How many reads that have waited are sent to the app at once. */
  "wake-limit": number;
  /** How many transactions a token that is not signed may be ahead; 0: any number. */
  "plausible-gap": number;
  /** Whether answers tell in `Server-Timing` what the proxy did. */
  "server-timing": boolean;
  /** How long a request is held while the app does not listen. */
  "target-connect-timeout": number;
  /** How long the app may take to begin its answer; 0: any time. */
  "target-timeout": number;
  /** How long a browser keeps the token. */
  "cookie-expiry": number;
  /** Whether the token's cookie is for https only. */
  "secure-cookie": "auto" | boolean;
  /** The path that tells whether this node is healthy. */
  "health-path": string;
  /** Whether the health answer tells role, position and lag. */
  "health-detail": boolean;
  /** A path of the app that a healthy node answers; false: the app is not asked. */
  "health-target": string | false;
  /** How long health fails before the proxy stops to listen. */
  "drain-delay": number;
  /** How long requests may then take to end. */
  "drain-timeout": number;
  /** Addresses and networks of proxies whose forwarding headers are believed. */
  "trusted-proxies": readonly string[];
  /** How the log is written. */
  log: "text" | "json";
  /** Which server answers. */
  server: "exact" | "native";
  /** Whether other processes may listen on the same port. */
  "reuse-port": boolean;
}

/** The keys that sign tokens, as each is written. */
const signingKeys = list(
  [],
  "ID:SECRET",
  "Keys that sign the tokens: the first one signs",
  parseKey,
);

/** The table of all keys: the file, the flags, the help and the defaults are made from it. */
export const keys: { readonly [Name in keyof Values]: Key<Values[Name]> } = {
  addr: word({
    fallback: undefined,
    sign: "HOST:PORT",
    help: 'Address to listen on, such as ":8080"',
    standard: "required",
    parse: (text): Address | undefined => (text === "" ? undefined : parseAddress(text, ":8080")),
    show: (value) => (value === undefined ? '""' : JSON.stringify(formatAddress(value))),
  }),
  target: word({
    fallback: "",
    sign: "HOST:PORT",
    help: 'The app, such as "localhost:8081"',
    standard: "required",
    parse: (text) => (text === "" ? "" : parseOrigin(text, "localhost:8081")),
    show: (value) => JSON.stringify(value.replace(/^http:\/\//, "")),
  }),
  db: word({
    fallback: "",
    sign: "NAME",
    help: "Name of the database, as in LiteFS's directory",
    standard: "required",
    parse: parseDatabase,
  }),
  "max-lag": duration("10s", "Lag beyond which health fails; 0s: never", -Infinity),
  debug: boolean("Log each decision with its reason"),
  passthrough: list([], "GLOB", "Paths that go to the app as they are"),
  "always-forward": list([], "GLOB", "Paths whose GET, HEAD and QUERY requests run on the primary"),
  "primary-redirect-timeout": duration(
    "5s",
    "How long a write waits for a primary to be known",
    -Infinity,
  ),
  "read-timeout": duration(
    "0s",
    "How long a client may take to send a request; 0s: any time",
    -Infinity,
  ),
  "read-header-timeout": duration("10s", "How long it may take to send the head", -Infinity),
  "write-timeout": duration(
    "0s",
    "How long an answer may take to be sent; 0s: any time",
    -Infinity,
  ),
  "idle-timeout": duration("30s", "How long a connection is kept between requests", -Infinity),
  dir: word({
    fallback: "",
    sign: "DIR",
    help: "Directory where LiteFS is mounted",
    standard: "fuse.dir, else /litefs",
    parse: (text) => text,
  }),
  api: word<Values["api"]>({
    fallback: undefined,
    sign: "HOST:PORT",
    help: "LiteFS's HTTP API; false: use its files alone",
    standard: "http.addr, else :20202",
    canBeOff: true,
    parse: (text) => (isOff(text) ? false : parseApi(text)),
    show: (value) => (typeof value === "string" ? JSON.stringify(value) : "false"),
  }),
  "wait-timeout": duration("5s", "How long a read waits for what its client has seen"),
  reads: word<Values["reads"]>({
    fallback: "session",
    sign: "session|all|off",
    help: "Which reads are remembered: those of clients that carry a token, all, or none as with LiteFS",
    canBeOff: true,
    parse: (text) =>
      isOff(text) ? "off" : oneOf<Values["reads"]>(["session", "all", "off"], text),
  }),
  databases: list(
    [],
    "NAME",
    "Further databases of the app, each with tokens of its own",
    parseFurther,
  ),
  "signing-keys": {
    ...signingKeys,
    fromFile: (value) => apart(signingKeys.fromFile(value)),
    fromFlags: (texts) => apart(signingKeys.fromFlags(texts)),
    show: (value) => `[${value.map((key) => `"${idOf(key)}:…"`).join(", ")}]`,
  },
  cluster: word({
    fallback: "",
    sign: "NAME",
    help: "Name of the cluster, which its tokens carry",
    standard: "none",
    parse: (text) => (text === "" ? "" : parseWord(text)),
  }),
  "foreign-tokens": word<Values["foreign-tokens"]>({
    fallback: "primary",
    sign: "primary|ignore|error",
    help: "What becomes of a read whose token is of another cluster or a lost history",
    parse: (text) => oneOf(["primary", "ignore", "error"], text),
  }),
  forward: word<Values["forward"]>({
    fallback: "auto",
    sign: "auto|replay|direct",
    help: "How writes reach the primary: an edge replays them, or this node sends them",
    parse: (text) => oneOf(["auto", "replay", "direct"], text),
  }),
  "primary-url": word<Values["primary-url"]>({
    fallback: undefined,
    sign: "URL",
    help: "The primary's proxy, with {hostname} for the primary's name; false: there is no way there",
    standard: "on Fly.io http://{hostname}.vm.APP.internal:PORT, else http://{hostname}:PORT",
    canBeOff: true,
    parse: (text) => (isOff(text) ? false : parsePrimaryUrl(text)),
    show: (value) => (typeof value === "string" ? JSON.stringify(value) : "false"),
  }),
  "replay-by": word<Values["replay-by"]>({
    fallback: "instance",
    sign: "instance|prefer_instance|region",
    help: "How fly-replay names the primary",
    parse: (text) => oneOf(["instance", "prefer_instance", "region"], text),
  }),
  "replay-region": word({
    fallback: "",
    sign: "REGIONS",
    help: 'Regions where the primary may be, such as "iad,ord"',
    standard: "none",
    parse: parseRegions,
  }),
  "replay-timeout": duration("5s", "How long Fly Proxy tries to reach it; 0s: as long as it likes"),
  "replay-fallback": word<Values["replay-fallback"]>({
    fallback: "force_self",
    sign: "force_self|prefer_self|off",
    help: "Where it takes a request that it cannot take there",
    canBeOff: true,
    parse: (text) =>
      isOff(text)
        ? "off"
        : oneOf<Values["replay-fallback"]>(["force_self", "prefer_self", "off"], text),
  }),
  "max-forwards": count(1000, "How many requests sent to the primary may await its answer", 1),
  hold: duration("0s", "How long the answer to such a write waits for this node to catch up"),
  "primary-reads": word<Values["primary-reads"]>({
    fallback: "auto",
    sign: "auto|always|never",
    help: "Whether a read that cannot be served here in time goes to the primary; auto: if there is a way",
    parse: (text) => oneOf(["auto", "always", "never"], text),
  }),
  "primary-read-rate": count(100, "How many reads a second go there at most"),
  stale: list([], "GLOB", "Paths that may be answered here although the node is behind"),
  "max-waiters": count(10_000, "How many requests may wait at once"),
  "max-waiters-per-client": count(100, "How many of them may be of one client"),
  "client-header": word({
    fallback: "",
    sign: "FIELD",
    help: "Header in which a trusted proxy names the client",
    standard: "Fly-Client-IP on Fly.io, else X-Forwarded-For",
    parse: parseField,
  }),
  "wake-limit": count(64, "How many reads that have waited go to the app at once", 1),
  "plausible-gap": count(
    2 ** 32,
    "How many transactions a token that is not signed may be ahead; 0: any number",
  ),
  "server-timing": boolean("Tell in Server-Timing what the proxy did"),
  "target-connect-timeout": duration(
    "30s",
    "How long a request is held while the app does not listen",
  ),
  "target-timeout": duration(
    "0s",
    "How long the app, once it has a request, may take to begin its answer; 0s: any time",
  ),
  "cookie-expiry": duration("5m", "How long a browser keeps the token", 1000),
  "secure-cookie": word<Values["secure-cookie"]>({
    fallback: "auto",
    sign: "auto|true|false",
    help: "Whether the cookie is for https only; auto: as the request came",
    canBeOff: true,
    parse: (text) => booleanFrom(text) ?? oneOf<"auto">(["auto"], text, ["auto", "true", "false"]),
    show: String,
  }),
  "health-path": word({
    fallback: "/litefs/health",
    sign: "PATH",
    help: "Path that tells whether this node is healthy",
    parse: parsePath,
  }),
  "health-detail": boolean("Tell role, position and lag there"),
  "health-target": word<Values["health-target"]>({
    fallback: false,
    sign: "PATH",
    help: "Path of the app that a healthy node answers",
    standard: "off",
    canBeOff: true,
    parse: (text) => (isOff(text) ? false : parsePath(text)),
    show: (value) => (value === false ? "false" : JSON.stringify(value)),
  }),
  "drain-delay": duration("1s", "How long health fails before the proxy stops to listen"),
  "drain-timeout": duration("10s", "How long requests may take to end after that"),
  "trusted-proxies": list(
    PRIVATE_NETWORKS,
    "CIDR",
    "Proxies whose X-Forwarded headers are believed",
    parseNetwork,
    "loopback, link-local and private networks",
  ),
  log: word<Values["log"]>({
    fallback: "text",
    sign: "text|json",
    help: "How the log is written",
    parse: (text) => oneOf(["text", "json"], text),
  }),
  server: word<Values["server"]>({
    fallback: "exact",
    sign: "exact|native",
    help: "The exact HTTP server, or the runtime's own",
    parse: (text) => oneOf(["exact", "native"], text),
  }),
  "reuse-port": boolean("Let several processes listen on the port, one for each processor"),
};

/**
 * Tells whether a name is a key.
 *
 * @param name The name, in kebab-case.
 */
export function isKey(name: string): name is keyof Values {
  return Object.hasOwn(keys, name);
}

/** Returns the names of all keys in the order of the table. */
export function keyNames(): (keyof Values)[] {
  return Object.keys(keys).filter(isKey);
}

/**
 * Returns a key's value: the one that was given, else its default.
 *
 * @param given The values that were given.
 * @param name The key.
 */
export function valueOf<Name extends keyof Values>(
  given: Partial<Values>,
  name: Name,
): Values[Name] {
  return given[name] ?? keys[name].fallback;
}

/**
 * Reads the address of LiteFS's API as it stands in `http.addr`: one on which LiteFS listens at all interfaces is
 * reached at the loopback one.
 *
 * @param text The address.
 * @returns The origin, such as `http://127.0.0.1:20202`.
 * @throws {ConfigError} When it is none.
 */
export function parseApi(text: string): string {
  const isEverywhere = /^(?:https?:\/\/)?(?:|0\.0\.0\.0|\[::\]):\d+\/?$/i.test(text);
  const place = isEverywhere ? text.replace(/(?:0\.0\.0\.0|\[::\])?(?=:\d)/, "127.0.0.1") : text;
  return parseOrigin(place, "127.0.0.1:20202");
}

function parseDatabase(text: string): string {
  if (!text.includes("/") && text !== "." && text !== "..") return text;
  const name = text.split("/").at(-1) ?? "";
  const mend = /^\.*$/.test(name) ? 'write one such as "my.db"' : `write "${name}"`;
  throw new ConfigError(`"${text}" is not a plain name, ${mend}`);
}

function idOf(key: string): string {
  return key.slice(0, key.indexOf(":"));
}

/** Refuses two signing keys of one name. */
function apart(keys: readonly string[]): readonly string[] {
  const ids = new Set<string>();
  for (const key of keys) {
    const id = idOf(key);
    if (ids.has(id))
      throw new ConfigError(`two keys are called "${id}", give each a name of its own`);
    ids.add(id);
  }
  return keys;
}

function parseFurther(text: string): string {
  if (!isTakenName(text)) return parseWord(parseDatabase(text));
  throw new ConfigError(
    `${JSON.stringify(text)} would share a cookie with another one, call it otherwise than "seen" and "seen_…"`,
  );
}

function parseWord(text: string): string {
  if (TOKEN_WORD.test(text)) return text;
  throw new ConfigError(
    `${JSON.stringify(text)} is no word of up to 64 letters, digits, "_", ".", "~" or "-"`,
  );
}

/** Reads a key; what is wrong with it is said without its secret. */
function parseKey(text: string): string {
  const colon = text.indexOf(":");
  if (colon === -1) throw new ConfigError('a key has no colon, write one such as "k1:SECRET"');
  const id = parseWord(text.slice(0, colon));
  if (text.length - colon - 1 >= 16) return text;
  throw new ConfigError(`the secret of "${id}" is too short, write 16 characters or more`);
}

function parseField(text: string): string {
  if (text === "" || /^[\w-]+$/.test(text)) return text;
  throw new ConfigError(
    `${JSON.stringify(text)} is no header field, write one such as "X-Real-IP"`,
  );
}

function parsePath(text: string): string {
  if (/^\/[^\s?#]*$/.test(text)) return text;
  throw new ConfigError(`${JSON.stringify(text)} is not a path, write one such as "/health"`);
}

function parseNetwork(text: string): string {
  try {
    compileTrust([text]);
    return text;
  } catch {
    const found = JSON.stringify(text);
    throw new ConfigError(
      `${found} is not an address or a network, write one such as "10.0.0.0/8"`,
    );
  }
}

function parseRegions(text: string): string {
  if (text === "" || REGIONS.test(text)) return text;
  throw new ConfigError(
    `${JSON.stringify(text)} is no list of regions, write one such as "iad,ord"`,
  );
}

function isOff(text: string): boolean {
  return booleanFrom(text) === false;
}

function oneOf<T extends string>(
  allowed: readonly T[],
  text: string,
  shown: readonly string[] = allowed,
): T {
  const found = allowed.find((candidate) => candidate === text);
  if (found !== undefined) return found;
  const choices = shown.map((choice) => `"${choice}"`).join(" or ");
  throw new ConfigError(`${JSON.stringify(text)} is not known here, write ${choices}`);
}
