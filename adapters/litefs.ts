/**
 * The storage for a database that LiteFS replicates: positions and roles from the files of the mount and from the
 * events of LiteFS's HTTP API.
 *
 * @example
 * ```ts
 * import { litefs } from "@txid/proxy/litefs";
 *
 * const storage = litefs({ dir: "/litefs", db: "app.db" });
 * storage.close();
 * ```
 *
 * @module
 */
import { join } from "node:path";
import { checkNames, show } from "../src/check.ts";
import type { Clock } from "../src/clock.ts";
import type { MaybePromise, Position, Primary, Storage } from "../src/storage.ts";
import { createEventStream } from "./litefs/events.ts";
import { createPositionFile } from "./litefs/position.ts";
import { createRoleFiles } from "./litefs/role.ts";
import { steadyClock } from "./storage/clock.ts";
import { createHistory } from "./storage/history.ts";
import { spellPrimary } from "./storage/primary.ts";
import { createWatch } from "./storage/watch.ts";

/** What {@linkcode litefs} takes. */
export interface LiteFSOptions {
  /** The directory where LiteFS is mounted, `fuse.dir` in its configuration. */
  readonly dir: string;
  /** The name of the database, a plain file name. */
  readonly db: string;
  /**
   * The address of LiteFS's HTTP API, `http.addr` in its configuration. The role comes from its events; while it does
   * not answer, and always with `false`, the role comes from the files `.primary` and `.lag`.
   *
   * @default "http://127.0.0.1:20202"
   */
  readonly api?: string | URL | false | undefined;
  /**
   * Makes the request for the events.
   *
   * @default the runtime's
   */
  readonly fetch?: ((url: URL, init: RequestInit) => Promise<Response>) | undefined;
  /**
   * The time.
   *
   * @default the runtime's, in a form that never steps back
   */
  readonly clock?: Clock | undefined;
  /**
   * Gets what goes wrong behind an answer, once until it goes well again: the API does not answer, the role files
   * cannot be read; and what subscribers throw. Must not throw.
   */
  readonly onError?: ((error: unknown) => void) | undefined;
}

/** A database on LiteFS. */
export interface LiteFSStorage extends Storage {
  /**
   * Returns the TXID that this node has applied, or `undefined` when LiteFS knows no such database. One synchronous
   * read of an open file.
   *
   * @throws {Error} When LiteFS does not answer or its answer is not a position, or after `close()`.
   */
  position(): Position | undefined;
  /**
   * Returns the checksum of the database after a transaction, as far as this node has seen it happen: it follows the
   * events, and without them it knows the positions that were asked for.
   */
  historyAt(position: Position): string | undefined;
  /** Returns where writes run now. Only the first call and calls without the API can return a promise. */
  primary(): MaybePromise<Primary>;
  /**
   * Calls `changed` after each transaction of the database, each change of the role and when the events are lost. While
   * events come they are the signal, for LiteFS sends them after SQLite can see the transaction; the position is also
   * read every 25 ms, in case they stall. Without events it is read every 2 ms and the role every 100 ms. Nothing is
   * read while nobody subscribes.
   */
  subscribe(changed: () => void): () => void;
  /** Returns the lag in milliseconds, 0 when the primary's clock is ahead, `undefined` when LiteFS is not mounted. */
  lag(): number | undefined;
  /** Closes the file and the stream of events, and removes the subscribers; later calls do nothing. */
  close(): void;
}

/** How often the position is read for subscribers while events come, in milliseconds. */
const SAFETY_INTERVAL = 25;

/** How often the position is read for subscribers while there are no events, in milliseconds. */
const POLL_INTERVAL = 2;

/**
 * Creates the storage of one database on LiteFS. LiteFS need not be there yet, and may come and go: nothing is opened
 * before it is needed, and what fails is tried again. The first call of `primary()` or `subscribe()` connects to the
 * API, which keeps the process alive until `close()`.
 *
 * @param options Where LiteFS is and what the database is called.
 * @throws {TypeError} When an option has the wrong type.
 * @throws {RangeError} When `db` is not a plain file name, or `api` not an http(s) address.
 * @example
 * ```ts
 * import { litefs } from "@txid/proxy/litefs";
 *
 * const storage = litefs({ dir: "/litefs", db: "app.db", api: "http://127.0.0.1:20202" });
 * storage.close();
 * ```
 */
