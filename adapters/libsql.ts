/**
 * The storages for databases of libSQL: positions from a row that is bumped after each write, which works with every way
 * to replicate SQLite, or from what the engine itself tells.
 *
 * @example
 * ```ts ignore
 * import { createClient } from "@libsql/client";
 * import { createProxy } from "@txid/proxy";
 * import { libsql } from "@txid/proxy/libsql";
 *
 * const client = createClient({ url: "file:app.db" });
 * const storage = libsql({ client, node: "node-a" });
 * export default createProxy({ target: "http://127.0.0.1:8081", storage });
 * ```
 *
 * @module
 */
import { checkNames, show } from "../src/check.ts";
import type { Clock } from "../src/clock.ts";
import type { MaybePromise, Position, Primary, Storage } from "../src/storage.ts";
import { createAsker, type LibSQLClient } from "./libsql/client.ts";
import { createInfo } from "./libsql/info.ts";
import { createRow, type Row } from "./libsql/row.ts";
import type { Source } from "./libsql/source.ts";
import { createIndex, type Tracker } from "./libsql/track.ts";
import { createWalIndex } from "./libsql/wal-index.ts";
import { steadyClock } from "./storage/clock.ts";
import { createHistory } from "./storage/history.ts";
import { isNodeName, isPrimary, spellPrimary } from "./storage/primary.ts";
import { createWatch } from "./storage/watch.ts";

export type { LibSQLClient } from "./libsql/client.ts";
export { track, type Tracker } from "./libsql/track.ts";

/** What all of {@linkcode libsql}'s storages take. */
export interface LibSQLSettings {
  /**
   * Where writes run. libSQL has no election: say it, or ask whatever decides it. A function is asked anew each time.
   *
   * @default what the row says, where it is the position; else that every node takes writes
   */
  readonly primary?: Primary | (() => MaybePromise<Primary>) | undefined;
  /**
   * How often the position and the primary are looked at while somebody subscribes, in milliseconds.
   *
   * @default 2 with files, 10 with clients
   */
  readonly interval?: number | undefined;
  /**
   * How long the database may take to answer, in milliseconds. Within it a busy database is asked again and again.
   *
   * @default 5_000
   */
  readonly timeout?: number | undefined;
  /**
   * The time.
   *
   * @default the runtime's, in a form that never steps back
   */
  readonly clock?: Clock | undefined;
  /** Gets what subscribers throw. Must not throw. */
  readonly onError?: ((error: unknown) => void) | undefined;
}

/** What {@linkcode libsql} takes where a row is the position. */
export interface LibSQLRowOptions extends LibSQLSettings {
  /**
   * A client of this node's database; or what returns it, where another file takes its place now and then, as with
   * restores of Litestream. It is not closed. A local file should have `journal_mode = wal`: otherwise a read that meets a
   * commit is refused, and `@libsql/client` then keeps the file locked for a while, for the app as well.
   */
  readonly client: LibSQLClient | (() => LibSQLClient);
  /**
   * Whether the client has one connection to a local file (`concurrency: 1`) and nobody else uses it. Then the row is
   * bumped only when others have committed since the last time, and what `@libsql/client` keeps locked is let go of.
   *
   * @default false
   */
  readonly dedicated?: boolean | undefined;
  /**
   * A client of the primary through which the row is bumped, where that is another database than the app reads: beside an
   * embedded replica a remote one, for the replica's own client stops the event loop while it writes.
   *
   * @default `client`
   */
  readonly writer?: LibSQLClient | undefined;
  /**
   * The name of the table with the one row, a plain identifier.
   *
   * @default "_txid"
   */
  readonly table?: string | undefined;
  /** The name of this node, by which `promote()` makes it the primary. Needed unless `primary` is given. */
  readonly node?: string | undefined;
}

/**
 * What {@linkcode libsql} takes where the replication index of sqld is the position. It proves that sqld had applied all
 * up to it when it answered, and costs a round trip each time; a replica of sqld takes the question after a write to its
 * primary. A replica that is starting passes reads on to its primary as well, and for that long tells the primary's
 * index. Run against a stand-in alone, and not against sqld.
 */
export interface LibSQLIndexOptions extends LibSQLSettings {
  /** A client of this node's sqld over HTTP, used for nothing else, whose `fetch` is the tracker's. It is not closed. */
  readonly client: LibSQLClient | (() => LibSQLClient);
  /** What {@linkcode track} has created. */
  readonly tracker: Tracker;
}

