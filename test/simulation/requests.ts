import { isWrite } from "./clients.ts";
import type { Heads, Moment } from "./cluster.ts";
import { type Finding, isLastOld, isTroubled, losesAnything, wasPrimary } from "./facts.ts";
import { type Exchange, ON_PRIMARY, type Run, type Trip } from "./history.ts";
import { includes } from "./log.ts";
import { hasWay, type Plan } from "./plan.ts";
import type { History } from "./world.ts";

/** The rule that a good token is not taken back. */
const FALSE_412 = "no 412 without a lost history";

/** What becomes of a write. */
export function* checkWrite(exchange: Exchange): Generator<Finding> {
  const { runs, status, answer, left } = exchange;
  if (runs.filter(({ committed }) => committed !== undefined).length > 1)
    yield ["no write twice", "it was committed twice"];
  if (ON_PRIMARY.has(exchange.action) && runs.length > 1)
    yield ["no write twice", "it reached apps twice"];
  const isAnswered = status !== undefined && status < 300 && !left;
  if (isWrite(exchange) && isAnswered && answer?.committed === undefined && !isLastOld(exchange))
    yield ["no write lost", "it was answered with success and never committed"];
}

/** How long a proxy may take for what it does not wait for, in milliseconds, with storages that answer at once. */
const QUICK = 1.1;

/** How often a request asks its storage at most before it reaches the app. */
const QUESTIONS = 16;

function quick({ storageDelay, databases }: Plan): number {
  return QUICK + QUESTIONS * databases * storageDelay;
}

/** What a client is answered, and when. */
export function* checkAnswer(exchange: Exchange, history: History): Generator<Finding> {
  const { plan } = history;
  const { status, end, at, trips, isCalm, left, leak, kind } = exchange;
  if (leak !== undefined && !isLastOld(exchange))
    yield ["no leak", `the client sees Txid-App: ${leak}`];
  const hasOld = plan.isOld.includes(true);
  const wait =
    Math.max(plan.waitTimeout, plan.primaryRedirectTimeout, hasOld ? 5000 : 0) +
    plan.targetConnectTimeout +
    // The gate holds nobody up for longer than a second, and there are so many in front.
    1000;
  const bound = 7 * (wait + quick(plan) + 2 * plan.appTime) + 12 * plan.appTime + 8 * plan.transit;
  if (end === undefined) {
    yield ["nobody is blocked", "it never ended"];
    return;
  }
  if (end - at > bound) yield ["nobody is blocked", `it took ${end - at} ms`];
  if (!left && (status === undefined || !STATUSES.has(status)))
    yield ["every answer has a status", `it has ${status}`];
  if (status === 412 && kind !== "forger" && !losesAnything(history.cluster.reigns))
    yield [FALSE_412, "nothing was lost"];
  if (!isCalm || hasOld) return;
  if (status !== 200 && !mayFail(exchange, plan))
    yield ["all is well when all is mended", `${status}`];
  const [first, ...more] = trips;
  if (more.length > 1) yield ["at most one extra trip", `it made ${trips.length} trips`];
  for (const trip of more) {
    if ((trip.end ?? Infinity) - trip.at > quick(plan) + 2 * plan.appTime)
      yield ["at most one extra trip", "the extra trip has waited"];
  }
  if (
    (first?.sentOn ?? first?.end ?? Infinity) - (first?.at ?? 0) >
    plan.waitTimeout + quick(plan) + 2 * plan.appTime + 1000
  )
    yield ["nobody is blocked", "the first trip has taken longer than the wait"];
}

/** All with which a request may end. */
const STATUSES: ReadonlySet<number> = new Set([200, 409, 412, 500, 502, 503, 504]);

/** Tells whether even in calm a request may end without the app's answer. */
function mayFail({ status, action }: Exchange, plan: Plan): boolean {
  // Places to wait may be few, and many may come at once.
  if (status === 503 && (plan.maxWaiters < MANY || plan.maxWaitersPerClient < MANY)) return true;
  // Without a way to the primary a replica sends nothing anywhere, and says so.
  if (!hasWay(plan) && (status === 409 || status === 503)) return isPrimaryOnly(action);
  // Nor can it tell a token that is ahead of it from a lost one.
  if (!hasWay(plan) && status === 504) return true;
  if (plan.foreignTokens === "error" && status === 412) return true;
  // A replica may have used up its share of reads for the primary while its own wait is too short for the lag.
  return status === 504 && plan.primaryReadRate < 100;
}

