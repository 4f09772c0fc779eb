/**
 * `npm start`: a cluster of processes on this machine, one node each on Node, Bun and Deno, each behind the real proxy,
 * and clients that look for reads that are out of date, without the proxy and with it.
 *
 * @module
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { checkSessions, hasKept, sessionTable } from "../test/session.ts";
import type { SessionReport } from "../test/session.ts";
import { createControl } from "./control.ts";
import { createEdge } from "./edge.ts";
import type { EdgeNode } from "./edge.ts";
import { freePort } from "./listen.ts";
import { createNetwork } from "./network.ts";
import { start, stopAll } from "./processes.ts";
import type { Runtime, Started } from "./processes.ts";
import { createMemberWire } from "./wire.ts";
import type { Ready } from "./wire.ts";

const runtimes: readonly Runtime[] = ["node", "bun", "deno"];

// How long a process may take to start, and to end before it is killed, in milliseconds.
const startTimeout = 20_000;
const stopTimeout = 3000;

const usage = `Usage: npm start -- [options]

Starts a stand-in for a LiteFS cluster on this machine, with the proxy in front of each node, looks for reads that are
out of date without the proxy and with it, and stays up to be played with.

  --nodes N      how many nodes, on Node, Bun and Deno in turn (3)
  --lag MS       how long a transaction takes to the replicas, in milliseconds (150)
  --clients N    how many clients (16)
  --seconds N    how long they look, each time (4)
  --proxy FILE   the program that is the proxy, a path in this checkout (proxy.ts)
  --once         end after that: 0 when the proxy kept its word, 1 when it did not
  --help         this text
`;

interface Settings {
  readonly nodes: number;
  readonly lag: number;
  readonly clients: number;
  readonly seconds: number;
  readonly proxy: string;
  readonly isOnce: boolean;
}

interface Place {
  readonly name: string;
  readonly runtime: Runtime;
  readonly root: string;
  readonly port: number;
  readonly apiPort: number;
  readonly proxyPort: number;
  ready: Ready | undefined;
  node: Started | undefined;
  proxy: Started | undefined;
  isUp: boolean;
}

function readSettings(): Settings | undefined {
  const { values } = parseArgs({
    options: {
      nodes: { type: "string", default: "3" },
      lag: { type: "string", default: "150" },
      clients: { type: "string", default: "16" },
      seconds: { type: "string", default: "4" },
      proxy: { type: "string", default: "proxy.ts" },
      once: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    return undefined;
  }
  return {
    nodes: numberOf("nodes", values.nodes, 1),
    lag: numberOf("lag", values.lag, 0),
    clients: numberOf("clients", values.clients, 1),
    seconds: numberOf("seconds", values.seconds, 0.1),
    proxy: values.proxy,
    isOnce: values.once,
  };
}

function numberOf(name: string, text: string, least: number): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= least) || value === Infinity) {
    throw new RangeError(`--${name}: "${text}" is not a number from ${least} up`);
  }
  return value;
}

let isEnding = false;

function print(text: string): void {
  // What breaks while everything ends is no news.
  if (!isEnding) {
    process.stdout.write(text);
  }
}

async function run(settings: Settings, root: string): Promise<boolean> {
  const places: Place[] = [];
  let isComplete = true;
  const network = createNetwork({ onError: (error, name) => print(`${name}: ${String(error)}\n`) });

  function take(place: Place): void {
    const { node, proxy } = place;
    place.isUp = true;
    // A process that ends by itself takes its machine with it.
    for (const part of [node, proxy]) {
      void part?.ended.then(async () => {
        if (!isEnding && place.isUp && (part === place.node || part === place.proxy)) {
          isComplete = false;
          print(`${place.name} has ended: ${part.errors() || "it said nothing"}\n`);
          await crash(place.name);
        }
      });
    }
  }

  async function open(place: Place): Promise<void> {
    const { name } = place;
    const { port, apiPort } = place;
    const args = [
      "--name",
      name,
      "--root",
      place.root,
      "--port",
      `${port}`,
      "--api-port",
      `${apiPort}`,
    ];
    const node = await start(place.runtime, "cluster/child.ts", args, place.root);
    place.node = node;
    const wire = createMemberWire(name, node.output, node.input, {
      committed: (transaction) => network.committed(name, transaction),
      promote: () =>
        void network.failover(name).catch((error: unknown) => print(`${String(error)}\n`)),
    });
    const ready = await inTime(wire.ready, node, `${name} on ${place.runtime}`);
    place.ready = ready;
    await network.add(wire.member);
    place.proxy = await openProxy(place, ready);
    take(place);
  }

  async function openProxy(place: Place, ready: Ready): Promise<Started> {
    const proxy = await start(
      place.runtime,
      settings.proxy,
      Object.entries({
        "--addr": `127.0.0.1:${place.proxyPort}`,
        "--target": `127.0.0.1:${ready.port}`,
        "--db": "app.db",
        "--dir": ready.directory,
        "--api": ready.apiUrl,
      }).flat(),
      place.root,
    );
    place.proxy = proxy;
    proxy.output.resume();
    await inTime(answers(proxyUrl(place)), proxy, `the proxy of ${place.name} on ${place.runtime}`);
    return proxy;
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

  for (let index = 0; index < settings.nodes; index += 1) {
    const name = `n${index + 1}`;
    const directory = join(root, name);
    mkdirSync(directory);
    const place: Place = {
      name,
      runtime: runtimes[index % runtimes.length] ?? "node",
      root: directory,
      port: await freePort(),
      apiPort: await freePort(),
      proxyPort: await freePort(),
      ready: undefined,
      node: undefined,
      proxy: undefined,
      isUp: false,
    };
    places.push(place);
  }
  const [leader, ...others] = places;
  await (leader && open(leader));
  await Promise.all(others.map(open));
  await network.settled();
  network.setLag(settings.lag);

  function up(url: (place: Place) => string): EdgeNode[] {
    return places.flatMap((place) => (place.isUp ? { name: place.name, url: url(place) } : []));
  }

  const naive = await createEdge({
    nodes: () => up((place) => place.ready?.url ?? ""),
    choose: (method, nodes) =>
      method === "GET" || method === "HEAD"
        ? nodes[Math.floor(Math.random() * nodes.length)]
        : nodes.find((node) => node.name === network.primary()),
    keepAlive: true,
  });
  const edge = await createEdge({ nodes: () => up(proxyUrl), keepAlive: true });
  const control = await createControl({
    network,
    crash,
    restart: (name) => open(placeOf(name, false)),
  });

  print(describePlaces(places, network.primary()));
  const { clients, seconds, lag } = settings;
  print(
    `\n${clients} clients write and read for ${seconds} s, ${lag} ms of lag, first without the proxy …\n`,
  );
  const check = (url: string): Promise<SessionReport> =>
    checkSessions({ urls: [url], clients, duration: seconds * 1000 });
  const without = await check(naive.url);
  print("… and now through it …\n\n");
  const through = await check(edge.url);
  print(
    sessionTable([
      ["without the proxy", without],
      ["through the proxy", through],
    ]),
  );
  await naive.close();

  const kept = isComplete && hasKept(through);
  print(kept ? "" : through.examples.map((example) => `  ${example}\n`).join(""));
  if (!settings.isOnce) {
    print(
      invitation({
        edge: edge.url,
        control: control.url,
        names: places.map(({ name }) => name),
        jar: join(root, "cookies"),
      }),
    );
    await new Promise(() => undefined);
  }
  return kept;
}

function proxyUrl(place: Place): string {
  return `http://127.0.0.1:${place.proxyPort}`;
}

function describePlaces(places: readonly Place[], primary: string | undefined): string {
  const lines = places.map((place) => {
    const { name, ready, node, proxy } = place;
    const role = name === primary ? "primary" : "replica";
    return `  ${name}  ${ready?.runtime}  ${role}  app ${ready?.url} (pid ${node?.pid})  proxy ${proxyUrl(place)} (pid ${proxy?.pid})\n`;
  });
  return `A stand-in for a LiteFS cluster, with real SQLite files and the real proxy:\n${lines.join("")}`;
}

function invitation(at: {
  edge: string;
  control: string;
  names: readonly string[];
  jar: string;
}): string {
  const { edge, control, names, jar } = at;
  const other = names[1] ?? names[0];
  return `
The cluster stays up until Ctrl-C. To try, in another terminal:

  # make replication slow, write through the edge, and read at once from every node: replicas do not have it yet
  curl -s -X PUT ${control}/lag/2000
  curl -s -c ${jar} -X PUT -d hello ${edge}/kv/greeting
  for node in ${names.join(" ")}; do curl -s -H "fly-force-instance-id: $node" ${edge}/kv/greeting; echo " from $node"; done

  # the same with the cookie that came with the write: the proxy waits for it
  curl -s -c ${jar} -X PUT -d "hello again" ${edge}/kv/greeting
  for node in ${names.join(" ")}; do curl -s -b ${jar} -H "fly-force-instance-id: $node" ${edge}/kv/greeting; echo " from $node"; done

  # see the nodes, make another one the primary, lose it and get it back
  curl -s ${control}/
  curl -s -X PUT ${control}/failover/${other}
  curl -s -X PUT ${control}/crash/${other}
  curl -s -X PUT ${control}/restart/${other}

  # and more: PUT /lag/MS/NODE, /partition/NODE, /heal, /failover/NODE/lose, /snapshot, /restore
`;
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
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

async function inTime<T>(work: Promise<T>, process: Started, what: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    const fail = (why: string): void => {
      const said = process.errors();
      reject(new Error(`Cannot start ${what}: ${why}${said === "" ? "" : `\n${said}`}`));
    };
    timer = setTimeout(() => fail("it takes too long"), startTimeout);
    void process.ended.then(() => fail("it has ended"));
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function main(): Promise<number> {
  const settings = readSettings();
  if (settings === undefined) {
    print(usage);
    return 0;
  }
  const root = mkdtempSync(join(tmpdir(), "txid-cluster-"));
  process.on("exit", () => rmSync(root, { recursive: true, force: true }));
  const signalled = new Promise<number>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
      // Once to end in order, twice to end at once.
      process.on(signal, () => (isEnding ? process.exit(1) : resolve(0)));
    }
    // A shell between npm and this process dies of a signal without passing it on.
    const parent = process.ppid;
    setInterval(() => (process.ppid === parent ? undefined : resolve(0)), 250).unref();
  });
  try {
    const worked = run(settings, root).then((kept) => (kept ? 0 : 1));
    return await Promise.race([worked, signalled]);
  } finally {
    isEnding = true;
    await stopAll(stopTimeout);
  }
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(error instanceof RangeError || error instanceof TypeError ? 2 : 1);
  },
);
