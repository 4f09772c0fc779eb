import type { Position, Primary, Storage } from "../../src/index.ts";
import {
  ancestor,
  type Branch,
  includes,
  positionOf,
  type Reign,
  type Transaction,
} from "./log.ts";
import type { Plan } from "./plan.ts";
import type { Random } from "./random.ts";
import type { Timeline } from "./timeline.ts";

/** A database node of the cluster, as LiteFS shows it to a proxy. */
export interface ClusterNode {
  readonly index: number;
  /** Its name in the cluster. */
  readonly name: string;
  /** What each database has come to. */
  heads: (Transaction | undefined)[];
  /** What it believes of the primary. */
  primary: Primary;
  /** Whether the primary's transactions reach it. */
  isLinked: boolean;
  /** Whether its storage throws. */
  isBroken: boolean;
  /** When it has last ceased to. */
  mended: number;
}

/** The databases of a world: one node at most is the primary, the others follow it with their lag. */
export interface Cluster {
  readonly nodes: readonly ClusterNode[];
  /** The node that writes run on now. */
  primary(): ClusterNode | undefined;
  /** Commits a transaction on a node; undefined when the node is not the primary. */
  commit(node: ClusterNode, database: number, request: number): Transaction | undefined;
  /** Returns what a proxy on a node knows of a database. */
  storageOf(node: ClusterNode, database: number): Storage;
  /** Cuts a node off from the primary's transactions. */
  cut(node: ClusterNode): void;
  /** Ends that. */
  join(node: ClusterNode): void;
  /** Takes the lease from the primary; nobody has it then. */
  depose(): void;
  /**
   * Gives the lease to a node.
   *
   * @param node The next primary.
   * @param isComplete Whether it has got all that the last one had, as in a handoff.
   */
  enthrone(node: ClusterNode, isComplete: boolean): void;
  /** Replaces the primary's databases by an older snapshot. */
  restore(depth: number): void;
}

/** How long a node takes at most between two transactions that its link has brought together, in milliseconds. */
const SNAPSHOT = 5;

/**
 * Creates the cluster of a world.
 *
 * @param plan The world's plan.
 * @param timeline Its time.
 * @param random Its chances.
 * @param onReign Gets each change of what the cluster's history is.
 * @param onCommit Gets each transaction.
 * @param onApplied Gets each node that has come to something else, and whether that is of another history.
 */
