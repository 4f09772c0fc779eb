import {
  checkFunction,
  checkNames,
  fieldName,
  finite,
  number,
  oneOf,
  path,
  show,
} from "./check.ts";
import { isTakenName } from "./claims.ts";
import { type Clock, systemClock } from "./clock.ts";
import type { Transport } from "./message.ts";
import { compilePattern, type Pattern } from "./pattern.ts";
import type { MaybePromise, Position, Storage } from "./storage.ts";
import {
  createKeyring,
  createSigner,
  type Keyring,
  type Signer,
  type SigningOptions,
} from "./signature.ts";
import { type ReplayOptions, type ResolvedReplay, resolveReplay } from "./replay.ts";
import { TOKEN_WORD } from "./token.ts";
import { compileTrust, PRIVATE_NETWORKS, type Trust } from "./trust.ts";

/** An app in this process: a fetch handler, such as the `fetch` of a Hono app. */
export type TargetFunction = (request: Request) => MaybePromise<Response>;

/** What the proxy did with one request, and why. */
export interface Decision {
  /** The request's method. */
  readonly method: string;
  /** The request's target: path and query. */
  readonly target: string;
  /** What the request is to the policy. */
  readonly kind: "passthrough" | "health" | "read" | "write" | "refused";
  /** What was done: sent to the target or to the primary's proxy, answered with `fly-replay`, or by the proxy itself. */
  readonly outcome: "target" | "forward" | "replay" | "answer";
  /** Why, in a few words; the same words for the same reason. */
  readonly reason: string;
  /** The greatest position that the request asked for, of the first database of which it asked for any. */
  readonly token?: Position | undefined;
  /** How long the request waited: for that position, for a primary, or for its turn; in milliseconds. */
  readonly waited?: number | undefined;
}