/**
 * What {@linkcode libsql} takes beside an embedded replica that syncs with Turso Cloud, or with another `/info`. The file
 * proves that all frames up to its position are in the database. It is written after them, once the disk has them, so
 * that tokens of reads name the last frame in the write-ahead log beside it. Reading both costs microseconds. It covers a
 * write that the replica has passed on, for with `readYourWrites`, the client's default, the replica pulls before it
 * answers one; not what another client has written, and not what the app reads on the primary, as batches and
 * transactions of the replica's client do. Nobody else may checkpoint the replica's file. Not for replicas that are opened
 * with `offline`, whose log has frames of their own. Run against real replicas, by the native client of `@libsql/client`
 * 0.18.0, of a stand-in for the primary, and not against Turso Cloud.
 */
export interface LibSQLInfoOptions extends LibSQLSettings {
  /** The path of the file that the replica writes: the database's and `-info`. */
  readonly info: string;
}

/**
 * What {@linkcode libsql} takes beside an embedded replica that syncs with sqld. The file proves and costs what `info`
 * does, for one log: where sqld begins a new one, tokens of the old one that are ahead are answered by 504 until they
 * expire. Run against files made for the purpose alone, and not against sqld.
 */
export interface LibSQLWalIndexOptions extends LibSQLSettings {
  /** The path of the file that the replica writes: the database's and `-client_wal_index`. */
  readonly walIndex: string;
}

/** A database whose position the engine tells. */
export interface LibSQLStorage extends Storage {
  /**
   * Returns the position that this node has applied, or `undefined` when there is no such database, no replica or no row
   * (yet).
   *
   * @throws {Error} When it cannot be read or is none, or after `close()`.
   */
  position(): MaybePromise<Position | undefined>;
  /**
   * Returns where writes run now. Where the row names the primary, its word is used for 100 ms.
   *
   * @throws {Error} When the row cannot be read, or after `close()`.
   */
  primary(): MaybePromise<Primary>;
  /**
   * Returns a position that covers every write answered before this call.
   *
   * @throws {Error} When there is no way to tell, or after `close()`.
   */
  commit(): MaybePromise<Position | undefined>;
  /**
   * Returns a position that covers everything that could be read here before this call. Left out: `position()` does.
   *
   * @throws {Error} When it cannot be read, or after `close()`.
   */
  seen?(): MaybePromise<Position | undefined>;
  /** Calls `changed` when the position or the primary has moved. Nothing is read while nobody subscribes. */
  subscribe(changed: () => void): () => void;
  /** Returns 0 on the primary; elsewhere `undefined`, for libSQL does not tell. */
  lag(): MaybePromise<number | undefined>;
  /** Removes the subscribers, and closes what it has opened; the clients stay open. */
  close(): void;
}

/** A database whose position is a row. */
export interface LibSQLRowStorage extends LibSQLStorage {
  /**
   * Makes this node the primary: names it in the row and begins an epoch, whose positions are above all earlier ones, so
   * that no token of a past that was lost makes anybody wait. Creates the table where there is none. Call it once on the
   * first primary, and on each new one after a failover or a restore, before it takes writes.
   *
   * @returns The first position of the epoch.
   * @throws When the database cannot be written.
   */
  promote(): Promise<Position>;
}

/** How often the position is read for subscribers, in milliseconds. */
const FILE_INTERVAL = 2;
const CLIENT_INTERVAL = 10;

/**
 * Creates the storage of a database whose position is a row that is bumped on the primary after each write. It proves
 * that every write is there that was answered before; it works wherever replicas have a prefix of the primary's commits:
 * files that are copied or restored, embedded replicas, sqld.
 *
 * Not covered is what a read saw of a write between its commit and its bump, and of writes that pass no proxy. Beside an
 * embedded replica `info` covers that, as a further one of the proxy's `databases`.
 *
 * A position costs a `SELECT`, and a write one more transaction: with a `dedicated` client only where somebody has
 * committed since the last one, and shared by all who ask while another one is under way. Run against files of
 * `@libsql/client` 0.18.0 that were copied and restored, and on embedded replicas of a stand-in for the primary.
 *
 * @param options The clients, and the name of this node.
 * @throws {TypeError} When an option has the wrong type.
 * @throws {RangeError} When `table` is not a plain identifier, or `node` cannot be a name.
 * @example
 * ```ts ignore
 * import { createClient } from "@libsql/client";
 * import { libsql } from "@txid/proxy/libsql";
 *
 * const client = createClient({ url: "file:app.db", concurrency: 1 });
 * const storage = libsql({ client, dedicated: true, node: "node-a" });
 * await storage.promote();
 * ```
 */
