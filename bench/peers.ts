import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { createMount } from "../test/mount.ts";
import { findPlaces, type Place } from "../test/wire/places.ts";
import { freePort } from "../cluster/ports.ts";
import { listening, run, scriptCommand, start, untilExit } from "./children.ts";
import { caddy, haproxy, nginxWith, type Ports } from "./configs.ts";
import { startLitefs } from "./litefs.ts";
import { openFiles } from "./process.ts";

/** What a peer stands in front of. */
export interface Setting {
  /** The port of the app. */
  readonly target: number;
  /** The port of the primary's proxy; with it the peer is on a replica, and sends writes there. */
  readonly primary?: number | undefined;
}

/** A peer that runs. */
export interface Running {
  readonly port: number;
  /** What costs. */
  readonly pids: readonly number[];
  /** A cookie that says no more than what this node has. */
  readonly token: string;
  /** Says that this node has applied a transaction, where that can be said. */
  readonly moveTo?: ((position: string) => void) | undefined;
  stop(): void;
}

/** What a peer is: nothing in between, the drop-in, the same on a runtime's own server, its bare engine, or another proxy. */
export type Kind = "none" | "exact" | "native" | "bare" | "other";

/** Somebody who is measured. */
export interface Peer {
  readonly name: string;
  readonly kind: Kind;
  start(setting: Setting): Promise<Running>;
}

/** Somebody who should be measured and cannot be here. */
export interface Missing {
  readonly name: string;
  readonly reason: string;
}

/** All that was looked for. */
export interface Found {
  readonly peers: readonly Peer[];
  readonly missing: readonly Missing[];
  /** What runs, by name. */
  readonly versions: Readonly<Record<string, string>>;
}

/** The other proxies are compared with this one. */
export const YARDSTICK = "nginx";

const root = fileURLToPath(new URL("..", import.meta.url));

/** The token of a node at its first transaction. */
const TOKEN = "__txid=0000000000000001";

/** Looks for everybody. */
export async function findPeers(litefs: string | undefined): Promise<Found> {
  const missing: Missing[] = [];
  const versions: Record<string, string> = { Node: process.version.slice(1) };
  await findNewestNode(missing);
  const places = findPlaces().filter(({ name, command: [program = ""] }) => {
    if (existsSync(program)) return true;
    missing.push({ name, reason: "npm has not installed it" });
    return false;
  });
  for (const { name, command } of places.filter((place) => isExact(place))) {
    const told = await run(command[0] ?? "", ["--version"], 10_000);
    versions[name] = /\d+\.\d+\.\d+/.exec(told)?.[0] ?? told.trim();
  }
  const peers: Peer[] = [{ name: "no proxy", kind: "none", start: startNothing }];
  peers.push(...places.map(asInstalled).map(dropIn), ...places.filter(isExact).map(bare));
  for (const { name, asks, config, args } of PROGRAMS) {
    const program = findProgram(name);
    if (program === undefined) {
      missing.push({ name, reason: `it is not installed (apt-get install ${name.toLowerCase()})` });
      continue;
    }
    const told = await run(program, asks, 10_000);
    versions[name] = /\d+\.\d+(?:\.\d+)?/.exec(told)?.[0] ?? "";
    peers.push({ name, kind: "other", start: startProgram(program, config, args) });
  }
  peers.push({ name: "httpxy", kind: "other", start: startHttpxy });
  versions["httpxy"] = versionOf("httpxy");
  if (litefs === undefined) missing.push({ name: "LiteFS", reason: "no --litefs PATH was given" });
  else if (!existsSync("/dev/fuse")) missing.push({ name: "LiteFS", reason: "no /dev/fuse here" });
  else {
    peers.push({ name: "LiteFS", kind: "other", start: (setting) => startLitefs(litefs, setting) });
    versions["LiteFS"] = (await run(litefs, ["version"], 10_000)).trim().replace(/^LiteFS /, "");
  }
  return { peers, missing, versions };
}

/**
 * Has a place run what users of the package run: on Node its JavaScript, for tsx, by which Node 20 runs the sources, wraps
 * every function that is made.
 */
function asInstalled({ name, command }: Place): Place {
  return isNode(name) ? { name, command: [command[0] ?? "", "dist/proxy.js"] } : { name, command };
}

function isNode(name: Place["name"]): boolean {
  return name === "Node" || name === "newest Node";
}

/** Returns where a program is: also where Debian keeps what only root is to call. */
export function findProgram(name: string): string | undefined {
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  return [...folders, "/usr/sbin"]
    .map((dir) => join(dir, name.toLowerCase()))
    .find((path) => existsSync(path));
}