/** How a proxy behaves. Durations are milliseconds. */
export interface ProxyOptions {
  /** The app: an http(s) URL without a path, or a fetch handler in this process. */
  readonly target: string | URL | TargetFunction;
  /** Where the database's position and the primary come from. */
  readonly storage: Storage;
  /**
   * Globs of paths that go to the target as they are: no wait, no token, whatever the method.
   *
   * @default []
   */
  readonly passthrough?: readonly string[] | undefined;
  /**
   * Globs of paths whose GET, HEAD and QUERY requests write, so that they run on the primary.
   *
   * @default []
   */
  readonly alwaysForward?: readonly string[] | undefined;
  /**
   * How far this node may be behind the primary and be healthy; 0 or less switches the check off.
   *
   * @default 10_000
   */
  readonly maxLag?: number | undefined;
  /**
   * How long a read waits for the position of its token.
   *
   * @default 5_000
   */
  readonly waitTimeout?: number | undefined;
  /**
   * Which reads put a token on their answer, so that the client never reads an older state afterwards: those of clients
   * that carry one, all, or none, as with LiteFS.
   *
   * @default "session"
   */
  readonly reads?: "session" | "all" | "off" | undefined;
  /**
   * Further databases of the app, by name; each has tokens of its own. Writes run where `storage` says. The name is part of
   * cookies' names, of which `seen` and what begins with `seen_` is taken.
   */
  readonly databases?: Readonly<Record<string, Storage>> | undefined;
  /**
   * Signs the tokens, so that nobody can make a read wait or go to the primary with one that he has made up. LiteFS's
   * own proxy does not understand such tokens.
   */
  readonly signing?: SigningOptions | undefined;
  /** The name of the cluster, which its tokens carry; up to 64 letters, digits, `_`, `.`, `~` or `-`. */
  readonly cluster?: string | undefined;
  /**
   * What becomes of a read whose token belongs to another cluster or to a history that was lost: it runs on the primary,
   * or the token does not count, or the client is told with 412. The token is replaced in any case.
   *
   * @default "primary"
   */
  readonly foreignTokens?: "primary" | "ignore" | "error" | undefined;
  /**
   * How what belongs to the primary gets there: `"replay"` asks Fly Proxy, or another edge that honours `fly-replay`, to
   * take it there; `"direct"` sends it to the primary's proxy from here, by `primaryUrl`; `"auto"` replays what came
   * through Fly Proxy and can be replayed, and sends the rest.
   *
   * @default "auto"
   */
  readonly forward?: "auto" | "replay" | "direct" | undefined;
  /**
   * Returns the origin of the primary's proxy, such as `http://10.0.0.7:8080`, by its name in the storage; undefined:
   * this node has no way there. Left out: it never has.
   */
  readonly primaryUrl?: ((hostname: string) => string | URL | undefined) | undefined;
  /** What `fly-replay` says beside the primary's name. */
  readonly replay?: ReplayOptions | undefined;
  /**
   * How many requests that were sent to the primary's proxy may await its answer at once.
   *
   * @default 1_000
   */
  readonly maxForwards?: number | undefined;
  /**
   * How long the answer to a write that was sent to the primary's proxy is held until this node has caught up with it, so
   * that clients without tokens, too, read their writes on this node; 0: not at all.
   *
   * @default 0
   */
  readonly hold?: number | undefined;
  /**
   * Whether a read that this node cannot serve in time goes to the primary: `"auto"` when there is a way, by Fly Proxy
   * or by `primaryUrl`.
   *
   * @default "auto"
   */
  readonly primaryReads?: "auto" | "always" | "never" | undefined;
  /**
   * How many reads a second this node sends to the primary at most, for tokens are easily made up.
   *
   * @default 100
   */
  readonly primaryReadRate?: number | undefined;
  /**
   * Globs of paths whose reads are answered here when neither this node nor the primary can serve what the client has
   * seen, instead of by 504.
   *
   * @default []
   */
  readonly stale?: readonly string[] | undefined;
  /**
   * How many requests may wait at once.
   *
   * @default 10_000
   */
  readonly maxWaiters?: number | undefined;
  /**
   * How many of them may be of one client: an IPv4 address or an IPv6 network of 64 bits.
   *
   * @default 100
   */
  readonly maxWaitersPerClient?: number | undefined;
  /**
   * The header field in which a trusted proxy names the client, such as Fly Proxy's `Fly-Client-IP`.
   *
   * @default the last address of `X-Forwarded-For` that is not a trusted proxy's
   */
  readonly clientHeader?: string | undefined;
  /**
   * How many reads that have waited are sent to the target at once, in the order in which they came: a transaction may
   * wake thousands.
   *
   * @default 64
   */
  readonly wakeLimit?: number | undefined;
  /**
   * How many transactions a token that is not signed may be ahead of this node; 0: any number. A token that is ahead of
   * all reason does not count and is replaced.
   *
   * @default 4_294_967_296
   */
  readonly plausibleGap?: number | undefined;
  /**
   * Whether answers tell in `Server-Timing` what the proxy did, why, and for how long the request waited.
   *
   * @default false
   */
  readonly serverTiming?: boolean | undefined;
  /**
   * How long a write waits while nobody knows a primary.
   *
   * @default 5_000
   */
  readonly primaryRedirectTimeout?: number | undefined;
  /**
   * How long a request is held while the target does not listen, as when the app is still starting.
   *
   * @default 30_000
   */
  readonly targetConnectTimeout?: number | undefined;
  /**
   * How long a browser keeps the token, and a signed token counts.
   *
   * @default 300_000
   */
  readonly cookieExpiry?: number | undefined;
  /**
   * Whether the token's cookie is `Secure` and `SameSite=Lax`; `"auto"`: when the request came by https, here or at a
   * proxy in front.
   *
   * @default "auto"
   */
  readonly secureCookie?: "auto" | boolean | undefined;
  /**
   * The path that tells whether this node is healthy.
   *
   * @default "/litefs/health"
   */
  readonly healthPath?: string | undefined;
  /**
   * Whether the health answer is JSON with role, position and lag. Off by default, for the path is often public.
   *
   * @default false
   */
  readonly healthDetail?: boolean | undefined;
  /** A path on the target that must answer 2xx or 3xx for this node to be healthy. Left out: the target is not asked. */
  readonly healthTarget?: string | undefined;
  /**
   * Addresses and networks (CIDR) of proxies whose `X-Forwarded-*` lines are believed and kept; from others they are
   * replaced.
   *
   * @default loopback, link-local and private networks
   */
  readonly trustedProxies?: readonly string[] | undefined;
  /** Reaches the target instead of what the adapter brings. Left out: the adapter's, else WHATWG fetch. */
  readonly transport?: Transport | undefined;
  /**
   * The time.
   *
   * @default the runtime's
   */
  readonly clock?: Clock | undefined;
  /** Gets every error behind an answer, with the causes that the client is not told; must not throw. */
  readonly onError?: ((error: unknown) => void) | undefined;
  /** Gets every decision as it is made; must not throw. */
  readonly onDecision?: ((decision: Decision) => void) | undefined;
  /**
   * Gets false when the target refuses the first connection, so that requests wait for it from now on, and true when it
   * listens again; must not throw.
   */
  readonly onTarget?: ((isListening: boolean) => void) | undefined;
}

