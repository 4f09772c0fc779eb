import type { Clock } from "../../src/clock.ts";
import type { Member } from "../member.ts";
import type { Ledger } from "./ledger.ts";

/** What a delivery is made of. */
export interface DeliveryOptions {
  /** The replica. */
  readonly member: Member;
  /** What it gets. */
  readonly ledger: Ledger;
  /** The number of the last transaction that it has. */
  readonly start: number;
  /** Returns how long a transaction travels now, in milliseconds. */
  readonly lag: () => number;
  /** How often the replica hears that an idle primary lives, in milliseconds. */
  readonly heartbeat: number;
  /** The time. */
  readonly clock: Clock;
  /** Is called when the replica has got something. */
  readonly arrived: () => void;
  /** Takes the error that ends the delivery. */
  readonly onError: (error: unknown) => void;
}

/** What brings transactions to one replica, each of them when its lag has passed. */
export interface Delivery {
  /** Returns the number of the last transaction that the replica has. */
  reached(): number;
  /** Has it look again at what is due: something was committed, or the lag is another one. */
  wake(): void;
  /** Ends it; resolves once the replica gets nothing more. */
  stop(): Promise<void>;
}

// How many transactions a replica gets at once at most.
const batch = 256;

/** Starts the delivery to a replica. */
export function startDelivery(options: DeliveryOptions): Delivery {
  const { member, ledger, lag, heartbeat, clock } = options;
  let reached = options.start;
  let lastHeartbeat = -Infinity;
  let isOver = false;
  let wake: (() => void) | undefined;

  function sleepUntil(time: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = clock.setTimeout(resolve, time - clock.now());
      wake = () => {
        clock.clearTimeout(timer);
        resolve();
      };
    });
  }

  // Does the one thing that is due, or sleeps until something is.
  async function step(): Promise<void> {
    const now = clock.now();
    const rest = ledger.after(reached, batch);
    const count = rest.findIndex((transaction) => transaction.time + lag() > now);
    const due = count < 0 ? rest : rest.slice(0, count);
    if (due.length > 0) {
      await member.apply(due);
      reached += due.length;
      options.arrived();
      return;
    }
    const next = rest[0];
    if (next === undefined && now - lastHeartbeat >= heartbeat) {
      lastHeartbeat = now;
      await member.heartbeat(now - lag());
      return;
    }
    await sleepUntil(next === undefined ? lastHeartbeat + heartbeat : next.time + lag());
  }

  async function run(): Promise<void> {
    while (!isOver) {
      await step();
    }
  }

  const finished = run().catch(options.onError);
  return {
    reached: () => reached,
    wake: () => wake?.(),
    async stop() {
      isOver = true;
      wake?.();
      await finished;
    },
  };
}
