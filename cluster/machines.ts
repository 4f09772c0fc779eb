import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { EdgeNode } from "./edge.ts";
import { freePort } from "./ports.ts";
import { inTime, startTimeout } from "./in-time.ts";
import { createNetwork } from "./network.ts";
import type { Network } from "./network.ts";
import { start } from "./processes.ts";
import type { Started } from "./processes.ts";
import { runtimeInTurn } from "./runtime.ts";
import type { Runtime } from "./runtime.ts";
import { sleep } from "./sleep.ts";
import { createMemberWire } from "./wire.ts";
import type { Ready } from "./wire.ts";

/** What machines are made of. */
export interface MachinesOptions {
  /** How many there are. */
  readonly nodes: number;
  /** The program that is the proxy, a path in this checkout. */
  readonly proxy: string;
  /** The directory of their files. */
  readonly root: string;
  /** Takes a line of what goes wrong while they run. */
  readonly tell: (line: string) => void;
  /** Tells whether everything ends, so that the end of a process is no news. */
  readonly isEnding: () => boolean;
}

/** One node and its proxy, in processes of their own. */
export interface Machine {
  /** The node's name. */
  readonly name: string;
  /** What both run on. */
  readonly runtime: Runtime;
  /** What the other nodes call it: its proxy's address. */
  readonly hostname: string;
  /** The proxy's origin. */
  readonly url: string;
  /** What the node has told about itself; undefined until it was up for the first time. */
  readonly ready: Ready | undefined;
  /** The node's process. */
  readonly node: Started | undefined;
  /** The proxy's process. */
  readonly proxy: Started | undefined;
  /** Whether both run. */
  readonly isUp: boolean;
}

/** A cluster of processes. */
export interface Machines {
  /** The network between the nodes. */
  readonly network: Network;
  /** All of them, in order. */
  readonly all: readonly Machine[];
  /** Returns those that are up. */
  up(): readonly Machine[];
  /** Returns the nodes that are up as an edge reaches them. */
  edgeNodes(): readonly EdgeNode[];
  /** Kills a node and its proxy. */
  crash(name: string): Promise<void>;
  /** Starts them again, at the same addresses. */
  restart(name: string): Promise<void>;
  /** Tells whether no process has ended by itself. */
  isComplete(): boolean;
}

type Place = { -readonly [Key in keyof Machine]: Machine[Key] } & {
  readonly root: string;
  readonly port: number;
  readonly apiPort: number;
};

/**
 * Starts nodes as processes, on Node, Bun and Deno in turn, each behind the proxy. The first one becomes the primary.
 *
 * Nothing resolves a node's name here, as Fly.io's private network does, and the proxies share one address. So a node is
 * called by its proxy's address, which any proxy can make the primary's URL of: `--primary-url http://{hostname}`.
 */
export async function startMachines(options: MachinesOptions): Promise<Machines> {
  const { tell, isEnding } = options;
  const places = await planPlaces(options.nodes, options.root);
  const network = createNetwork({ onError: (error, name) => tell(`${name}: ${String(error)}`) });
  let isComplete = true;

  function take(place: Place): void {
    const { node, proxy } = place;
    place.isUp = true;
    // A process that ends by itself takes its machine with it.
    for (const part of [node, proxy]) {
      void part?.ended.then(async () => {
        if (!isEnding() && place.isUp && (part === place.node || part === place.proxy)) {
          isComplete = false;
          tell(`${place.name} has ended: ${part.errors() || "it said nothing"}`);
          await crash(place.name);
        }
      });
    }
  }

  async function open(place: Place): Promise<void> {
    const { name } = place;
    place.node = await startNode(place);
    const wire = createMemberWire(place, place.node.output, place.node.input, {
      committed: (transaction) => network.committed(name, transaction),
      promote: () => void network.failover(name).catch((error: unknown) => tell(String(error))),
    });
    const ready = await inTime(wire.ready, place.node, `${name} on ${place.runtime}`);
    place.ready = ready;
    await network.add(wire.member);
    place.proxy = await startProxy(place, ready, options.proxy);
    place.proxy.output.resume();
    const what = `the proxy of ${name} on ${place.runtime}`;
    await inTime(answers(place.url), place.proxy, what);
    take(place);
  }

  function placeOf(name: string, isUp: boolean): Place {
    const place = places.find((one) => one.name === name);
    if (place === undefined || place.isUp !== isUp) {
      throw new RangeError(`Cannot find a node "${name}" that is ${isUp ? "up" : "down"}`);
    }
    return place;
  }

  async function crash(name: string): Promise<void> {
    const place = placeOf(name, true);
    place.isUp = false;
    await Promise.all([place.proxy?.stop(0), place.node?.stop(0)]);
    await network.remove(name);
  }

  const [leader, ...others] = places;
  await (leader && open(leader));
  await Promise.all(others.map(open));
  await network.settled();

  const up = (): Place[] => places.filter((place) => place.isUp);
  return {
    network,
    all: places,
    up,
    edgeNodes: () => up().map(({ name, hostname, url }) => ({ name, hostname, url })),
    crash,
    restart: (name) => open(placeOf(name, false)),
    isComplete: () => isComplete,
  };
}

/** Gives each node a name, a runtime, a directory and addresses, which a restart has again. */
async function planPlaces(nodes: number, directory: string): Promise<Place[]> {
  const places: Place[] = [];
  for (let index = 0; index < nodes; index += 1) {
    const name = `n${index + 1}`;
    const root = join(directory, name);
    mkdirSync(root);
    const hostname = `127.0.0.1:${await freePort()}`;
    places.push({
      name,
      runtime: runtimeInTurn(index),
      hostname,
      url: `http://${hostname}`,
      root,
      port: await freePort(),
      apiPort: await freePort(),
      ready: undefined,
      node: undefined,
      proxy: undefined,
      isUp: false,
    });
  }
  return places;
}

function startNode({ name, hostname, root, port, apiPort, runtime }: Place): Promise<Started> {
  const args = Object.entries({
    "--name": name,
    "--hostname": hostname,
    "--root": root,
    "--port": `${port}`,
    "--api-port": `${apiPort}`,
  }).flat();
  return start(runtime, "cluster/child.ts", args, root);
}

function startProxy(
  { hostname, runtime, root }: Place,
  ready: Ready,
  program: string,
): Promise<Started> {
  const args = Object.entries({
    "--addr": hostname,
    "--target": `127.0.0.1:${ready.port}`,
    "--db": "app.db",
    "--dir": ready.directory,
    "--api": ready.apiUrl,
    "--primary-url": "http://{hostname}",
  }).flat();
  return start(runtime, program, args, root);
}

async function answers(url: string): Promise<void> {
  const end = Date.now() + startTimeout;
  for (;;) {
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(2000) });
      await response.text();
      return;
    } catch (error) {
      if (Date.now() > end) {
        throw error;
      }
    }
    await sleep(25);
  }
}