/** Has npm fetch the newest Node that the tests use, unless a variable says where one is. */
async function findNewestNode(missing: Missing[]): Promise<void> {
  if (process.env["NEWEST_NODE"]) return;
  const { scripts } = readManifest(join(root, "package.json"));
  const release = /node@[\d.]+/.exec(scripts["test:newest"] ?? "")?.[0] ?? "node@latest";
  try {
    const args = ["-y", "-p", release, "-c", "node -p process.execPath"];
    const told = await run("npx", args, 120_000);
    const path = told.split("\n").find((line) => existsSync(line.trim()) && line.trim() !== "");
    if (path === undefined) throw new Error("npx told no path");
    process.env["NEWEST_NODE"] = path.trim();
  } catch (error) {
    missing.push({ name: "newest Node", reason: `npx cannot fetch ${release} (${String(error)})` });
  }
}

/** Tells whether a place serves with the exact server. */
export function isExact({ command }: Place): boolean {
  return !command.includes("--server");
}

/** Makes a peer of the drop-in. */
export function dropIn(place: Place): Peer {
  return {
    name: place.name,
    kind: isExact(place) ? "exact" : "native",
    start: async ({ target, primary }) => {
      const isReplica = primary !== undefined;
      const mount = createMount({
        position: "0000000000000001",
        primary: isReplica ? { at: "elsewhere", hostname: "127.0.0.1" } : { at: "here" },
      });
      const flags = ["--db", "app.db", "--dir", mount.dir, "--api", "false"];
      if (isReplica)
        flags.push("--primary-url", `http://{hostname}:${primary}`, "--forward", "direct");
      const running = await startScript(
        place.command,
        (port) => ["--addr", `127.0.0.1:${port}`, "--target", `127.0.0.1:${target}`, ...flags],
        untilExit(mount.cleanup),
      );
      return { ...running, moveTo: mount.setPosition };
    },
  };
}

/** How often a process is started that cannot listen: its port may have been taken in between. */
const TRIES = 2;

/** Starts a process that is told its port, and resolves once it listens. */
export async function startScript(
  command: readonly string[],
  args: (port: number) => readonly string[],
  undo: () => void = () => {},
): Promise<Running> {
  const [program = "", ...rest] = command;
  for (let left = TRIES - 1; ; left--) {
    const port = await freePort();
    const child = start(program, [...rest, ...args(port)], { cwd: root });
    try {
      await listening(port, child);
    } catch (error) {
      if (left > 0) continue;
      undo();
      throw error;
    }
    const stop = (): void => {
      child.stop();
      undo();
    };
    return { port, pids: [child.pid], token: TOKEN, stop };
  }
}

function bare({ name, command }: Place): Peer {
  return {
    name: `${name}, bare`,
    kind: "bare",
    start: ({ target, primary }) =>
      startScript([...command.slice(0, -1), "bench/bare.ts"], (port) => [
        `${port}`,
        `${primary ?? target}`,
        ...(isNode(name) ? ["../dist", ".js"] : ["..", ".ts"]),
      ]),
  };
}

async function startNothing({ target, primary }: Setting): Promise<Running> {
  return { port: primary ?? target, pids: [], token: TOKEN, stop: () => {} };
}

function startHttpxy({ target, primary }: Setting): Promise<Running> {
  return startScript(scriptCommand("httpxy.ts"), (port) => [`${port}`, `${primary ?? target}`]);
}

/** A proxy that is a program with a configuration. */
interface Program {
  readonly name: string;
  /** What has it tell its version. */
  readonly asks: readonly string[];
  readonly config: (ports: Ports) => string;
  readonly args: (file: string) => readonly string[];
}

const PROGRAMS: readonly Program[] = [
  { name: "nginx", asks: ["-v"], config: nginxWith(1), args: nginxArgs },
  { name: "HAProxy", asks: ["-v"], config: haproxy, args: (file) => ["-db", "-f", file] },
  {
    name: "Caddy",
    asks: ["version"],
    config: caddy,
    args: (file) => ["run", "--adapter", "caddyfile", "--config", file],
  },
];

/** Says where nginx's configuration is, and that nothing is to be written beside the installed one. */
export function nginxArgs(file: string): readonly string[] {
  return ["-c", file, "-e", "/dev/stderr"];
}

/** Returns what starts a program with a configuration. */
export function startProgram(
  program: string,
  config: Program["config"],
  args: Program["args"],
): Peer["start"] {
  return async ({ target, primary }) => {
    const dir = mkdtempSync(join(tmpdir(), "bench-"));
    const remove = untilExit(() => rmSync(dir, { recursive: true, force: true }));
    const file = join(dir, "config");
    return startScript(
      [program],
      (port) => {
        const connections = Math.min(40_000, openFiles() - 100);
        writeFileSync(file, config({ port, target: primary ?? target, dir, connections }));
        return args(file);
      },
      remove,
    );
  };
}

/** The parts of a manifest that are of interest here. */
interface Manifest {
  readonly version: string;
  readonly scripts: Readonly<Record<string, string>>;
}

function versionOf(name: string): string {
  return readManifest(join(root, "node_modules", name, "package.json")).version;
}

function readManifest(path: string): Manifest {
  // npm has checked what it has installed.
  return JSON.parse(readFileSync(path, "utf8")) as Manifest;
}
