import { type Clock, systemClock } from "./clock.ts";
import type { Transport } from "./message.ts";
import { compilePattern, type Pattern } from "./pattern.ts";
import type { MaybePromise, Position, Storage } from "./storage.ts";
import { COOKIE_NAME } from "./token.ts";
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
  /** What was done: sent to the target, answered with `fly-replay`, or answered by the proxy itself. */
  readonly outcome: "target" | "replay" | "answer";
  /** Why, in a few words. */
  readonly reason: string;
  /** The position that the request asked for. */
  readonly token?: Position | undefined;
  /** How long the request waited for that position or for a primary, in milliseconds. */
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
   * Globs of paths whose GET and HEAD requests write, so that they run on the primary.
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
   * How long a browser keeps the token.
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
  readonly primaryRedirectTimeout: number;
  readonly targetConnectTimeout: number;
  readonly cookieName: string;
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
}

/**
 * Completes the options with their defaults and checks them.
 *
 * @param options What the caller gave.
 * @throws {TypeError} When a value has the wrong shape.
 * @throws {RangeError} When a value is out of range.
 */
export function resolveOptions(options: ProxyOptions): ResolvedOptions {
  const { target, storage } = options;
  if (typeof storage?.position !== "function" || typeof storage.primary !== "function") {
    throw new TypeError(
      `Cannot create proxy: \`storage\` must have position() and primary(), received ${show(storage)}`,
    );
  }
  return {
    origin: typeof target === "function" ? "" : parseOrigin(target),
    app: typeof target === "function" ? target : undefined,
    storage,
    passthrough: globs("passthrough", options.passthrough),
    alwaysForward: globs("alwaysForward", options.alwaysForward),
    maxLag: number("maxLag", options.maxLag, 10_000, -Infinity),
    waitTimeout: number("waitTimeout", options.waitTimeout, 5000),
    primaryRedirectTimeout: number("primaryRedirectTimeout", options.primaryRedirectTimeout, 5000),
    targetConnectTimeout: number("targetConnectTimeout", options.targetConnectTimeout, 30_000),
    cookieName: COOKIE_NAME,
    cookieExpiry: number("cookieExpiry", options.cookieExpiry, 300_000, 1000),
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
  };
}

function parseOrigin(target: string | URL): string {
  const url = URL.canParse(String(target)) ? new URL(String(target)) : undefined;
  if (url === undefined || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new TypeError(
      `Cannot create proxy: \`target\` must be an http(s) URL or a function, received ${show(target)}`,
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
      `Cannot create proxy: \`target\` must be scheme, host and port alone, received ${show(String(target))}`,
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

function number(name: string, value: number | undefined, fallback: number, least = 0): number {
  if (value === undefined) return fallback;
  if (typeof value !== "number" || Number.isNaN(value)) {
    throw new TypeError(
      `Cannot create proxy: \`${name}\` must be a number of milliseconds, received ${show(value)}`,
    );
  }
  if (value < least) {
    throw new RangeError(
      `Cannot create proxy: \`${name}\` must be ${least} or more milliseconds, received ${value}`,
    );
  }
  return value;
}

function oneOf<T>(name: string, value: T, allowed: readonly T[]): T {
  if (allowed.includes(value)) return value;
  throw new TypeError(
    `Cannot create proxy: \`${name}\` must be one of ${allowed.map(show).join(", ")}, received ${show(value)}`,
  );
}

function path(name: string, value: string): string {
  if (typeof value === "string" && value.startsWith("/")) return value;
  throw new TypeError(
    `Cannot create proxy: \`${name}\` must be a path that begins with "/", received ${show(value)}`,
  );
}

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

function show(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}
