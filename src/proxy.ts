import { createAllowance } from "./allowance.ts";
import { answer } from "./answer.ts";
import { type Claims, createClaimReader, NO_CLAIMS } from "./claims.ts";
import { allowTokenHeader } from "./cors.ts";
import { fetchTransport } from "./fetch-transport.ts";
import { clientOf, sendHeld, toUpstream } from "./forward.ts";
import { createGate } from "./gate.ts";
import { endToEnd, filterLines, firstValue } from "./headers.ts";
import { checkHealth, type Health, healthAnswer } from "./health.ts";
import { createJudge, type Database, type Verdict } from "./judge.ts";
import {
  type HeaderLines,
  type IncomingRequest,
  type ResponseMessage,
  TransportError,
} from "./message.ts";
import { createMinter } from "./minter.ts";
import { type Decision, type ProxyOptions, resolveOptions } from "./options.ts";
import { decodePath, type Pattern, resolvePath } from "./pattern.ts";
import { cameThroughFly, isReplayable, replay, wasReplayed } from "./replay.ts";
import { createSeats } from "./seats.ts";
import type { MaybePromise, Primary } from "./storage.ts";
import { createWaiters, type WaitOutcome } from "./waiters.ts";
import { fromRequest, fromResponse, toRequest, toResponse } from "./web.ts";

/** A proxy in front of an app whose database is replicated. */
export interface Proxy {
  /**
   * Answers a Web request; never rejects.
   *
   * @param request The client's request.
   * @param info What `connectionInfo()` made of the connection; anything else is ignored, so that the function can be
   *   handed to any server or framework as it is.
   */
  fetch(request: Request, info?: unknown): Promise<Response>;
  /** Answers a message, for adapters that hold the client's bytes; never rejects. */
  handle(request: IncomingRequest): Promise<ResponseMessage>;
  /** Returns what the health answer is made of. */
  health(): Promise<Health>;
  /** Lets the health check fail from now on, while requests are still answered: the first step of a shutdown. */
  drain(): void;
  /** Sends everybody who waits away with an answer. The storage stays open: it belongs to the caller. */
  close(): void;
}

/** What the policy has found out about one request. */
interface Trail {
  readonly request: IncomingRequest;
  readonly kind: Decision["kind"];
  /** What its client has seen. */
  readonly claims?: Claims | undefined;
  /** Whether a token that does not count is to be replaced by a lower one. */
  readonly heal?: boolean | undefined;
  /** Whether this node has yet to apply some of the claims, whatever history the others are of. */
  readonly isBehind?: boolean | undefined;
  /** How long the request has waited, in milliseconds. */
  readonly waited?: number | undefined;
}

/**
 * Creates a proxy. It keeps its promises to a client that carries its tokens: what writes reaches the primary, a read
 * sees every write that the client has seen answered, and no read sees an older state than the one before it.
 *
 * @param options How it behaves; `target` and `storage` are required.
 * @returns The proxy; `proxy.fetch` is a fetch handler for any Web-standard server.
 * @throws {TypeError} When an option has the wrong shape.
 * @throws {RangeError} When an option is out of range.
 *
 * @example
 * ```ts
 * import { createProxy } from "@txid/proxy";
 * import { memory } from "@txid/proxy/memory";
 *
 * const proxy = createProxy({
 *   target: () => new Response("hello"),
 *   storage: memory(),
 * });
 * const response = await proxy.fetch(new Request("http://localhost/"));
 * console.log(await response.text());
 * ```
 */
