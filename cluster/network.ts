import { wallClock } from "./wall-clock.ts";
import type { Clock } from "../src/clock.ts";
import type { Snapshot, Transaction } from "./database.ts";
import type { Member } from "./member.ts";
import { createLedger } from "./network/ledger.ts";
import type { Lost } from "./network/ledger.ts";
import { createReplication } from "./network/replication.ts";
import { createRoster } from "./network/roster.ts";
import type { Seat } from "./network/roster.ts";
import { createQueue } from "./queue.ts";

/** How a network behaves. */
export interface NetworkOptions {
  /** How long a transaction travels from the primary to a replica, in milliseconds. @default 0 */
  readonly lag?: number | undefined;
  /** How often an idle primary tells its replicas that it lives, in milliseconds. @default 1000 */
  readonly heartbeat?: number | undefined;
  /** The time. @default the runtime's */
  readonly clock?: Clock | undefined;
  /** Takes what goes wrong while a node is fed; it is left alone until it starts again. */
  readonly onError?: ((error: unknown, node: string) => void) | undefined;
}

/** What is known of a node. */
interface NodeStatus {
  /** The node's name. */
  readonly name: string;
  /** False after a crash. */
  readonly up: boolean;
  /** True while writes run there. */
  readonly isPrimary: boolean;
  /** True while the node is cut off from the others. */
  readonly partitioned: boolean;
  /** Its lag, in milliseconds. */
  readonly lag: number;
  /** Its position; undefined while it is down. */
  readonly txid: string | undefined;
}

/**
 * Everything between the nodes: the log of commits, the way it travels, and who is the primary. It stands in for
 * LiteFS's replication and its lease; both are never honest about time, so all of it can be turned while it runs.
 */
export interface Network {
  /** Takes a node in, or back after a crash; the first one becomes the primary. */
  add(member: Member): Promise<void>;
  /** Takes note that a node is gone; no other one becomes the primary by itself. */
  remove(name: string): Promise<void>;
  /** Takes a commit that the node called `name` made as the primary. */
  committed(name: string, transaction: Transaction): void;
  /**
   * Sets how long transactions travel, those under way included.
   *
   * @param lag Milliseconds.
   * @param name The replica; left out: all of them.
   * @throws {RangeError} When there is no such node, or the lag is not a number from 0 up.
   */
  setLag(lag: number, name?: string): void;
  /**
   * Cuts a node off from the other nodes; clients still reach it. A primary that is cut off stays the primary.
   *
   * @throws {RangeError} When there is no such node.
   */
  partition(name: string): Promise<void>;
  /** Ends every partition. */
  heal(): Promise<void>;
  /**
   * Makes another node the primary.
   *
   * @param name The new primary.
   * @param lose True: at once, and what it has not got yet is lost. False: it gets everything first, if the old primary
   * can be reached.
   * @throws {RangeError} When there is no such node, or it is down or cut off.
   */
  failover(name: string, lose?: boolean): Promise<void>;
  /** Returns the primary's database as it is now. */
  snapshot(): Promise<Snapshot>;
  /** Puts an old database back in place on all nodes; the position goes down. */
  restore(snapshot: Snapshot): Promise<void>;
  /** Returns the primary's name; undefined before the first node came. */
  primary(): string | undefined;
  /** Returns every transaction that was committed and is lost: a failover did not wait for it, or a restore took it. */
  lost(): readonly Lost[];
  /** Returns what is known of each node. */
  status(): Promise<NodeStatus[]>;
  /** Resolves once every replica that reaches the primary has everything that was committed. */
  settled(): Promise<void>;
  /** Stops feeding the nodes. */
  close(): Promise<void>;
}

/** Creates the network of a cluster; nodes come in through `add`. */
export function createNetwork(options: NetworkOptions = {}): Network {
  const { heartbeat = 1000, clock = wallClock, onError = () => undefined } = options;
  const ledger = createLedger(clock);
  const roster = createRoster(options.lag ?? 0);
  const replication = createReplication({ roster, ledger, heartbeat, clock, onError });
  const { connect, connectAll, disconnect, disconnectAll, handOver, promote } = replication;
  // One change of who is who at a time; commits go on meanwhile.
  const exclusive = createQueue();

  async function failover(seat: Seat, lose: boolean): Promise<void> {
    const { name, member } = seat;
    const old = roster.primary();
    if (member === undefined || seat.partitioned) {
      throw new RangeError(`Cannot make "${name}" the primary: it is down or cut off`);
    }
    if (old === seat) {
      return;
    }
    await disconnectAll();
    await old?.member?.follow(undefined);
    if (old?.member !== undefined && !old.partitioned && !lose) {
      await handOver(old.member, member);
    }
    await promote(seat, member);
  }

  async function statusOf(seat: Seat): Promise<NodeStatus> {
    const { name, member, partitioned } = seat;
    const isPrimary = seat === roster.primary() && member !== undefined;
    const lag = roster.lagOf(seat);
    const txid = (await member?.position())?.txid;
    return { name, up: member !== undefined, isPrimary, partitioned, lag, txid };
  }

  return {
    add: (member) =>
      exclusive(async () => {
        const seat = roster.take(member);
        const primary = roster.primary() ?? seat;
        await (primary === seat ? promote(seat, member) : connect(seat));
      }),
    remove: (name) =>
      exclusive(async () => {
        const seat = roster.get(name);
        seat.member = undefined;
        await (seat === roster.primary() ? connectAll() : disconnect(seat));
      }),
    committed(name, transaction) {
      if (name !== roster.primary()?.name) {
        return;
      }
      ledger.add(transaction);
      ledger.trim(roster.all().flatMap(({ delivery }) => delivery?.reached() ?? []));
      wake(roster.all());
    },
    setLag(lag, name) {
      if (!(lag >= 0)) {
        throw new RangeError(`Cannot set the lag: "${lag}" is not a number of milliseconds`);
      }
      wake(roster.setLag(lag, name));
    },
    partition: (name) =>
      exclusive(async () => {
        const seat = roster.get(name);
        seat.partitioned = true;
        await (seat === roster.primary() ? connectAll() : connect(seat));
      }),
    heal: () =>
      exclusive(async () => {
        for (const seat of roster.all()) {
          seat.partitioned = false;
        }
        for (const seat of roster.all()) {
          await (seat.delivery === undefined ? connect(seat) : undefined);
        }
      }),
    failover: (name, lose = false) => exclusive(async () => failover(roster.get(name), lose)),
    snapshot: () => exclusive(() => running(roster.primary()).member.snapshot()),
    restore: (snapshot) =>
      exclusive(async () => {
        const { seat, member } = running(roster.primary());
        await disconnectAll();
        await member.follow(undefined);
        await member.install(snapshot);
        await promote(seat, member);
      }),
    primary: () => roster.primary()?.name,
    lost: ledger.lost,
    status: () => Promise.all(roster.all().map(statusOf)),
    // After the changes that have been asked for before.
    settled: () => exclusive(async () => undefined).then(replication.settled),
    close: () => exclusive(disconnectAll),
  };
}

function wake(seats: readonly Seat[]): void {
  for (const seat of seats) {
    seat.delivery?.wake();
  }
}

/** Returns the primary's seat with its node, which must be up. */
function running(seat: Seat | undefined): { seat: Seat; member: Member } {
  if (seat?.member === undefined) {
    throw new RangeError("Cannot reach the primary: it is down");
  }
  return { seat, member: seat.member };
}
