import type { ProxyOptions, SigningOptions } from "../../src/index.ts";
import { formatAddress, reaches } from "./address.ts";
import { at, ConfigError } from "./error.ts";
import { expandEnvironment } from "./expand.ts";
import { type FileSettings, parseFile } from "./file.ts";
import type { Flags } from "./flags.ts";
import { keyNames, keys, parseApi, type Values, valueOf } from "./keys.ts";
import { standardPrimaryUrl } from "./primary-url.ts";

/** Everything that the drop-in needs to know; durations are milliseconds. */
export interface Settings {
  /** The options of `litefs()`. */
  readonly storage: {
    /** The directory where LiteFS is mounted. */
    readonly dir: string;
    /** The name of the database. */
    readonly db: string;
    /** The names of the app's further databases. */
    readonly databases: readonly string[];
    /** The origin of LiteFS's API, or false. */
    readonly api: string | false;
  };
  /** The options of `createProxy()`, but for the storages and the callbacks. */
  readonly proxy: Omit<ProxyOptions, "target" | "storage" | "databases"> & {
    /** The app's origin. */
    readonly target: string;
  };
  /** The template of the primary's origin, for `primaryUrl()`; undefined: there is no way there. */
  readonly primaryUrl: string | undefined;
  /** The options of `serve()`, but for the callbacks. */
  readonly server: {
    /** The port to listen on; 0: any free one. */
    readonly port: number;
    /** The address to listen on; undefined: all interfaces. */
    readonly hostname: string | undefined;
    /** Which server answers. */
    readonly server: "exact" | "native";
    /** Whether other processes may listen on the same port. */
    readonly reusePort: boolean;
    /** How long a client may take to send a request; 0: any time. */
    readonly readTimeout: number;
    /** How long a client may take to send a request's head; 0: any time. */
    readonly readHeaderTimeout: number;
    /** How long an answer may take to be sent; 0: any time. */
    readonly writeTimeout: number;
    /** How long the app may take to begin its answer; 0: any time. */
    readonly targetTimeout: number;
    /** How long a connection is kept between requests; 0: any time. */
    readonly idleTimeout: number;
  };
  /** How the proxy stops. */
  readonly drain: {
    /** How long health fails before the proxy stops to listen. */
    readonly delay: number;
    /** How long requests may then take to end. */
    readonly timeout: number;
  };
  /** How the log is written. */
  readonly log: {
    /** As lines for people or as lines of JSON. */
    readonly format: "text" | "json";
    /** Whether each decision is logged. */
    readonly debug: boolean;
  };
}

/** A configuration that can run. */
export interface Config {
  /** What it says. */
  readonly settings: Settings;
  /** What it says as a file, each key with where its value comes from. */
  readonly shown: string;
}

/** A configuration file that was found. */
export interface ConfigFile {
  /** Its name, for the messages. */
  readonly name: string;
  /** Its text, as it is. */
  readonly text: string;
}

/** Where values come from. */
interface Sources {
  readonly flags: Flags;
  readonly file: ConfigFile | undefined;
  readonly read: FileSettings | undefined;
}

/**
 * Joins the flags, the file and the defaults to what will run, in this order of precedence.
 *
 * @param flags The command line.
 * @param file The configuration file; undefined when there is none.
 * @param lookup Returns the value of an environment variable, or undefined when it is not set.
 * @throws {ConfigError} At the first thing that is not fit, naming the place, the key and the mend.
 */
