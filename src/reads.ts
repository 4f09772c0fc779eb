import { createAllowance } from "./allowance.ts";
import { answer, RETRY, shuttingDown, tooLate, tooMany, usedUp } from "./answer.ts";
import type { Claims } from "./claims.ts";
import { createGate } from "./gate.ts";
import type { IncomingRequest, ResponseMessage } from "./message.ts";
import { BEHIND, type Node } from "./node.ts";
import type { ResolvedOptions } from "./options.ts";
import type { Passage } from "./passage.ts";
import { decodePath, matchesEvery } from "./pattern.ts";
import { cameThroughFly, hasReplayFailed } from "./replay.ts";
import type { Runner } from "./runner.ts";
import { type Primary, takesWrites } from "./storage.ts";
import { dispose } from "./target.ts";
import { appWord, beginTrail, type Reporter, type Trail } from "./trail.ts";
import type { Writes } from "./writes.ts";

/** Answers what only reads. */
export type Reads = (request: IncomingRequest) => Promise<ResponseMessage>;

/** Why the primary runs a read whose token is ahead of it. */
const LOST_PAST = "primary, and the token is of a lost past";

const MUST_WRITE = "the app found that it must write";

const OTHER_HISTORY = "the token is of another history";

/** Why a read runs here although its client holds a token for more. */
const DISCOUNTED = { forged: "the token is made up", foreign: OTHER_HISTORY } as const;

/**
 * Creates the part of the policy that answers reads. A read whose client has seen what this node has yet to apply goes
 * down a ladder: it waits, then it goes to the primary, then it may be stale, then it is refused.
 */
