import { createRandom, type Random } from "./random.ts";

/** What can go wrong in a world. */
export type Fault =
  /** The link from the primary to a replica is cut for a while. */
  | "partition"
  /** The primary hands over, crashes or is cut off, and another node takes over. */
  | "failover"
  /** An old snapshot replaces the database. */
  | "restore"
  /** A proxy crashes: its requests break and it forgets everything. */
  | "proxy crash"
  /** An app crashes in the middle of its requests. */
  | "app crash"
  /** A storage throws for a while. */
  | "storage error"
  /** Clients leave before the answer. */
  | "abort"
  /** Clients make tokens up. */
  | "forger"
  /** Clients send several requests at once. */
  | "parallel"
  /** Some nodes run LiteFS's own proxy. */
  | "old proxy"
  /** Nodes disagree on the time of day. */
  | "clock skew"
  /** A replica takes another one for the primary for a while. */
  | "wrong primary";

/** All faults, those first that explain most when they can be left out. */
export const FAULTS: readonly Fault[] = [
  "restore",
  "failover",
  "partition",
  "old proxy",
  "wrong primary",
  "forger",
  "proxy crash",
  "app crash",
  "storage error",
  "abort",
  "parallel",
  "clock skew",
];

/** What is taken away from the world of a seed, to see the same failure in a smaller one. */
export interface Limits {
  /** How many nodes there are at most. */
  readonly nodes?: number;
  /** The clients that are left, by index. */
  readonly clients?: readonly number[];
  /** How long the clients work at most, in milliseconds. */
  readonly duration?: number;
  /** The faults that do not happen. */
  readonly without?: readonly Fault[];
}

/** How a client carries its tokens. */
export type ClientKind =
  /** With a cookie jar in which the last response wins. */
  | "browser"
  /** With the `Txid` header, keeping the greatest. */
  | "api"
  /** It makes them up. */
  | "forger";

/** One client of a world. */
export interface ClientPlan {
  readonly index: number;
  readonly kind: ClientKind;
  /** How many requests it may have under way at once. */
  readonly parallel: number;
  /** How long it thinks between two requests at most, in milliseconds. */
  readonly think: number;
  /** How many of 100 requests write. */
  readonly writes: number;
  /** How many of 100 requests it leaves before the answer. */
  readonly aborts: number;
  /** Whether it works for a moment, and comes back when all is over. */
  readonly returns: boolean;
}

/** The world of one seed; the same for the same seed and limits. Durations are milliseconds. */
export interface Plan {
  readonly seed: number;
  readonly nodes: number;
  readonly databases: number;
  readonly clients: readonly ClientPlan[];
  readonly faults: ReadonlySet<Fault>;
  /** How many times something goes wrong. */
  readonly incidents: number;
  /** How long the clients work. */
  readonly duration: number;
  /** Which nodes run LiteFS's own proxy. */
  readonly isOld: readonly boolean[];
  /** Whether the edge is Fly Proxy, which replays; another one shows the client the 409. */
  readonly isFly: boolean;
  /** Whether nodes know each other's addresses. */
  readonly hasUrls: boolean;
  /** How what belongs to the primary gets there. */
  readonly forward: "auto" | "replay" | "direct";
  /** How long the answer to a write that was sent on is held until its node has caught up. */
  readonly hold: number;
  /** Whether who is cut off from the primary's transactions cannot send it requests either. */
  readonly cutsRequests: boolean;
  /** The least and the greatest lag of the links. */
  readonly lag: readonly [number, number];
  /** How long the app takes at most for each part of a request. */
  readonly appTime: number;
  /** How long a message is under way at most. */
  readonly transit: number;
  /** How long a node may keep an old primary's name. */
  readonly roleDelay: number;
  /** Whether storages tell histories apart; where they do not, no position is ever used twice. */
  readonly hasHistories: boolean;
  /** Whether storages tell when something has moved. */
  readonly notifies: boolean;
  /** How long a storage takes at most for an answer; 0: it has it at hand. */
  readonly storageDelay: number;
  /** Whether storages tell their lag. */
  readonly tellsLag: boolean;
  readonly reads: "session" | "all" | "off";
  readonly foreignTokens: "primary" | "ignore" | "error";
  readonly waitTimeout: number;
  readonly primaryRedirectTimeout: number;
  readonly targetConnectTimeout: number;
  readonly maxLag: number;
  readonly primaryReadRate: number;
  readonly maxWaiters: number;
  readonly maxWaitersPerClient: number;
  readonly wakeLimit: number;
}

/**
 * Makes the plan of a world.
 *
 * @param seed Its seed.
 * @param limits What is taken away.
 */