export function configure(
  flags: Flags,
  file: ConfigFile | undefined,
  lookup: (name: string) => string | undefined,
): Config {
  const expand = (text: string): string =>
    flags.expandEnvironment ? expandEnvironment(text, lookup) : text;
  const read =
    file === undefined
      ? undefined
      : withUnset(file, flags, lookup, () => parseFile(file.name, expand(file.text)));
  const sources: Sources = { flags, file, read };
  const given: Partial<Values> = { ...read?.values, ...flags.values };
  const dir = given.dir || read?.fuseDir || "/litefs";
  const api = given.api ?? apiOf(sources);
  const app = lookup("FLY_APP_NAME") || undefined;
  const clientHeader = given["client-header"] || (app === undefined ? "" : "Fly-Client-IP");
  const url = given["primary-url"] ?? standardPrimaryUrl(given.addr?.port ?? 0, app) ?? false;
  const known = { ...given, "primary-url": url };
  return {
    settings: settingsOf({ ...known, "client-header": clientHeader }, dir, api, sources),
    shown: show({ ...known, dir, api }, sources),
  };
}

/** Runs `read`, and names the variables that are not set in the line of which it complains. */
function withUnset<T>(
  file: ConfigFile,
  flags: Flags,
  lookup: (name: string) => string | undefined,
  read: () => T,
): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof ConfigError) || !flags.expandEnvironment) throw error;
    const number = /^:(\d+):/.exec(error.message.slice(file.name.length))?.[1];
    const line = file.text.split(/\r\n?|\n/)[Number(number) - 1] ?? "";
    const names = [...line.matchAll(/\$(?:(\w+)|\{\s*(\w+)\s*\})/g)].map((m) => m[1] ?? m[2] ?? "");
    const unset = [...new Set(names)].filter((name) => lookup(name) === undefined);
    if (unset.length === 0) throw error;
    const verb = unset.length === 1 ? "is" : "are";
    const list = unset.map((name) => `$${name}`).join(", ");
    throw new ConfigError(`${error.message} (${list} ${verb} not set)`);
  }
}

function settingsOf(
  given: Partial<Values>,
  dir: string,
  api: string | false,
  sources: Sources,
): Settings {
  const get = <Name extends keyof Values>(name: Name): Values[Name] => valueOf(given, name);
  const [target, addr, db] = [get("target"), get("addr"), get("db")];
  const needsRegion = get("replay-by") === "region" && get("replay-region") === "";
  const absent = [
    ...(target === "" ? [missing("target", EXAMPLES.target, sources)] : []),
    ...(addr === undefined ? [missing("addr", EXAMPLES.addr, sources)] : []),
    ...(db === "" ? [missing("db", EXAMPLES.db, sources)] : []),
    ...(needsRegion ? [missing("replay-region", EXAMPLES["replay-region"], sources)] : []),
  ];
  if (addr === undefined || absent.length > 0) {
    const hint = sources.file === undefined ? " (and there is no configuration file)" : "";
    throw new ConfigError(`${absent.join("; ")}${hint}, see --help`);
  }
  if (reaches(target, addr)) {
    const place = placeOf("target", sources);
    throw new ConfigError(
      `${place}: ${target} is the proxy itself (addr is "${formatAddress(addr)}"), write the app's port`,
    );
  }
  const readTimeout = get("read-timeout");
  // As in Go's http.Server: 0 takes the read timeout, and a negative one is none.
  const orRead = (value: number): number => Math.max(value === 0 ? readTimeout : value, 0);
  return {
    storage: { dir, db, api, databases: get("databases") },
    proxy: {
      target,
      passthrough: get("passthrough"),
      alwaysForward: get("always-forward"),
      maxLag: get("max-lag"),
      waitTimeout: get("wait-timeout"),
      reads: get("reads"),
      signing: signing(get("signing-keys")),
      cluster: get("cluster") || undefined,
      foreignTokens: get("foreign-tokens"),
      forward: get("forward"),
      replay: {
        by: get("replay-by"),
        region: get("replay-region") || undefined,
        timeout: get("replay-timeout"),
        fallback: get("replay-fallback"),
      },
      maxForwards: get("max-forwards"),
      hold: get("hold"),
      primaryReads: get("primary-reads"),
      primaryReadRate: get("primary-read-rate"),
      stale: get("stale"),
      maxWaiters: get("max-waiters"),
      maxWaitersPerClient: get("max-waiters-per-client"),
      clientHeader: get("client-header") || undefined,
      wakeLimit: get("wake-limit"),
      plausibleGap: get("plausible-gap"),
      serverTiming: get("server-timing"),
      primaryRedirectTimeout: Math.max(get("primary-redirect-timeout"), 0),
      targetConnectTimeout: get("target-connect-timeout"),
      cookieExpiry: get("cookie-expiry"),
      secureCookie: get("secure-cookie"),
      healthPath: get("health-path"),
      healthDetail: get("health-detail"),
      healthTarget: get("health-target") || undefined,
      trustedProxies: get("trusted-proxies"),
    },
    primaryUrl: get("primary-url") || undefined,
    server: {
      port: addr.port,
      hostname: addr.host === "" ? undefined : addr.host,
      server: get("server"),
      reusePort: get("reuse-port"),
      readTimeout: Math.max(readTimeout, 0),
      readHeaderTimeout: orRead(get("read-header-timeout")),
      writeTimeout: Math.max(get("write-timeout"), 0),
      targetTimeout: get("target-timeout"),
      idleTimeout: orRead(get("idle-timeout")),
    },
    drain: { delay: get("drain-delay"), timeout: get("drain-timeout") },
    log: { format: get("log"), debug: get("debug") },
  };
}