export function createCluster(
  plan: Plan,
  timeline: Timeline,
  random: Random,
  onReign: (reign: Reign) => void,
  onCommit: (transaction: Transaction) => void,
  onApplied: (node: ClusterNode, isSnapshot: boolean) => void,
): Cluster {
  let branches = 0;
  let leader: ClusterNode | undefined;
  let reign: readonly Branch[] = [];
  const indexes = Array.from({ length: plan.databases }, (_, index) => index);
  const first = begin(indexes.map(() => undefined));
  const origin = indexes.map((database, index): Transaction | undefined => {
    const branch = first[index];
    return branch && make(database, branch, undefined, -1);
  });
  const followers: Follower[] = Array.from({ length: plan.nodes }, (_, index) => ({
    node: {
      index,
      name: `node-${index}`,
      heads: origin.slice(),
      primary: { at: "unknown" },
      isLinked: true,
      isBroken: false,
      mended: -Infinity,
    },
    listeners: new Set(),
    walked: new Set(origin.filter((one) => one !== undefined)),
    epoch: 0,
    free: 0,
    contact: 0,
  }));
  const nodes = followers.map(({ node }) => node);

  function begin(heads: readonly (Transaction | undefined)[]): readonly Branch[] {
    reign = heads.map((from) => ({ id: branches++, from }));
    return reign;
  }

  function make(
    database: number,
    branch: Branch,
    parent: Transaction | undefined,
    request: number,
  ): Transaction {
    const number = (parent?.number ?? 0) + 1;
    const mark = `${branch.id.toString(16)}x${number.toString(16)}`;
    return { database, branch, number, parent, at: timeline.now(), request, mark };
  }

  function apply(follower: Follower, database: number, head: Transaction | undefined): void {
    const last = follower.node.heads[database];
    follower.node.heads[database] = head;
    onApplied(follower.node, last !== undefined && !includes(head, last));
    follower.contact = timeline.now();
    if (head !== undefined) follower.walked.add(head);
    tell(follower);
  }

  function tell(follower: Follower): void {
    if (!plan.notifies) return;
    for (const listener of follower.listeners) listener();
  }

  /** Sends a follower what one database has come to; what was sent before comes before. */
  function ship(follower: Follower, database: number, delay: number): void {
    const { epoch } = follower;
    const head = leader?.heads[database];
    follower.free = Math.max(follower.free, timeline.now() + delay);
    timeline.at(follower.free, () => {
      if (follower.epoch === epoch && follower.node.isLinked) apply(follower, database, head);
    });
  }

  /** Has a node follow the primary anew: it gets a snapshot where its own history is another. */
  function follow(follower: Follower): void {
    follower.epoch++;
    follower.free = timeline.now();
    if (leader === undefined || follower.node === leader || !follower.node.isLinked) return;
    for (const database of indexes)
      ship(follower, database, random.time(...plan.lag) + random.time(0, SNAPSHOT));
  }

  function proclaim(): void {
    onReign({ at: timeline.now(), heads: leader?.heads.slice() ?? [], branches: reign });
  }

  function believe(follower: Follower, primary: Primary): void {
    follower.node.primary = primary;
    tell(follower);
  }

  /** Tells the nodes of a change, each in its time; who has lost or got the lease knows it at once. */
  function spread(): void {
    const now = leader;
    for (const follower of followers) {
      const { node } = follower;
      if (node === now) {
        believe(follower, { at: "here" });
        continue;
      }
      if (node.primary.at === "here") believe(follower, { at: "unknown" });
      timeline.after(random.time(0, plan.roleDelay), () => {
        if (leader !== now || node === leader) return;
        believe(
          follower,
          now === undefined ? { at: "unknown" } : { at: "elsewhere", hostname: now.name },
        );
        if (now !== undefined) follow(follower);
      });
    }
  }

  function followerOf(node: ClusterNode): Follower {
    const found = followers[node.index];
    if (found === undefined) throw new Error(`No node ${node.index}`);
    return found;
  }

  function knows(follower: Follower, transaction: Transaction): boolean {
    if (plan.marks === "all") return true;
    return plan.marks === "walked" && follower.walked.has(transaction);
  }

  function historyAt(node: ClusterNode, database: number, position: Position): string | undefined {
    const number = Number.parseInt(position, 16);
    const found = ancestor(node.heads[database], number);
    if (found === undefined || found.number !== number) return undefined;
    return knows(followerOf(node), found) ? found.mark : undefined;
  }

  function lagOf(node: ClusterNode): number | undefined {
    if (!plan.tellsLag) return undefined;
    if (node === leader) return 0;
    return node.isLinked && leader !== undefined
      ? plan.lag[0]
      : timeline.now() - followerOf(node).contact;
  }

  function storageOf(node: ClusterNode, database: number): Storage {
    const follower = followerOf(node);
    const answer = <T>(value: () => T): T | Promise<T> => {
      if (node.isBroken) throw new Error("storage is broken");
      if (plan.storageDelay === 0) return value();
      return timeline.sleep(plan.storageDelay).then(value);
    };
    return {
      position: () =>
        answer(() => {
          const head = node.heads[database];
          return head === undefined ? undefined : positionOf(head);
        }),
      primary: () => answer(() => node.primary),
      lag: () => answer(() => lagOf(node)),
      ...(plan.marks === "none"
        ? {}
        : {
            historyAt: (position: Position) => answer(() => historyAt(node, database, position)),
          }),
      ...(plan.notifies
        ? {
            subscribe: (changed: () => void) => {
              follower.listeners.add(changed);
              return () => void follower.listeners.delete(changed);
            },
          }
        : {}),
    };
  }

  return {
    nodes,
    primary: () => leader,
    storageOf,
    commit: (node, database, request) => {
      const branch = reign[database];
      if (node !== leader || branch === undefined) return undefined;
      const transaction = make(database, branch, node.heads[database], request);
      onCommit(transaction);
      apply(followerOf(node), database, transaction);
      for (const follower of followers)
        if (follower.node !== node && follower.node.isLinked && follows(follower, leader))
          ship(follower, database, random.time(...plan.lag));
      return transaction;
    },
    cut: (node) => {
      node.isLinked = false;
      followerOf(node).epoch++;
    },
    join: (node) => {
      node.isLinked = true;
      follow(followerOf(node));
    },
    depose: () => {
      leader = undefined;
      spread();
    },
    enthrone: (node, isComplete) => {
      const follower = followerOf(node);
      follower.epoch++;
      if (isComplete) {
        const best = nodes.reduce((a, b) => (isAhead(b, a) ? b : a));
        node.heads = best.heads.slice();
        for (const head of node.heads) if (head !== undefined) follower.walked.add(head);
        onApplied(node, false);
      }
      leader = node;
      begin(node.heads);
      proclaim();
      spread();
    },
    restore: (depth) => {
      if (leader === undefined) return;
      leader.heads = leader.heads.map((head) =>
        head === undefined ? undefined : ancestor(head, Math.max(1, head.number - depth)),
      );
      onApplied(leader, true);
      begin(leader.heads);
      proclaim();
      tell(followerOf(leader));
      for (const follower of followers) follow(follower);
    },
  };
}

/** A node, and how what the primary has comes to it. */
interface Follower {
  readonly node: ClusterNode;
  readonly listeners: Set<() => void>;
  /** The transactions that it has had as its last one. */
  readonly walked: Set<Transaction>;
  /** Counts its connections to a primary: what one has brought is dropped once there is another. */
  epoch: number;
  /** When its link has brought all that was sent so far. */
  free: number;
  /** When something came last. */
  contact: number;
}

/** Tells whether a node has found the primary. */
function follows({ node }: Follower, leader: ClusterNode): boolean {
  return node.primary.at === "elsewhere" && node.primary.hostname === leader.name;
}

/** Tells whether one node has more than another, of the same history. */
function isAhead(one: ClusterNode, other: ClusterNode): boolean {
  return one.heads.every((head, index) => {
    const least = other.heads[index];
    return least === undefined || includes(head, least);
  });
}
