import { untilWritable } from "./entrances.ts";
import type { Entrances } from "./entrances.ts";
import { marksIn, startLoad, twiceIn } from "./load.ts";
import type { Failure, LoadLog } from "./load.ts";
import type { Network } from "./network.ts";
import { sleep } from "./sleep.ts";

/** A cluster whose primary can be moved and killed. */
export interface Shaken extends Entrances {
  /** The network between the nodes. */
  readonly network: Pick<Network, "primary" | "failover" | "lost" | "settled">;
  /** Returns the origin of a node's app. */
  appUrl(name: string): string;
  /** Kills a node. */
  crash(name: string): Promise<void>;
  /** Starts it again. */
  restart(name: string): Promise<void>;
}

/** What happens to the primary while clients are at work. */
export interface UpheavalOptions {
  /** How often it is handed over. */
  readonly moves: number;
  /** How often it is killed. */
  readonly crashes: number;
  /** The number of clients. @default 12 */
  readonly clients?: number | undefined;
  /** How long all is quiet before each change and after the last one, in milliseconds. @default 500 */
  readonly quiet?: number | undefined;
  /** How long there is no primary after a crash, in milliseconds. @default 400 */
  readonly gap?: number | undefined;
  /** Takes a line about each change. */
  readonly tell?: ((line: string) => void) | undefined;
}

/** What came of it. */
export interface UpheavalReport {
  /** How many writes were acknowledged. */
  readonly writes: number;
  /** How many reads were answered. */
  readonly reads: number;
  /** The acknowledged writes that are gone because the failover itself did not wait for them. */
  readonly lost: readonly string[];
  /** The acknowledged writes that are gone all the same. */
  readonly missing: readonly string[];
  /** The writes that ran twice. */
  readonly twice: readonly string[];
  /** The reads that did not show what their client had written or seen, in words. */
  readonly stale: readonly string[];
  /** Requests that were told to come again while the primary changed, or that went down with it. */
  readonly failures: readonly Failure[];
  /** All other requests without a proper answer. */
  readonly errors: readonly Failure[];
  /** How long the slowest request took, in milliseconds. */
  readonly slowest: number;
}

interface Change {
  readonly isCrash: boolean;
  readonly from: number;
  /** When every node took writes again, whenever that is: how soon proxies learn of a primary is not judged here. */
  readonly to: number;
}

/** Tells whether a report shows work, nothing that breaks a promise, and no error but those that a change excuses. */
export function hasHeld({ writes, reads, missing, twice, stale, errors }: UpheavalReport): boolean {
  return (
    writes > 0 && reads > 0 && missing.length + twice.length + stale.length + errors.length === 0
  );
}

/** Moves and kills the primary of a cluster under load, and holds what its clients saw against what there is in the end. */
export async function shake(cluster: Shaken, options: UpheavalOptions): Promise<UpheavalReport> {
  const { network } = cluster;
  const { quiet = 500, gap = 400, tell = () => undefined } = options;
  const changes: Change[] = [];

  function next(): string {
    const names = cluster.names();
    const index = names.indexOf(network.primary() ?? "");
    return names[(index + 1) % names.length] ?? "";
  }

  async function move(): Promise<void> {
    const [old, heir] = [network.primary(), next()];
    const from = Date.now();
    await network.failover(heir);
    tell(`${old} hands over to ${heir} in ${Date.now() - from} ms`);
    await untilWritable(cluster);
    changes.push({ isCrash: false, from, to: Date.now() });
  }

  async function kill(): Promise<void> {
    const [old = "", heir] = [network.primary(), next()];
    const from = Date.now();
    const before = network.lost().length;
    await cluster.crash(old);
    await sleep(gap);
    await network.failover(heir);
    const count = network.lost().length - before;
    tell(
      `${old} is killed, ${heir} takes over after ${Date.now() - from} ms without the last ${count} transactions`,
    );
    await untilWritable(cluster);
    changes.push({ isCrash: true, from, to: Date.now() });
    await sleep(quiet);
    await cluster.restart(old);
    tell(`${old} is back as a replica`);
  }

  const load = startLoad({ urls: () => cluster.urls(), clients: options.clients });
  try {
    for (let i = 0; i < options.moves + options.crashes; i += 1) {
      await sleep(quiet);
      await (i < options.moves ? move() : kill());
    }
    await sleep(quiet);
  } finally {
    // Whatever goes wrong, the clients end.
    await load.stop();
  }
  return judge(cluster, await load.stop(), changes);
}

async function judge(
  cluster: Shaken,
  log: LoadLog,
  changes: readonly Change[],
): Promise<UpheavalReport> {
  await cluster.network.settled();
  const held = await Promise.all(cluster.names().map((name) => marksOf(cluster.appUrl(name), log)));
  const lostAt = new Map(
    cluster.network.lost().flatMap(({ transaction, at }) => {
      const values = transaction.statements.flatMap(({ args }) => args);
      return values.map((value) => [String(value), at] as const);
    }),
  );
  const gone = [...log.acknowledged].filter((mark) => held.some((marks) => !marks.includes(mark)));
  const unseen = log.unseen.filter(({ mark, at }) => at < (lostAt.get(mark) ?? Infinity));
  return {
    writes: log.acknowledged.size,
    reads: log.reads,
    lost: gone.filter((mark) => lostAt.has(mark)),
    missing: gone.filter((mark) => !lostAt.has(mark)),
    twice: [...new Set([...log.twice, ...held.flatMap(twiceIn)])],
    stale: unseen.map(({ text }) => text),
    failures: log.failures.filter((failure) => isExcused(failure, changes)),
    errors: log.failures.filter((failure) => !isExcused(failure, changes)),
    slowest: log.slowest,
  };
}

/** Tells whether a request may have failed: it was told to come again, or the node died that it had reached. */
function isExcused({ status, began, ended }: Failure, changes: readonly Change[]): boolean {
  return changes.some(({ isCrash, from, to }) => {
    const allowed = isCrash ? [0, 502, 503, 504] : [503, 504];
    return allowed.includes(status) && ended >= from && began <= to;
  });
}

async function marksOf(url: string, { keys }: LoadLog): Promise<string[]> {
  const texts = keys.map(async (key) => {
    const response = await fetch(`${url}/kv/${key}`);
    const text = await response.text();
    return response.ok ? marksIn(text) : [];
  });
  return (await Promise.all(texts)).flat();
}

/** Returns a report in words. */
export function describeUpheaval(report: UpheavalReport): string {
  const { writes, reads, missing, twice, lost, stale, failures, errors, slowest } = report;
  const counts = new Map<number, number>();
  for (const { status } of failures) counts.set(status, (counts.get(status) ?? 0) + 1);
  const told = [...counts].map(([status, count]) => `${count} with ${status || "no answer"}`);
  const lines = [
    `${writes} writes acknowledged: ${missing.length} missing, ${twice.length} twice, ${lost.length} lost with a primary that was killed${lost.length > 0 ? " (as an asynchronous replication may)" : ""}`,
    `${reads} reads: ${stale.length} stale`,
    `Failures while the primary changed: ${failures.length}${told.length === 0 ? "" : ` (${told.join(", ")})`}, at other times: ${errors.length}; the slowest took ${slowest} ms`,
    ...[...missing, ...twice, ...stale, ...errors.map(({ text }) => text)].slice(0, 10),
  ];
  return lines.map((line) => `  ${line}\n`).join("");
}