export function createReads(
  settings: ResolvedOptions,
  node: Node,
  runner: Runner,
  passage: Passage,
  reporter: Reporter,
  write: Writes,
): Reads {
  const { clock, foreignTokens, isTrusted, primaryReads } = settings;
  const gate = createGate(settings.wakeLimit, clock);
  const allowPrimaryRead = createAllowance(settings.primaryReadRate, clock);
  const { own } = reporter;

  function read(request: IncomingRequest): Promise<ResponseMessage> {
    const claims = node.claims(request);
    const trail = beginTrail(request, "read", claims);
    return claims.isEmpty ? here(trail, "no token") : judged(trail);
  }

  async function judged(unjudged: Trail): Promise<ResponseMessage> {
    const { claims } = unjudged;
    const { standing, isBehind, believed, discounted } = await node.judge(claims);
    const trail: Trail = { ...unjudged, isBehind };
    if (standing === "caught up")
      return here(trail, discounted === undefined ? standing : DISCOUNTED[discounted]);
    if ((await node.primary()).at === "here") return lostPast(trail);
    return standing === "foreign" ? foreign(trail, believed) : behind(trail, believed);
  }

  /**
   * Runs a read here, and mints what its client sees now: a node that no longer has what its client had seen when the
   * request came has followed the primary to another history. The app may still say that it belongs to the primary.
   */
  async function here(trail: Trail, reason: string): Promise<ResponseMessage> {
    const response = await runner.run(trail, reason);
    if (appWord(trail, response) === "primary" && !takesWrites(await node.primary()))
      return sentBack(trail, response);
    return runner.minted(trail, reason, response);
  }

  /** Takes a read to the primary because the app found that it must write. Nobody sees the answer that said so. */
  async function sentBack(trail: Trail, response: ResponseMessage): Promise<ResponseMessage> {
    await dispose(response);
    const { request } = trail;
    const { body, source } = request;
    if (body === null || body instanceof Uint8Array || source?.bodyUsed === false)
      return write(request);
    // Its body is used up here; whoever replays it has it still.
    const at = await node.primary();
    if (at.at === "elsewhere" && (await passage.find(request, at.hostname)) === "replay") {
      const passed = await passage.take(trail, at.hostname, MUST_WRITE, clock.now());
      if (passed.is === "answered") return passed.response;
    }
    return own(trail, `${MUST_WRITE}, and the body is used up`, usedUp());
  }

  /** Serves a read whose client has seen what this node has yet to apply. */
  async function behind(trail: Trail, believed: Claims): Promise<ResponseMessage> {
    const { request, claims } = trail;
    const why = await whyNotWait(request);
    const there = why && (await onPrimary(trail, await node.primary(), why));
    if (typeof there === "object") return there;
    const start = clock.now();
    // Who comes back from a replay that failed has waited before.
    const outcome = hasReplayFailed(request.headers)
      ? "timeout"
      : await node.waitFor(believed, settings.waitTimeout, request);
    const { standing, isBehind } = outcome === "reached" ? await node.judge(claims) : BEHIND;
    if (standing === "caught up") return inTurn(trail, start);
    const waited: Trail = { ...trail, isBehind, waited: clock.now() - start };
    if (outcome === "primary") return lostPast(waited);
    if (outcome === "aborted") {
      return own(waited, "client gone or shutting down", shuttingDown());
    }
    if (standing === "foreign") return foreign(waited, believed);
    const asked = await onPrimary(waited, await node.primary(), "still behind");
    if (typeof asked === "object") return asked;
    const [end, refusal] =
      outcome === "full" ? ["too many wait", tooMany()] : ["still behind", tooLate()];
    return (await stale(waited)) ?? own(waited, end, refusal);
  }

  /**
   * Serves a read whose client has seen another history than this node's. The primary knows which of them is lost; where
   * it cannot be asked, this node follows it as long as it is not cut off, and so does its history once it has caught up.
   */
  async function foreign(trail: Trail, believed: Claims): Promise<ResponseMessage> {
    if (foreignTokens === "error") return refused(trail);
    if (foreignTokens === "primary") {
      // Asked once: a role that becomes known in between does not bring the primary's history with it.
      const at = await node.primary();
      if (at.at === "here") return lostPast(trail);
      // There is nobody to ask: what is missing beside the other history comes, or it does not.
      const mayWait = trail.isBehind && trail.waited === undefined;
      if (at.at === "everywhere" && mayWait) return behind(trail, believed);
      const there = await onPrimary(trail, at, OTHER_HISTORY);
      if (typeof there === "object") return there;
      // Whoever brought the request took this node for the primary: the cluster is changing, and so is its history.
      const isBrought = (await passage.hopsOf(trail.request)).count > 0;
      const isLost = at.at === "unknown" || there === "unreachable" || trail.isBehind || isBrought;
      if (isLost || (await node.isHopeless()))
        return (await stale(trail)) ?? own(trail, OTHER_HISTORY, tooLate());
    }
    return here(trail, OTHER_HISTORY);
  }

  /** Serves a read on the primary. Nothing is newer than what is here: what its client has seen beyond that is lost. */
  async function lostPast(trail: Trail): Promise<ResponseMessage> {
    // The node may have become the primary just now, with all that the client has seen.
    const isLost = async (): Promise<boolean> =>
      (await node.judge(trail.claims)).standing !== "caught up";
    if (foreignTokens === "error" && (await isLost())) return refused(trail);
    // The primary moved before anything was sent: the request finds its way anew.
    return (await runner.onPrimary(trail, LOST_PAST)) ?? read(trail.request);
  }

  /** Serves a read that has waited since `start`, when its turn has come. */
  async function inTurn(trail: Trail, start: number): Promise<ResponseMessage> {
    const leave = await gate.enter(trail.request.signal);
    const waited: Trail = { ...trail, waited: clock.now() - start };
    if (leave === undefined) return own(waited, "client gone", shuttingDown());
    try {
      return await here(waited, "caught up after waiting");
    } finally {
      leave();
    }
  }

  /** Serves a read from a past that its client has left behind, where that is allowed; no token says otherwise. */
  async function stale(trail: Trail): Promise<ResponseMessage | undefined> {
    const path = decodePath(trail.request.target);
    if (path === undefined || !matchesEvery(settings.stale, path)) return undefined;
    const reason = "still behind, and the path may be stale";
    return reporter.finish(trail, reason, await runner.run(trail, reason));
  }

  /** Tells why a wait would be in vain; undefined: it may help. */
  async function whyNotWait(request: IncomingRequest): Promise<string | undefined> {
    if (await node.isHopeless()) return "hopelessly behind";
    // An app that replays for reasons of its own takes this node for no primary: only our own word counts.
    const { proven } = await passage.hopsOf(request);
    return proven > 0 ? "brought here, and behind" : undefined;
  }

  /**
   * Takes a read to the primary because this node cannot serve it. It may have to stay here: there is no way to the
   * primary or it may not take it, or the primary cannot be reached.
   */
  async function onPrimary(
    trail: Trail,
    at: Primary,
    reason: string,
  ): Promise<ResponseMessage | "no way" | "unreachable"> {
    const { request } = trail;
    if (at.at !== "elsewhere" || primaryReads === "never") return "no way";
    const way = await passage.find(request, at.hostname);
    // Off Fly nobody may be there to carry a replay out: the client would get a 409 for a read.
    const isCarried = primaryReads === "always" || cameThroughFly(request, isTrusted);
    const isOpen = way === "direct" || (way === "replay" && isCarried);
    if (!isOpen && hasReplayFailed(request.headers)) return "unreachable";
    if (!isOpen || !allowPrimaryRead()) return "no way";
    const why = `${reason}: read from the primary ${at.hostname}`;
    const passed = await passage.take(trail, at.hostname, why, clock.now());
    if (passed.is === "unsent") return "unreachable";
    return passed.is === "answered" ? passed.response : read(request);
  }

  /** Tells a client that its token does not count here, and takes the token away. */
  function refused(trail: Trail): ResponseMessage {
    const text = "The token is of a history that was lost; it is taken back";
    return own(trail, OTHER_HISTORY, runner.withdraw(trail, answer(412, text, RETRY)));
  }

  return read;
}
