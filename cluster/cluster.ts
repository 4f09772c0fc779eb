import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { wallClock } from "./wall-clock.ts";
import type { Clock } from "../src/clock.ts";
import { createNotes, notesSchema } from "./app.ts";
import type { App, AppContext } from "./app.ts";
import { createControl } from "./control.ts";
import { createEdge } from "./edge.ts";
import type { Edge, EdgeNode, EdgeOptions } from "./edge.ts";
import { freePort } from "./ports.ts";
import type { Listener } from "./listen.ts";
import { createNetwork } from "./network.ts";
import type { Network } from "./network.ts";
import { createNode } from "./node.ts";
import type { ClusterNode } from "./node.ts";
import type { Statement } from "./sql.ts";

/** What stands in front of one node's app: the proxy. */
export interface Front {
  /** Its origin. */
  readonly url: string;
  /** Ends it. */
  close(): Promise<void>;
}

/** What a cluster is made of; everything has a default. */
export interface ClusterOptions {
  /** The nodes' names. The first one becomes the primary. @default n1, n2, n3 */
  readonly names?: readonly string[] | undefined;
  /** How long a transaction travels, in milliseconds. @default 0 */
  readonly lag?: number | undefined;
  /** How often an idle primary tells that it lives, in milliseconds. @default 1000 */
  readonly heartbeat?: number | undefined;
  /** Makes a node's app. @default the notes app */
  readonly app?: ((context: AppContext) => App) | undefined;
  /** What the app needs in an empty database. @default what the notes app needs */
  readonly schema?: readonly Statement[] | undefined;
  /**
   * Starts the proxy in front of a node, at a port of 127.0.0.1 that the other nodes know: the two are the node's
   * hostname. Left out: requests go to the app, and the node is called by its name.
   */
  readonly front?: ((node: ClusterNode, port: number) => Promise<Front>) | undefined;
  /** Settings of the edge; false: there is none, and clients speak to the nodes. */
  readonly edge?: Omit<EdgeOptions, "nodes"> | false | undefined;
  /** What `X-Runtime` says. @default "" */
  readonly runtime?: string | undefined;
  /** The time. @default the runtime's */
  readonly clock?: Clock | undefined;
  /** Takes what goes wrong while a node is fed. */
  readonly onError?: ((error: unknown, node: string) => void) | undefined;
}

/** A cluster in this process. */
export interface Cluster {
  /** The origin of the edge; without one, of the first node. */
  readonly url: string;
  /** The origin of the control API. */
  readonly controlUrl: string;
  /** The edge; undefined: there is none. */
  readonly edge: Edge | undefined;
  /** The network between the nodes. */
  readonly network: Network;
  /** Returns where clients go now: the origin of the edge, or those of all nodes that are up. */
  urls(): readonly string[];
  /** Returns the names of the nodes that are up. */
  names(): readonly string[];
  /**
   * Returns a running node.
   *
   * @throws {RangeError} When there is none of that name, or it is down.
   */
  node(name: string): ClusterNode;
  /** Ends a node as a crash does; its database file stays. */
  crash(name: string): Promise<void>;
  /** Starts a node again, at the same addresses. */
  restart(name: string): Promise<void>;
  /** Ends everything and removes the files. */
  close(): Promise<void>;
}

/** What a node has again after a crash. */
interface Place {
  readonly name: string;
  readonly root: string;
  readonly port: number;
  readonly apiPort: number;
  readonly frontPort: number;
}

/** A node that is up, and what stands in front of its app. */
interface Running {
  readonly node: ClusterNode;
  readonly front: Front | undefined;
}

/**
 * Starts a cluster in this process: nodes that look like machines with LiteFS, the network between them, and an edge in
 * front. It stands in for LiteFS on Fly.io; nothing in it is LiteFS.
 */
export async function createCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const { clock = wallClock, names = ["n1", "n2", "n3"] } = options;
  const root = mkdtempSync(join(tmpdir(), "cluster-"));
  const network = createNetwork({
    heartbeat: options.heartbeat,
    clock,
    onError: options.onError,
  });
  const places = new Map<string, Place>();
  const up = new Map<string, Running>();

  async function start(place: Place): Promise<void> {
    const node = await createNode({
      ...place,
      hostname: options.front === undefined ? place.name : `127.0.0.1:${place.frontPort}`,
      app: options.app ?? createNotes,
      schema: options.schema ?? notesSchema,
      committed: (transaction) => network.committed(place.name, transaction),
      promote: () => {
        network.failover(place.name).catch((error: unknown) => {
          options.onError?.(error, place.name);
        });
      },
      runtime: options.runtime,
      clock,
    });
    places.set(place.name, place);
    try {
      await network.add(node);
      up.set(place.name, { node, front: await options.front?.(node, place.frontPort) });
    } catch (error) {
      await node.close();
      throw error;
    }
  }

  function running(name: string): Running {
    const found = up.get(name);
    if (found === undefined) {
      throw new RangeError(`Cannot find a running node "${name}"`);
    }
    return found;
  }

  async function crash(name: string): Promise<void> {
    const { node, front } = running(name);
    up.delete(name);
    await front?.close();
    await node.close();
    await network.remove(name);
  }

  async function restart(name: string): Promise<void> {
    const place = places.get(name);
    if (place === undefined || up.has(name)) {
      throw new RangeError(`Cannot restart "${name}": it is no node that is down`);
    }
    await start(place);
  }

  function nodes(): EdgeNode[] {
    return [...up].map(([name, { node, front }]) => {
      return { name, hostname: node.hostname, url: (front ?? node).url };
    });
  }

  let edge: Edge | undefined;
  let control: Listener | undefined;

  async function close(): Promise<void> {
    await control?.close();
    await edge?.close();
    await network.close();
    for (const { node, front } of up.values()) {
      await front?.close();
      await node.close();
    }
    rmSync(root, { recursive: true, force: true });
  }

  try {
    for (const name of names) {
      await start(await placeFor(name, root));
    }
    // Every node begins with the app's tables, however long later transactions take.
    await network.settled();
    network.setLag(options.lag ?? 0);
    if (options.edge !== false) edge = await createEdge({ clock, ...options.edge, nodes });
    control = await createControl({ network, crash, restart });
  } catch (error) {
    await close();
    throw error;
  }

  const urls = (): string[] => (edge === undefined ? nodes().map(({ url }) => url) : [edge.url]);
  return {
    url: urls()[0] ?? "",
    controlUrl: control.url,
    edge,
    network,
    urls,
    names: () => [...up.keys()],
    node: (name) => running(name).node,
    crash,
    restart,
    close,
  };
}

async function placeFor(name: string, directory: string): Promise<Place> {
  const root = join(directory, name);
  mkdirSync(root);
  const [port, apiPort, frontPort] = [await freePort(), await freePort(), await freePort()];
  return { name, root, port, apiPort, frontPort };
}
