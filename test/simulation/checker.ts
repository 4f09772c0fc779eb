import type { Event, Kind, Observation } from "./history.ts";
import { includes, show, type Transaction } from "./log.ts";
import type { Plan } from "./plan.ts";

/** A promise that was not kept. */
export interface Violation {
  readonly promise:
    | "read your writes"
    | "monotonic reads"
    | "no write twice"
    | "no write without a commit"
    | "answers in time"
    | "nobody waits for what is there"
    | "nobody is blocked"
    | "healing costs one trip"
    | "a clear status";
  /** The request. */
  readonly request: number;
  /** What was seen, for people. */
  readonly text: string;
}

type Applied = Extract<Event, { type: "applied" }>;

type Answered = Extract<Event, { type: "answered" }>;

/** What a client has been shown of each database, and must be shown from then on. */
type Floor = readonly (Transaction | undefined)[];

interface Session {
  /** What a write has shown it. */
  written: Floor;
  /** What anything has shown it. */
  seen: Floor;
  /** Whether it has been given a token: before that nothing is remembered of what it reads. */
  hasToken: boolean;
  /** Whether a history has been lost: what it holds may be taken back. */
  mayHeal: boolean;
}

interface Asked {
  readonly client: number;
  readonly kind: Kind;
  readonly at: number;
  /** What its client had been shown when it asked; lowered when a history is lost. */
  written: Floor;
  seen: Floor;
  /** What the cluster had come to when it asked. */
  readonly live: Floor;
  readonly hadToken: boolean;
  mayHeal: boolean;
  readonly isCalm: boolean;
}

/**
 * Judges a history. It knows what was committed, whose history the cluster's is, and what answers have shown; of tokens it
 * knows nothing. What it holds everybody to:
 *
 * - A client with the `Txid` header is shown, by every read, all that any answer has shown it before it asked.
 * - A browser keeps what the last answer gave it: of two requests that were under way at once, the one answered last
 *   counts, with all that its client had been shown when it asked. What was read never counts against what was written.
 * - What a client that has no token reads is not remembered, unless `reads` is `all`; with `off` no read is.
 * - What a failover or a restore has lost is nobody's any more: everybody's floor sinks to what is left of it.
 * - An answer that takes back a token from a lost history brings its browser back to what that had been shown when it asked.
 * - LiteFS's own proxy remembers the writes of browsers that it knows for writes, in one database, and honours no header.
 * - What an answer shows while its node's storage fails, or while the database is replaced by a snapshot, is not remembered,
 *   and of the latter nothing is promised.
 * - Where the primary cannot be asked, or not as often as forgers make it necessary, nothing is promised once a history has
 *   been lost.
 * - Where histories cannot be told apart (bare tokens, which is all that LiteFS mints and that `reads: off` leaves a browser, storages that remember none),
 *   positions are compared as numbers.
 * - No read is answered with 504 by a node that had all it can have waited for.
 * - No write is applied twice, and none is answered as done that was not.
 * - Once all is mended, every client's first read costs one wait and one trip to the primary at most, and the next nothing.
 *
 * @param plan The world.
 * @param events What happened in it.
 */
