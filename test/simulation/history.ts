import { type Reign, show, type Transaction } from "./log.ts";

/** What the app has shown in one answer. */
export interface Observation {
  /** The node on which it was. */
  readonly node: number;
  /** What each database had come to when it looked. */
  readonly heads: readonly (Transaction | undefined)[];
  /** The transaction that it committed. */
  readonly wrote?: Transaction | undefined;
}

/** What a client asks for. */
export type Kind =
  /** A read that must show what its client has seen. */
  | "read"
  /** A read of which nothing is promised. */
  | "stale"
  /** A read with an unsafe method. */
  | "post"
  | "write"
  /** A safe request that finds that it must write. */
  | "upgrade";

/** Everything that happened, in order; what a checker may know. */
export type Event =
  | { readonly type: "reign"; readonly at: number; readonly reign: Reign }
  | {
      readonly type: "applied";
      readonly at: number;
      readonly node: number;
      /** What each database has come to on the node. */
      readonly heads: readonly (Transaction | undefined)[];
      /** Whether that is of another history than what was there. */
      readonly isSnapshot: boolean;
    }
  | { readonly type: "commit"; readonly at: number; readonly transaction: Transaction }
  | {
      readonly type: "sent";
      readonly at: number;
      readonly request: number;
      readonly client: number;
      readonly kind: Kind;
    }
  | {
      readonly type: "answered";
      readonly at: number;
      readonly request: number;
      /** The status; 0: the connection broke. */
      readonly status: number;
      readonly observation: Observation | undefined;
      /** Whether a LiteFS proxy gave the answer. */
      readonly isOld: boolean;
      /** Whether the node's storage was broken, so that its proxy could not tell what the answer shows. */
      readonly isUntold: boolean;
      /** How often the edge took it from node to node. */
      readonly hops: number;
      /** The node that answered; -1: none did. */
      readonly node: number;
    }
  /** A client has left before the answer. */
  | { readonly type: "left"; readonly at: number; readonly request: number }
  /** Whatever goes wrong has gone wrong, and all is mended and at rest. */
  | { readonly type: "calm"; readonly at: number };

/** Writes an event for people; the same for the same event, whatever the runtime. */
export function describe(event: Event): string {
  const time = event.at.toFixed(3).padStart(10);
  switch (event.type) {
    case "reign":
      return `${time} reign ${event.reign.heads.map(show).join(" ")}`;
    case "applied": {
      const how = event.isSnapshot ? "is replaced by" : "has";
      return `${time} node ${event.node} ${how} ${event.heads.map(show).join(" ")}`;
    }
    case "commit":
      return `${time} commit ${show(event.transaction)} by request ${event.transaction.request}`;
    case "sent":
      return `${time} client ${event.client} sends ${event.kind} ${event.request}`;
    case "answered": {
      const { observation, status, request, hops } = event;
      const seen =
        observation === undefined
          ? ""
          : ` node ${observation.node} shows ${observation.heads.map(show).join(" ")}`;
      const by = event.isOld ? " by LiteFS" : "";
      return `${time} answer ${status} to ${request}${by} after ${hops} hops${seen}`;
    }
    case "left":
      return `${time} request ${event.request} is left`;
    case "calm":
      return `${time} calm`;
  }
}

/** Returns a number that two histories share only if they are the same (FNV-1a). */
export function hashOf(events: readonly Event[]): string {
  let hash = 0x811c9dc5;
  for (const event of events) {
    const text = describe(event);
    for (let index = 0; index < text.length; index++)
      hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  return (hash >>> 0).toString(16).padStart(8, "0");
}