/** The options, complete and checked. */
export interface ResolvedOptions {
  /** The target's scheme, host and port; empty when the target is an app in this process. */
  readonly origin: string;
  readonly app: TargetFunction | undefined;
  readonly storage: Storage;
  readonly passthrough: readonly Pattern[];
  readonly alwaysForward: readonly Pattern[];
  readonly maxLag: number;
  readonly waitTimeout: number;
  readonly reads: "session" | "all" | "off";
  readonly databases: ReadonlyMap<string, Storage>;
  readonly keyring: Keyring | undefined;
  readonly signer: Signer | undefined;
  readonly cluster: string | undefined;
  readonly foreignTokens: "primary" | "ignore" | "error";
  readonly forward: "auto" | "replay" | "direct";
  readonly primaryUrl: (hostname: string) => string | undefined;
  readonly replay: ResolvedReplay;
  readonly maxForwards: number;
  readonly hold: number;
  readonly primaryReads: "auto" | "always" | "never";
  readonly primaryReadRate: number;
  readonly stale: readonly Pattern[];
  readonly maxWaiters: number;
  readonly maxWaitersPerClient: number;
  readonly clientHeader: string | undefined;
  readonly wakeLimit: number;
  readonly plausibleGap: number;
  readonly serverTiming: boolean;
  readonly primaryRedirectTimeout: number;
  readonly targetConnectTimeout: number;
  readonly cookieExpiry: number;
  readonly secureCookie: "auto" | boolean;
  readonly healthPath: string;
  readonly healthDetail: boolean;
  readonly healthTarget: string | undefined;
  readonly isTrusted: Trust;
  readonly transport: Transport | undefined;
  readonly clock: Clock;
  readonly onError: (error: unknown) => void;
  readonly onDecision: ((decision: Decision) => void) | undefined;
  readonly onTarget: ((isListening: boolean) => void) | undefined;
}

/** The names of the options; the compiler sees to it that none is left out. */
const KNOWN: Readonly<Record<keyof ProxyOptions, true>> = {
  target: true,
  storage: true,
  passthrough: true,
  alwaysForward: true,
  maxLag: true,
  waitTimeout: true,
  reads: true,
  databases: true,
  signing: true,
  cluster: true,
  foreignTokens: true,
  forward: true,
  primaryUrl: true,
  replay: true,
  maxForwards: true,
  hold: true,
  primaryReads: true,
  primaryReadRate: true,
  stale: true,
  maxWaiters: true,
  maxWaitersPerClient: true,
  clientHeader: true,
  wakeLimit: true,
  plausibleGap: true,
  serverTiming: true,
  primaryRedirectTimeout: true,
  targetConnectTimeout: true,
  cookieExpiry: true,
  secureCookie: true,
  healthPath: true,
  healthDetail: true,
  healthTarget: true,
  trustedProxies: true,
  transport: true,
  clock: true,
  onError: true,
  onDecision: true,
  onTarget: true,
};

