import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { Runtime } from "./runtime.ts";

/** A process that this one started. */
export interface Started {
  /** Its id. */
  readonly pid: number;
  /** Its standard input. */
  readonly input: Writable;
  /** Its standard output. */
  readonly output: Readable;
  /** The end of what it wrote on its standard error. */
  errors(): string;
  /** Resolves once it has ended. */
  readonly ended: Promise<void>;
  /**
   * Ends it: its input ends and SIGTERM goes out, then SIGKILL.
   *
   * @param patience How long it may take before it is killed, in milliseconds; 0: it is killed at once.
   */
  stop(patience: number): Promise<void>;
}

const root = fileURLToPath(new URL("..", import.meta.url));

// Everything that was started and has not ended.
const running = new Map<ChildProcess, Started["stop"]>();
let isClosed = false;

// The last resort, when this process ends without `stopAll`.
process.on("exit", () => {
  for (const child of running.keys()) {
    child.kill("SIGKILL");
  }
});

/**
 * Ends every process that was started; from here on none can be.
 *
 * @param patience How long each may take before it is killed, in milliseconds.
 */
export async function stopAll(patience: number): Promise<void> {
  isClosed = true;
  await Promise.all([...running.values()].map((stop) => stop(patience)));
}

/**
 * Starts a TypeScript program of this checkout on a runtime.
 *
 * @param runtime The runtime.
 * @param program The program's path in the checkout.
 * @param args What follows on the command line.
 * @param directory The directory that it runs in.
 * @throws {Error} When it cannot be started.
 */
export async function start(
  runtime: Runtime,
  program: string,
  args: readonly string[],
  directory: string,
): Promise<Started> {
  if (isClosed) {
    throw new Error(`Cannot start ${program}: everything ends`);
  }
  const [command, ...before] = commands[runtime]();
  const child = spawn(command, [...before, join(root, program), ...args], {
    cwd: directory,
    stdio: ["pipe", "pipe", "pipe"],
  });
  const ended = new Promise<void>((resolve) => {
    child.once("close", () => {
      running.delete(child);
      resolve();
    });
  });
  async function stop(patience: number): Promise<void> {
    child.stdin.end();
    child.kill(patience > 0 ? "SIGTERM" : "SIGKILL");
    const timer = setTimeout(() => child.kill("SIGKILL"), patience);
    await ended;
    clearTimeout(timer);
  }
  running.set(child, stop);
  let errors = "";
  child.stderr.on("data", (chunk: Buffer) => {
    errors = (errors + chunk.toString()).slice(-2000);
  });
  // A write to a process that has just ended is no error of this one.
  child.stdin.on("error", () => undefined);
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (error) => {
      running.delete(child);
      reject(new Error(`Cannot start ${runtime}: ${error.message}`));
    });
  });
  return {
    pid: child.pid ?? 0,
    input: child.stdin,
    output: child.stdout,
    errors: () => errors.trim(),
    ended,
    stop,
  };
}

const commands: Readonly<Record<Runtime, () => [string, ...string[]]>> = {
  node: () => [process.execPath, "--import", createRequire(import.meta.url).resolve("tsx")],
  bun: () => [installed("bun"), "run"],
  deno: () => [installed("deno"), "run", "-A", "--quiet"],
};

function installed(name: string): string {
  return join(root, "node_modules", ".bin", name);
}
