import type {
  Clock,
  HeaderLines,
  IncomingRequest,
  MaybePromise,
  Proxy,
  ResponseMessage,
  Storage,
  UpstreamRequest,
} from "../../src/index.ts";
import type { Cluster, Replica } from "./cluster.ts";
import type { Core } from "./core.ts";
import type { Exchange, Run, Trip } from "./history.ts";
import { WRITES } from "./history.ts";
import { ancestor, positionOf } from "./log.ts";
import { oldProxy } from "./old-proxy.ts";
import type { Plan } from "./plan.ts";
import { createRandom, type Random } from "./random.ts";
import type { Timeline } from "./timeline.ts";

/** One machine: a database, an app and a proxy in front of it. */
export interface Server {
  readonly index: number;
  readonly isOld: boolean;
  /** Whether the proxy takes connections. */
  isUp(): boolean;
  /** Hands a request to the proxy; undefined: the connection broke. It is taken from another proxy or from the edge. */
  visit(visit: Visit): Promise<ResponseMessage | undefined>;
  /** Ends the proxy in the middle of everything, and starts a new one after `pause` milliseconds. */
  crashProxy(pause: number): void;
  /** Ends the app in the middle of everything, and starts it again after `pause` milliseconds. */
  crashApp(pause: number): void;
  /** Lets the storage throw, or not. */
  breakStorage(isBroken: boolean): void;
}

/** A request on its way to a proxy. */
export interface Visit {
  readonly exchange: Exchange;
  readonly random: Random;
  readonly method: string;
  readonly headers: HeaderLines;
  readonly clientAddress: string;
  readonly signal: AbortSignal;
}

/** What the servers of a world share. */
export interface Surroundings {
  readonly plan: Plan;
  readonly core: Core;
  readonly timeline: Timeline;
  readonly cluster: Cluster;
  /** Finds a server by its name. */
  find(name: string): Server | undefined;
  /** The requests that are under way, by their ids. */
  readonly visits: ReadonlyMap<number, Visit>;
  /** Makes the number of a run. */
  nextRun(): number;
  /** Takes an error that nobody expects. */
  unexpected(error: unknown): void;
  tell(text: () => string): void;
}

/** The names of the databases beside the first. */
const NAMES: readonly string[] = ["", "second"];

/** Where the apps are. */
const APP = "http://app.test";

/** What the broken storage throws. */
class StorageError extends Error {}

/**
 * Creates a server.
 *
 * @param replica Its databases.
 * @param surroundings What it shares with the others.
 */
