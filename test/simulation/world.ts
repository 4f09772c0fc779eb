import type {
  Clock,
  createProxy,
  HeaderLines,
  IncomingRequest,
  Proxy,
  ProxyOptions,
  ResponseMessage,
  TransportError,
} from "../../src/index.ts";
import type { createSession } from "../../adapters/client.ts";
import { type App, createApp, OBSERVATION, valueOf } from "./app.ts";
import { type Answer, type Ask, createClient, numbered } from "./clients.ts";
import { type Cluster, type ClusterNode, createCluster } from "./cluster.ts";
import type { Event, Observation } from "./history.ts";
import { createOldProxy } from "./old-proxy.ts";
import type { Fault, Plan } from "./plan.ts";
import { createRandom, type Random } from "./random.ts";
import { createTimeline, type Timeline } from "./timeline.ts";

/** One machine of a world: a database node, an app, and a proxy in front of it. */
interface Machine {
  readonly node: ClusterNode;
  readonly app: App;
  readonly isOld: boolean;
  /** Whether its proxy runs. */
  isUp: boolean;
  handle: (request: IncomingRequest) => Promise<ResponseMessage>;
  proxy: Proxy | undefined;
  /** Starts its proxy, which knows nothing yet. */
  restart(): void;
  /** What breaks off each request that its proxy has under way. */
  readonly open: Set<() => void>;
}

/** How long the edge takes a request from node to node, in hops. */
const MAX_REPLAYS = 3;

/** How long a proxy takes at most to ask its storage all it needs for an answer, in milliseconds. */
const RECENT = 20;

/** When the time of day begins. */
const EPOCH = Date.UTC(2026, 0, 1);

/** What is tried: the real one, or one with a fault put into it. */
export interface Subject {
  readonly createProxy: typeof createProxy;
  readonly createSession: typeof createSession;
  readonly TransportError: typeof TransportError;
}

/**
 * Lets a world happen.
 *
 * @param plan What it is like.
 * @param subject What is tried.
 * @returns Everything that happened, in order.
 */
export async function runWorld(plan: Plan, subject: Subject): Promise<Event[]> {
  const timeline = createTimeline();
  const events: Event[] = [];
  const observations: Observation[] = [];
  const random = (label: string): Random => createRandom(plan.seed, label);
  const cluster = createCluster(
    plan,
    timeline,
    random("cluster"),
    (reign) => events.push({ type: "reign", at: timeline.now(), reign }),
    (transaction) => events.push({ type: "commit", at: timeline.now(), transaction }),
    ({ index, heads }, isSnapshot) => {
      const at = timeline.now();
      events.push({ type: "applied", at, node: index, heads: heads.slice(), isSnapshot });
    },
  );
  const machines = cluster.nodes.map((node) =>
    startMachine(node, cluster, plan, timeline, subject, (observation) => {
      observations.push(observation);
      return observations.length - 1;
    }),
  );
  const first = cluster.nodes[0];
  if (first !== undefined) cluster.enthrone(first, false);
  const edge = createEdge(machines, plan, timeline, random("edge"));
  let requests = 0;

  async function send(ask: Ask): Promise<Answer> {
    const request = requests++;
    const { client, kind } = ask;
    events.push({ type: "sent", at: timeline.now(), request, client, kind });
    const left = new Promise<undefined>((resolve) => {
      ask.signal.addEventListener("abort", () => resolve(undefined));
    });
    const carried = { ...ask, headers: numbered(ask.headers, request) };
    const delivered = await Promise.race([edge(carried), left]);
    const at = timeline.now();
    if (delivered === undefined) {
      events.push({ type: "left", at, request });
      return { status: 0, headers: [] };
    }
    const { status, headers, isOld, isUntold, hops, node } = delivered;
    const number = valueOf(headers, OBSERVATION);
    const observation = number === undefined ? undefined : observations[Number(number)];
    events.push({
      type: "answered",
      at,
      request,
      status,
      observation,
      isOld,
      isUntold,
      hops,
      node,
    });
    return { status, headers };
  }

  const clients = plan.clients.map((own) =>
    createClient(own, plan, timeline, random(`client ${own.index}`), subject.createSession, send),
  );
  const incidents = scheduleIncidents(machines, cluster, plan, timeline, random("incidents"));
  for (const [index, client] of clients.entries())
    void client.work(plan.clients[index]?.returns === true ? plan.duration / 4 : plan.duration);
  await timeline.run(plan.duration);
  incidents.mend();
  const rest = settleTime(plan);
  await timeline.run(timeline.now() + rest);
  events.push({ type: "calm", at: timeline.now() });
  for (const [index, client] of clients.entries()) {
    if (plan.clients[index]?.kind === "forger") continue;
    // Twice: what the first brings must serve the second.
    void client.readOnce().then(() => client.readOnce());
  }
  await timeline.run(timeline.now() + rest);
  for (const { proxy } of machines) proxy?.close();
  return events;
}

