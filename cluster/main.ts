/**
 * `npm start`: a cluster of processes on this machine, one node each on Node, Bun and Deno, each behind the real proxy,
 * and clients that look for reads that are out of date, without the proxy and with it. `npm start -- --libsql`: the same
 * with embedded replicas of libSQL and no proxy, for the apps are consistent by themselves.
 *
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sendWritesTo } from "./notes-client.ts";
import { checkSessions, hasKept, sessionTable } from "./session.ts";
import type { SessionOptions, SessionReport } from "./session.ts";
import { createControl } from "./control.ts";
import { createEdge } from "./edge.ts";
import { showForwarding } from "./forwarding.ts";
import { showLibsql } from "./libsql/demo.ts";
import { startMachines } from "./machines.ts";
import type { Machines } from "./machines.ts";
import { stopAll } from "./processes.ts";
import { readSettings, usage } from "./settings.ts";
import type { Settings } from "./settings.ts";
import { describeUpheaval, hasHeld, shake } from "./upheaval.ts";
import type { UpheavalReport } from "./upheaval.ts";

// How long a process may take to end before it is killed, in milliseconds.
const stopTimeout = 3000;

let isEnding = false;

function print(text: string): void {
  // What breaks while everything ends is no news.
  if (!isEnding) {
    process.stdout.write(text);
  }
}

async function run(settings: Settings, root: string): Promise<boolean> {
  const { clients } = settings;
  const machines = await startMachines({
    ...settings,
    root,
    tell: (line) => print(`${line}\n`),
    isEnding: () => isEnding,
  });
  const { network, crash, restart } = machines;
  network.setLag(settings.lag);
  const edge = settings.hasEdge
    ? await createEdge({ nodes: machines.edgeNodes, keepAlive: true })
    : undefined;
  const urls = (): string[] =>
    edge === undefined ? machines.up().map(({ url }) => url) : [edge.url];

  function upheave(options: { moves: number; crashes: number }): Promise<UpheavalReport> {
    const cluster = {
      ...machines,
      urls,
      names: () => machines.up().map(({ name }) => name),
      appUrl: (name: string) => machines.all.find((one) => one.name === name)?.ready?.url ?? "",
    };
    return shake(cluster, { ...options, clients, tell: (line) => print(`  ${line}\n`) });
  }

  const control = await createControl({
    network,
    crash,
    restart,
    upheaval: async (moves, crashes) => describeUpheaval(await upheave({ moves, crashes })),
  });

  print(describeMachines(machines));
  let kept = true;
  if (edge === undefined) {
    const { text, isSeen } = await showForwarding(machines);
    print(text);
    kept = isSeen;
  }
  kept = (await compare(settings, machines, urls())) && kept;
  const { moves, crashes } = settings;
  if (moves + crashes > 0) {
    print(
      `\nThe primary is handed over ${times(moves)} and killed ${times(crashes)} while ${clients} clients write and read …\n\n`,
    );
    const report = await upheave(settings);
    print(`\n${describeUpheaval(report)}`);
    kept = hasHeld(report) && kept;
  }
  if (!settings.isOnce) {
    print(invitation(machines, edge?.url, control.url, join(root, "cookies")));
    await new Promise(() => undefined);
  }
  return kept && machines.isComplete();
}

/** Lets clients look for reads that are out of date, without the proxy and with it, and tells whether it kept its word. */
async function compare(
  settings: Settings,
  { network, up }: Machines,
  urls: readonly string[],
): Promise<boolean> {
  const { clients, seconds, lag } = settings;
  const check = (at: readonly string[], send?: SessionOptions["fetch"]): Promise<SessionReport> =>
    checkSessions({ urls: at, clients, duration: seconds * 1000, fetch: send });
  print(
    `\n${clients} clients write and read for ${seconds} s, ${lag} ms of lag, first without the proxy …\n`,
  );
  const apps = up().map(({ ready }) => ready?.url ?? "");
  const primary = up().find(({ name }) => name === network.primary())?.ready?.url ?? "";
  const without = await check(apps, sendWritesTo(primary));
  print("… and now through it …\n\n");
  const through = await check(urls);
  print(
    sessionTable([
      ["without the proxy", without],
      ["through the proxy", through],
    ]),
  );
  print(`\n${verdict(without, through)}`);
  const kept = hasKept(through);
  print(kept ? "" : through.examples.map((example) => `  ${example}\n`).join(""));
  return kept;
}

/** Says in words what the table shows. */
function verdict(without: SessionReport, through: SessionReport): string {
  const count = (number: number): string => number.toLocaleString("en-US");
  return `With the proxy ${count(through.stale)} of ${count(through.reads)} reads were stale; without it ${count(without.stale)} of ${count(without.reads)} were.\n`;
}

function times(count: number): string {
  return count === 1 ? "once" : `${count} times`;
}

function describeMachines({ all, network }: Machines): string {
  const lines = all.map((machine) => {
    const { name, ready, node, proxy, url } = machine;
    const role = name === network.primary() ? "primary" : "replica";
    return `  ${name}  ${ready?.runtime}  ${role}  app ${ready?.url} (pid ${node?.pid})  proxy ${url} (pid ${proxy?.pid})\n`;
  });
  return `A stand-in for a LiteFS cluster, with real SQLite files and the real proxy:\n${lines.join("")}`;
}

function invitation(
  { all }: Machines,
  edge: string | undefined,
  control: string,
  jar: string,
): string {
  const other = all[1] ?? all[0];
  const [where, at] =
    edge === undefined ? ["to a replica", other?.url] : ["through the edge", edge];
  const nodes = all.map(({ name, url }) => (edge === undefined ? url : name)).join(" ");
  const read =
    edge === undefined
      ? "$node/kv/greeting"
      : `-H "fly-force-instance-id: $node" ${edge}/kv/greeting`;
  return `
The cluster stays up until Ctrl-C. To try, in another terminal:

  # make replication slow, write ${where}, and read at once from every node: replicas do not have it yet
  curl -s -X PUT ${control}/lag/4000
  curl -s -c ${jar} -X PUT -d hello ${at}/kv/greeting
  for node in ${nodes}; do curl -s ${read}; echo " from $node"; done

  # the same with the cookie that came with the write: the proxy waits for it
  curl -s -c ${jar} -X PUT -d "hello again" ${at}/kv/greeting
  for node in ${nodes}; do curl -s -b ${jar} ${read}; echo " from $node"; done

  # hand the primary over once and kill it once, while clients write
  curl -s -X PUT ${control}/lag/50
  curl -s -X PUT ${control}/upheaval/1/1

  # see the nodes, make another one the primary, lose it and get it back
  curl -s ${control}/
  curl -s -X PUT ${control}/failover/${other?.name}
  curl -s -X PUT ${control}/crash/${other?.name}
  curl -s -X PUT ${control}/restart/${other?.name}

  # and more: PUT /lag/MS/NODE, /partition/NODE, /heal, /failover/NODE/lose, /snapshot, /restore
`;
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
    const show = settings.isLibsql ? showLibsql(settings, root, print) : run(settings, root);
    const worked = show.then((kept) => (kept ? 0 : 1));
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