export function check(plan: Plan, events: readonly Event[]): Violation[] {
  const violations: Violation[] = [];
  const sessions = new Map<number, Session>();
  const asked = new Map<number, Asked>();
  const commits = new Map<number, number>();
  /** When each node's database was last replaced. */
  const snapshots = new Map<number, number>();
  /** What each node has come to, the last few times. */
  const applied = new Map<number, Applied[]>();
  let isCalm = false;
  /** Who has been answered since all is mended. */
  const healed = new Set<number>();
  const nothing: Floor = Array.from({ length: plan.databases }, () => undefined);
  const tellsHistories = plan.marks === "all" && !plan.faults.has("forger");

  const heals = plan.isFly && plan.foreignTokens === "primary" && !plan.faults.has("forger");

  function sessionOf(client: number): Session {
    let session = sessions.get(client);
    if (session === undefined) {
      session = { written: nothing, seen: nothing, hasToken: false, mayHeal: false };
      sessions.set(client, session);
    }
    return session;
  }

  /** Takes away what is lost. */
  function surviving(floor: Floor): Floor {
    return floor.map((one) => {
      let left = one;
      while (left !== undefined && !includes(headOf(left.database), left)) left = left.parent;
      return left;
    });
  }

  const live: (Transaction | undefined)[] = [...nothing];

  /** What the cluster's history of a database has come to. */
  function headOf(database: number): Transaction | undefined {
    return live[database];
  }

  function sink(): void {
    for (const session of sessions.values()) {
      session.mayHeal = true;
      session.written = surviving(session.written);
      session.seen = surviving(session.seen);
    }
    for (const one of asked.values()) {
      one.mayHeal = true;
      one.written = surviving(one.written);
      one.seen = surviving(one.seen);
    }
  }

  /** Tells whether what was shown has everything of a floor. */
  function covers(shown: Observation, floor: Floor, isStrict: boolean): Transaction | undefined {
    return floor.find((least, database) => {
      if (least === undefined) return false;
      const head = shown.heads[database];
      if (head === undefined) return true;
      return isStrict ? !includes(head, least) : head.number < least.number;
    });
  }

  function judge(event: Answered, one: Asked): void {
    const { observation, status, request, isOld } = event;
    const client = plan.clients.find(({ index }) => index === one.client);
    if (client === undefined || client.kind === "forger") return;
    if (one.kind === "write" && status === 200 && !isOld && observation?.wrote?.request !== request)
      found("no write without a commit", request, "answered as done");
    if (status === 504 && isNeedless(event, one))
      found("nobody waits for what is there", request, `node ${event.node} has it`);
    if (!STATUSES.has(status)) found("a clear status", request, `status ${status}`);
    const isBlind = isOld && client.kind === "api";
    const isRead = one.kind === "read" || one.kind === "post";
    const isPromised = isRead && !isBlind && !isTorn(event, one) && (heals || !one.mayHeal);
    if (isPromised && status === 200 && observation !== undefined) {
      const hasHistory = plan.reads !== "off" || client.kind === "api";
      const isStrict = tellsHistories && hasHistory && !plan.faults.has("old proxy");
      // LiteFS's proxy knows one database.
      const written = isOld ? one.written.slice(0, 1) : one.written;
      const unwritten = covers(observation, written, isStrict);
      if (unwritten !== undefined)
        found("read your writes", request, missing(observation, unwritten));
      const unseen = isOld ? undefined : covers(observation, one.seen, isStrict);
      if (unseen !== undefined) found("monotonic reads", request, missing(observation, unseen));
    }
    if (one.isCalm && one.kind === "read") {
      if (status !== 200) found("nobody is blocked", request, `status ${status}`);
      // A replica cannot tell a token from a lost past from one that is ahead of it: once, it waits.
      const isFirst = !healed.has(one.client);
      healed.add(one.client);
      if (event.hops > (isFirst ? 1 : 0))
        found("healing costs one trip", request, `${event.hops} hops`);
      if (event.at - one.at > promptness(plan) + (isFirst ? plan.waitTimeout : 0))
        found("nobody is blocked", request, `took ${event.at - one.at} ms`);
    }
    learn(event, one, client.kind === "api");
  }

  /** Tells whether the database was replaced while the app may have looked at it. */
  function isTorn({ observation }: Answered, one: Asked): boolean {
    return observation !== undefined && (snapshots.get(observation.node) ?? -1) >= one.at;
  }

  /** Tells whether the node had all that there was when the request was sent, well before it gave up waiting. */
  function isNeedless({ at, isOld, isUntold, node }: Answered, one: Asked): boolean {
    if (isOld || isUntold || one.mayHeal) return false;
    const before = applied.get(node)?.findLast((event) => event.at <= at - LATE - plan.transit);
    return (
      before !== undefined &&
      at - before.at < plan.waitTimeout - LATE &&
      one.live.every((least, database) => {
        return least === undefined || includes(before.heads[database], least);
      })
    );
  }

  /** Takes in what an answer has shown. */
  function learn(event: Answered, one: Asked, keepsAll: boolean): void {
    const { observation, status, isOld } = event;
    const isUntold = event.isUntold || isTorn(event, one);
    const session = sessionOf(one.client);
    if (status === 500 && !keepsAll) {
      // What the app has refused to do is remembered all the same.
      session.written = common(session.written, one.written);
      session.seen = common(session.seen, one.seen);
    }
    if (status !== 200 || observation === undefined) return;
    if (one.kind === "stale" || isUntold) {
      // Whether it is remembered depends on whether it was stale, or on what the storage still told.
      if (!keepsAll) session.seen = common(session.seen, one.seen);
      if (!keepsAll && isUntold) session.written = common(session.written, one.written);
      return;
    }
    if (isOld && one.kind === "post") session.written = common(session.written, observation.heads);
    if (isOld && (keepsAll || one.kind !== "write")) return;
    if (one.mayHeal && !isOld && !keepsAll) session.written = common(session.written, one.written);
    const wrote = observation.wrote !== undefined;
    const remembers = isOld ? false : mints(plan, one, keepsAll, wrote);
    const shown = surviving(observation.heads);
    const own = surviving(
      nothing.map((_, index) =>
        observation.wrote?.database === index && !(isOld && index > 0)
          ? observation.wrote
          : undefined,
      ),
    );
    if (wrote) {
      session.hasToken = true;
      session.written = joined(keepsAll ? session.written : one.written, own);
    }
    if (remembers) session.seen = joined(keepsAll ? session.seen : one.seen, shown);
    if (remembers) session.hasToken = true;
  }

  function found(promise: Violation["promise"], request: number, text: string): void {
    violations.push({ promise, request, text });
  }

  for (const event of events) {
    switch (event.type) {
      case "reign":
        for (const [database, head] of event.reign.heads.entries()) live[database] = head;
        sink();
        break;
      case "applied":
        if (event.isSnapshot) snapshots.set(event.node, event.at);
        applied.set(event.node, [...(applied.get(event.node) ?? []).slice(-KEPT), event]);
        break;
      case "commit": {
        const { transaction } = event;
        live[transaction.database] = transaction;
        commits.set(transaction.request, (commits.get(transaction.request) ?? 0) + 1);
        break;
      }
      case "sent": {
        const { written, seen, hasToken: hadToken, mayHeal } = sessionOf(event.client);
        const { client, kind, at } = event;
        const known = { written, seen, live: live.slice(), hadToken, mayHeal };
        asked.set(event.request, { client, kind, at, ...known, isCalm });
        break;
      }
      case "answered": {
        const one = asked.get(event.request);
        asked.delete(event.request);
        if (one !== undefined) judge(event, one);
        break;
      }
      case "left":
        asked.delete(event.request);
        break;
      case "calm":
        isCalm = canHeal(plan);
        break;
    }
  }
  for (const [request, count] of commits)
    if (count > 1 && request >= 0) found("no write twice", request, `${count} commits`);
  for (const [request, { client }] of asked)
    found("answers in time", request, `client ${client} waits for ever`);
  return violations;
}

