import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { freePort } from "../../cluster/ports.ts";
import { createMount, type Mount } from "../mount.ts";
import { type Case, type Ground, LIMITS, play, startApp } from "./kit.ts";

/** Where the cases run: a runtime, and one of the servers that the drop-in has there. */
export type PlaceName = "Node" | "newest Node" | "Bun" | "Deno" | "Bun.serve" | "Deno.serve";

/** Every place, in the order of the table. */
export const PLACE_NAMES: readonly PlaceName[] = [
  "Node",
  "newest Node",
  "Bun",
  "Deno",
  "Bun.serve",
  "Deno.serve",
];

/** A place that can be started here. */
export interface Place {
  readonly name: PlaceName;
  readonly command: readonly string[];
}

/** What came of one case: an error, or nothing. */
export type Outcome = { readonly error: unknown } | undefined;

const root = fileURLToPath(new URL("../../", import.meta.url));
const bin = (name: string): string => join(root, "node_modules/.bin", name);

/** Returns the places of this machine: a missing Bun or Deno fails, the newest Node is where a variable says. */
export function findPlaces(): Place[] {
  const bun = [bin("bun"), "run", "proxy.ts"];
  const deno = [
    bin("deno"),
    "run",
    "--no-prompt",
    "--allow-net",
    "--allow-read",
    "--allow-env",
    "--allow-sys=hostname",
    "proxy.ts",
  ];
  // Newer ones run TypeScript as it is.
  const loader = Number(process.versions.node.split(".")[0]) < 24 ? ["--import", "tsx"] : [];
  const newest = process.env["NEWEST_NODE"];
  return [
    { name: "Node", command: [process.execPath, ...loader, "proxy.ts"] },
    ...(newest === undefined || newest === ""
      ? []
      : [{ name: "newest Node" as const, command: [newest, "proxy.ts"] }]),
    { name: "Bun", command: bun },
    { name: "Deno", command: deno },
    { name: "Bun.serve", command: [...bun, "--server", "native"] },
    { name: "Deno.serve", command: [...deno, "--server", "native"] },
  ];
}

/** A drop-in that runs. */
export interface Running {
  readonly pid: number;
  readonly port: number;
  /** What it has written. */
  log(): string;
  /** Ends it; resolves to what it had written. */
  stop(): Promise<string>;
  /** How it ended, if it has. */
  ended(): string | undefined;
}

/** Starts the drop-in as a user does, and resolves once it listens. */
export async function startDropIn(
  place: Place,
  dir: string,
  flags: readonly string[],
): Promise<Running> {
  const [command = "", ...rest] = place.command;
  const child = spawn(
    command,
    [...rest, "--addr", "127.0.0.1:0", "--db", "app.db", "--dir", dir, "--api", "false", ...flags],
    { cwd: root, stdio: ["ignore", "pipe", "pipe"] },
  );
  let written = "";
  let ended: string | undefined;
  const closed = new Promise<void>((resolve) => {
    child.on("error", (error) => (ended ??= String(error)));
    child.on("exit", (code, signal) => (ended ??= `exit code ${code}, signal ${signal}`));
    child.on("close", () => resolve());
  });
  const port = await new Promise<number>((resolve, reject) => {
    const read = (bytes: Uint8Array): void => {
      written = (written + String(bytes)).slice(-100_000);
      const found = /listening on http:\/\/127\.0\.0\.1:(\d+)/.exec(written)?.[1];
      if (found !== undefined) resolve(Number(found));
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    void closed.then(() => reject(new Error(`Cannot start ${place.name}: ${ended} ${written}`)));
  });
  return {
    pid: pidOf(child),
    port,
    log: () => written,
    ended: () => ended,
    stop: async () => {
      child.kill("SIGKILL");
      await closed;
      return written;
    },
  };
}

function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error("Cannot tell the process");
  return child.pid;
}

/** How many cases run on one proxy at once. */
const AT_ONCE = 16;

/** How the drop-in on the replica differs. */
const ON_REPLICA = [
  "--forward",
  "replay",
  "--always-forward",
  "/forwarded/*",
  "--wait-timeout",
  `${LIMITS.wait}ms`,
];

/** How the one does that sends everything on itself. */
const FAR = ["--always-forward", "*", "--wait-timeout", "500ms"];

/** How the one does whose primary is played. */
const OUTPOST = ["--forward", "direct", "--signing-keys", "k1:0123456789abcdef"];

/** The checksum of every position. */
const CHECKSUM = "0000000000000000";

