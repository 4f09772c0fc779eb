import { isWrite } from "./clients.ts";
import {
  createSurvivors,
  isLastOld,
  losesAnything,
  type Survivors,
  type Violation,
  type Weakness,
} from "./facts.ts";
import type { Exchange } from "./history.ts";
import { includes, show, type Transaction } from "./log.ts";
import { hasWay } from "./plan.ts";
import { describe, type History } from "./world.ts";

/** Something that a client has seen, and what counts of it. */
interface Memory {
  readonly exchange: Exchange;
  readonly transaction: Transaction;
  /** Whether the client has written it. */
  readonly isOwn: boolean;
}

/**
 * Judges one client's requests: whether each has found what the client had written and seen before.
 *
 * @param session The client's requests, in the order in which they were sent.
 * @param history What happened.
 */
export function checkSession(session: readonly Exchange[], history: History): Violation[] {
  const { reigns, replicas } = history.cluster;
  if (session[0]?.kind === "forger") return [];
  const memories = session.flatMap((exchange) => memoriesOf(exchange, session, history));
  const survives = createSurvivors(reigns);
  const violations: Violation[] = [];
  let isMisled = false;
  for (const exchange of session) {
    const seen = exchange.answer?.seen;
    if (seen === undefined || !isJudged(exchange, history)) continue;
    for (const memory of memories) {
      const { transaction } = memory;
      if (!isPromised(memory, exchange, session, history)) continue;
      const wanted = survives(transaction, exchange.reign);
      const found = seen[transaction.database];
      if (wanted === undefined || includes(found, wanted)) continue;
      const known = weaknessOf(exchange, isMisled, history, survives);
      isMisled ||= known !== undefined;
      const text = `${show(found)} does not include ${show(wanted)} of #${memory.exchange.id}: ${describe(exchange)}`;
      violations.push({ rule: ruleOf(memory, exchange), text, exchange: exchange.id, known });
      break;
    }
  }
  for (const { exchange, transaction, isOwn } of memories) {
    const left = survives(transaction, reigns.length - 1);
    const isKept = replicas.every(({ heads }) =>
      includes(heads[transaction.database], transaction),
    );
    if (isOwn && left === transaction && !isKept)
      violations.push({ rule: "no write lost", text: describe(exchange), exchange: exchange.id });
  }
  return violations;
}

/** Tells whether the answer to a request promises anything. */
function isJudged({ action, status, endTurn }: Exchange, { plan, cluster }: History): boolean {
  if (action === "stale" || endTurn === undefined || status !== 200) return false;
  return plan.foreignTokens !== "ignore" || !losesAnything(cluster.reigns);
}

/** Tells whether a request is promised to find what its client remembers. */
function isPromised(
  memory: Memory,
  exchange: Exchange,
  session: readonly Exchange[],
  { plan, cluster }: History,
): boolean {
  if (memory.exchange === exchange || !isBefore(memory.exchange, exchange)) return false;
  if (isTakenBack(memory.exchange, exchange, session)) return false;
  const hasLost = losesAnything(cluster.reigns);
  const isBrowser = exchange.kind === "browser";
  if (isLastOld(exchange) || isLastOld(memory.exchange)) {
    const isKept = isBrowser && memory.transaction.database === 0 && memory.isOwn;
    if (!isKept || hasLost) return false;
  }
  if (isBrowser && hasLost && plan.reads === "off") return false;
  return !isBrowser || !isOverwritten(memory, exchange, session, hasLost);
}

/** Tells whether an answer has taken a client's tokens back since then: it begins anew. */
function isTakenBack(earlier: Exchange, later: Exchange, session: readonly Exchange[]): boolean {
  return session.some(
    ({ status, headTurn }) =>
      status === 412 && headTurn !== undefined && headTurn < later.turn && headTurn > earlier.turn,
  );
}

/** Names the promise that was not kept. */
function ruleOf({ isOwn }: Memory, exchange: Exchange): string {
  if (exchange.answer?.committed !== undefined) return "writes follow reads";
  return isOwn ? "read your writes" : "monotonic reads";
}

