import { runClient } from "./clients.ts";
import { type Cluster, createCluster, nameOf } from "./cluster.ts";
import type { Core } from "./core.ts";
import { createEdge } from "./edge.ts";
import type { Exchange, Run } from "./history.ts";
import { show } from "./log.ts";
import type { Fault, Plan } from "./plan.ts";
import { createRandom } from "./random.ts";
import { createServer, type Server, valueOf, type Visit } from "./server.ts";
import { createTimeline, type Timeline } from "./timeline.ts";

/** All that happened in a world. */
export interface History {
  readonly plan: Plan;
  readonly exchanges: readonly Exchange[];
  readonly cluster: Cluster;
  /** When faults had stopped and everything was at rest, in milliseconds. */
  readonly calmAt: number;
  /** When apps and storages were out of order. */
  readonly troubles: readonly Trouble[];
  /** What the proxies reported that no fault explains. */
  readonly errors: readonly unknown[];
  /** A number that is the same when the same has happened. */
  readonly hash: string;
  /** How many steps it took. */
  readonly steps: number;
}

/** An app or a storage that is out of order for a while. */
export interface Trouble {
  readonly node: number;
  readonly what: "app" | "storage";
  /** From when on, in milliseconds. */
  readonly from: number;
  /** Until when, in milliseconds. */
  readonly to: number;
}

/** How long everything has to end after the calm has begun, in milliseconds. */
const EPILOGUE = 120_000;

/**
 * Lets a world run from its beginning to its end.
 *
 * @param plan The world.
 * @param core The proxy and its client.
 * @param onEvent Takes what happens, for people.
 */
export async function runWorld(
  plan: Plan,
  core: Core,
  onEvent?: (at: number, text: string) => void,
): Promise<History> {
  const timeline = createTimeline();
  const tell = (text: () => string): void => onEvent?.(timeline.now(), text());
  const cluster = createCluster(plan, timeline, tell);
  const exchanges: Exchange[] = [];
  const visits = new Map<number, Visit>();
  const runs = new Map<string, Run>();
  const errors: unknown[] = [];
  const digest = createDigest();
  let turns = 0;
  let runCount = 0;

  const servers: readonly Server[] = cluster.replicas.map((replica) =>
    createServer(replica, {
      plan,
      core,
      timeline,
      cluster,
      find: (name) => servers.find(({ index }) => nameOf(index) === name),
      visits,
      nextRun: () => runCount++,
      unexpected: (error) => errors.push(error),
      tell,
    }),
  );
  const edge = createEdge(plan, servers, timeline);
  const calmAt = plan.duration + 600 + 3 * (plan.lag[1] + plan.roleDelay);
  const troubles = planTroubles(plan, timeline, cluster, servers);

  for (const client of plan.clients) {
    void runClient(client, calmAt, {
      plan,
      core,
      timeline,
      send: (visit) => {
        visits.set(visit.exchange.id, visit);
        tell(() => `${nameOfExchange(visit.exchange)} is sent: ${tokensOf(visit)}`);
        return edge(visit);
      },
      begin: ({ index, kind }, action, database, isCalm) => {
        const exchange: Exchange = {
          id: exchanges.length,
          client: index,
          kind,
          action,
          database,
          at: timeline.now(),
          turn: turns++,
          isCalm,
          trips: [],
          runs: [],
          headTurn: undefined,
          end: undefined,
          endTurn: undefined,
          reign: 0,
          status: undefined,
          left: false,
          answer: undefined,
          leak: undefined,
        };
        exchanges.push(exchange);
        return exchange;
      },
      onHead: (exchange, { status, headers }) => {
        exchange.headTurn = turns++;
        exchange.status = status;
        exchange.leak = valueOf(headers, "txid-app");
        for (const run of exchange.runs) runs.set(String(run.id), run);
        exchange.answer = runs.get(valueOf(headers, "x-run") ?? "");
        tell(() => `${nameOfExchange(exchange)} gets ${status}: ${mintedOf(headers)}`);
      },
      onEnd: (exchange) => {
        exchange.end = timeline.now();
        exchange.endTurn = turns++;
        exchange.reign = cluster.reigns.length - 1;
        const line = describe(exchange);
        digest.add(`${exchange.end} ${line}`);
        tell(() => line);
      },
    }).catch((error: unknown) => errors.push(error));
  }
  if (!(await timeline.run(calmAt + EPILOGUE))) errors.push(new Error("It never comes to rest"));
  for (const { heads } of cluster.replicas) digest.add(heads.map(show).join(" "));
  return {
    plan,
    exchanges,
    cluster,
    calmAt,
    troubles,
    errors,
    hash: digest.value(),
    steps: timeline.steps(),
  };
}

