import type { Primary } from "../../src/index.ts";
import { ancestor, type Branch, type Reign, show, type Transaction } from "./log.ts";
import type { Plan } from "./plan.ts";
import { createRandom } from "./random.ts";
import type { Timeline } from "./timeline.ts";

/** The heads of a node's databases. */
export type Heads = readonly (Transaction | undefined)[];

/** A state of a node that lasted until the next one. */
export interface Moment {
  readonly at: number;
  readonly heads: Heads;
  readonly isPrimary: boolean;
}

/** The database of one node. */
export interface Replica {
  readonly index: number;
  /** What it has applied. */
  heads: Heads;
  /** Where it believes the primary to be. */
  known: Primary;
  /** All its states, in their order. */
  readonly moments: Moment[];
  /** Whom it tells that something has moved. */
  readonly watchers: Set<() => void>;
  /** How many milliseconds it is behind. */
  lag(): number;
}

/** The replicated databases: one node at a time commits, and the others follow when they can. */
export interface Cluster {
  readonly replicas: readonly Replica[];
  readonly reigns: readonly Reign[];
  /** Commits on a node; undefined: it is not the primary. */
  commit(node: number, database: number, exchange: number): Transaction | undefined;
  /** Tells whether the link to a replica is cut. */
  isCut(node: number): boolean;
  /** Cuts the link to a replica, or mends it. */
  cut(node: number, isCut: boolean): void;
  /** Lets a replica take another node for the primary, or tells it who is. */
  mislead(node: number, wrong: number | undefined): void;
  /** Lets another node take over that has everything. */
  handOver(to: number): void;
  /** Lets another node take over, whatever it has, after `gap` milliseconds without a primary. */
  failOver(to: number, gap: number): void;
  /** Puts an old state of one database in place of the present one. */
  restore(database: number, back: number): void;
  /** Returns the primary's index; undefined: there is none. */
  primary(): number | undefined;
}

/** How a link stands. */
interface Link {
  isCut: boolean;
  /** Which connection it is; what was sent on an older one never arrives. */
  epoch: number;
  /** When the last that was sent arrives. */
  lastAt: number;
  appliedAt: number;
}

/**
 * Creates the databases of a world. Replication is asynchronous and in order. A lease sees to it that there is never
 * more than one primary, and a node that loses it knows; what the others know of it comes later.
 *
 * @param plan The world.
 * @param timeline Its time.
 * @param tell Takes what happens, for people.
 */