/** Tells which weakness lets a client see a lost history instead of the one that it has seen. */
function weaknessOf(
  exchange: Exchange,
  isMisled: boolean,
  history: History,
  survives: Survivors,
): Weakness | undefined {
  const { plan, cluster } = history;
  const { trips, answer, reign } = exchange;
  const trip = trips.at(-1);
  const moments = cluster.replicas[trip?.node ?? -1]?.moments ?? [];
  const wasLost = moments.some(({ at, heads }, index) => {
    const isDuring =
      at <= (answer?.at ?? 0) + plan.appTime &&
      (moments[index + 1]?.at ?? Infinity) >= (trip?.at ?? 0);
    return isDuring && heads.some((head) => head !== undefined && survives(head, reign) !== head);
  });
  const isAlone = !hasWay(plan) || plan.primaryReadRate < 100;
  // Once misled, its tokens are those of the lost history.
  return isAlone && (isMisled || wasLost)
    ? "lost history where the primary cannot be asked"
    : undefined;
}

/** What a client remembers of an answer, as far as that counts. */
function memoriesOf(exchange: Exchange, session: readonly Exchange[], history: History): Memory[] {
  const { plan } = history;
  const { answer, kind, action } = exchange;
  if (!isShown(exchange, history) || answer?.seen === undefined) return [];
  const own = ownTransaction(exchange, history);
  const memories: Memory[] = [];
  if (own !== undefined) memories.push({ exchange, transaction: own, isOwn: true });
  if (isLastOld(exchange) || action === "stale" || action === "shared" || plan.reads === "off")
    return memories;
  const hasToken =
    kind === "api" ||
    plan.reads === "all" ||
    own !== undefined ||
    session.some(
      (earlier) =>
        isBefore(earlier, exchange) &&
        ownTransaction(earlier, history) !== undefined &&
        !isTakenBack(earlier, exchange, session),
    );
  if (!hasToken) return memories;
  for (const transaction of answer.seen) {
    if (transaction !== undefined && transaction !== own)
      memories.push({ exchange, transaction, isOwn: false });
  }
  return memories;
}

/** Tells whether a client has seen the app's whole answer, and its node had a position to go by. */
function isShown(exchange: Exchange, { troubles }: History): boolean {
  const { answer, status, endTurn, left, trips } = exchange;
  if (answer?.seen === undefined || status !== 200 || endTurn === undefined || left) return false;
  const end = trips.at(-1)?.end ?? 0;
  return !troubles.some(
    ({ node, what, from, to }) =>
      what === "storage" && node === answer.node && from <= end && to >= answer.at,
  );
}

/** Returns what a client has written with a request, if the answer's token says so. */
function ownTransaction(exchange: Exchange, history: History): Transaction | undefined {
  const committed = exchange.answer?.committed;
  if (committed === undefined || !isShown(exchange, history)) return undefined;
  if (!isLastOld(exchange)) return committed;
  const isMinted =
    exchange.kind === "browser" && exchange.action === "write" && committed.database === 0;
  return isMinted ? committed : undefined;
}

/** Tells whether a client had one answer before it sent the other request. */
function isBefore(earlier: Exchange, later: Exchange): boolean {
  return earlier.endTurn !== undefined && earlier.endTurn < later.turn;
}

/**
 * Tells whether a browser's cookie may be that of an older request: one sent before it knew of this answer, and answered
 * after it. A read does not touch the cookie of a write, but where a history was lost and cookies are replaced.
 */
function isOverwritten(
  { exchange, isOwn }: Memory,
  later: Exchange,
  session: readonly Exchange[],
  hasLost: boolean,
): boolean {
  const { headTurn } = exchange;
  if (headTurn === undefined) return false;
  return session.some(
    (other) =>
      other !== exchange &&
      other.headTurn !== undefined &&
      other.turn < headTurn &&
      other.headTurn > headTurn &&
      other.headTurn < later.turn &&
      (!isOwn || hasLost || isWrite(other) || other.action === "look"),
  );
}
