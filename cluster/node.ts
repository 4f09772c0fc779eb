import { join } from "node:path";
import { wallClock } from "./wall-clock.ts";
import type { Clock } from "../src/clock.ts";
import type { App, AppContext } from "./app.ts";
import type { Transaction } from "./database.ts";
import { listen, listenFor } from "./listen.ts";
import type { Member } from "./member.ts";
import { createApi } from "./node/api.ts";
import { createMount } from "./node/mount.ts";
import { openStore } from "./node/store.ts";
import type { Statement } from "./sql.ts";

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

/**
 * Starts a node: its directory with the files of a LiteFS mount, the LiteFS API, and the app. It is a replica without
 * a primary until it is told otherwise.
 *
 * @throws {Error} When a port or the directory cannot be had.
 */
export async function createNode(options: NodeOptions): Promise<ClusterNode> {
  const { name, hostname = name, root, database = "app.db", clock = wallClock } = options;
  const { runtime = "", schema, committed, promote } = options;
  const mount = createMount(root, database);
  const store = await openStore({ mount, databaseName: database, schema, committed, clock });
  const { read, write, subscribe, lead, follow, position, apply } = store;
  const { install, snapshot, heartbeat } = store;
  const path = join(root, "data");
  const api = await listen(createApi({ name, hostname, path, store, promote }), options.apiPort);
  const context = { node: name, runtime, read, write, position: store.point, subscribe };
  const app = await listenFor(options.app(context), options.port);

  return {
    name,
    hostname,
    directory: mount.directory,
    url: app.url,
    port: app.port,
    apiUrl: api.url,
    apiPort: api.port,
    lead,
    follow,
    position,
    apply,
    install,
    snapshot,
    heartbeat,
    async close() {
      await Promise.all([app.close(), api.close()]);
      await store.close();
    },
  };
}