export function createCluster(
  plan: Plan,
  timeline: Timeline,
  tell: (text: () => string) => void,
): Cluster {
  const random = createRandom(plan.seed, "cluster");
  const reigns: Reign[] = [];
  const replicas = Array.from({ length: plan.nodes }, (_, index): Replica => {
    return {
      index,
      heads: Array.from({ length: plan.databases }, () => undefined),
      known: { at: "unknown" },
      moments: [],
      watchers: new Set(),
      lag: () => lagOf(index),
    };
  });
  const links = replicas.map((_, index) => {
    const link: Link = { isCut: false, epoch: 0, lastAt: 0, appliedAt: 0 };
    return { random: createRandom(plan.seed, `link ${index}`), link };
  });
  let primary: number | undefined;
  let branches = 0;
  /** How often the lease has changed hands. */
  let term = 0;
  let newest: Heads = Array.from({ length: plan.databases }, () => undefined);

  function lagOf(index: number): number {
    if (index === primary) return 0;
    const link = links[index]?.link;
    const current = primary === undefined ? undefined : replicas[primary];
    const isSame = replicas[index]?.heads.every(
      (head, database) => head === current?.heads[database],
    );
    return isSame === true && link?.isCut === false ? 0 : timeline.now() - (link?.appliedAt ?? 0);
  }

  function record(replica: Replica): void {
    const isPrimary = replica.index === primary;
    replica.moments.push({ at: timeline.now(), heads: replica.heads, isPrimary });
  }

  function changed(replica: Replica): void {
    for (const watcher of Array.from(replica.watchers)) watcher();
  }

  function know(replica: Replica, known: Primary): void {
    replica.known = known;
    changed(replica);
  }

  function begin(replica: Replica): void {
    const heads = [...replica.heads];
    const started = heads.map((from): Branch => ({ id: branches++, from }));
    // The newest of all databases, on the line that is about to end.
    const isLossy = heads.some((head, database) => head !== newest[database]);
    reigns.push({ at: timeline.now(), heads, branches: started, isLossy });
    newest = heads;
    record(replica);
  }

  /** Sends a head of the primary's to a replica. */
  function send(index: number, head: Transaction): void {
    const own = links[index];
    if (own === undefined || own.link.isCut) return;
    const { link } = own;
    const { epoch } = link;
    link.lastAt = Math.max(link.lastAt, timeline.now() + own.random.time(...plan.lag));
    timeline.at(link.lastAt, () => {
      const replica = replicas[index];
      if (link.epoch !== epoch || replica === undefined) return;
      replica.heads = replica.heads.map((old, database) =>
        database === head.database ? head : old,
      );
      link.appliedAt = timeline.now();
      record(replica);
      tell(() => `node ${index} applies ${show(head)}`);
      changed(replica);
    });
  }

  /** Begins a new connection from a replica to the primary: what it lacks is sent, whatever it has. */
  function connect(index: number): void {
    const link = links[index]?.link;
    if (link === undefined) return;
    link.epoch++;
    link.lastAt = timeline.now();
    if (primary === undefined || index === primary) return;
    for (const head of replicas[primary]?.heads ?? []) if (head !== undefined) send(index, head);
  }

  function crown(index: number): void {
    const replica = replicas[index];
    if (replica === undefined) return;
    primary = index;
    begin(replica);
    const own = ++term;
    tell(() => `node ${index} becomes primary with ${replica.heads.map(show).join(" ")}`);
    know(replica, { at: "here" });
    for (const other of replicas) {
      connect(other.index);
      const isTold = links[other.index]?.link.isCut === false || random.chance(50);
      if (other === replica || !isTold) continue;
      timeline.after(random.time(0, plan.roleDelay), () => {
        if (term !== own) return;
        know(other, { at: "elsewhere", hostname: nameOf(index) });
      });
    }
  }

  function demote(): Replica | undefined {
    const old = primary === undefined ? undefined : replicas[primary];
    if (old === undefined) return undefined;
    primary = undefined;
    tell(() => `node ${old.index} is no longer primary`);
    record(old);
    for (const { index } of replicas) {
      // What the old primary has sent may still arrive, but from one that has crashed.
      if (random.chance(50)) connect(index);
    }
    know(old, { at: "unknown" });
    const own = ++term;
    for (const other of replicas) {
      if (other === old || random.chance(50)) continue;
      timeline.after(random.time(0, plan.roleDelay), () => {
        if (term === own) know(other, { at: "unknown" });
      });
    }
    return old;
  }

  const cluster: Cluster = {
    replicas,
    reigns,
    primary: () => primary,
    isCut: (node) => links[node]?.link.isCut === true,
    commit: (node, database, exchange) => {
      const replica = replicas[node];
      const reign = reigns.length - 1;
      const branch = reigns[reign]?.branches[database];
      if (replica === undefined || node !== primary || branch === undefined) return undefined;
      const parent = replica.heads[database];
      const number = (parent?.number ?? 0) + 1;
      const mark = `${branch.id.toString(36)}.${number.toString(36)}`;
      const at = timeline.now();
      const made: Transaction = { database, branch, number, parent, at, reign, exchange, mark };
      replica.heads = replica.heads.map((old, index) => (index === database ? made : old));
      newest = replica.heads;
      record(replica);
      tell(() => `node ${node} commits ${show(made)}`);
      for (const { index } of replicas) if (index !== node) send(index, made);
      changed(replica);
      return made;
    },
    cut: (node, isCut) => {
      const own = links[node];
      const replica = replicas[node];
      if (own === undefined || replica === undefined || own.link.isCut === isCut) return;
      own.link.isCut = isCut;
      tell(() => `the link to node ${node} is ${isCut ? "cut" : "mended"}`);
      connect(node);
      if (node === primary) return;
      if (isCut && random.chance(50)) know(replica, { at: "unknown" });
      if (!isCut && primary !== undefined)
        know(replica, { at: "elsewhere", hostname: nameOf(primary) });
    },
    mislead: (node, wrong) => {
      const replica = replicas[node];
      const named = wrong ?? primary;
      if (replica === undefined || node === primary || named === node) return;
      const known: Primary =
        named === undefined ? { at: "unknown" } : { at: "elsewhere", hostname: nameOf(named) };
      tell(() => `node ${node} takes ${named ?? "nobody"} for the primary`);
      know(replica, known);
    },
    handOver: (to) => {
      const link = links[to]?.link;
      const next = replicas[to];
      if (primary === undefined || primary === to || link === undefined || link.isCut) return;
      const old = replicas[primary];
      const { epoch } = link;
      const end = link.lastAt;
      // From here on nobody commits; what is on its way arrives.
      primary = undefined;
      const own = ++term;
      if (old === undefined || next === undefined) return;
      tell(() => `node ${old.index} hands over to node ${to}`);
      record(old);
      know(old, { at: "unknown" });
      timeline.at(end, () => {
        const hasAll = next.heads.every((head, database) => head === old.heads[database]);
        if (term === own) crown(hasAll && link.epoch === epoch ? to : old.index);
      });
    },
    failOver: (to, gap) => {
      if (primary === undefined || demote() === undefined) return;
      const own = term;
      timeline.after(gap, () => {
        if (term === own) crown(to);
      });
    },
    restore: (database, back) => {
      const replica = primary === undefined ? undefined : replicas[primary];
      const head = replica?.heads[database];
      if (replica === undefined || head === undefined) return;
      const old = ancestor(head, Math.max(1, head.number - back));
      tell(() => `database ${database} is restored to ${show(old)}`);
      replica.heads = replica.heads.map((one, index) => (index === database ? old : one));
      begin(replica);
      for (const { index } of replicas) if (index !== primary) connect(index);
      changed(replica);
    },
  };

  for (const replica of replicas) record(replica);
  crown(0);
  for (let database = 0; database < plan.databases; database++) {
    // Some replicas have been there before, and others are new.
    const isShared = random.chance(50);
    const first = cluster.commit(0, database, -1);
    if (isShared) {
      for (const replica of replicas)
        replica.heads = replica.heads.map((old, index) => (index === database ? first : old));
    }
  }
  return cluster;
}

/** Returns the name of a node in its cluster. */
export function nameOf(index: number): string {
  return `node-${index}`;
}