/**
 * Completes the options with their defaults and checks them.
 *
 * @param options What the caller gave.
 * @throws {TypeError} When a value has the wrong shape.
 * @throws {RangeError} When a value is out of range.
 */
export function resolveOptions(options: ProxyOptions): ResolvedOptions {
  const { target, storage } = options;
  checkNames(options, KNOWN);
  checkStorage("storage", storage);
  checkFunction("onError", options.onError);
  checkFunction("onDecision", options.onDecision);
  checkFunction("onTarget", options.onTarget);
  checkFunction("transport", options.transport);
  const keyring = options.signing && createKeyring(options.signing);
  return {
    origin: typeof target === "function" ? "" : parseOrigin("target", target),
    app: typeof target === "function" ? target : undefined,
    storage,
    passthrough: globs("passthrough", options.passthrough),
    alwaysForward: globs("alwaysForward", options.alwaysForward),
    maxLag: number("maxLag", options.maxLag, 10_000, -Infinity),
    waitTimeout: number("waitTimeout", options.waitTimeout, 5000),
    reads: oneOf("reads", options.reads ?? "session", ["session", "all", "off"]),
    databases: databases(options.databases ?? {}),
    keyring,
    signer: keyring && createSigner(keyring),
    cluster: options.cluster === undefined ? undefined : wordOf("cluster", options.cluster),
    foreignTokens: oneOf("foreignTokens", options.foreignTokens ?? "primary", [
      "primary",
      "ignore",
      "error",
    ]),
    forward: oneOf("forward", options.forward ?? "auto", ["auto", "replay", "direct"]),
    primaryUrl: primaryUrl(options.primaryUrl),
    replay: resolveReplay(options.replay ?? {}),
    maxForwards: count("maxForwards", options.maxForwards, 1000, 1),
    hold: number("hold", options.hold, 0),
    primaryReads: oneOf("primaryReads", options.primaryReads ?? "auto", [
      "auto",
      "always",
      "never",
    ]),
    primaryReadRate: count("primaryReadRate", options.primaryReadRate, 100),
    stale: globs("stale", options.stale),
    maxWaiters: count("maxWaiters", options.maxWaiters, 10_000),
    maxWaitersPerClient: count("maxWaitersPerClient", options.maxWaitersPerClient, 100),
    clientHeader:
      options.clientHeader === undefined
        ? undefined
        : fieldName("clientHeader", options.clientHeader).toLowerCase(),
    wakeLimit: count("wakeLimit", options.wakeLimit, 64, 1),
    plausibleGap: count("plausibleGap", options.plausibleGap, 2 ** 32),
    serverTiming: oneOf("serverTiming", options.serverTiming ?? false, [true, false]),
    primaryRedirectTimeout: number("primaryRedirectTimeout", options.primaryRedirectTimeout, 5000),
    targetConnectTimeout: number("targetConnectTimeout", options.targetConnectTimeout, 30_000),
    cookieExpiry: finite(
      "cookieExpiry",
      number("cookieExpiry", options.cookieExpiry, 300_000, 1000),
    ),
    secureCookie: oneOf("secureCookie", options.secureCookie ?? "auto", ["auto", true, false]),
    healthPath: path("healthPath", options.healthPath ?? "/litefs/health"),
    healthDetail: oneOf("healthDetail", options.healthDetail ?? false, [true, false]),
    healthTarget:
      options.healthTarget === undefined ? undefined : path("healthTarget", options.healthTarget),
    isTrusted: trust(options.trustedProxies ?? PRIVATE_NETWORKS),
    transport: options.transport,
    clock: options.clock ?? systemClock,
    onError: options.onError ?? (() => {}),
    onDecision: options.onDecision,
    onTarget: options.onTarget,
  };
}

