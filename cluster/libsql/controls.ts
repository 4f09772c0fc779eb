import { join } from "node:path";
import type { Hrana } from "./hrana.ts";
import type { Horizon } from "./horizon.ts";
import { indexOf } from "./log.ts";
import type { Log, Place } from "./log.ts";
import type { Cut, Partitions } from "./partitions.ts";

/** Where the server is. */
interface PrimaryStatus extends Place {
  /** The place as one number: what `replication_index` says. */
  readonly index: number;
}

/** What can be changed while a server runs. */
export interface PrimaryControls {
  /**
   * Sets how long a transaction takes until replicas can have it, in milliseconds. What a replica has written itself it
   * gets at once, and all before it: an embedded replica asks for it before it answers, and a log has no gaps.
   *
   * @param ms The delay.
   * @param replica The replica, by its token. @default all that have none of their own
   */
  setDelay(ms: number, replica?: string): Promise<void>;
  /**
   * Cuts a replica off.
   *
   * @param replica The replica, by its token.
   * @param cut How. @default "break"
   */
  partition(replica: string, cut?: Cut): Promise<void>;
  /** Ends every partition. */
  heal(): Promise<void>;
  /**
   * Begins a new generation, as a checkpoint does.
   *
   * @throws {Error} While a transaction is open.
   */
  roll(): Promise<void>;
  /** Saves the database under a name. */
  save(name: string): Promise<void>;
  /** Goes back to a database that was saved, in a new generation: every write since then is lost. */
  restore(name: string): Promise<void>;
  /** Returns where the server is; for a replica, where the server lets it be. */
  status(replica?: string): Promise<PrimaryStatus>;
}

/** What the controls work on. */
export interface ControlledServer {
  /** The directory of the server's files. */
  readonly directory: string;
  /** Its log. */
  readonly log: Log;
  /** What replicas may see of it. */
  readonly horizon: Horizon;
  /** The replicas that are cut off. */
  readonly partitions: Partitions;
  /** What answers clients. */
  readonly hrana: Hrana;
}

/** Makes the controls of a server. */
export function createControls(server: ControlledServer): PrimaryControls {
  const { directory, log, horizon, partitions, hrana } = server;

  function savedPath(name: string): string {
    return join(directory, `saved-${encodeURIComponent(name)}.db`);
  }

  return {
    async setDelay(ms, replica) {
      horizon.setDelay(ms, replica);
    },
    async partition(replica, cut = "break") {
      partitions.add(replica, cut);
    },
    async heal() {
      partitions.heal();
    },
    async roll() {
      if (!log.roll()) {
        throw new Error("Cannot begin a new generation: a transaction is open");
      }
    },
    async save(name) {
      log.save(savedPath(name));
    },
    async restore(name) {
      hrana.reset();
      log.restore(savedPath(name));
    },
    async status(replica) {
      const place = replica === undefined ? log.collect() : horizon.of(replica);
      const { generation, frame } = place;
      return { generation, frame, index: indexOf(place) };
    },
  };
}

/**
 * Runs a control by its name.
 *
 * @param text Its arguments, as a list in JSON.
 * @throws {RangeError} When there is none of that name.
 */
export async function runControl(
  controls: PrimaryControls,
  command: string,
  text: string,
): Promise<unknown> {
  const work = Object.entries(controls).find(([name]) => name === command)?.[1];
  if (work === undefined) {
    throw new RangeError(`Cannot ${command}: there is no such command`);
  }
  // What comes from the other end is a call that `primary.ts` wrote; the method checks nothing.
  const run = work as (...values: unknown[]) => Promise<unknown>;
  return run(...(JSON.parse(text) as unknown[]));
}
