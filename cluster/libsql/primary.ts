/**
 * A libSQL primary for tests and the demo: a stand-in, written by us, in a process of its own. It is no sqld and no Turso.
 *
 * It speaks hrana over HTTP (versions 2 and 3, JSON: every request but the cursor's over `/v2`) and the second sync
 * protocol (`/info`, `/export`, `/sync` to pull; nothing is pushed), which is what the native client of `libsql` 0.5.29
 * and `@libsql/client` 0.18 use. Those clients ran against it, unmodified, on Node, Bun and Deno: it answers what they
 * ask. It was not compared with a running sqld or Turso. From sqld's source come the codes of errors, which answers
 * carry `replication_index`, and that it is a text. Its value here is ours: the generation in the upper 32 bits and
 * the frame in the lower, so that it compares with what an embedded replica has in its `-info` file.
 *
 * Not there: the first sync protocol (gRPC), WebSockets, namespaces, authentication (a token names a replica and opens
 * nothing), several databases, `attach`, encryption, schema databases, the parameters and flags of `describe`.
 *
 * @module
 */
import { mkdirSync } from "node:fs";
import { freePort } from "../ports.ts";
import { start } from "../processes.ts";
import type { Started } from "../processes.ts";
import { thisRuntime } from "../runtime.ts";
import type { Runtime } from "../runtime.ts";
import type { PrimaryControls } from "./controls.ts";
import { readyOf } from "./ready.ts";

/** What a primary is made of. */
export interface LibsqlPrimaryOptions {
  /** A directory of its own; it goes on with what it finds there. */
  readonly directory: string;
  /** How long a transaction takes until replicas can have it, in milliseconds. @default 0 */
  readonly delay?: number;
  /** How long a stream lives without a request, in milliseconds; as long as sqld's by default. @default 10000 */
  readonly streamTimeout?: number;
  /** How long a statement waits for the one that writes, in milliseconds. @default 5000 */
  readonly busyTimeout?: number;
  /** The port, which a restart has again. @default a free one */
  readonly port?: number;
  /** What it runs on. @default the runtime of this process */
  readonly runtime?: Runtime;
}

/** A primary in a process of its own. */
export interface LibsqlPrimary extends PrimaryControls {
  /** Its origin: the `url` of clients over HTTP, the `syncUrl` of embedded replicas; `authToken` names the replica. */
  readonly url: string;
  /** Its process. */
  process(): Started;
  /** Kills it. The database stays. */
  stop(): Promise<void>;
  /** Starts it again, at the same address; partitions and delays of single replicas are forgotten. */
  restart(): Promise<void>;
}

/**
 * Starts a primary. An embedded replica blocks its thread while it waits for the primary, so that they can never share
 * one: hence the process.
 *
 * @throws {Error} When it cannot be started.
 */
export async function startLibsqlPrimary(options: LibsqlPrimaryOptions): Promise<LibsqlPrimary> {
  const { directory, runtime = thisRuntime() } = options;
  mkdirSync(directory, { recursive: true });

  async function open(port: number): Promise<{ process: Started; url: string }> {
    const args = Object.entries({
      "--directory": directory,
      "--delay": `${delay}`,
      "--stream-timeout": `${options.streamTimeout ?? 10_000}`,
      "--busy-timeout": `${options.busyTimeout ?? 5000}`,
      "--port": `${port}`,
    }).flat();
    const process = await start(runtime, "cluster/libsql/primary-child.ts", args, directory);
    const { url = "" } = await readyOf(process, `the libSQL primary on ${runtime}`);
    return { process, url };
  }

  async function call(command: string, ...values: unknown[]): Promise<unknown> {
    const response = await fetch(`${url}/control/${command}`, {
      method: "POST",
      // JSON has no undefined: what is left out stays out.
      body: JSON.stringify(values.filter((value) => value !== undefined)),
    });
    // What `serveLibsql` answers.
    const body = (await response.json()) as { result?: unknown; message?: string };
    if (!response.ok) {
      throw new Error(body.message ?? `Cannot ${command}: ${response.status}`);
    }
    return body.result;
  }

  let delay = options.delay ?? 0;
  const first = await open(options.port ?? (await freePort()));
  const { url } = first;
  let running = first.process;

  return {
    url,
    process: () => running,
    stop: () => running.stop(0),
    async restart() {
      await running.stop(0);
      running = (await open(Number(new URL(url).port))).process;
    },
    async setDelay(ms, replica) {
      delay = replica === undefined ? ms : delay;
      await call("setDelay", ms, replica);
    },
    async partition(replica, cut) {
      await call("partition", replica, cut);
    },
    async heal() {
      await call("heal");
    },
    async roll() {
      await call("roll");
    },
    async save(name) {
      await call("save", name);
    },
    async restore(name) {
      await call("restore", name);
    },
    // The other end has a method of this name.
    status: (replica) => call("status", replica) as ReturnType<PrimaryControls["status"]>,
  };
}
