import { mkdirSync } from "node:fs";
import { freePort } from "../ports.ts";
import { start } from "../processes.ts";
import type { Started } from "../processes.ts";
import { thisRuntime } from "../runtime.ts";
import type { Runtime } from "../runtime.ts";
import { readyOf } from "./ready.ts";
import { libsqlWays } from "./ways.ts";
import type { LibsqlWay } from "./ways.ts";

/** What a replica is made of. */
export interface LibsqlReplicaOptions {
  /** Its name, which is also the token that the primary knows it by. */
  readonly name: string;
  /** The primary's origin. */
  readonly primary: string;
  /** A directory of its own. */
  readonly directory: string;
  /** How often it asks the primary for more, in milliseconds. @default 50 */
  readonly interval?: number;
  /** What it runs on. @default the runtime of this process */
  readonly runtime?: Runtime;
}

/** The notes app on an embedded replica, in a process of its own. */
export interface LibsqlReplica {
  /** Its name. */
  readonly name: string;
  /** What it runs on. */
  readonly runtime: Runtime;
  /** The app's origin. The app writes through the embedded replica, which sends it to the primary. */
  readonly url: string;
  /**
   * The origin of a server that speaks hrana as an sqld that is a replica does: it answers reads from this replica once
   * it has the `replication_index` that they ask for, and passes everything else on to the primary. It has no cursor.
   */
  readonly apiUrl: string;
  /** Where the same app is consistent by itself, by the way in which it is. */
  readonly consistent: Readonly<Record<LibsqlWay, string>>;
  /** The path of the replica's SQLite file; beside it, `-info` has the position. */
  readonly path: string;
  /** Its process. */
  process(): Started;
  /** Kills it. What it has stays. */
  stop(): Promise<void>;
  /** Starts it again, at the same addresses. */
  restart(): Promise<void>;
}

/**
 * Starts a replica: the unmodified native client with `syncUrl`, and the notes app on it.
 *
 * @throws {Error} When it cannot be started; the primary must be up.
 */
export async function startLibsqlReplica(options: LibsqlReplicaOptions): Promise<LibsqlReplica> {
  const { name, directory, runtime = thisRuntime() } = options;
  mkdirSync(directory, { recursive: true });

  // A restart has them again.
  const ports: number[] = [];
  for (let count = 0; count < 2 + libsqlWays.length; count += 1) {
    ports.push(await freePort());
  }

  async function open(): Promise<{ process: Started; told: Readonly<Record<string, string>> }> {
    const args = Object.entries({
      "--name": name,
      "--primary": options.primary,
      "--directory": directory,
      "--interval": `${options.interval ?? 50}`,
      "--ports": ports.join(","),
    }).flat();
    const process = await start(runtime, "cluster/libsql/replica-child.ts", args, directory);
    return { process, told: await readyOf(process, `${name} on ${runtime}`) };
  }

  const { process, told } = await open();
  const { url = "", apiUrl = "", path = "", info = "", row = "", both = "", tracker = "" } = told;
  let running = process;

  return {
    name,
    runtime,
    url,
    apiUrl,
    consistent: { info, row, both, tracker },
    path,
    process: () => running,
    stop: () => running.stop(0),
    async restart() {
      await running.stop(0);
      running = (await open()).process;
    },
  };
}