export function createProxy(options: ProxyOptions): Proxy {
  const settings = resolveOptions(options);
  const { storage, clock, onError } = settings;
  const databases: Database[] = [["", storage] as const, ...settings.databases].map(
    ([name, one]) => ({ name, storage: one, waiters: createWaiters(one, clock, onError) }),
  );
  const readClaims = createClaimReader(databases.map(({ name }) => name));
  const judgeClaims = createJudge(databases, { ...settings, maxAge: settings.cookieExpiry });
  const minter = createMinter(databases, settings, orReport);
  const seats = createSeats(settings.maxWaiters, settings.maxWaitersPerClient);
  const gate = createGate(settings.wakeLimit, clock);
  const allowPrimaryRead = createAllowance(settings.primaryReadRate, clock);
  const defaultTransport = fetchTransport();
  let draining = false;

  async function route(request: IncomingRequest): Promise<ResponseMessage> {
    // What CONNECT names is no path: no pattern can let it pass.
    if (request.method === "CONNECT") return refuse(request, notAllowed());
    const path = decodePath(request.target);
    if (path === undefined)
      return refuse(request, answer(400, "Bad request: broken escape in the path"));
    if (isPassthrough(path)) return onPassthrough(request);
    if (isHealthCheck(request.method, path)) return healthResponse(request);
    if (request.method === "TRACE") return refuse(request, notAllowed());
    return isWrite(request.method, path) ? write(request) : read(request);
  }

  async function onPassthrough(request: IncomingRequest): Promise<ResponseMessage> {
    const trail: Trail = { request, kind: "passthrough" };
    return finish(trail, PASSTHROUGH, await sendOrFail(trail, PASSTHROUGH));
  }

  async function read(request: IncomingRequest): Promise<ResponseMessage> {
    const claims = readClaims(request.headers);
    if (claims.isEmpty) return onTarget({ request, kind: "read", claims }, "no token");
    const { standing, believed, forged, isBehind } = await judge(claims);
    const trail: Trail = { request, kind: "read", claims, heal: forged, isBehind };
    if (standing === "caught up") return onTarget(trail, forged ? MADE_UP : "caught up");
    if ((await primary()).at === "here") return onLostPast(trail);
    return standing === "foreign" ? onForeign(trail) : onBehind(trail, believed);
  }

  /** Serves a read whose client has seen what this node has yet to apply. */
  async function onBehind(trail: Trail, believed: Claims): Promise<ResponseMessage> {
    const { request, claims = believed } = trail;
    if ((await isHopeless()) && mayReadThere(request, await primary()))
      return readThere(trail, "hopelessly behind");

    const start = clock.now();
    const outcome = await waitFor(believed, request);
    const { standing, isBehind } = outcome === "reached" ? await judge(claims) : BEHIND;
    if (standing === "caught up") return onTurn(trail, start);
    const waited: Trail = { ...trail, isBehind, waited: clock.now() - start };
    if (outcome === "primary") return onLostPast(waited);
    if (outcome === "aborted") {
      return own(waited, "client gone or shutting down", answer(503, "Shutting down", RETRY));
    }
    if (standing === "foreign") return onForeign(waited);
    if (mayReadThere(request, await primary())) return readThere(waited, "still behind");
    if (isStaleAllowed(request)) return onStale(waited);
    if (outcome === "full") {
      const full = answer(503, "Proxy error: too many requests wait", RETRY);
      return own(waited, "too many wait", full);
    }
    return own(waited, "still behind", answer(504, "Proxy timeout", RETRY));
  }

  /**
   * Serves a read whose client has seen another history than this node's. The primary knows which of them is lost; where
   * it cannot be asked, this node follows it as long as it is not cut off, and so does its history once it has caught up.
   */
  async function onForeign(trail: Trail): Promise<ResponseMessage> {
    const { request, isBehind = false } = trail;
    if (settings.foreignTokens === "error") return refuseToken(trail);
    if (settings.foreignTokens === "primary") {
      // Asked once: a role that becomes known in between does not bring the primary's history with it.
      const at = await primary();
      if (at.at === "here") return onLostPast(trail);
      if (mayReadThere(request, at)) return readThere(trail, OTHER_HISTORY);
      // Whoever took the request here took this node for the primary: the cluster is changing, and so is its history.
      const isLost = at.at === "unknown" || isBehind || wasReplayed(request.headers);
      if (isLost || (await isHopeless())) {
        if (isStaleAllowed(request)) return onStale(trail);
        return own(trail, OTHER_HISTORY, answer(504, "Proxy timeout", RETRY));
      }
    }
    return onTarget({ ...trail, heal: true }, OTHER_HISTORY);
  }

  /** Serves a read on the primary. Nothing is newer than what is here: what its client has seen beyond that is lost. */
  async function onLostPast(trail: Trail): Promise<ResponseMessage> {
    // The node may have become the primary just now, with all that the client has seen.
    const isLost = async (): Promise<boolean> =>
      (await judge(trail.claims ?? NO_CLAIMS)).standing !== "caught up";
    if (settings.foreignTokens === "error" && (await isLost())) return refuseToken(trail);
    return onPrimary(trail, LOST_PAST);
  }

  /** Serves a read that has waited since `start`, when its turn has come. */
  async function onTurn(trail: Trail, start: number): Promise<ResponseMessage> {
    const leave = await gate.enter(trail.request.signal);
    const waited: Trail = { ...trail, waited: clock.now() - start };
    if (leave === undefined) return own(waited, "client gone", answer(503, "Shutting down", RETRY));
    try {
      return await onTarget(waited, "caught up after waiting");
    } finally {
      leave();
    }
  }

  /** Serves a read from a past that its client has left behind, where that is allowed; no token says otherwise. */
  async function onStale(trail: Trail): Promise<ResponseMessage> {
    const stale = "still behind, and the path may be stale";
    return finish(trail, stale, await sendOrFail(trail, stale));
  }

  async function write(request: IncomingRequest): Promise<ResponseMessage> {
    const start = clock.now();
    const at = await knownPrimary(request);
    const claims = readClaims(request.headers);
    const trail: Trail = { request, kind: "write", claims, waited: clock.now() - start };
    if (at.at === "here") return onPrimary(trail, "primary");
    if (at.at === "elsewhere") {
      note(trail, "replay", `the primary is ${at.hostname}`);
      return replay(at.hostname);
    }
    return own(trail, "no primary known", answer(503, "Proxy error: no primary available", RETRY));
  }

  /** Returns the primary, if need be after a wait for one. */
  async function knownPrimary(request: IncomingRequest): Promise<Primary> {
    const at = await primary();
    if (at.at !== "unknown" || settings.primaryRedirectTimeout <= 0) return at;
    const leave = seats.take(clientOf(request, settings.isTrusted, settings.clientHeader));
    if (leave === undefined) return at;
    await databases[0]?.waiters.forPrimary(settings.primaryRedirectTimeout, request.signal);
    leave();
    return primary();
  }

  /** Runs a request here because this is the primary, and mints. */
  async function onPrimary(trail: Trail, reason: string): Promise<ResponseMessage> {
    const { request } = trail;
    const response = await send(trail, reason, async () => (await primary()).at === "here");
    // What its client holds beyond this node was lost when the request came, whoever is the primary by now.
    if (response !== undefined)
      return finish(trail, reason, await mint({ ...trail, heal: true }, response));
    // The primary moved while the target did not listen. Nothing was sent: the request finds its way anew.
    return trail.kind === "write" ? write(request) : read(request);
  }

  /** Runs a read here, and mints what its client sees now. The app may still say that it belongs to the primary. */
  async function onTarget(trail: Trail, reason: string): Promise<ResponseMessage> {
    const response = await sendOrFail(trail, reason);
    if (appWord(response) === "primary" && (await primary()).at !== "here") {
      return goToPrimary(trail.request, response);
    }
    return finish(trail, reason, await mint(trail, response));
  }

  /** Takes a read to the primary because the app found that it must write. Nobody sees the answer that said so. */
  async function goToPrimary(
    request: IncomingRequest,
    response: ResponseMessage,
  ): Promise<ResponseMessage> {
    await dispose(response);
    if (request.body === null) return write(request);
    // Its body is used up here; who replays it has it still.
    const at = await primary();
    if (at.at === "elsewhere") return replay(at.hostname);
    return answer(503, "Proxy error: no primary available", RETRY);
  }

  /** Takes a read to the primary because this node cannot serve it. */
  async function readThere(trail: Trail, reason: string): Promise<ResponseMessage> {
    const at = await primary();
    if (at.at !== "elsewhere") return own(trail, reason, answer(504, "Proxy timeout", RETRY));
    note(trail, "replay", `${reason}: read from the primary ${at.hostname}`);
    return replay(at.hostname);
  }

  /** Tells whether a read may go to the primary, and counts it if so. */
  function mayReadThere(request: IncomingRequest, at: Primary): boolean {
    const { primaryReads } = settings;
    if (primaryReads === "never") return false;
    if (primaryReads === "auto" && !cameThroughFly(request.headers)) return false;
    // Who was taken here and finds no primary must not be sent in a circle.
    if (wasReplayed(request.headers) || !isReplayable(request)) return false;
    return at.at === "elsewhere" && allowPrimaryRead();
  }

  /** Waits until every database has what the claims ask for. */
  async function waitFor(claims: Claims, request: IncomingRequest): Promise<WaitOutcome | "full"> {
    const leave = seats.take(clientOf(request, settings.isTrusted, settings.clientHeader));
    if (leave === undefined) return "full";
    try {
      const waits = databases.flatMap(({ waiters }, index) => {
        const claim = claims.claims[index];
        if (claim === undefined) return [];
        return [waiters.forPosition(claim.position, settings.waitTimeout, request.signal)];
      });
      const outcomes = await Promise.all(waits);
      return outcomes.find((outcome) => outcome !== "reached") ?? "reached";
    } finally {
      leave();
    }
  }

  async function judge(claims: Claims): Promise<Verdict> {
    const verdict = await orReport(() => judgeClaims(claims));
    return verdict ?? { ...BEHIND, believed: claims, forged: false };
  }

  /** Tells whether this node is so far behind that a wait would be in vain. */
  async function isHopeless(): Promise<boolean> {
    const lag = await orReport(() => storage.lag?.());
    return settings.maxLag > 0 && lag !== undefined && lag > settings.maxLag;
  }

  async function sendOrFail(trail: Trail, reason: string): Promise<ResponseMessage> {
    const response = await send(trail, reason, () => Promise.resolve(true));
    return response ?? answer(502, UNAVAILABLE);
  }

  /** Sends a request to the target; undefined when that stopped being right before anything was sent. */
  async function send(
    trail: Trail,
    reason: string,
    stillHolds: () => Promise<boolean>,
  ): Promise<ResponseMessage | undefined> {
    note(trail, "target", reason);
    const { request } = trail;
    if (settings.app !== undefined) return fromApp(await settings.app(toRequest(request)));
    const transport = settings.transport ?? request.transport ?? defaultTransport;
    const upstream = toUpstream(request, settings.origin, settings.isTrusted);
    return sendHeld(upstream, transport, settings.targetConnectTimeout, clock, stillHolds);
  }

  /** Tells a client that its token does not count here, and takes the token away. */
  function refuseToken(trail: Trail): ResponseMessage {
    const text = "The token is of a history that was lost; it is taken back";
    const { request, claims = NO_CLAIMS } = trail;
    return own(trail, OTHER_HISTORY, minter.withdraw(answer(412, text, RETRY), request, claims));
  }

  /** Puts tokens on the target's response to a read or a write. */
  async function mint(
    { request, kind, claims = NO_CLAIMS, heal = false }: Trail,
    response: ResponseMessage,
  ): Promise<ResponseMessage> {
    const wrote =
      appWord(response) === "wrote" || (kind === "write" && appWord(response) !== "unchanged");
    const mayLower = async (): Promise<boolean> => heal || (await primary()).at === "here";
    return minter.mint(response, { request, claims, wrote, mayLower });
  }

  /** Takes the app's word to the proxy off a response, and says what the proxy did where that is wanted. */
  function finish(trail: Trail, reason: string, response: ResponseMessage): ResponseMessage {
    const { request, waited } = trail;
    const hasWord = firstValue(response.headers, APP_WORD) !== undefined;
    const isCors = firstValue(request.headers, "origin") !== undefined;
    if (!hasWord && !isCors && !settings.serverTiming) return response;
    const headers = filterLines(response.headers, (name) => name !== APP_WORD);
    if (isCors) allowTokenHeader(request.headers, headers);
    if (settings.serverTiming) headers.push("Server-Timing", timing(reason, waited));
    return { ...response, headers, source: undefined };
  }

  function isStaleAllowed(request: IncomingRequest): boolean {
    const path = decodePath(request.target) ?? "";
    return matches(settings.stale, path) && matches(settings.stale, resolvePath(path));
  }

  /** A pattern lets a request pass only when the path matches in each way a server may read it. */
  function isPassthrough(path: string): boolean {
    return matches(settings.passthrough, path) && matches(settings.passthrough, resolvePath(path));
  }

  function isHealthCheck(method: string, path: string): boolean {
    return path === settings.healthPath && (method === "GET" || method === "HEAD");
  }

  function isWrite(method: string, path: string): boolean {
    if (!SAFE.has(method)) return true;
    // The preflight of a path that writes does not write itself.
    if (method === "OPTIONS") return false;
    return (
      matches(settings.alwaysForward, path) || matches(settings.alwaysForward, resolvePath(path))
    );
  }

  async function primary(): Promise<Primary> {
    return (await orReport(() => storage.primary())) ?? { at: "unknown" };
  }

  /** Asks the storage; what it throws is reported, and nothing is known. */
  async function orReport<T>(ask: () => MaybePromise<T>): Promise<T | undefined> {
    try {
      return await ask();
    } catch (error) {
      onError(error);
      return undefined;
    }
  }

  function health(): Promise<Health> {
    return checkHealth(settings, draining, probe);
  }

  async function healthResponse(request: IncomingRequest): Promise<ResponseMessage> {
    const state = await health();
    return own({ request, kind: "health" }, state.text, healthAnswer(state, settings.healthDetail));
  }

  /** Asks the target for a path, as a client without a body and without patience. */
  async function probe(path: string): Promise<number> {
    const request = new Request(`${settings.origin || "http://localhost"}${path}`, {
      signal: AbortSignal.timeout(PROBE_TIMEOUT),
    });
    if (settings.app !== undefined) return (await settings.app(request)).status;
    const message = fromRequest(request, undefined);
    if (message === undefined) throw new TypeError(`Cannot probe target: "${path}" is no path`);
    const transport = settings.transport ?? defaultTransport;
    const response = await transport(toUpstream(message, settings.origin, settings.isTrusted));
    await dispose(response);
    return response.status;
  }

  function own(trail: Trail, reason: string, response: ResponseMessage): ResponseMessage {
    note(trail, "answer", reason);
    const finished = finish(trail, reason, response);
    return trail.request.method === "HEAD" ? { ...finished, body: null } : finished;
  }

  function refuse(request: IncomingRequest, response: ResponseMessage): ResponseMessage {
    return own({ request, kind: "refused" }, `status ${response.status}`, response);
  }

  function note(trail: Trail, outcome: Decision["outcome"], reason: string): void {
    const { request, kind, claims, waited } = trail;
    settings.onDecision?.({
      method: request.method,
      target: request.target,
      kind,
      outcome,
      reason,
      token: claims?.claims.find((claim) => claim !== undefined)?.position,
      waited,
    });
  }

  async function handle(request: IncomingRequest): Promise<ResponseMessage> {
    try {
      return await route(request);
    } catch (error) {
      // A client that leaves is no failure of anything.
      if (!request.signal.aborted) onError(error);
      return failure(error);
    }
  }

  return {
    handle,
    fetch: async (request, info) => {
      const message = fromRequest(request, info);
      if (message === undefined) return toResponse(answer(400, "Bad request: no valid Host"));
      try {
        return toResponse(await handle(message));
      } catch (error) {
        onError(error);
        return toResponse(answer(500, "Proxy error: internal error"));
      }
    },
    health,
    drain: () => {
      draining = true;
    },
    close: () => {
      for (const { waiters } of databases) waiters.close();
    },
  };
}