function checkStorage(name: string, storage: Storage): void {
  if (typeof storage?.position === "function" && typeof storage.primary === "function") return;
  throw new TypeError(
    `Cannot create proxy: \`${name}\` must have position() and primary(), received ${show(storage)}`,
  );
}

function databases(given: Readonly<Record<string, Storage>>): ReadonlyMap<string, Storage> {
  const found = new Map<string, Storage>();
  for (const [name, storage] of Object.entries(given)) {
    checkStorage(`databases.${name}`, storage);
    found.set(databaseName(name), storage);
  }
  return found;
}

function databaseName(name: string): string {
  if (!isTakenName(name)) return wordOf(`databases.${name}`, name);
  throw new RangeError(
    `Cannot create proxy: \`databases\` must have other names than "seen" and "seen_…", received ${show(name)}`,
  );
}

function wordOf(name: string, value: string): string {
  if (typeof value === "string" && TOKEN_WORD.test(value)) return value;
  throw new RangeError(
    `Cannot create proxy: \`${name}\` must be a word of up to 64 letters, digits, "_", ".", "~" or "-", received ${show(value)}`,
  );
}

function primaryUrl(given: ProxyOptions["primaryUrl"]): (hostname: string) => string | undefined {
  if (given === undefined) return () => undefined;
  if (typeof given !== "function") {
    throw new TypeError(
      `Cannot create proxy: \`primaryUrl\` must be a function from a name to an origin, received ${show(given)}`,
    );
  }
  let last: { readonly text: string; readonly origin: string } | undefined;
  return (hostname) => {
    const url = given(hostname);
    if (url === undefined) return undefined;
    const text = String(url);
    // One primary after the other; to parse its URL for each request would show.
    if (last?.text !== text) last = { text, origin: parseOrigin("primaryUrl", url) };
    return last.origin;
  };
}

function parseOrigin(name: string, target: string | URL): string {
  const url = URL.canParse(String(target)) ? new URL(String(target)) : undefined;
  if (url === undefined || (url.protocol !== "http:" && url.protocol !== "https:")) {
    const meant = `http://${String(target)}`;
    const isBare = /^[\w.-]+:\d+$/.test(String(target)) && URL.canParse(meant);
    throw new TypeError(
      `Cannot create proxy: \`${name}\` must be an http(s) URL${name === "target" ? " or a function" : ""}, received ${show(target)}${isBare ? `, write ${show(meant)}` : ""}`,
    );
  }
  if (
    url.pathname !== "/" ||
    url.search !== "" ||
    url.hash !== "" ||
    url.username !== "" ||
    url.password !== ""
  ) {
    throw new TypeError(
      `Cannot create proxy: \`${name}\` must be scheme, host and port alone, received ${show(String(target))}`,
    );
  }
  return url.origin;
}

function globs(name: string, value: readonly string[] | undefined): readonly Pattern[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || !value.every((glob) => typeof glob === "string")) {
    throw new TypeError(
      `Cannot create proxy: \`${name}\` must be a list of globs, received ${show(value)}`,
    );
  }
  return value.map(compilePattern);
}

function count(name: string, value: number | undefined, fallback: number, least = 0): number {
  return number(name, value, fallback, least, COUNTED[name] ?? "requests");
}

/** What the counts count. */
const COUNTED: Readonly<Record<string, string>> = {
  primaryReadRate: "reads a second",
  plausibleGap: "transactions",
};

function trust(networks: readonly string[]): Trust {
  try {
    return compileTrust(networks);
  } catch (error) {
    throw new RangeError(
      `Cannot create proxy: \`trustedProxies\`: ${error instanceof Error ? error.message : String(error)}`,
      {
        cause: error,
      },
    );
  }
}
