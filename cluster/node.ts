import { getRequestListener } from "@hono/node-server";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import {
  closeSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import { wallClock } from "./wall-clock.ts";
import type { Clock } from "../src/clock.ts";
import type { App, AppContext } from "./app.ts";
import { openDatabase } from "./database.ts";
import type { Statement, Transaction } from "./database.ts";
import {
  infoText,
  initEvent,
  lagText,
  notReady,
  origin,
  positionText,
  primaryChangeEvent,
  txEvent,
} from "./format.ts";
import type { Point, Role } from "./format.ts";
import { listen } from "./listen.ts";
import type { Member } from "./member.ts";
import { createQueue } from "./queue.ts";

/** What a node is made of. */
export interface NodeOptions {
  /** The node's name. */
  readonly name: string;
  /** What the other nodes call it: LiteFS's `lease.hostname`. @default the name */
  readonly hostname?: string | undefined;
  /** A directory of the node's own; `litefs` in it stands in for the mount. */
  readonly root: string;
  /** Makes the app. */
  readonly app: (context: AppContext) => App;
  /** What the first primary runs in the empty database, as an app's migration does. */
  readonly schema: readonly Statement[];
  /** Takes each transaction that this node commits as the primary. */
  readonly committed: (transaction: Transaction) => void;
  /** Takes the wish to become the primary (`POST /promote`). */
  readonly promote: () => void;
  /** The database's name. @default "app.db" */
  readonly database?: string | undefined;
  /** What `X-Runtime` says. @default "" */
  readonly runtime?: string | undefined;
  /** The app's port. @default 0, a free one */
  readonly port?: number | undefined;
  /** The port of the LiteFS API. @default 0, a free one */
  readonly apiPort?: number | undefined;
  /** The time. @default the runtime's */
  readonly clock?: Clock | undefined;
}

/** A stand-in for one machine with LiteFS and an app on it. */
export interface ClusterNode extends Member {
  /** The directory that stands in for LiteFS's mount. */
  readonly directory: string;
  /** The app's origin. */
  readonly url: string;
  /** The app's port. */
  readonly port: number;
  /** The origin of the LiteFS API. */
  readonly apiUrl: string;
  /** The port of the LiteFS API. */
  readonly apiPort: number;
  /** Ends the node as a crash does: connections break, and the mount's own files are gone. */
  close(): Promise<void>;
}

/** The name of every cluster here, as `Litefs-Cluster-Id` gives it. */
const clusterId = "LFSC0000000000000001";

// LiteFS computes `.lag` when it is read; a file has to be written again.
const lagInterval = 250;

/**
 * Starts a node: its directory with the files of a LiteFS mount, the LiteFS API, and the app. It is a replica without
 * a primary until it is told otherwise.
 *
 * @throws {Error} When a port or the directory cannot be had.
 */
export async function createNode(options: NodeOptions): Promise<ClusterNode> {
  const { name, hostname = name, root, clock = wallClock } = options;
  const databaseName = options.database ?? "app.db";
  const directory = join(root, "litefs");
  mkdirSync(directory, { recursive: true });
  const database = await openDatabase(join(directory, databaseName));
  const positionPath = join(directory, `${databaseName}-pos`);
  const events = new Set<ServerResponse>();
  const listeners = new Set<(point: Point) => void>();
  // Everything that moves the position or the role goes through here, one at a time.
  const exclusive = createQueue();
  let positionFile: number | undefined;
  let role: Role = { isPrimary: false };
  let heard: number | undefined;
  let lagTimer: unknown;

  function lag(): number {
    if (role.isPrimary) {
      return 0;
    }
    return heard === undefined ? notReady : clock.now() - heard;
  }

  // Whoever reads a file by opening it must find the old content or the new one, never none.
  function replaceFile(file: string, content: string): void {
    const fresh = join(root, `${file}.new`);
    writeFileSync(fresh, content);
    renameSync(fresh, join(directory, file));
  }

  function removeFiles(): void {
    for (const file of [`${databaseName}-pos`, ".primary", ".lag"]) {
      rmSync(join(directory, file), { force: true });
    }
  }

  function writeLag(): void {
    replaceFile(".lag", lagText(lag()));
  }

  function tick(): void {
    writeLag();
    lagTimer = clock.setTimeout(tick, lagInterval);
  }

  // In place, since readers hold the file open and read it at offset 0.
  function writePosition(): void {
    positionFile ??= openSync(positionPath, "w+");
    // As bytes: Deno 2.9 ignores the offset beside a text and writes at the file's end.
    const bytes = Buffer.from(positionText(database.position()));
    writeSync(positionFile, bytes, 0, bytes.length, 0);
  }

  function emit(line: string): void {
    for (const response of events) {
      response.write(line);
    }
  }

  async function moved(time: number): Promise<void> {
    const point = database.position();
    const pages = await database.pages();
    writePosition();
    emit(txEvent(databaseName, { ...point, time, pages }));
    for (const listener of listeners) {
      listener(point);
    }
  }

  async function commit(statements: readonly Statement[]): Promise<void> {
    const transaction = await database.commit(statements, clock.now());
    await moved(transaction.time);
    options.committed(transaction);
  }

  function changeRole(next: Role): void {
    role = next;
    if (role.hostname === undefined) {
      rmSync(join(directory, ".primary"), { force: true });
    } else {
      replaceFile(".primary", `${role.hostname}\n`);
    }
    writeLag();
    emit(primaryChangeEvent(role));
  }

  const context: AppContext = {
    node: name,
    runtime: options.runtime ?? "",
    read: (sql, args) => database.read(sql, args),
    write: (statements) =>
      exclusive(() => (role.isPrimary ? commit(statements) : database.refuse(statements))),
    position: () => database.position(),
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };

  function metrics(): string {
    const txid = BigInt(`0x${database.position().txid}`);
    return [
      `litefs_db_count 1`,
      `litefs_db_txid{db="${databaseName}"} ${Number(txid)}`,
      `litefs_is_primary ${role.isPrimary ? 1 : 0}`,
      `litefs_lag_seconds ${lag() / 1000}`,
      "",
    ].join("\n");
  }

  function variables(): string {
    const { txid, checksum } = database.position();
    const dbs = { [databaseName]: { name: databaseName, txid, checksum, locks: {} } };
    const store = { isPrimary: role.isPrimary, candidate: true, dbs };
    return `{\n"cmdline": ["litefs","mount"],\n"store": ${JSON.stringify(store)}\n}\n`;
  }

  function stream(response: ServerResponse): void {
    response.writeHead(200, { "Content-Type": "application/json" });
    response.write(initEvent(role));
    events.add(response);
    response.once("close", () => events.delete(response));
  }

  function answerApi(request: IncomingMessage, response: ServerResponse): void {
    const path = new URL(request.url ?? "/", "http://localhost").pathname;
    const wanted = apiMethods[path];
    response.setHeader("Litefs-Id", nodeId(name));
    response.setHeader("Litefs-Cluster-Id", clusterId);
    if (wanted === undefined || wanted !== request.method) {
      const status = wanted === undefined ? 404 : 405;
      const text = wanted === undefined ? "404 page not found\n" : "method not allowed\n";
      response.writeHead(status, {
        "Content-Type": plainText,
        "X-Content-Type-Options": "nosniff",
      });
      response.end(text);
      return;
    }
    if (path === "/events") {
      stream(response);
      return;
    }
    if (path === "/promote") {
      options.promote();
      response.writeHead(200, { "Content-Length": "0" }).end();
      return;
    }
    if (path === "/info") {
      const { isPrimary } = role;
      const info = {
        clusterID: clusterId,
        isPrimary,
        candidate: true,
        path: join(root, "data"),
        hostname: isPrimary ? hostname : (role.hostname ?? ""),
      };
      response.writeHead(200, { "Content-Type": plainText }).end(infoText(info));
      return;
    }
    const isMetrics = path === "/metrics";
    const type = isMetrics
      ? "text/plain; version=0.0.4; charset=utf-8"
      : "application/json; charset=utf-8";
    response.writeHead(200, { "Content-Type": type });
    response.end(isMetrics ? metrics() : variables());
  }

  // What a process that was killed has left behind.
  removeFiles();
  if (database.position().txid !== origin.txid) {
    writePosition();
  }
  tick();
  const api = await listen(answerApi, options.apiPort);
  const answerApp = getRequestListener(options.app(context), {
    // Global objects belong to the whole process, and a proxy may be in it.
    overrideGlobalObjects: false,
  });
  const app = await listen((request, response) => void answerApp(request, response), options.port);

  return {
    name,
    hostname,
    directory,
    url: app.url,
    port: app.port,
    apiUrl: api.url,
    apiPort: api.port,
    lead: () =>
      exclusive(async () => {
        changeRole({ isPrimary: true });
        if (database.position().txid === origin.txid && options.schema.length > 0) {
          await commit(options.schema);
        }
        return database.position();
      }),
    follow: (primary) =>
      exclusive(async () => {
        if (role.isPrimary) {
          heard = undefined;
        }
        changeRole({ isPrimary: false, ...(primary === undefined ? {} : { hostname: primary }) });
        return database.position();
      }),
    position: () => exclusive(async () => database.position()),
    apply: (transactions) =>
      exclusive(async () => {
        for (const transaction of transactions) {
          await database.apply(transaction);
          heard = transaction.time;
          await moved(transaction.time);
        }
        writeLag();
      }),
    install: (snapshot) =>
      exclusive(async () => {
        await database.install(snapshot);
        heard = snapshot.time;
        await moved(snapshot.time);
        writeLag();
      }),
    snapshot: () => exclusive(() => database.snapshot()),
    heartbeat: (time) =>
      exclusive(async () => {
        heard = time;
        writeLag();
      }),
    async close() {
      clock.clearTimeout(lagTimer);
      await Promise.all([app.close(), api.close()]);
      await exclusive(async () => {
        database.close();
        if (positionFile !== undefined) {
          closeSync(positionFile);
        }
        removeFiles();
      });
    },
  };
}

const plainText = "text/plain; charset=utf-8";

const apiMethods: Readonly<Record<string, string>> = {
  "/info": "GET",
  "/events": "GET",
  "/metrics": "GET",
  "/debug/vars": "GET",
  "/promote": "POST",
};

function nodeId(name: string): string {
  return createHash("sha256").update(name).digest("hex").slice(0, 16).toUpperCase();
}
