import type { Size } from "./replay.ts";

/** How a request that belongs to the primary gets there from another node. */
export type Way =
  /** Fly Proxy, or an edge like it, is asked to take it there. */
  | "replay"
  /** This node sends it to the primary's proxy. */
  | "direct"
  /** It has gone from node to node too often: the primary moves, or nodes disagree on who it is. */
  | "loop"
  /** An edge could not reach the primary, and this node cannot either. */
  | "unreachable"
  /** It is too large to be replayed. */
  | "too large"
  /** It does not say how large it is, so that it cannot be replayed. */
  | "no length"
  /** This node has no way to the primary. */
  | "none";

/** What decides on the way. */
export interface WayFacts {
  /** What the operator wants. */
  readonly forward: "auto" | "replay" | "direct";
  /** Whether it came through Fly Proxy. */
  readonly throughFly: boolean;
  /** Whether Fly Proxy has tried a replay in vain. */
  readonly failed: boolean;
  /** Whether another node's proxy has sent it here itself. */
  readonly forwarded: boolean;
  /** How often it has been sent from node to node. */
  readonly hops: number;
  /** How much of it there is. */
  readonly size: Size;
  /** Whether this node knows the address of the primary's proxy. */
  readonly hasUrl: boolean;
}

/** How often a request is sent from node to node at most: a primary that moves meanwhile costs one more. */
const MAX_HOPS = 2;

/** Chooses the way of a request that belongs to the primary. */
export function chooseWay(facts: WayFacts): Way {
  const { forward, throughFly, failed, forwarded, hops, size, hasUrl } = facts;
  if (hops >= MAX_HOPS) return "loop";
  const direct = hasUrl ? "direct" : undefined;
  if (forward === "direct") return direct ?? "none";
  if (forward === "replay") return failed ? "unreachable" : "replay";
  // The node that waits for the answer is no edge: it would hand a replay to the client.
  if (forwarded) return direct ?? "none";
  if (failed) return direct ?? "unreachable";
  if (!throughFly) return direct ?? "replay";
  if (size === "large") return direct ?? "too large";
  if (size === "unknown") return direct ?? "no length";
  return "replay";
}