function isPrimaryOnly(action: Exchange["action"]): boolean {
  return ON_PRIMARY.has(action) || action === "discover";
}

/** What happens at each proxy on the way. */
export function* checkTrips(exchange: Exchange, history: History): Generator<Finding> {
  const { plan } = history;
  for (const trip of exchange.trips) {
    if (trip.isOld) continue;
    const run = exchange.runs.find(
      ({ node, at }) => node === trip.node && at >= trip.at && at <= (trip.end ?? Infinity),
    );
    if (run !== undefined && ON_PRIMARY.has(exchange.action)) {
      const slack = plan.storageDelay * QUESTIONS;
      if (!wasPrimary(history, trip.node, run.at - slack, run.at, "ever"))
        yield ["no write on a replica", "its app got it"];
    }
    yield* checkPrimary(exchange, trip, run, history);
    yield* checkPatience(exchange, trip, history);
  }
}

/** How often a request is taken from one node to another at most: twice, and once more after an edge has failed. */
const MAX_MOVES = 4;

/** How requests get from node to node. */
export function* checkForwards(exchange: Exchange, history: History): Generator<Finding> {
  const { plan, cluster } = history;
  if (plan.isOld.includes(true)) return;
  const { trips, answer, status, left, action } = exchange;
  const moves = trips.filter(({ node }, at) => at > 0 && node !== trips[at - 1]?.node).length;
  if (moves > MAX_MOVES) yield ["no request goes round", `it moved ${moves} times`];
  const [first, second] = trips;
  const committed = answer?.committed;
  // An answer is held where its node can tell that it has caught up, and where there is a place to wait.
  const isHeld = plan.hold > 0 && first?.sentOn !== undefined && ON_PRIMARY.has(action);
  const isFull = plan.maxWaitersPerClient < MANY || plan.maxWaiters < MANY;
  if (!isHeld || isFull || left || status !== 200 || trips.length > 2) return;
  if (committed === undefined || second === undefined || cluster.reigns.length > 1) return;
  const end = first.end ?? Infinity;
  if ([first, second].some(({ node }) => isTroubled(history, node, second.at, end))) return;
  const held = end - (second.end ?? Infinity);
  const heads = cluster.replicas[first.node]?.moments.findLast(({ at }) => at <= end)?.heads;
  const own = heads?.[committed.database];
  if (held < plan.hold && !(own !== undefined && includes(own, committed)))
    yield ["an answer is held until its node has caught up", `it was held for ${held} ms`];
}

/** The primary makes no read wait, nor does a node that becomes it. */
function* checkPrimary(
  exchange: Exchange,
  trip: Trip,
  run: Run | undefined,
  history: History,
): Generator<Finding> {
  const { plan, cluster } = history;
  const until = trip.sentOn ?? run?.at ?? trip.end ?? Infinity;
  if (until - trip.at <= quick(plan) || ON_PRIMARY.has(exchange.action) || exchange.left) return;
  if (isTroubled(history, trip.node, trip.at - plan.targetConnectTimeout, until)) return;
  if (plan.wakeLimit < MANY) return;
  const moments = cluster.replicas[trip.node]?.moments ?? [];
  const since = moments.findLast(({ at, isPrimary }, index) => {
    return at <= until && isPrimary && moments[index - 1]?.isPrimary !== true;
  });
  if (since === undefined || !wasPrimary(history, trip.node, since.at, until, "always")) return;
  const waited = until - Math.max(since.at, trip.at);
  const isAware = since.at < trip.at || plan.notifies;
  if (waited > quick(plan) + (isAware ? 0 : ROLE_INTERVAL))
    yield ["the primary never waits", `it has waited for ${waited} ms`];
}

/** How often a proxy looks at its role by itself while somebody waits, in milliseconds. */
const ROLE_INTERVAL = 105;

/** With so many places nobody is stopped. */
const MANY = 64;

