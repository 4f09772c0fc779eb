import { mkdirSync } from "node:fs";
import { freePort } from "../listen.ts";
import { start } from "../processes.ts";
import type { Runtime, Started } from "../processes.ts";
import { thisRuntime } from "./primary.ts";
import { readyOf } from "./ready.ts";

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
  /** The app's port, which a restart has again. @default a free one */
  readonly port?: number;
  /** The port of the server that speaks hrana, which a restart has again. @default a free one */
  readonly apiPort?: number;
  /** What it runs on. @default the runtime of this process */
  readonly runtime?: Runtime;
}

/** The notes app on an embedded replica, in a process of its own. */
export interface LibsqlReplica {
  /** Its name. */
  readonly name: string;
  /** The app's origin. The app writes through the embedded replica, which sends it to the primary. */
  readonly url: string;
  /**
   * The origin of a server that speaks hrana as an sqld that is a replica does: it answers reads from this replica once
   * it has the `replication_index` that they ask for, and passes everything else on to the primary. It has no cursor.
   */
  readonly apiUrl: string;
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

  async function open(ports: readonly [number, number]): Promise<{
    process: Started;
    url: string;
    apiUrl: string;
    path: string;
  }> {
    const args = Object.entries({
      "--name": name,
      "--primary": options.primary,
      "--directory": directory,
      "--interval": `${options.interval ?? 50}`,
      "--port": `${ports[0]}`,
      "--api-port": `${ports[1]}`,
    }).flat();
    const process = await start(runtime, "cluster/libsql/replica-child.ts", args, directory);
    const { url = "", apiUrl = "", path = "" } = await readyOf(process, `${name} on ${runtime}`);
    return { process, url, apiUrl, path };
  }

  const { process, url, apiUrl, path } = await open([
    options.port ?? (await freePort()),
    options.apiPort ?? (await freePort()),
  ]);
  let running = process;

  return {
    name,
    url,
    apiUrl,
    path,
    process: () => running,
    stop: () => running.stop(0),
    async restart() {
      await running.stop(0);
      running = (await open([Number(new URL(url).port), Number(new URL(apiUrl).port)])).process;
    },
  };
}