export function libsql(options: LibSQLRowOptions): LibSQLRowStorage;
/**
 * Creates the storage of a database whose position the engine tells: embedded replicas in a file, sqld in its answers.
 *
 * @param options Where the position is.
 * @throws {TypeError} When an option has the wrong type.
 * @example
 * ```ts
 * import { libsql } from "@txid/proxy/libsql";
 *
 * const storage = libsql({ info: "/data/app.db-info" });
 * console.log(storage.primary());
 * storage.close();
 * ```
 */
export function libsql(
  options: LibSQLIndexOptions | LibSQLInfoOptions | LibSQLWalIndexOptions,
): LibSQLStorage;
export function libsql(
  options: LibSQLRowOptions | LibSQLIndexOptions | LibSQLInfoOptions | LibSQLWalIndexOptions,
): LibSQLStorage | LibSQLRowStorage {
  const { clock = steadyClock, onError = () => {} } = options;
  checkNames(options, knownOf(options), "", "storage");
  checkPrimary(options.primary);
  const dedicated = "dedicated" in options && flag("dedicated", options.dedicated);
  const asker = createAsker(duration("timeout", options.timeout, 5000), dedicated, clock);
  const source = sourceOf();
  const isFile = "info" in options || "walIndex" in options;
  const interval = duration("interval", options.interval, isFile ? FILE_INTERVAL : CLIENT_INTERVAL);
  const watch = createWatch(clock, { interval: () => interval, begin, look }, onError);
  let known: string | undefined;
  let looking = false;
  let closed = false;

  function sourceOf(): Source | Row {
    if ("info" in options) return createInfo(path("info", options.info));
    if ("walIndex" in options) return createWalIndex(path("walIndex", options.walIndex));
    const client = clientOf("client", options.client);
    if ("tracker" in options) return createIndex(client, trackerOf(options.tracker), asker);
    const { node, table = "_txid" } = options;
    const writer = options.writer === undefined ? undefined : clientOf("writer", options.writer);
    if (dedicated && writer !== undefined)
      throw new TypeError(
        "Cannot create storage: a `dedicated` client writes by itself, leave `writer` or `dedicated` out",
      );
    if (node === undefined && options.primary === undefined)
      throw new TypeError("Cannot create storage: `node` or `primary` must be given");
    const row = {
      client,
      writer,
      dedicated,
      table: identifier(table),
      node: node === undefined ? undefined : nodeName(node),
      primary: options.primary === undefined ? undefined : async () => given(),
    };
    return createRow(row, asker, clock, createHistory());
  }

  function given(): MaybePromise<Primary> {
    const { primary = { at: "everywhere" } } = options;
    return typeof primary === "function" ? primary() : primary;
  }

  function primary(): MaybePromise<Primary> {
    refuseIfClosed("read role");
    return "promote" in source && options.primary === undefined ? source.primary() : given();
  }

  function position(): MaybePromise<Position | undefined> {
    refuseIfClosed("read position");
    return source.position();
  }

  function seen(): MaybePromise<Position | undefined> {
    refuseIfClosed("read position");
    return source.seen === undefined ? source.position() : source.seen();
  }

  function refuseIfClosed(action: string): void {
    if (closed) throw new Error(`Cannot ${action}: the storage is closed`);
  }

  /** Remembers how things are. Where that takes time, what happens meanwhile must not be taken for how they were. */
  function begin(): void {
    known = undefined;
    const now = state();
    if (typeof now === "string") known = now;
  }

  /** Tells the subscribers when the position or the primary is another than at the last look. */
  function look(): void {
    if (looking) return;
    const now = state();
    if (typeof now === "string") {
      note(now);
      return;
    }
    looking = true;
    void now.then((found) => {
      looking = false;
      note(found);
    });
  }

  function note(found: string): void {
    if (found === known) return;
    known = found;
    watch.fire();
  }

  /** Says how things are in a text; what cannot be read is like nothing else. Never rejects. */
  function state(): MaybePromise<string> {
    const where = told(source.position, String);
    const who = told(primary, spellPrimary);
    if (typeof where === "string" && typeof who === "string") return `${where} ${who}`;
    return Promise.all([where, who]).then((texts) => texts.join(" "));
  }

  const storage: LibSQLStorage = {
    position,
    primary,
    commit: () => {
      refuseIfClosed("commit");
      return source.commit === undefined ? source.position() : source.commit();
    },
    subscribe: (changed) => (closed ? () => {} : watch.subscribe(changed)),
    lag: async () => (!closed && (await primary()).at === "here" ? 0 : undefined),
    close: () => {
      closed = true;
      watch.close();
      source.close();
    },
    seen,
    ...(source.historyAt && { historyAt: source.historyAt }),
    ...(source.gap && { gap: source.gap }),
  };
  if (!("promote" in source)) return storage;
  return {
    ...storage,
    promote: async () => {
      refuseIfClosed("promote");
      return source.promote();
    },
  };
}