/** What two floors have in common. */
function common(one: Floor, other: Floor): Floor {
  return one.map((first, index) => {
    const second = other[index];
    if (first === undefined || second === undefined) return undefined;
    if (includes(first, second)) return second;
    return includes(second, first) ? first : undefined;
  });
}

/** How many of a node's states are remembered: those of the last moments count. */
const KEPT = 64;

/** How long it takes at most until those who wait for a position are woken, in milliseconds. */
const LATE = 110;

/** The statuses that the documentation names, the app's 500, and 0 for a connection that broke. */
const STATUSES: ReadonlySet<number> = new Set([0, 200, 409, 412, 500, 502, 503, 504]);

/** Tells whether an answer gives its client a token for what it has seen. */
function mints({ reads }: Plan, one: Asked, byHeader: boolean, wrote: boolean): boolean {
  if (reads === "off") return false;
  return wrote || reads === "all" || byHeader || one.hadToken;
}

/** Joins two floors: of each database what has more. */
function joined(one: Floor, other: Floor): Floor {
  return one.map((first, index) => {
    const second = other[index];
    if (first === undefined || second === undefined) return first ?? second;
    return includes(first, second) ? first : second;
  });
}

/** Tells whether every node can answer everybody once all is mended: LiteFS's proxy waits for what is lost, for one. */
function canHeal(plan: Plan): boolean {
  return plan.isFly && plan.foreignTokens === "primary" && !plan.faults.has("old proxy");
}

/** How long an answer takes at most that nothing holds up, in milliseconds. */
function promptness(plan: Plan): number {
  return plan.transit * 4 + plan.appTime * 2 + plan.storageDelay * 40 + 5;
}

function missing(observation: Observation, least: Transaction): string {
  const shown = observation.heads.map(show).join(" ");
  return `node ${observation.node} shows ${shown} without ${show(least)}`;
}