/** As long as nothing is lost, a read gives up only after its whole wait. */
function* checkPatience(exchange: Exchange, trip: Trip, history: History): Generator<Finding> {
  const { plan, cluster } = history;
  const { kind, action, left } = exchange;
  const end = trip.sentOn ?? trip.end;
  // Who was brought here has waited before.
  if (trip !== exchange.trips[0]) return;
  if (kind === "forger" || left || end === undefined || end - trip.at >= plan.waitTimeout) return;
  if (ON_PRIMARY.has(action) || action === "discover" || losesAnything(cluster.reigns)) return;
  if (plan.isOld.includes(true) || isTroubled(history, trip.node, trip.at, end)) return;
  // A wait may be hopeless, or there may be no place for it; and what the storage says may change while it is asked.
  const isHopeless = plan.tellsLag && plan.maxLag > 0;
  const isFull = plan.maxWaitersPerClient < MANY || plan.maxWaiters < MANY;
  if (isHopeless || isFull || plan.storageDelay > 0) return;
  if (trip.status === 504 || trip.status === 409)
    yield ["no read gives up early", `it has waited for ${end - trip.at} ms`];
}

/**
 * A read is served as soon as its node has all that had been committed when it was sent. Where something was lost, that
 * holds when all is mended, from the second request on: the first may still bring a token of what was lost.
 */
export function* checkPrompt(
  exchange: Exchange,
  session: readonly Exchange[],
  history: History,
): Generator<Finding> {
  const { plan, cluster } = history;
  const { kind, action, left, trips, runs, at, isCalm } = exchange;
  const [trip] = trips;
  if (kind === "forger" || left || trip === undefined || isPrimaryOnly(action)) return;
  if (plan.isOld.includes(true) || plan.storageDelay > 0 || plan.wakeLimit < MANY) return;
  const isSecond = isCalm && session.some((other) => other !== exchange && other.isCalm);
  const isHealed = isSecond && hasWay(plan) && plan.primaryReadRate >= 100;
  if (losesAnything(cluster.reigns) && !isHealed) return;
  const until =
    trip.sentOn ?? runs.find(({ node }) => node === trip.node)?.at ?? trip.end ?? Infinity;
  if (isTroubled(history, trip.node, trip.at - plan.targetConnectTimeout, until)) return;
  if (until - trip.at <= quick(plan) && trip.status !== 409) return;
  const wanted = Array.from({ length: plan.databases }, (_, database) =>
    Math.max(...cluster.replicas.map(({ moments }) => numberAt(moments, at, database))),
  );
  const moments = cluster.replicas[trip.node]?.moments ?? [];
  const hasAll = (heads: Heads): boolean =>
    heads.every((head, database) => (head?.number ?? 0) >= (wanted[database] ?? 0));
  const since = moments.find(
    ({ heads }, index) => hasAll(heads) && (moments[index + 1]?.at ?? Infinity) > trip.at,
  );
  if (since === undefined || since.at >= trip.at + plan.waitTimeout) return;
  const waited = until - Math.max(since.at, trip.at);
  if (waited > quick(plan) || (since.at <= trip.at && trips.length > 1))
    yield ["no read waits for nothing", `its node had all, and it has waited for ${waited} ms`];
}

/** Returns the number of a database's last transaction at some time. */
function numberAt(moments: readonly Moment[], time: number, database: number): number {
  return moments.findLast(({ at }) => at <= time)?.heads[database]?.number ?? 0;
}

/** Nobody holds more waits at once than the caps allow. */
export function* checkCaps({ plan, exchanges, cluster, troubles }: History): Generator<Finding> {
  if (plan.wakeLimit < MANY) return;
  for (const { index } of cluster.replicas) {
    if (plan.isOld[index] === true || troubles.some(({ node }) => node === index)) continue;
    const changes: { at: number; client: number; step: number }[] = [];
    for (const { client, trips, runs } of exchanges) {
      for (const trip of trips) {
        const run = runs.find(({ node, at }) => node === trip.node && at >= trip.at);
        const end = Math.min(run?.at ?? Infinity, trip.sentOn ?? Infinity, trip.end ?? Infinity);
        const start = trip.at + quick(plan);
        if (trip.node !== index || end <= start) continue;
        changes.push({ at: start, client, step: 1 }, { at: end, client, step: -1 });
      }
    }
    // Who leaves makes room for who comes at the same moment.
    changes.sort((a, b) => a.at - b.at || a.step - b.step);
    const waiting = new Map<number, number>();
    let all = 0;
    for (const { client, step } of changes) {
      const own = (waiting.get(client) ?? 0) + step;
      waiting.set(client, own);
      all += step;
      if (own > plan.maxWaitersPerClient)
        yield ["no more waits than allowed", `${own} of client ${client} at node ${index}`];
      if (all > plan.maxWaiters) yield ["no more waits than allowed", `${all} at node ${index}`];
    }
  }
}