/** How long everything takes at most that was under way when all was mended, in milliseconds. */
function settleTime(plan: Plan): number {
  const patience = plan.waitTimeout + plan.primaryRedirectTimeout + plan.targetConnectTimeout;
  const way = plan.transit * 8 + plan.appTime * 8 + plan.storageDelay * 50;
  return patience * 3 + way + plan.lag[1] * 4 + plan.roleDelay + 2000;
}

function startMachine(
  node: ClusterNode,
  cluster: Cluster,
  plan: Plan,
  timeline: Timeline,
  subject: Subject,
  onObserved: (observation: Observation) => number,
): Machine {
  const random = createRandom(plan.seed, `machine ${node.index}`);
  const app = createApp(node, cluster, plan, timeline, random, onObserved, subject.TransportError);
  const skew = plan.faults.has("clock skew") ? random.between(-30_000, 30_000) : 0;
  const clock: Clock = {
    now: timeline.now,
    date: () => EPOCH + timeline.now() + skew,
    setTimeout: timelineTimeout(timeline),
    clearTimeout: timeline.cancel,
  };
  const storage = cluster.storageOf(node, 0);
  const { transport } = app;
  const machine: Machine = {
    node,
    app,
    isOld: plan.isOld[node.index] ?? false,
    isUp: false,
    handle: () => Promise.reject(new Error("not started")),
    proxy: undefined,
    open: new Set(),
    restart: () => {
      machine.isUp = true;
      if (machine.isOld) {
        const patience = plan.waitTimeout;
        machine.handle = createOldProxy({ storage, transport, clock, patience });
        return;
      }
      machine.proxy = subject.createProxy({
        ...settingsOf(plan),
        target: "http://app.test",
        storage,
        databases: plan.databases > 1 ? { second: cluster.storageOf(node, 1) } : {},
        transport,
        clock,
        onError: () => {},
      });
      machine.handle = machine.proxy.handle;
    },
  };
  machine.restart();
  return machine;
}

function timelineTimeout(timeline: Timeline): Clock["setTimeout"] {
  return (callback, delay) => timeline.after(Math.max(0, delay), callback);
}

/** The settings of a world's proxies. */
function settingsOf(plan: Plan): Partial<ProxyOptions> {
  return {
    alwaysForward: ["/forwarded/*"],
    stale: ["/stale/*"],
    reads: plan.reads,
    foreignTokens: plan.foreignTokens,
    waitTimeout: plan.waitTimeout,
    primaryRedirectTimeout: plan.primaryRedirectTimeout,
    targetConnectTimeout: plan.targetConnectTimeout,
    maxLag: plan.maxLag,
    primaryReadRate: plan.primaryReadRate,
    maxWaiters: plan.maxWaiters,
    maxWaitersPerClient: plan.maxWaitersPerClient,
    wakeLimit: plan.wakeLimit,
  };
}

/** Breaks off all that a machine's proxy has under way, and forgets what it knew. */
function crash(machine: Machine): void {
  machine.isUp = false;
  for (const breakOff of machine.open) breakOff();
  machine.proxy?.close();
}

/** Has a machine's proxy answer a request; status 0: it crashed meanwhile. */
async function ask(machine: Machine, one: Ask, headers: HeaderLines): Promise<Answer> {
  const controller = new AbortController();
  const leave = (): void => controller.abort();
  if (one.signal.aborted) leave();
  else one.signal.addEventListener("abort", leave);
  let breakOff = leave;
  const broken = new Promise<Answer>((resolve) => {
    breakOff = () => {
      leave();
      resolve({ status: 0, headers: [] });
    };
  });
  machine.open.add(breakOff);
  const request: IncomingRequest = {
    method: one.method,
    target: one.target,
    headers: ["Host", "app.test", ...headers],
    body: null,
    signal: controller.signal,
    scheme: "http",
    // Each client has an address of its own, as the edge tells it.
    clientAddress: `203.0.113.${one.client + 1}`,
    canUpgrade: false,
    transport: undefined,
  };
  const answer = await Promise.race([machine.handle(request), broken]);
  machine.open.delete(breakOff);
  one.signal.removeEventListener("abort", leave);
  return { status: answer.status, headers: answer.headers };
}

