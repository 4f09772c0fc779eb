import type { Clock } from "../../src/clock.ts";
import type { Member } from "../member.ts";
import { startDelivery } from "./delivery.ts";
import { numberOf } from "./ledger.ts";
import type { Ledger } from "./ledger.ts";
import type { Roster, Seat } from "./roster.ts";

/** What replication is made of. */
export interface ReplicationOptions {
  /** The nodes. */
  readonly roster: Roster;
  /** What they get. */
  readonly ledger: Ledger;
  /** How often an idle primary tells its replicas that it lives, in milliseconds. */
  readonly heartbeat: number;
  /** The time. */
  readonly clock: Clock;
  /** Takes what goes wrong while a node is fed. */
  readonly onError: (error: unknown, node: string) => void;
}

/** What makes nodes follow the primary. */
export interface Replication {
  /**
   * Makes a node follow the primary, with a delivery from it, or nobody while one cannot reach the other. The primary
   * itself and a node that is down follow nobody.
   */
  connect(seat: Seat): Promise<void>;
  /** Does so with every node. */
  connectAll(): Promise<void>;
  /** Ends the delivery to a node. */
  disconnect(seat: Seat): Promise<void>;
  /** Ends every delivery. */
  disconnectAll(): Promise<void>;
  /** Brings a node all that another one has, without waiting for the lag. */
  handOver(from: Member, to: Member): Promise<void>;
  /** Makes a node the primary, and all others follow it; what it has not got is lost. */
  promote(seat: Seat, member: Member): Promise<void>;
  /** Resolves once every delivery has brought everything that was committed. */
  settled(): Promise<void>;
}

/** Creates the replication between the nodes of a roster. */
export function createReplication(options: ReplicationOptions): Replication {
  const { roster, ledger, heartbeat, clock, onError } = options;
  // Who waits for `settled`.
  let waiting: (() => void)[] = [];

  function checkSettled(): void {
    const last = ledger.last();
    if (
      roster.all().every(({ delivery }) => delivery === undefined || delivery.reached() >= last)
    ) {
      const done = waiting;
      waiting = [];
      for (const resolve of done) {
        resolve();
      }
    }
  }

  async function disconnect(seat: Seat): Promise<void> {
    const { delivery } = seat;
    seat.delivery = undefined;
    await delivery?.stop();
  }

  async function connect(seat: Seat): Promise<void> {
    await disconnect(seat);
    const { member } = seat;
    const source = roster.primary();
    if (member === undefined || source === seat) {
      return;
    }
    if (source?.member === undefined || source.partitioned || seat.partitioned) {
      await member.follow(undefined);
      return;
    }
    const point = await member.follow(source.member.hostname);
    const start = ledger.find(point) ?? (await copy(source.member, member));
    seat.delivery = startDelivery({
      member,
      ledger,
      start,
      lag: () => roster.lagOf(seat),
      heartbeat,
      clock,
      arrived: checkSettled,
      onError: (error) => onError(error, seat.name),
    });
  }

  async function connectAll(): Promise<void> {
    for (const seat of roster.all()) {
      // One node that fails must not keep the others from their primary.
      await connect(seat).catch((error: unknown) => onError(error, seat.name));
    }
  }

  return {
    connect,
    connectAll,
    disconnect,
    async disconnectAll() {
      await Promise.all(roster.all().map(disconnect));
    },
    async handOver(from, to) {
      const start = ledger.find(await to.position());
      await (start === undefined ? copy(from, to) : to.apply(ledger.after(start)));
    },
    async promote(seat, member) {
      ledger.backTo(await member.position());
      roster.setPrimary(seat);
      await member.lead();
      await connectAll();
    },
    settled: () =>
      new Promise((resolve) => {
        waiting.push(resolve);
        checkSettled();
      }),
  };
}

/** Copies the whole database of one node to another one, and returns the number of the last transaction in it. */
async function copy(from: Member, to: Member): Promise<number> {
  const snapshot = await from.snapshot();
  await to.install(snapshot);
  return numberOf(snapshot);
}
