import type { Clock } from "../../src/clock.ts";
import type { AppContext } from "../app.ts";
import { openDatabase } from "../database.ts";
import type { Statement, Transaction } from "../database.ts";
import { initEvent, notReady, origin, primaryChangeEvent, txEvent } from "../format.ts";
import type { Point, Role } from "../format.ts";
import type { Member } from "../member.ts";
import { createQueue } from "../queue.ts";
import type { Mount } from "./mount.ts";

/** What a store is made of. */
export interface StoreOptions {
  /** The mount that shows it. */
  readonly mount: Mount;
  /** The database's name. */
  readonly databaseName: string;
  /** What the first primary runs in the empty database. */
  readonly schema: readonly Statement[];
  /** Takes each transaction that is committed here as on the primary. */
  readonly committed: (transaction: Transaction) => void;
  /** The time. */
  readonly clock: Clock;
}

/**
 * What LiteFS keeps on a node: the database with its position, the node's role, and how far it is behind. Whatever moves
 * them shows in the mount's files and in the events.
 */
export interface Store
  extends Omit<Member, "name" | "hostname">, Pick<AppContext, "read" | "write" | "subscribe"> {
  /** The database's name. */
  readonly databaseName: string;
  /** Returns the node's role. */
  role(): Role;
  /** Returns how far the node is behind, in milliseconds. */
  lag(): number;
  /** Returns the position of the last transaction in the file. */
  point(): Point;
  /** Tells the role now and whatever happens from here on, each in a line, until the returned function is called. */
  watch(tell: (line: string) => void): () => void;
  /** Closes the database and takes the mount's files away. */
  close(): Promise<void>;
}

// LiteFS computes `.lag` when it is read; a file has to be written again.
const lagInterval = 250;

/** Opens the store of a node, which is a replica without a primary until it is told otherwise. */
export async function openStore(options: StoreOptions): Promise<Store> {
  const { mount, databaseName, clock } = options;
  const database = await openDatabase(mount.databasePath);
  const watchers = new Set<(line: string) => void>();
  const listeners = new Set<(point: Point) => void>();
  // Everything that moves the position or the role goes through here, one at a time.
  const exclusive = createQueue();
  let role: Role = { isPrimary: false };
  // When the primary said what was heard of it last, in milliseconds since the Unix epoch.
  let heard: number | undefined;
  let lagTimer: unknown;

  function lag(): number {
    if (role.isPrimary) {
      return 0;
    }
    return heard === undefined ? notReady : clock.now() - heard;
  }

  function writeLag(): void {
    mount.writeLag(lag());
  }

  function keepLag(): void {
    writeLag();
    lagTimer = clock.setTimeout(keepLag, lagInterval);
  }

  function emit(line: string): void {
    for (const tell of watchers) {
      tell(line);
    }
  }

  function changeRole(next: Role): void {
    role = next;
    mount.writePrimary(role.hostname);
    writeLag();
    emit(primaryChangeEvent(role));
  }

  // The database has it already: who reads of a position finds what it promises.
  async function moved(time: number): Promise<void> {
    const point = database.position();
    const pages = await database.pages();
    mount.writePosition(point);
    emit(txEvent(databaseName, { ...point, time, pages }));
    for (const listener of listeners) {
      listener(point);
    }
  }

  async function commit(statements: readonly Statement[]): Promise<void> {
    const transaction = await database.commit(statements, clock.now());
    await moved(transaction.time);
    options.committed(transaction);
  }

  async function replicated(time: number): Promise<void> {
    heard = time;
    await moved(time);
  }

  // What a process that was killed has left behind.
  mount.clear();
  if (database.position().txid !== origin.txid) {
    mount.writePosition(database.position());
  }
  keepLag();

  return {
    databaseName,
    role: () => role,
    lag,
    point: database.position,
    read: database.read,
    write: (statements) =>
      exclusive(() => (role.isPrimary ? commit(statements) : database.refuse(statements))),
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    watch(tell) {
      tell(initEvent(role));
      watchers.add(tell);
      return () => watchers.delete(tell);
    },
    lead: () =>
      exclusive(async () => {
        changeRole({ isPrimary: true });
        if (database.position().txid === origin.txid && options.schema.length > 0) {
          await commit(options.schema);
        }
        return database.position();
      }),
    follow: (hostname) =>
      exclusive(async () => {
        if (role.isPrimary) {
          heard = undefined;
        }
        changeRole({ isPrimary: false, ...(hostname === undefined ? {} : { hostname }) });
        return database.position();
      }),
    position: () => exclusive(async () => database.position()),
    apply: (transactions) =>
      exclusive(async () => {
        for (const transaction of transactions) {
          await database.apply(transaction);
          await replicated(transaction.time);
        }
        writeLag();
      }),
    install: (snapshot) =>
      exclusive(async () => {
        await database.install(snapshot);
        await replicated(snapshot.time);
        writeLag();
      }),
    snapshot: () => exclusive(database.snapshot),
    heartbeat: (time) =>
      exclusive(async () => {
        heard = time;
        writeLag();
      }),
    close() {
      clock.clearTimeout(lagTimer);
      return exclusive(async () => {
        database.close();
        mount.close();
        mount.clear();
      });
    },
  };
}