export function litefs(options: LiteFSOptions): LiteFSStorage {
  const { dir, db, clock = steadyClock, onError = () => {} } = options;
  checkNames(options, KNOWN, "", "storage");
  checkDirectory(dir);
  checkDatabase(db);
  const url = eventsUrl(options.api ?? "http://127.0.0.1:20202");
  const request = options.fetch ?? fetch;

  const history = createHistory();
  const file = createPositionFile(join(dir, `${db}-pos`), clock, history);
  const roleFiles = createRoleFiles(dir, clock, onError);
  const watch = createWatch(
    clock,
    {
      interval: () => (stream?.primary() === undefined ? POLL_INTERVAL : SAFETY_INTERVAL),
      begin: () => {
        seenPosition = peek();
        // Without events the role of this moment is unknown until it is read: the first look finds it and tells.
        seenRole = undefined;
      },
      look,
    },
    onError,
  );
  let seenPosition: Position | Error | undefined;
  let seenRole: string | undefined;
  let closed = false;

  const stream =
    url &&
    createEventStream(url, request, clock, {
      role: () => {
        // A new role often comes with a new mount or a database that was restored.
        file.doubt();
        watch.fire();
        watch.hurry();
      },
      transaction: (database, txid, checksum) => {
        if (database !== db) return;
        if (txid !== undefined && checksum !== undefined) history.passed(txid, checksum);
        // The file may be past the event, but it may also be a file that is no longer there.
        seenPosition = peek();
        if (seenPosition !== txid) file.doubt();
        watch.fire();
      },
      down: (last) => {
        file.doubt();
        // The role is not kept over the gap: the files know at once whether it still holds, and they might say no.
        if (last.at === "here") roleFiles.wasHere();
        watch.fire();
        watch.hurry();
      },
      error: onError,
    });

  function primary(): MaybePromise<Primary> {
    if (closed) throw new Error("Cannot read role: the storage is closed");
    stream?.start();
    const told = stream?.primary();
    if (told !== undefined) return told;
    const settled = stream?.settled();
    if (settled === undefined) return roleFiles.primary();
    return settled.then(() => stream?.primary() ?? roleFiles.primary());
  }

  /** Tells the subscribers when the position, or the role as the files have it, is another than at the last look. */
  function look(): void {
    const position = peek();
    const moved = !isSame(position, seenPosition);
    seenPosition = position;
    if (stream?.primary() === undefined) lookAtRole();
    if (moved) watch.fire();
  }

  function lookAtRole(): void {
    const role = roleFiles.primary();
    if (role instanceof Promise) void role.then(noteRole);
    else noteRole(role);
  }

  function noteRole(role: Primary): void {
    const text = spellPrimary(role);
    if (text === seenRole) return;
    seenRole = text;
    watch.fire();
  }

  function peek(): Position | Error | undefined {
    try {
      return file.read();
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    }
  }

  return {
    position: file.read,
    historyAt: history.checksum,
    primary,
    subscribe: (changed) => {
      if (closed) return () => {};
      stream?.start();
      return watch.subscribe(changed);
    },
    lag: () => (closed ? undefined : roleFiles.lag()),
    close: () => {
      closed = true;
      watch.close();
      stream?.close();
      file.close();
    },
  };
}

/** The names of the options. */
const KNOWN: Readonly<Record<keyof LiteFSOptions, true>> = {
  dir: true,
  db: true,
  api: true,
  fetch: true,
  clock: true,
  onError: true,
};

function isSame(a: Position | Error | undefined, b: Position | Error | undefined): boolean {
  return a === b || (a instanceof Error && b instanceof Error);
}

function checkDirectory(dir: unknown): void {
  if (typeof dir !== "string" || dir === "") {
    throw new TypeError(
      `Cannot create storage: \`dir\` must be the path of a directory, received ${show(dir)}`,
    );
  }
}

function checkDatabase(db: unknown): void {
  const message = `Cannot create storage: \`db\` must be a plain file name, received ${show(db)}`;
  if (typeof db !== "string") throw new TypeError(message);
  // LiteFS knows no subdirectories, and a slash would lead out of its mount.
  if (db === "" || db === "." || db === ".." || /[/\\\0]/.test(db)) throw new RangeError(message);
}

function eventsUrl(api: unknown): URL | undefined {
  if (api === false) return undefined;
  const message = `Cannot create storage: \`api\` must be an http(s) URL or false, received ${show(api)}`;
  if (typeof api !== "string" && !(api instanceof URL)) throw new TypeError(message);
  if (!URL.canParse(String(api))) throw new RangeError(message);
  const url = new URL(api);
  const isPlain =
    url.username === "" && url.password === "" && url.search === "" && url.hash === "";
  if ((url.protocol !== "http:" && url.protocol !== "https:") || !isPlain)
    throw new RangeError(message);
  return new URL(`${url.pathname.replace(/\/$/, "")}/events`, url);
}
