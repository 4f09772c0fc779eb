import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { constants, hostname } from "node:os";
import process from "node:process";
import { ConfigError } from "./error.ts";
import type { Write } from "./log.ts";

/** How a command ended. */
export interface End {
  /** The code it exited with; as a shell says it when a signal ended it (128 and more) or it could not start (126, 127). */
  readonly code: number;
  /** The signal that ended it. */
  readonly signal: string | undefined;
  /** Why it could not be started. */
  readonly error: string | undefined;
}

/** A command that runs. */
export interface Child {
  /** Resolves when it has ended, or could not be started; never rejects. */
  readonly ended: Promise<End>;
  /** Sends it a signal, if it still runs. */
  kill(signal: NodeJS.Signals): void;
}

/** What the drop-in needs of the process it runs in. */
export interface Host {
  /** The command line, without the runtime and the script. */
  readonly argv: readonly string[];
  /** The runtime's name and version. */
  readonly runtime: string;
  /** Returns an environment variable. */
  variable(name: string): string | undefined;
  /** Returns the machine's name. */
  hostname(): string;
  /** Returns milliseconds since the Unix epoch. */
  now(): number;
  /** Resolves after so many milliseconds. */
  sleep(ms: number): Promise<void>;
  /**
   * Returns a file's text, or undefined when there is no such file; a file that is not `isNamed` by the user is not
   * there either when the runtime forbids to look.
   *
   * @throws {ConfigError} When it cannot be read.
   */
  readFile(name: string, isNamed: boolean): string | undefined;
  /** Writes to the standard output or the standard error. */
  readonly write: Write;
  /** Calls `listener` at each SIGTERM and SIGINT. */
  onSignal(listener: (signal: NodeJS.Signals, number: number) => void): void;
  /** Starts a command that shares this process's input, output and environment. */
  spawn(command: readonly [string, ...string[]]): Child;
  /** Ends this process at once. */
  exit(code: number): void;
}

/** Returns the process that this runs in. */
export function systemHost(): Host {
  // A log that nobody reads any more must not end the proxy.
  process.stdout.on("error", () => {});
  process.stderr.on("error", () => {});
  return {
    argv: process.argv.slice(2),
    runtime: runtime(),
    variable: (name) => process.env[name],
    hostname: machine,
    now: () => Date.now(),
    sleep: (ms) => new Promise((resolve) => void setTimeout(resolve, ms)),
    readFile,
    write: (stream, text) => void (stream === "out" ? process.stdout : process.stderr).write(text),
    onSignal: (listener) => {
      for (const signal of ["SIGTERM", "SIGINT"] as const) {
        process.on(signal, () => listener(signal, constants.signals[signal]));
      }
    },
    spawn: start,
    exit: (code) => process.exit(code),
  };
}

function runtime(): string {
  const { bun, deno } = process.versions;
  if (bun !== undefined) return `bun ${bun}`;
  return deno === undefined ? `node ${process.versions.node}` : `deno ${deno}`;
}

function machine(): string {
  try {
    return hostname();
  } catch {
    // Deno without --allow-sys=hostname.
    return "";
  }
}

function readFile(name: string, isNamed: boolean): string | undefined {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(name);
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    // Deno's refusal: whoever runs this has said that the file is none of ours, so it cannot be meant.
    if (error instanceof Error && error.name === "NotCapable" && !isNamed) return undefined;
    if (code === "EISDIR") throw new ConfigError(`${name}: is a directory, name a file`);
    throw new ConfigError(
      `${name}: cannot read the file: ${error instanceof Error ? error.message : code}`,
    );
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new ConfigError(`${name}: the file is not UTF-8 text`);
  }
}

function start(command: readonly [string, ...string[]]): Child {
  const [file, ...args] = command;
  try {
    const child = spawn(file, args, {
      stdio: "inherit",
      env: { ...process.env, HOSTNAME: process.env.HOSTNAME || machine() },
    });
    let isOver = false;
    const ended = new Promise<End>((resolve) => {
      const end = (how: End): void => {
        isOver = true;
        resolve(how);
      };
      child.once("error", (error) => end(notStarted(error)));
      child.once("exit", (code, signal) => {
        const number = signal === null ? 1 : 128 + constants.signals[signal];
        end({ code: code ?? number, signal: signal ?? undefined, error: undefined });
      });
    });
    return {
      ended,
      kill: (signal) => {
        if (isOver || child.pid === undefined) return;
        try {
          // Deno 2.9 takes a signal sent by child.kill() for the end, whatever code the command exits with.
          process.kill(child.pid, signal);
        } catch (error) {
          // It has ended, and this process is about to hear of it.
          if (codeOf(error) !== "ESRCH") throw error;
        }
      },
    };
  } catch (error) {
    return { ended: Promise.resolve(notStarted(error)), kill: () => {} };
  }
}

function notStarted(error: unknown): End {
  const text = error instanceof Error ? error.message : String(error);
  return { code: codeOf(error) === "ENOENT" ? 127 : 126, signal: undefined, error: text };
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}