function signing(keys: readonly string[]): SigningOptions | undefined {
  if (keys.length === 0) return undefined;
  return {
    keys: keys.map((key) => {
      const colon = key.indexOf(":");
      return { id: key.slice(0, colon), secret: key.slice(colon + 1) };
    }),
  };
}

/** Returns the origin of LiteFS's API by what the file says of its address. */
function apiOf({ file, read }: Sources): string | false {
  const addr = read?.httpAddr || ":20202";
  // Port 0 is any free one, so nobody knows which.
  if (addr.endsWith(":0")) return false;
  return at(`${file?.name}:${read?.lines.get("http.addr")}: http.addr`, () => parseApi(addr));
}

/** What stands for a key that is needed. */
const EXAMPLES = {
  target: 'the app\'s host and port such as "localhost:8081"',
  addr: 'the address to listen on such as ":8080"',
  db: 'the name of the database such as "my.db"',
  "replay-region": 'the regions where the primary may be such as "iad"',
} as const;

function missing(name: keyof Values, example: string, sources: Sources): string {
  return `${placeOf(name, sources)}: missing or empty, write ${example}`;
}

/** Names where a key's value comes from, or where it should have been given. */
function placeOf(name: keyof Values, { flags, file, read }: Sources): string {
  if (file === undefined || Object.hasOwn(flags.values, name)) return `--${name}`;
  const line = read?.lines.get(name) ?? read?.lines.get("");
  return `${file.name}${line === undefined ? "" : `:${line}`}: proxy.${name}`;
}

/** Shows what will run as a file, so that it can be kept as one. */
function show(given: Partial<Values>, sources: Sources): string {
  const line = <Name extends keyof Values>(name: Name): [string, string] => [
    `  ${name}: ${keys[name].show(valueOf(given, name))}`,
    originOf(name, sources),
  ];
  const lines = keyNames().map((name) => line(name));
  const width = Math.max(...lines.map(([text]) => Math.min(text.length, 40)));
  return `proxy:\n${lines.map(([text, origin]) => `${text.padEnd(width)}  # ${origin}\n`).join("")}`;
}

function originOf(name: keyof Values, { flags, file, read }: Sources): string {
  if (Object.hasOwn(flags.values, name)) return `--${name}`;
  if (read !== undefined && Object.hasOwn(read.values, name)) {
    return `${file?.name}:${read.lines.get(name)}`;
  }
  if (name === "dir" && read?.fuseDir) return `${file?.name}: fuse.dir`;
  if (name === "api" && read?.httpAddr)
    return `${file?.name}:${read.lines.get("http.addr")}: http.addr`;
  return "default";
}
