import type { Clock } from "../../src/clock.ts";
import type { AppContext } from "../app.ts";
import { openDatabase } from "../database.ts";
import type { Transaction } from "../database.ts";
import { initEvent, origin, primaryChangeEvent, txEvent } from "../format.ts";
import type { Point, Role } from "../format.ts";
import type { Member } from "../member.ts";
import { createQueue } from "../queue.ts";
import type { Statement } from "../sql.ts";
import { createBroadcast } from "./broadcast.ts";
import type { Mount } from "./mount.ts";
import { createStanding } from "./standing.ts";

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

/** Opens the store of a node, which is a replica without a primary until it is told otherwise. */
export async function openStore(options: StoreOptions): Promise<Store> {
  const { mount, databaseName, clock } = options;
  const database = await openDatabase(mount.databasePath);
  const events = createBroadcast<string>();
  const moves = createBroadcast<Point>();
  // Everything that moves the position or the role goes through here, one at a time.
  const exclusive = createQueue();

  // What a process that was killed has left behind.
  mount.clear();
  if (database.position().txid !== origin.txid) {
    mount.writePosition(database.position());
  }
  const standing = createStanding(mount, clock);

  function changeRole(role: Role): void {
    standing.setRole(role);
    events.tell(primaryChangeEvent(role));
  }

  // The database has it already: who reads of a position finds what it promises.
  async function moved(time: number): Promise<void> {
    const point = database.position();
    const pages = await database.pages();
    mount.writePosition(point);
    events.tell(txEvent(databaseName, { ...point, time, pages }));
    moves.tell(point);
  }

  async function commit(statements: readonly Statement[]): Promise<void> {
    const transaction = await database.commit(statements, clock.now());
    await moved(transaction.time);
    options.committed(transaction);
  }

  async function replicated(time: number): Promise<void> {
    standing.hear(time);
    await moved(time);
  }

  return {
    databaseName,
    role: standing.role,
    lag: standing.lag,
    point: database.position,
    read: database.read,
    write: (statements) =>
      exclusive(() =>
        standing.role().isPrimary ? commit(statements) : database.refuse(statements),
      ),
    subscribe: moves.subscribe,
    watch(tell) {
      tell(initEvent(standing.role()));
      return events.subscribe(tell);
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
        standing.show();
      }),
    install: (snapshot) =>
      exclusive(async () => {
        await database.install(snapshot);
        await replicated(snapshot.time);
        standing.show();
      }),
    snapshot: () => exclusive(database.snapshot),
    heartbeat: (time) =>
      exclusive(async () => {
        standing.hear(time);
        standing.show();
      }),
    close() {
      standing.close();
      return exclusive(async () => {
        database.close();
        mount.close();
        mount.clear();
      });
    },
  };
}