export function planWorld(seed: number, limits: Limits = {}): Plan {
  const random = createRandom(seed, "plan");
  const faults = new Set(FAULTS.filter((fault) => random.chance(SHARES[fault])));
  // Every third world is quiet but for lag: what goes wrong without faults is the easiest to understand.
  if (random.chance(30)) for (const fault of DISASTERS) faults.delete(fault);
  const nodes = random.between(2, 4);
  const count = random.between(3, 7);
  const clients = Array.from({ length: count }, (_, index) => planClient(seed, index));
  for (const fault of limits.without ?? []) faults.delete(fault);
  const kept = limits.clients ?? clients.map(({ index }) => index);
  const hasOld = faults.has("old proxy");
  const isOld = Array.from({ length: nodes }, () => random.chance(45) && hasOld);
  const least = random.pick([0, 1, 5, 40]);
  const hasForgers = faults.has("forger");
  const calm = random.chance(60);
  const hasUrls = random.chance(60);
  return {
    seed,
    nodes: Math.min(nodes, limits.nodes ?? nodes),
    databases: random.chance(25) ? 2 : 1,
    clients: clients
      .filter(({ index }) => kept.includes(index))
      .map((client) => tame(client, faults)),
    faults,
    incidents: random.between(1, 4),
    duration: Math.min(random.pick([600, 1200, 2400]), limits.duration ?? Infinity),
    isOld,
    isFly: random.chance(60),
    hasUrls,
    forward: random.pick<Plan["forward"]>(
      hasUrls ? ["auto", "auto", "direct", "replay"] : ["auto", "auto", "replay"],
    ),
    hold: random.chance(15) ? 100 : 0,
    cutsRequests: random.chance(50),
    lag: [least, least + random.pick([0, 10, 60, 200])],
    appTime: random.pick([0, 2, 10, 30]),
    transit: random.pick([0, 1, 10, 40]),
    roleDelay: random.pick([0, 20, 150]),
    hasHistories: calm || random.chance(50),
    notifies: random.chance(75),
    storageDelay: random.chance(20) ? 1 : 0,
    tellsLag: random.chance(50),
    reads: calm ? "session" : random.pick(["session", "all", "off"]),
    foreignTokens: calm ? "primary" : random.pick(["primary", "primary", "ignore", "error"]),
    waitTimeout: random.pick([0, 60, 300, 300, 1000]),
    primaryRedirectTimeout: random.pick([0, 100, 400]),
    targetConnectTimeout: random.pick([0, 250]),
    maxLag: random.pick([0, 300, 10_000]),
    primaryReadRate: hasForgers ? random.pick([10, 100]) : 100,
    maxWaiters: hasForgers ? random.pick([3, 1000]) : 1000,
    maxWaitersPerClient: hasForgers ? random.pick([1, 4, 100]) : 100,
    wakeLimit: random.pick([1, 2, 64, 64, 64]),
  };
}

/** Tells whether there is any way from a replica to the primary. */
export function hasWay({ isFly, hasUrls, forward }: Plan): boolean {
  return isFly ? forward !== "direct" || hasUrls : hasUrls && forward !== "replay";
}

/** In how many of 100 worlds a fault is possible. */
const SHARES: Readonly<Record<Fault, number>> = {
  partition: 50,
  failover: 50,
  restore: 25,
  "proxy crash": 25,
  "app crash": 25,
  "storage error": 15,
  abort: 30,
  forger: 25,
  parallel: 60,
  "old proxy": 15,
  "clock skew": 30,
  "wrong primary": 20,
};

/** The faults that a quiet world does without. */
const DISASTERS: readonly Fault[] = [
  "partition",
  "failover",
  "restore",
  "proxy crash",
  "app crash",
  "storage error",
  "old proxy",
  "wrong primary",
];

function planClient(seed: number, index: number): ClientPlan {
  const random: Random = createRandom(seed, `client plan ${index}`);
  const kind = random.pick<ClientKind>(["browser", "browser", "api", "api", "forger"]);
  return {
    index,
    kind,
    parallel: kind === "forger" ? random.between(1, 6) : random.pick([1, 1, 2, 4]),
    think: random.pick([0, 10, 40, 150]),
    writes: random.pick([5, 20, 50]),
    aborts: random.chance(40) ? 15 : 0,
    returns: random.chance(20),
  };
}

/** Takes from a client what its world does without. */
function tame(client: ClientPlan, faults: ReadonlySet<Fault>): ClientPlan {
  const kind = client.kind === "forger" && !faults.has("forger") ? "browser" : client.kind;
  const isSerial = kind !== "forger" && !faults.has("parallel");
  return {
    ...client,
    kind,
    parallel: isSerial ? 1 : client.parallel,
    aborts: faults.has("abort") ? client.aborts : 0,
  };
}