/** Makes what LiteFS shows of a node: of a replica, if it is told of a primary. */
function makeNode(primary?: string): Mount {
  const mount = createMount({
    primary: primary === undefined ? { at: "here" } : { at: "elsewhere", hostname: primary },
  });
  mount.setPosition("000000000000000a", CHECKSUM);
  return mount;
}

/** How often a race is run that a native server may lose by chance. */
const TRIES = 3;

/**
 * Runs cases in one place, those that run alone one after the other.
 *
 * @returns What came of each.
 */
export async function runPlace(
  place: Place,
  cases: readonly Case[],
): Promise<ReadonlyMap<Case, Outcome>> {
  const node = makeNode();
  const app = await startApp();
  const impatientApp = await startApp();
  const primary = await startApp();
  const idle = `--idle-timeout=${LIMITS.client}ms`;
  const limits = [idle, `--read-header-timeout=${LIMITS.client}ms`];
  const target = `127.0.0.1:${app.origin.port}`;
  const impatientTarget = `127.0.0.1:${impatientApp.origin.port}`;
  const noTarget = ["--target", `127.0.0.1:${await freePort()}`];
  const targetLimits = [`--target-timeout=${LIMITS.target}ms`, "--target-connect-timeout=0s"];
  const replicaNode = makeNode("primary-node");
  const farNode = makeNode("127.0.0.1");
  const outpostNode = makeNode("127.0.0.1");
  const primaryAt = (port: number): string[] => ["--primary-url", `http://{hostname}:${port}`];
  const starting = startDropIn(place, node.dir, [
    ...limits,
    "--target",
    target,
    "--passthrough",
    "/open/*",
  ]);
  const running = await Promise.all([
    starting,
    startDropIn(place, node.dir, [...limits, "--target", impatientTarget, ...targetLimits]),
    startDropIn(place, node.dir, [
      idle,
      `--read-header-timeout=${LIMITS.head}ms`,
      ...noTarget,
      ...targetLimits,
    ]),
    startDropIn(place, replicaNode.dir, ["--target", target, ...ON_REPLICA]),
    startDropIn(place, outpostNode.dir, [
      ...noTarget,
      ...primaryAt(primary.origin.port),
      ...OUTPOST,
    ]),
    starting.then(({ port }) =>
      startDropIn(place, farNode.dir, [...limits, ...noTarget, ...primaryAt(port), ...FAR]),
    ),
  ]);
  const [front, back, lonely, replica, outpost, far] = running;
  const ground: Ground = {
    pid: front.pid,
    port: front.port,
    app,
    replica: {
      port: replica.port,
      moveTo: (position) => replicaNode.setPosition(position, CHECKSUM),
    },
    far,
    outpost: {
      port: outpost.port,
      follow: (hostname) => outpostNode.setPrimary({ at: "elsewhere", hostname }),
    },
    primary,
    impatientPort: back.port,
    impatientApp,
    lonelyPort: lonely.port,
    log: front.log,
  };
  const outcomes = new Map<Case, Outcome>();
  const run = async (one: Case): Promise<void> => {
    const tries = one.isRace === true && place.name.endsWith(".serve") ? TRIES : 1;
    for (let count = 0; count < tries && (count === 0 || outcomes.get(one) !== undefined); count++)
      await attempt(one);
  };
  const attempt = async (one: Case): Promise<void> => {
    try {
      await play(one, ground, `case-${cases.indexOf(one)}.test`);
      const ended = running.map((each) => each.ended()).find((each) => each !== undefined);
      if (ended !== undefined) throw new Error(`The proxy ended: ${ended}`);
      outcomes.set(one, undefined);
    } catch (error) {
      outcomes.set(one, { error });
    }
  };
  try {
    for (const one of cases.filter((each) => each.alone === true)) await run(one);
    const others = cases.filter((each) => each.alone !== true);
    const queue = others.filter((each) => each.idle !== true);
    const worker = async (): Promise<void> => {
      for (let one = queue.shift(); one !== undefined; one = queue.shift()) await run(one);
    };
    await Promise.all([
      ...others.filter((each) => each.idle === true).map(run),
      ...Array.from({ length: AT_ONCE }, worker),
    ]);
  } finally {
    await Promise.all(running.map((each) => each.stop()));
    for (const one of [app, impatientApp, primary]) await one.origin.close();
    for (const one of [node, replicaNode, farNode, outpostNode]) one.cleanup();
  }
  return outcomes;
}