/** Methods whose requests ask for nothing to be changed (RFC 9110 section 9.2.1). */
const SAFE: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "QUERY"]);

/** What a refused method is answered with (RFC 9110 section 15.5.6). */
const ALLOWED = "GET, HEAD, OPTIONS, QUERY, POST, PUT, PATCH, DELETE";

function notAllowed(): ResponseMessage {
  return answer(405, "Method not allowed", ["Allow", ALLOWED]);
}

/** The field in which the app speaks to the proxy: `wrote`, `unchanged` or `primary`. It never leaves. */
const APP_WORD = "txid-app";

function appWord(response: ResponseMessage): string | undefined {
  return firstValue(response.headers, APP_WORD)?.toLowerCase();
}

/** How a node stands that cannot tell, or has waited in vain. */
const BEHIND = { standing: "behind", isBehind: true } as const;

const PASSTHROUGH = "passthrough pattern";

/** Why the primary runs a read whose token is ahead of it. */
const LOST_PAST = "primary, and the token is of a lost past";

const MADE_UP = "the token is made up";

const OTHER_HISTORY = "the token is of another history";

/** What a client is told of a target that does not answer. */
const UNAVAILABLE = "Proxy error: target unavailable";

/** How soon a client should come again, in seconds (RFC 9110 section 10.2.3). */
const RETRY: HeaderLines = ["Retry-After", "1"];

