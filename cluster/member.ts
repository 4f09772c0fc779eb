import type { Snapshot, Transaction } from "./database.ts";
import type { Point } from "./format.ts";

/** What the network asks of a node; it may run in this process or in another one. */
export interface Member {
  /** The node's name. */
  readonly name: string;
  /** What the other nodes call it, in `.primary` and `fly-replay`, once it is the primary. */
  readonly hostname: string;
  /** Makes the node the primary and returns its position. */
  lead(): Promise<Point>;
  /**
   * Makes the node a replica and returns its position; a write that has begun ends first.
   *
   * @param hostname What the primary is called; undefined while the node reaches none.
   */
  follow(hostname: string | undefined): Promise<Point>;
  /** Returns the node's position. */
  position(): Promise<Point>;
  /** Applies transactions, one after the other. */
  apply(transactions: readonly Transaction[]): Promise<void>;
  /** Replaces the database. */
  install(snapshot: Snapshot): Promise<void>;
  /** Returns the whole database. */
  snapshot(): Promise<Snapshot>;
  /**
   * Tells a replica that the primary lives.
   *
   * @param time When the primary said so, in milliseconds since the Unix epoch.
   */
  heartbeat(time: number): Promise<void>;
}
