import type { Heads } from "./cluster.ts";
import type { Transaction } from "./log.ts";
import type { ClientKind } from "./plan.ts";

/** What a request asks for. */
export type Action =
  /** A read. */
  | "read"
  /** A read whose body comes long after its head. */
  | "stream"
  /** A read that may be answered from an old state. */
  | "stale"
  /** A read whose answer caches may share. */
  | "shared"
  /** A POST that writes. */
  | "write"
  /** A POST that reads; the app says so. */
  | "look"
  /** A GET that writes, on a path that is always forwarded. */
  | "visit"
  /** A GET that turns out to write; the app says so. */
  | "discover";

/** Which actions write. */
export const WRITES: ReadonlySet<Action> = new Set(["write", "visit", "discover"]);

/** Which actions run on the primary alone. */
export const ON_PRIMARY: ReadonlySet<Action> = new Set(["write", "look", "visit"]);

/** One run of the app for one request. */
export interface Run {
  readonly id: number;
  readonly node: number;
  /** When the app got the request. */
  readonly at: number;
  /** What the request found in the database, its own transaction included. */
  seen: Heads | undefined;
  committed: Transaction | undefined;
}

/** One visit of a request to one proxy. */
export interface Trip {
  readonly node: number;
  readonly isOld: boolean;
  readonly at: number;
  /** When the proxy began to send it on to another one. */
  sentOn: number | undefined;
  end: number | undefined;
  /** What the proxy answered; undefined: its connection broke. */
  status: number | undefined;
}

/** A request of a client, and what became of it. Places in the order of all that happens are called `…Turn`. */
export interface Exchange {
  readonly id: number;
  readonly client: number;
  readonly kind: ClientKind;
  readonly action: Action;
  readonly database: number;
  readonly at: number;
  readonly turn: number;
  /** Whether it was sent after everything had been mended and had come to rest. */
  readonly isCalm: boolean;
  readonly trips: Trip[];
  readonly runs: Run[];
  /** When the head of the answer was there. */
  headTurn: number | undefined;
  /** When the client had its answer, whole, or nothing to wait for any more. */
  end: number | undefined;
  endTurn: number | undefined;
  /** The index of the reign at that moment. */
  reign: number;
  /** What the client was answered; undefined: nothing, or it left before. */
  status: number | undefined;
  /** Whether the client left. */
  left: boolean;
  /** The run whose answer the client got. */
  answer: Run | undefined;
  /** A header of the answer that no client may see. */
  leak: string | undefined;
}
