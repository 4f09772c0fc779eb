import { type Claims, createClaimReader } from "./claims.ts";
import { pause } from "./clock.ts";
import { clientOf } from "./peer.ts";
import { createJudge, type Database, type Verdict } from "./judge.ts";
import { andThen, isPromise } from "./maybe-promise.ts";
import type { IncomingRequest } from "./message.ts";
import type { ResolvedOptions } from "./options.ts";
import { createSeats } from "./seats.ts";
import type { MaybePromise, Primary, Storage } from "./storage.ts";
import { createWaiters, type WaitOutcome } from "./waiters.ts";

/** What a proxy knows of its node: the databases here, where the primary is, and who waits. */
export interface Node {
  readonly databases: readonly Database[];
  /** Returns where writes run; unknown when the storage throws. */
  primary(): Promise<Primary>;
  /** Returns where writes run, if need be after a wait until anybody knows, of so many milliseconds at most. */
  knownPrimary(request: IncomingRequest, timeout: number): Promise<Primary>;
  /** Reads what a client has seen. */
  claims(request: Pick<IncomingRequest, "headers">): Claims;
  /** Tells how this node stands to what a client has seen. */
  judge(claims: Claims): MaybePromise<Verdict>;
  /** Takes a place for a request that is to wait, and returns what gives it back; undefined: too many wait. */
  takeSeat(request: IncomingRequest): (() => void) | undefined;
  /** Waits until every database has what the claims ask for; `"full"`: too many wait. */
  waitFor(claims: Claims, timeout: number, request: IncomingRequest): Promise<WaitOutcome | "full">;
  /** Tells whether this node is so far behind that a wait would be in vain. */
  isHopeless(): Promise<boolean>;
  /** Asks a storage; what it throws is reported, and nothing is known. */
  orReport<T>(ask: () => MaybePromise<T>): MaybePromise<T | undefined>;
  /** Tells whether nobody is to wait any more. */
  isClosed(): boolean;
  /** Sends everybody who waits away. */
  close(): void;
}

/** How long it is until somebody looks again for a primary that was named and is gone, in milliseconds. */
const MOMENT = 25;

/** How a node stands that cannot tell, or has waited in vain. */
export const BEHIND: Pick<Verdict, "standing" | "isBehind"> = {
  standing: "behind",
  isBehind: true,
};

/** Creates what a proxy knows of its node. */
export function createNode(settings: ResolvedOptions): Node {
  const { storage, clock, onError, isTrusted, clientHeader, maxLag } = settings;
  const all = [["", storage] as const, ...settings.databases];
  const databases: Database[] = all.map(([name, one]) => ({
    name,
    storage: one,
    waiters: createWaiters(watchedOf(one), clock, onError),
  }));
  const readClaims = createClaimReader(databases.map(({ name }) => name));
  const judgeClaims = createJudge(databases, { ...settings, maxAge: settings.cookieExpiry });
  let isClosed = false;
  const seats = createSeats(settings.maxWaiters, settings.maxWaitersPerClient);

  /**
   * What those look at who wait for a database. Writes run where `storage` says: of a primary that another database names
   * a wait would end at once and anew, for ever.
   */
  function watchedOf(one: Storage): Pick<Storage, "position" | "primary" | "subscribe"> {
    if (one === storage) return one;
    const watched = { position: () => one.position(), primary: () => storage.primary() };
    if (one.subscribe === undefined) return watched;
    return { ...watched, subscribe: (changed) => one.subscribe?.(changed) ?? (() => {}) };
  }

  async function primary(): Promise<Primary> {
    return (await orReport(() => storage.primary())) ?? { at: "unknown" };
  }

  function orReport<T>(ask: () => MaybePromise<T>): MaybePromise<T | undefined> {
    try {
      const answer = ask();
      return isPromise(answer) ? answer.catch(report) : answer;
    } catch (error) {
      return report(error);
    }
  }

  function report(error: unknown): undefined {
    onError(error);
  }

  const takeSeat = (request: IncomingRequest): (() => void) | undefined =>
    seats.take(clientOf(request, isTrusted, clientHeader));

  return {
    databases,
    primary,
    takeSeat,
    knownPrimary: async (request, timeout) => {
      const { signal } = request;
      const deadline = clock.now() + timeout;
      let at = await primary();
      if (at.at !== "unknown" || timeout <= 0) return at;
      const leave = takeSeat(request);
      if (leave === undefined) return at;
      for (;;) {
        const outcome = await databases[0]?.waiters.forPrimary(deadline - clock.now(), signal);
        at = await primary();
        if (at.at !== "unknown" || outcome !== "reached") break;
        // It was named for a moment only: LiteFS does so each time it tries in vain to connect again.
        await pause(MOMENT, signal, clock);
      }
      leave();
      return at;
    },
    claims: ({ headers }) => readClaims(headers),
    judge: (claims) =>
      andThen(
        orReport(() => judgeClaims(claims)),
        (verdict) => verdict ?? { ...BEHIND, believed: claims, discounted: undefined },
      ),
    waitFor: async ({ claims }, timeout, request) => {
      const leave = takeSeat(request);
      if (leave === undefined) return "full";
      try {
        const waits = databases.flatMap(({ waiters }, index) => {
          const position = claims[index]?.position;
          if (position === undefined) return [];
          return [waiters.forPosition(position, timeout, request.signal)];
        });
        const outcomes = await Promise.all(waits);
        return outcomes.find((outcome) => outcome !== "reached") ?? "reached";
      } finally {
        leave();
      }
    },
    isHopeless: async () => {
      const lag = await orReport(() => storage.lag?.());
      return maxLag > 0 && lag !== undefined && lag > maxLag;
    },
    orReport,
    isClosed: () => isClosed,
    close: () => {
      isClosed = true;
      for (const { waiters } of databases) waiters.close();
    },
  };
}