/** Plans what goes wrong, and that everything is mended when the clients have done their work. */
function planTroubles(
  plan: Plan,
  timeline: Timeline,
  cluster: Cluster,
  servers: readonly Server[],
): readonly Trouble[] {
  const troubles: Trouble[] = [];
  for (const fault of plan.faults) {
    const random = createRandom(plan.seed, fault);
    const act = actOf(fault);
    for (let incident = 0; act !== undefined && incident < plan.incidents; incident++) {
      const at = random.time(0, plan.duration * 0.9);
      const node = random.below(plan.nodes);
      const pause = random.time(1, random.pick([20, 100, 500]));
      const more = random.between(1, 8);
      timeline.at(at, () => act(node, Math.min(pause, plan.duration - at), more));
    }
  }
  timeline.at(plan.duration, () => {
    for (const server of servers) cluster.cut(server.index, false);
  });
  return troubles;

  function actOf(fault: Fault): ((node: number, pause: number, more: number) => void) | undefined {
    switch (fault) {
      case "partition":
        return (node, pause) => {
          cluster.cut(node, true);
          timeline.after(pause, () => cluster.cut(node, false));
        };
      case "failover":
        return (node, pause, more) => {
          const heads = cluster.replicas[node]?.heads ?? [];
          if (heads.includes(undefined)) return;
          if (!plan.hasHistories || more <= 3) cluster.handOver(node);
          else cluster.failOver(node, Math.min(pause, 200));
        };
      case "restore":
        return (node, _, more) => {
          if (plan.hasHistories) cluster.restore(node % plan.databases, more);
        };
      case "wrong primary":
        return (node, pause, more) => {
          cluster.mislead(node, (node + more) % plan.nodes);
          timeline.after(pause, () => cluster.mislead(node, undefined));
        };
      case "proxy crash":
        return (node, pause) => servers[node]?.crashProxy(pause);
      case "app crash":
        return (node, pause) => {
          const from = timeline.now();
          troubles.push({ node, what: "app", from, to: from + pause });
          servers[node]?.crashApp(pause);
        };
      case "storage error":
        return (node, pause) => {
          const from = timeline.now();
          troubles.push({ node, what: "storage", from, to: from + pause });
          servers[node]?.breakStorage(true);
          timeline.after(pause, () => servers[node]?.breakStorage(false));
        };
      default:
        return undefined;
    }
  }
}

/** Writes an exchange for people: `12 browser 3 write → 200 at 1, saw 0:5b`. */
export function describe(exchange: Exchange): string {
  const { status, left, trips, answer, runs } = exchange;
  const way = trips.map(({ node, isOld }) => `${node}${isOld ? " (old)" : ""}`).join(" → ");
  const saw = answer?.seen?.map(show).join(" ") ?? "nothing";
  const wrote = runs.flatMap(({ committed }) => (committed === undefined ? [] : [show(committed)]));
  const end = left ? "left" : String(status);
  return `${nameOfExchange(exchange)}: ${end} by way of ${way || "nobody"}, saw ${saw}${wrote.length > 0 ? `, wrote ${wrote.join(" ")}` : ""}`;
}

function nameOfExchange({ id, kind, client, action, database }: Exchange): string {
  return `#${id} (${kind} ${client}: ${action}${database > 0 ? ` ${database}` : ""})`;
}

function tokensOf({ headers }: Visit): string {
  return valueOf(headers, "txid") ?? valueOf(headers, "cookie") ?? "no token";
}

function mintedOf(headers: readonly string[]): string {
  const lines = headers.filter((_, at) => /^(?:set-cookie|txid)$/i.test(headers[at - 1] ?? ""));
  return lines.map((line) => line.replace(/; Path.*/, "")).join(", ") || "no token";
}

/** Makes one number of many lines (FNV-1a, twice over). */
function createDigest(): { add(line: string): void; value(): string } {
  let a = 0x811c9dc5;
  let b = 0x01234567;
  return {
    add: (line) => {
      for (let at = 0; at < line.length; at++) {
        a = Math.imul(a ^ line.charCodeAt(at), 0x01000193);
        b = Math.imul(b ^ line.charCodeAt(at), 0x5bd1e995) ^ (b >>> 15);
      }
    },
    value: () => [a, b].map((one) => (one >>> 0).toString(16).padStart(8, "0")).join(""),
  };
}