/** What the edge brings back. */
interface Delivered extends Answer {
  readonly isOld: boolean;
  readonly isUntold: boolean;
  readonly hops: number;
  /** The node that answered; -1: none did. */
  readonly node: number;
}

/** Creates the edge: it takes a request to any node, and from there to where an answer says. */
function createEdge(
  machines: readonly Machine[],
  plan: Plan,
  timeline: Timeline,
  random: Random,
): (one: Ask) => Promise<Delivered> {
  return async (one) => {
    const fly = plan.isFly ? ["Fly-Request-Id", "01"] : [];
    let headers = [...one.headers, ...fly];
    let machine = random.any(machines.filter((one) => one.isUp));
    for (let hops = 0; ; hops++) {
      await timeline.sleep(random.time(0, plan.transit));
      if (machine === undefined)
        return { status: 502, headers: [], isOld: false, isUntold: false, hops, node: -1 };
      const { isOld } = machine;
      const answer = await ask(machine, one, headers);
      const isUntold = machine.node.isBroken || timeline.now() - machine.node.mended < RECENT;
      await timeline.sleep(random.time(0, plan.transit));
      const where = /^instance=([^;]+)/.exec(valueOf(answer.headers, "fly-replay") ?? "")?.[1];
      if (where === undefined || !plan.isFly)
        return { ...answer, isOld, isUntold, hops, node: machine.node.index };
      if (hops === MAX_REPLAYS)
        return { status: 502, headers: [], isOld: false, isUntold: false, hops, node: -1 };
      headers = [...one.headers, ...fly, "Fly-Replay-Src", `instance=${machine.node.name}`];
      machine = machines.find(({ node, isUp }) => node.name === where && isUp);
    }
  };
}

/** What mends a world. */
interface Incidents {
  /** Ends whatever is wrong. */
  mend(): void;
}

/** What can happen at a moment; the others are with clients, proxies and clocks all the time. */
const SUDDEN: readonly Fault[] = [
  "partition",
  "failover",
  "restore",
  "proxy crash",
  "app crash",
  "storage error",
];

function scheduleIncidents(
  machines: readonly Machine[],
  cluster: Cluster,
  plan: Plan,
  timeline: Timeline,
  random: Random,
): Incidents {
  let isOver = false;

  /** Ends something after a while. */
  function later(mend: () => void): void {
    timeline.after(random.time(0, plan.duration / 3), () => {
      if (!isOver) mend();
    });
  }

  function mendStorage(node: ClusterNode): void {
    if (node.isBroken) node.mended = timeline.now();
    node.isBroken = false;
  }

  function failOver(): void {
    const last = cluster.primary();
    if (last === undefined) return;
    const isHandoff = random.chance(40);
    const others = machines.filter(({ node }) => node !== last);
    const next = random.any(others)?.node ?? last;
    cluster.depose();
    const gap = random.chance(50) ? 0 : random.time(0, 300);
    timeline.after(gap, () => {
      if (cluster.primary() === undefined) cluster.enthrone(next, isHandoff);
    });
  }

  function happen(): void {
    if (isOver) return;
    const machine = random.any(machines);
    const fault = random.any(SUDDEN.filter((one) => plan.faults.has(one)));
    if (machine === undefined) return;
    const { node, app } = machine;
    switch (fault) {
      case "partition":
        cluster.cut(node);
        later(() => cluster.join(node));
        break;
      case "failover":
        failOver();
        break;
      case "restore":
        cluster.restore(random.between(1, 4));
        break;
      case "proxy crash":
        crash(machine);
        later(machine.restart);
        break;
      case "app crash": {
        // Mostly where writes run, and not for long: what is held meanwhile goes on.
        const [crashed] = machines.filter((one) => one.node === cluster.primary());
        const victim = crashed !== undefined && random.chance(70) ? crashed.app : app;
        victim.crash();
        timeline.after(random.time(0, 150), victim.start);
        break;
      }
      case "storage error":
        node.isBroken = true;
        later(() => mendStorage(node));
        break;
    }
  }

  for (let count = 0; count < plan.incidents; count++)
    timeline.after(random.time(0, plan.duration), happen);
  return {
    mend: () => {
      isOver = true;
      const first = cluster.nodes[0];
      if (cluster.primary() === undefined && first !== undefined) cluster.enthrone(first, false);
      for (const machine of machines) {
        const { node, app, isUp } = machine;
        app.start();
        mendStorage(node);
        if (!isUp) machine.restart();
        if (!node.isLinked) cluster.join(node);
      }
    },
  };
}
