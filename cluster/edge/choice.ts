import type { IncomingMessage } from "node:http";
import type { Replay } from "../replay.ts";
import { firstOf } from "./headers.ts";

/** A node as the edge reaches it. */
export interface EdgeNode {
  /** The node's name: what `instance=` in `fly-replay` means. */
  readonly name: string;
  /** What the other nodes call it, which `instance=` may say too. @default the name */
  readonly hostname?: string | undefined;
  /** The origin that gets the requests. */
  readonly url: string;
}

/** Returns the node that gets a fresh request first. */
export type Choose = (method: string, nodes: readonly EdgeNode[]) => EdgeNode | undefined;

/** A node that a replay can go to. */
export interface Candidate {
  /** The node. */
  readonly node: EdgeNode;
  /** Whether it is another one than the replay prefers. */
  readonly isOther: boolean;
}

/**
 * Returns the nodes that a fresh request may go to, in the order in which they are tried: what the client wishes comes
 * before the edge's own choice, and a node that it insists on is the only one.
 */
export function freshOrder(
  request: IncomingMessage,
  nodes: readonly EdgeNode[],
  choose: Choose,
): readonly EdgeNode[] {
  const forced = firstOf(request.headers["fly-force-instance-id"]);
  if (forced !== undefined) {
    return nodes.filter((node) => node.name === forced);
  }
  const preferred = firstOf(request.headers["fly-prefer-instance-id"]);
  const first =
    nodes.find((node) => node.name === preferred) ?? choose(request.method ?? "GET", nodes);
  const others = nodes.filter((node) => node !== first);
  return first === undefined ? others : [first, ...others];
}

/**
 * Returns the node that a replay goes to; undefined: there is none now.
 *
 * @param from The node that asked for it.
 * @param region The region of all nodes.
 */
export function candidateFor(
  replay: Replay,
  from: EdgeNode,
  nodes: readonly EdgeNode[],
  region: string,
): Candidate | undefined {
  const { instance, preferInstance, regions } = replay;
  const allowed = nodes.filter((node) => !(replay.elsewhere && node.name === from.name));
  if (instance !== undefined) {
    const node = allowed.find((one) => isCalled(one, instance));
    return node && { node, isOther: false };
  }
  const isHere = (code: string): boolean => code === region || code === "any";
  const reachable = regions.length === 0 || regions.some(isHere) ? allowed : [];
  const preferred = reachable.find((one) => isCalled(one, preferInstance));
  const node = preferred ?? randomOf(reachable);
  return node && { node, isOther: preferInstance !== undefined && preferred === undefined };
}

/** Returns any element of a list. */
export function randomOf<T>(list: readonly T[]): T | undefined {
  return list[Math.floor(Math.random() * list.length)];
}

function isCalled(node: EdgeNode, name: string | undefined): boolean {
  return name !== undefined && (node.name === name || node.hostname === name);
}