/** The options of all storages. */
const SETTINGS: Readonly<Record<keyof LibSQLSettings, true>> = {
  primary: true,
  interval: true,
  timeout: true,
  clock: true,
  onError: true,
};

/** Those of each kind, with `primary` and the like. */
const OF_INFO: Readonly<Record<keyof LibSQLInfoOptions, true>> = { ...SETTINGS, info: true };
const OF_WAL_INDEX: Readonly<Record<keyof LibSQLWalIndexOptions, true>> = {
  ...SETTINGS,
  walIndex: true,
};
const OF_INDEX: Readonly<Record<keyof LibSQLIndexOptions, true>> = {
  ...SETTINGS,
  client: true,
  tracker: true,
};
const OF_ROW: Readonly<Record<keyof LibSQLRowOptions, true>> = {
  ...SETTINGS,
  client: true,
  dedicated: true,
  writer: true,
  table: true,
  node: true,
};

function knownOf(options: object): Readonly<Record<string, true>> {
  if ("info" in options) return OF_INFO;
  if ("walIndex" in options) return OF_WAL_INDEX;
  return "tracker" in options ? OF_INDEX : OF_ROW;
}

function checkPrimary(primary: LibSQLSettings["primary"]): void {
  if (primary === undefined || typeof primary === "function" || isPrimary(primary)) return;
  throw new TypeError(
    `Cannot create storage: \`primary\` must be such as { at: "here" }, or a function that returns it, received ${JSON.stringify(primary)}`,
  );
}

function flag(name: string, value: unknown): boolean {
  if (value === undefined || typeof value === "boolean") return value === true;
  throw new TypeError(
    `Cannot create storage: \`${name}\` must be true or false, received ${show(value)}`,
  );
}

/** Asks, and says what is told in a text. */
function told<T>(ask: () => MaybePromise<T>, text: (answer: T) => string): MaybePromise<string> {
  const unreadable = (): string => "unreadable";
  try {
    const answer = ask();
    return answer instanceof Promise ? answer.then(text, unreadable) : text(answer);
  } catch {
    return unreadable();
  }
}

function clientOf(name: string, client: LibSQLClient | (() => LibSQLClient)): () => LibSQLClient {
  if (typeof client === "function") return client;
  if (typeof client?.execute === "function") return () => client;
  throw new TypeError(
    `Cannot create storage: \`${name}\` must be a client of libSQL, received ${String(client)}`,
  );
}

function trackerOf(tracker: Tracker): Tracker {
  if (typeof tracker?.listen === "function") return tracker;
  throw new TypeError(
    `Cannot create storage: \`tracker\` must be what track() returns, received ${String(tracker)}`,
  );
}

function path(name: string, value: unknown): string {
  if (typeof value === "string" && value !== "") return value;
  throw new TypeError(
    `Cannot create storage: \`${name}\` must be the path of a file, received ${show(value)}`,
  );
}

function identifier(table: unknown): string {
  if (typeof table === "string" && /^(?!sqlite_)[A-Za-z_]\w{0,62}$/i.test(table)) return table;
  throw new RangeError(
    `Cannot create storage: \`table\` must be a plain identifier, received ${show(table)}`,
  );
}

function nodeName(node: unknown): string {
  if (typeof node === "string" && isNodeName(node)) return node;
  throw new RangeError(
    `Cannot create storage: \`node\` must be the name of a host, received ${show(node)}`,
  );
}

function duration(name: string, value: unknown, standard: number): number {
  if (value === undefined) return standard;
  if (typeof value === "number" && value > 0) return value;
  throw new RangeError(
    `Cannot create storage: \`${name}\` must be more than 0 milliseconds, received ${show(value)}`,
  );
}
