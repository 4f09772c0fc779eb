import { wallClock } from "./wall-clock.ts";
import type { Clock } from "../src/clock.ts";
import type { Snapshot, Transaction } from "./database.ts";
import { origin } from "./format.ts";
import type { Point } from "./format.ts";
import type { Member } from "./member.ts";
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

/** A transaction that a change of the primary has thrown away. */
interface Lost {
  /** What nobody has any more. */
  readonly transaction: Transaction;
  /** When it was lost, in milliseconds since the Unix epoch. */
  readonly at: number;
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

interface Seat {
  readonly name: string;
  member: Member | undefined;
  partitioned: boolean;
  lag: number | undefined;
  pump: Pump | undefined;
}

interface Pump {
  cursor: number;
  wake(): void;
  stop(): Promise<void>;
}

const retained = 10_000;

/** Creates the network of a cluster; nodes come in through `add`. */
export function createNetwork(options: NetworkOptions = {}): Network {
  const { heartbeat = 1000, clock = wallClock } = options;
  const seats = new Map<string, Seat>();
  let lag = options.lag ?? 0;
  let primaryName: string | undefined;
  let base: Point = origin;
  let log: Transaction[] = [];
  const lost: Lost[] = [];
  let waiting: (() => void)[] = [];
  // One change of who is who at a time; commits go on meanwhile.
  const exclusive = createQueue();

  function seatOf(name: string): Seat {
    const seat = seats.get(name);
    if (seat === undefined) {
      throw new RangeError(`Cannot find node "${name}"`);
    }
    return seat;
  }

  function primarySeat(): Seat | undefined {
    return primaryName === undefined ? undefined : seats.get(primaryName);
  }

  function lagOf(seat: Seat): number {
    return seat.lag ?? lag;
  }

  // The number of the transaction, found in the log or at its beginning; undefined: another history, or too old.
  function locate(point: Point): number | undefined {
    const index = ordinal(point) - ordinal(base);
    const known = index === 0 ? base : log[index - 1];
    return known?.checksum === point.checksum ? ordinal(point) : undefined;
  }

  function checkSettled(): void {
    const last = ordinal(log.at(-1) ?? base);
    if ([...seats.values()].every((seat) => seat.pump === undefined || seat.pump.cursor >= last)) {
      const done = waiting;
      waiting = [];
      for (const resolve of done) {
        resolve();
      }
    }
  }

  // Forgets what comes after `point`.
  function align(point: Point): void {
    const found = locate(point);
    const kept = found === undefined ? 0 : found - ordinal(base);
    lost.push(...log.slice(kept).map((transaction) => ({ transaction, at: clock.now() })));
    if (found === undefined) {
      log = [];
      base = { txid: point.txid, checksum: point.checksum };
      return;
    }
    log.length = kept;
  }

  function trim(): void {
    const cursors = [...seats.values()].flatMap((seat) => seat.pump?.cursor ?? []);
    const count = Math.min(
      log.length - retained,
      ...cursors.map((cursor) => cursor - ordinal(base)),
    );
    const last = log[count - 1];
    if (last !== undefined) {
      base = { txid: last.txid, checksum: last.checksum };
      log.splice(0, count);
    }
  }

  function startPump(seat: Seat, member: Member, start: number): Pump {
    let stopped = false;
    let beaten = -Infinity;
    let wakeUp: (() => void) | undefined;

    function pause(delay: number): Promise<void> {
      return new Promise((resolve) => {
        const timer = clock.setTimeout(resolve, delay);
        wakeUp = () => {
          clock.clearTimeout(timer);
          resolve();
        };
      });
    }

    async function step(): Promise<void> {
      const now = clock.now();
      const rest = log.slice(pump.cursor - ordinal(base), pump.cursor - ordinal(base) + 256);
      const count = rest.findIndex((transaction) => transaction.time + lagOf(seat) > now);
      const due = count < 0 ? rest : rest.slice(0, count);
      if (due.length > 0) {
        await member.apply(due);
        pump.cursor += due.length;
        checkSettled();
        return;
      }
      const next = rest[0];
      if (next === undefined && now - beaten >= heartbeat) {
        beaten = now;
        await member.heartbeat(now - lagOf(seat));
        return;
      }
      await pause(next === undefined ? beaten + heartbeat - now : next.time + lagOf(seat) - now);
    }

    async function run(): Promise<void> {
      while (!stopped) {
        await step();
      }
    }

    const pump: Pump = {
      cursor: start,
      wake: () => wakeUp?.(),
      async stop() {
        stopped = true;
        wakeUp?.();
        await finished;
      },
    };
    const finished = run().catch((error: unknown) => options.onError?.(error, seat.name));
    return pump;
  }

  async function disconnect(seat: Seat): Promise<void> {
    const { pump } = seat;
    seat.pump = undefined;
    await pump?.stop();
  }

  async function connect(seat: Seat): Promise<void> {
    await disconnect(seat);
    const { member } = seat;
    const source = primarySeat();
    if (member === undefined || source === seat) {
      return;
    }
    if (source?.member === undefined || source.partitioned || seat.partitioned) {
      await member.follow(undefined);
      return;
    }
    const point = await member.follow(source.member.hostname);
    const start = locate(point) ?? (await copy(source.member, member));
    seat.pump = startPump(seat, member, start);
  }

  async function copy(from: Member, to: Member): Promise<number> {
    const snapshot = await from.snapshot();
    await to.install(snapshot);
    return ordinal(snapshot);
  }

  // One node that fails must not keep the others from their primary.
  async function connectAll(): Promise<void> {
    for (const seat of seats.values()) {
      await connect(seat).catch((error: unknown) => options.onError?.(error, seat.name));
    }
  }

  // Everything the old primary has, without waiting for the lag.
  async function handOver(from: Member, to: Member): Promise<void> {
    const start = locate(await to.position());
    if (start === undefined) {
      await copy(from, to);
      return;
    }
    await to.apply(log.slice(start - ordinal(base)));
  }

  async function promote(seat: Seat, member: Member): Promise<void> {
    align(await member.position());
    primaryName = seat.name;
    await member.lead();
    await connectAll();
  }

  async function failover(name: string, lose: boolean): Promise<void> {
    const seat = seatOf(name);
    const { member } = seat;
    const old = primarySeat();
    if (member === undefined || seat.partitioned) {
      throw new RangeError(`Cannot make "${name}" the primary: it is down or cut off`);
    }
    if (old === seat) {
      return;
    }
    await Promise.all([...seats.values()].map(disconnect));
    await old?.member?.follow(undefined);
    if (old?.member !== undefined && !old.partitioned && !lose) {
      await handOver(old.member, member);
    }
    await promote(seat, member);
  }

  return {
    add: (member) =>
      exclusive(async () => {
        const seat = seats.get(member.name) ?? {
          name: member.name,
          member,
          partitioned: false,
          lag: undefined,
          pump: undefined,
        };
        seat.member = member;
        seats.set(member.name, seat);
        if (primaryName === undefined || primaryName === member.name) {
          await promote(seat, member);
          return;
        }
        await connect(seat);
      }),
    remove: (name) =>
      exclusive(async () => {
        const seat = seatOf(name);
        seat.member = undefined;
        await (name === primaryName ? connectAll() : disconnect(seat));
      }),
    committed(name, transaction) {
      if (name !== primaryName) {
        return;
      }
      log.push(transaction);
      if (log.length > 2 * retained) {
        trim();
      }
      for (const seat of seats.values()) {
        seat.pump?.wake();
      }
    },
    setLag(value, name) {
      if (!(value >= 0)) {
        throw new RangeError(`Cannot set the lag: "${value}" is not a number of milliseconds`);
      }
      if (name === undefined) {
        lag = value;
      }
      for (const seat of name === undefined ? seats.values() : [seatOf(name)]) {
        seat.lag = name === undefined ? undefined : value;
        seat.pump?.wake();
      }
    },
    partition: (name) =>
      exclusive(async () => {
        const seat = seatOf(name);
        seat.partitioned = true;
        await (name === primaryName ? connectAll() : connect(seat));
      }),
    heal: () =>
      exclusive(async () => {
        for (const seat of seats.values()) {
          seat.partitioned = false;
        }
        for (const seat of seats.values()) {
          await (seat.pump === undefined ? connect(seat) : undefined);
        }
      }),
    failover: (name, lose = false) => exclusive(() => failover(name, lose)),
    snapshot: () => exclusive(() => running(primarySeat()).member.snapshot()),
    restore: (snapshot) =>
      exclusive(async () => {
        const { seat, member } = running(primarySeat());
        await Promise.all([...seats.values()].map(disconnect));
        await member.follow(undefined);
        await member.install(snapshot);
        await promote(seat, member);
      }),
    primary: () => primaryName,
    lost: () => lost,
    status: () =>
      Promise.all(
        [...seats.values()].map(async (seat) => ({
          name: seat.name,
          up: seat.member !== undefined,
          isPrimary: seat.name === primaryName && seat.member !== undefined,
          partitioned: seat.partitioned,
          lag: lagOf(seat),
          txid: (await seat.member?.position())?.txid,
        })),
      ),
    settled: () =>
      exclusive(async () => undefined).then(
        () =>
          new Promise((resolve) => {
            waiting.push(resolve);
            checkSettled();
          }),
      ),
    close: () =>
      exclusive(async () => {
        await Promise.all([...seats.values()].map(disconnect));
      }),
  };
}

function running(seat: Seat | undefined): { seat: Seat; member: Member } {
  if (seat?.member === undefined) {
    throw new RangeError("Cannot reach the primary: it is down");
  }
  return { seat, member: seat.member };
}

// Positions here start at 0 and stay small, whatever LiteFS's may do.
function ordinal(point: Point): number {
  return Number(BigInt(`0x${point.txid}`));
}
