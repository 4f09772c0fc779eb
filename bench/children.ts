import { type ChildProcess, spawn, type SpawnOptions } from "node:child_process";
import { connect } from "node:net";
import process from "node:process";
import { freePort } from "../cluster/ports.ts";
import { sleep } from "../cluster/sleep.ts";

/** What must be undone, whatever ends the run. */
const undoing = new Set<() => void>();

/** Has something undone when this process ends; returns what does it now. */
export function untilExit(undo: () => void): () => void {
  watchExit();
  undoing.add(undo);
  return () => {
    if (undoing.delete(undo)) undo();
  };
}

let isWatching = false;

function watchExit(): void {
  if (isWatching) return;
  isWatching = true;
  process.on("exit", () => {
    for (const undo of undoing) undo();
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.once(signal, () => process.exit(1));
}

/** A process that was started, with all that it starts. */
export interface Child {
  readonly pid: number;
  /** The last of what it has written. */
  log(): string;
  /** Resolves to its exit code once it has ended by itself. */
  readonly ended: Promise<number | null>;
  /** Ends it and what it has started, at once. */
  stop(): void;
}

/** Starts a process in a group of its own, which ends with this one at the latest. */
export function start(command: string, args: readonly string[], options: SpawnOptions = {}): Child {
  const child: ChildProcess = spawn(command, args, {
    ...options,
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  let log = "";
  const read = (bytes: Buffer): void => {
    log = (log + String(bytes)).slice(-1_000_000);
  };
  child.stdout?.on("data", read);
  child.stderr?.on("data", read);
  const { pid } = child;
  const stop = untilExit(() => {
    try {
      if (pid !== undefined) process.kill(-pid, "SIGKILL");
    } catch {
      // It has ended by itself.
    }
  });
  const ended = new Promise<number | null>((resolve) => {
    child.once("error", (error) => {
      log += String(error);
      resolve(-1);
    });
    child.once("close", resolve);
  });
  return { pid: pid ?? -1, log: () => log, ended, stop };
}

/** Runs a process to its end and returns what it has written. */
export async function run(
  command: string,
  args: readonly string[],
  timeout: number,
  options: SpawnOptions = {},
): Promise<string> {
  const child = start(command, args, options);
  const timer = setTimeout(child.stop, timeout);
  const code = await child.ended;
  clearTimeout(timer);
  child.stop();
  if (code !== 0) throw new Error(`Cannot run ${command}: exit code ${code} ${tail(child.log())}`);
  return child.log();
}

/** How long a process may take to listen, in milliseconds. */
const START_TIMEOUT = 20_000;

/** Resolves once somebody listens on a port, and rejects when the one who was to has ended. */
export async function listening(port: number, child: Child): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT;
  let ended = false;
  void child.ended.then(() => (ended = true));
  while (!(await accepts(port))) {
    if (ended || Date.now() > deadline) {
      child.stop();
      throw new Error(`Nobody listens: ${tail(child.log())}`);
    }
    await sleep(3);
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** Returns the command that runs a script of this folder on the runtime that runs this one. */
export function scriptCommand(name: string): readonly [string, ...string[]] {
  return [process.execPath, ...process.execArgv, new URL(name, import.meta.url).pathname];
}

/** A helper process that listens. */
export interface Served {
  readonly port: number;
  stop(): void;
}

/** Starts a script of this folder that listens on the port that it is told. */
export async function serveScript(name: string): Promise<Served> {
  const port = await freePort();
  const [command, ...args] = scriptCommand(name);
  const child = start(command, [...args, String(port)]);
  await listening(port, child);
  return { port, stop: child.stop };
}

function tail(text: string): string {
  return text.trim().split("\n").slice(-3).join(" ");
}