export function createServer(replica: Replica, surroundings: Surroundings): Server {
  const { plan, core, timeline, cluster, tell } = surroundings;
  const { index } = replica;
  const random = createRandom(plan.seed, `server ${index}`);
  const isOld = plan.isOld[index] === true;
  const isSkewed = plan.faults.has("clock skew");
  const skew = isSkewed ? random.between(-90_000, 90_000) : 0;
  const started = random.below(100_000);
  /** What breaks when the app crashes. */
  const running = new Set<() => void>();
  /** What breaks when the proxy crashes: its clients' connections, and its own to other proxies. */
  const connections = new Set<() => void>();
  const outgoing = new Set<() => void>();
  let proxy: Proxy | undefined;
  let life = 0;
  let isAppUp = true;
  let isBroken = false;

  function ask<T>(answer: () => T): MaybePromise<T> {
    if (isBroken) throw new StorageError("The storage is broken");
    if (plan.storageDelay === 0) return answer();
    // The answer may be as old as the question.
    const now = answer();
    const isOldAnswer = random.chance(50);
    return timeline.sleep(random.time(0, plan.storageDelay)).then(() => {
      if (isBroken) throw new StorageError("The storage is broken");
      return isOldAnswer ? now : answer();
    });
  }

  function storage(database: number): Storage {
    const plain: Storage = {
      position: () => ask(() => position(database)),
      primary: () => ask(() => replica.known),
      ...(plan.notifies && {
        subscribe: (changed: () => void) => {
          replica.watchers.add(changed);
          return () => void replica.watchers.delete(changed);
        },
      }),
      ...(plan.tellsLag && { lag: () => ask(replica.lag) }),
    };
    if (!plan.hasHistories) return plain;
    return {
      ...plain,
      historyAt: (at) =>
        ask(() => {
          const found = ancestor(replica.heads[database], Number.parseInt(at, 16));
          return found !== undefined && positionOf(found) === at ? found.mark : undefined;
        }),
    };
  }

  function position(database: number): string | undefined {
    const head = replica.heads[database];
    return head === undefined ? undefined : positionOf(head);
  }

  /** Makes a clock that stops when its proxy crashes. */
  function clockOf(own: number): Clock {
    return {
      now: () => started + timeline.now(),
      date: () => Date.UTC(2026, 0, 1) + skew + timeline.now(),
      setTimeout: (callback, delay) =>
        timeline.after(delay, () => {
          if (life === own) callback();
        }),
      clearTimeout: (timer) => timeline.cancel(timer),
    };
  }

  function start(): void {
    const own = ++life;
    replica.watchers.clear();
    const databases = NAMES.slice(1, plan.databases).map(
      (name, at) => [name, storage(at + 1)] as const,
    );
    proxy = core.createProxy({
      target: APP,
      storage: storage(0),
      databases: Object.fromEntries(databases),
      alwaysForward: ["/visit"],
      stale: ["/stale"],
      reads: plan.reads,
      foreignTokens: plan.foreignTokens,
      forward: plan.forward,
      primaryUrl: plan.hasUrls ? (hostname) => `http://${hostname}` : undefined,
      hold: plan.hold,
      waitTimeout: plan.waitTimeout,
      primaryRedirectTimeout: plan.primaryRedirectTimeout,
      targetConnectTimeout: plan.targetConnectTimeout,
      maxLag: plan.maxLag,
      primaryReadRate: plan.primaryReadRate,
      maxWaiters: plan.maxWaiters,
      maxWaitersPerClient: plan.maxWaitersPerClient,
      wakeLimit: plan.wakeLimit,
      clientHeader: plan.isFly ? "fly-client-ip" : undefined,
      clock: clockOf(own),
      transport: (request) => {
        if (life !== own) return new Promise(() => {});
        return request.origin === APP ? runApp(request) : sendOn(request);
      },
      onError: (error) => {
        const isExpected = error instanceof StorageError || error instanceof core.TransportError;
        if (!isExpected && life === own) surroundings.unexpected(error);
      },
      onDecision: ({ method, target, outcome, reason, token }) =>
        tell(
          () => `  node ${index}: ${method} ${target} → ${outcome}: ${reason} (${token ?? "-"})`,
        ),
    });
  }

  /** Sends a request to another proxy. */
  async function sendOn(request: UpstreamRequest): Promise<ResponseMessage> {
    const named = valueOf(request.headers, "x-exchange");
    const visit = surroundings.visits.get(Number(named));
    const server = surroundings.find(request.origin.slice("http://".length));
    // Whoever asks for nothing else wants to know whether there is an answer.
    if (named === undefined && server?.isUp() === true && !cluster.isCut(server.index))
      return { status: 200, statusText: "", headers: [], body: null };
    if (named === undefined) throw new core.TransportError("refused", "The proxy is down");
    const trip = visit?.exchange.trips.findLast(
      ({ node, end }) => node === index && end === undefined,
    );
    if (visit === undefined || trip === undefined)
      throw new Error("A proxy has sent on what nobody has sent");
    trip.sentOn ??= timeline.now();
    await timeline.sleep(visit.random.time(0, plan.transit));
    const isCut =
      plan.cutsRequests && [index, server?.index ?? 0].some((node) => cluster.isCut(node));
    if (isCut) throw new core.TransportError("unreachable", "The network is cut");
    if (server?.isUp() !== true) throw new core.TransportError("refused", "The proxy is down");
    request.connect?.done();
    const gone = new AbortController();
    const leave = (): void => gone.abort();
    request.signal.addEventListener("abort", leave, { once: true });
    outgoing.add(leave);
    const answered = server.visit({
      ...visit,
      headers: request.headers,
      clientAddress: `10.0.0.${index + 1}`,
      signal: gone.signal,
    });
    const left = new Promise<never>((_, reject) => {
      gone.signal.addEventListener("abort", () =>
        reject(new core.TransportError("aborted", "The client is gone")),
      );
    });
    try {
      const response = await Promise.race([answered, left]);
      await timeline.sleep(visit.random.time(0, plan.transit));
      if (response !== undefined) return response;
    } finally {
      outgoing.delete(leave);
    }
    throw new core.TransportError("reset", "The proxy has crashed");
  }

  /** Runs the app for a request. It does not notice when the client leaves. */
  function runApp(request: Pick<UpstreamRequest, "headers" | "signal">): Promise<ResponseMessage> {
    const id = Number(valueOf(request.headers, "x-exchange"));
    const visit = surroundings.visits.get(id);
    return new Promise((resolve, reject) => {
      if (visit === undefined) throw new Error("The app got a request that nobody has sent");
      if (!isAppUp) {
        reject(new core.TransportError("refused", "The app is down"));
        return;
      }
      const { exchange, random: own } = visit;
      const run: Run = {
        id: surroundings.nextRun(),
        node: index,
        at: timeline.now(),
        seen: undefined,
        committed: undefined,
      };
      exchange.runs.push(run);
      let isDead = false;
      const crash = (): void => {
        isDead = true;
        reject(new core.TransportError("reset", "The app has crashed"));
      };
      const leave = (): void => reject(new core.TransportError("aborted", "The client is gone"));
      running.add(crash);
      request.signal.addEventListener("abort", leave, { once: true });
      timeline.after(own.time(0, plan.appTime), () => {
        if (isDead) return;
        const response = respond(run, exchange, own);
        timeline.after(own.time(0, plan.appTime), () => {
          running.delete(crash);
          request.signal.removeEventListener("abort", leave);
          if (!isDead) resolve(response);
        });
      });
    });
  }

  /** What the app does and says: all that it does, it does at once. */
  function respond(run: Run, exchange: Exchange, own: Random): ResponseMessage {
    const { action, database } = exchange;
    const headers: HeaderLines = ["X-Run", String(run.id)];
    const isPrimary = cluster.primary() === index;
    if (action === "discover" && !isPrimary) {
      return {
        status: 500,
        statusText: "",
        headers: [...headers, "Txid-App", "primary"],
        body: null,
      };
    }
    if (WRITES.has(action)) run.committed = cluster.commit(index, database, exchange.id);
    run.seen = replica.heads;
    const isReadOnly = WRITES.has(action) && run.committed === undefined;
    if (action === "discover") headers.push("Txid-App", "wrote");
    if (action === "look") headers.push("Txid-App", "unchanged");
    if (action === "shared") headers.push("Cache-Control", "public, max-age=60");
    return {
      status: isReadOnly ? 500 : 200,
      statusText: "",
      headers,
      body: action === "stream" ? slowBody(own) : null,
    };
  }

  async function* slowBody(own: Random): AsyncGenerator<Uint8Array> {
    for (let part = 0; part < 3; part++) {
      await timeline.sleep(own.time(0, 4 * plan.appTime));
      yield new Uint8Array([part]);
    }
  }

  function handle(request: IncomingRequest): Promise<ResponseMessage> {
    if (!isOld && proxy !== undefined) return proxy.handle(request);
    const own = life;
    const node = {
      position: () => position(0),
      primary: () => replica.known,
      send: (sent: IncomingRequest): Promise<ResponseMessage> => {
        if (life !== own) return new Promise(() => {});
        return runApp(sent).catch(() => ({ status: 502, statusText: "", headers: [], body: null }));
      },
    };
    return oldProxy(request, node, timeline);
  }

  start();
  return {
    index,
    isOld,
    isUp: () => proxy !== undefined,
    visit: ({ exchange, method, headers, clientAddress, signal }) => {
      const trip: Trip = {
        node: index,
        isOld,
        at: timeline.now(),
        sentOn: undefined,
        end: undefined,
        status: undefined,
      };
      exchange.trips.push(trip);
      return new Promise((resolve) => {
        const end = (response: ResponseMessage | undefined): void => {
          if (trip.end !== undefined) return;
          connections.delete(crash);
          trip.end = timeline.now();
          trip.status = response?.status;
          resolve(response);
        };
        const crash = (): void => end(undefined);
        if (proxy === undefined) {
          end(undefined);
          return;
        }
        connections.add(crash);
        const request: IncomingRequest = {
          method,
          target: `/${exchange.action}`,
          headers,
          body: null,
          signal,
          scheme: "http",
          clientAddress,
          canUpgrade: false,
          transport: undefined,
        };
        handle(request).then(end, (error) => {
          surroundings.unexpected(error);
          end(undefined);
        });
      });
    },
    crashProxy: (pause) => {
      if (proxy === undefined) return;
      tell(() => `the proxy of node ${index} crashes`);
      life++;
      proxy = undefined;
      for (const crash of [...connections, ...outgoing]) crash();
      timeline.after(pause, start);
    },
    crashApp: (pause) => {
      if (!isAppUp) return;
      tell(() => `the app of node ${index} crashes`);
      isAppUp = false;
      for (const crash of Array.from(running)) crash();
      running.clear();
      timeline.after(pause, () => {
        isAppUp = true;
      });
    },
    breakStorage: (broken) => {
      tell(() => `the storage of node ${index} is ${broken ? "broken" : "whole"}`);
      isBroken = broken;
    },
  };
}

/** Returns the value of a header, by its name in lower case. */
export function valueOf(headers: HeaderLines, name: string): string | undefined {
  for (let at = 0; at < headers.length; at += 2) {
    if (headers[at]?.toLowerCase() === name) return headers[at + 1];
  }
  return undefined;
}