/** How long the target may take to tell that it is healthy, in milliseconds. */
const PROBE_TIMEOUT = 5000;

/** Reads what an app in this process answered, without what belongs to a connection that it does not have. */
function fromApp(response: Response): ResponseMessage {
  if (response.type === "error" || response.bodyUsed) {
    throw new TypeError(
      "Cannot answer: the app gave an error response or one that was used before",
    );
  }
  const message = fromResponse(response);
  const headers = endToEnd(message.headers);
  const isWhole = response.status === 101 || headers.length === message.headers.length;
  return isWhole ? message : { ...message, headers, source: undefined };
}

/** Lets go of a response that nobody will read, so that its source stops. */
async function dispose({ body, tunnel }: ResponseMessage): Promise<void> {
  tunnel?.destroy();
  if (body === null || body instanceof Uint8Array) return;
  try {
    await body[Symbol.asyncIterator]().return?.();
  } catch {
    // Nobody is left to whom it would matter.
  }
}

/** Says what the proxy did, and for how long the request waited, in milliseconds (https://www.w3.org/TR/server-timing/). */
function timing(reason: string, waited: number | undefined): string {
  const duration = waited === undefined ? "" : `;dur=${Math.round(waited * 10) / 10}`;
  return `txid;desc="${reason}"${duration}`;
}

function matches(patterns: readonly Pattern[], path: string): boolean {
  return patterns.some((pattern) => pattern(path));
}

/** Answers for a target that did not: a status and a few fixed words, and nothing of the cause. */
function failure(error: unknown): ResponseMessage {
  if (!(error instanceof TransportError)) return answer(500, "Proxy error: internal error");
  if (error.failure === "timeout") return answer(504, "Proxy error: target timed out");
  if (error.failure === "request") return answer(400, "Bad request: the body broke off");
  return answer(502, UNAVAILABLE);
}
