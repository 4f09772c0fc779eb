import { answer } from "./answer.ts";
import { fetchTransport } from "./fetch-transport.ts";
import { cameSecurely, sendHeld, toUpstream } from "./forward.ts";
import { endToEnd } from "./headers.ts";
import { checkHealth, type Health, healthAnswer } from "./health.ts";
import {
  type HeaderLines,
  type IncomingRequest,
  type ResponseMessage,
  TransportError,
} from "./message.ts";
import { isShareable, withToken } from "./mint.ts";
import { type Decision, type ProxyOptions, resolveOptions } from "./options.ts";
import { decodePath, type Pattern, resolvePath } from "./pattern.ts";
import { replay } from "./replay.ts";
import type { MaybePromise, Position, Primary } from "./storage.ts";
import { readToken } from "./token.ts";
import { createWaiters } from "./waiters.ts";
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

/** What the policy has found out about one request, for the log. */
interface Trail {
  readonly request: IncomingRequest;
  readonly kind: Decision["kind"];
  readonly token?: Position | undefined;
  readonly waited?: number | undefined;
}

/**
 * Creates a proxy. It keeps two promises to a client that carries its token: what writes reaches the primary, and a
 * read sees every write that the client has seen answered.
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
  const waiters = createWaiters(storage, clock, onError);
  const defaultTransport = fetchTransport();
  let draining = false;

  async function route(request: IncomingRequest): Promise<ResponseMessage> {
    // What CONNECT names is no path: no pattern can let it pass.
    if (request.method === "CONNECT") return refuse(request, notAllowed());
    const path = decodePath(request.target);
    if (path === undefined)
      return refuse(request, answer(400, "Bad request: broken escape in the path"));
    if (isPassthrough(path))
      return toTarget({ request, kind: "passthrough" }, "passthrough pattern");
    if (isHealthCheck(request.method, path)) return healthResponse(request);
    if (request.method === "TRACE") return refuse(request, notAllowed());
    return isWrite(request.method, path) ? write(request) : read(request);
  }

  async function read(request: IncomingRequest): Promise<ResponseMessage> {
    const token = readToken(request.headers, settings.cookieName);
    if (token === undefined) return toTarget({ request, kind: "read" }, "no token");
    const position = await orReport(() => storage.position());
    if (position !== undefined && position >= token)
      return toTarget({ request, kind: "read", token }, "caught up");
    if ((await primary()).at === "here")
      return onPrimary({ request, kind: "read", token }, LOST_PAST);

    const start = clock.now();
    const outcome = await waiters.forPosition(token, settings.waitTimeout, request.signal);
    const trail: Trail = { request, kind: "read", token, waited: clock.now() - start };
    if (outcome === "reached") return toTarget(trail, "caught up after waiting");
    if (outcome === "primary") return onPrimary(trail, LOST_PAST);
    if (outcome === "aborted")
      return own(trail, "client gone or shutting down", answer(503, "Shutting down", RETRY));
    return own(trail, "still behind", answer(504, "Proxy timeout", RETRY));
  }

  async function write(request: IncomingRequest): Promise<ResponseMessage> {
    const start = clock.now();
    let at = await primary();
    if (at.at === "unknown" && settings.primaryRedirectTimeout > 0) {
      await waiters.forPrimary(settings.primaryRedirectTimeout, request.signal);
      at = await primary();
    }
    const trail: Trail = { request, kind: "write", waited: clock.now() - start };
    if (at.at === "here") return onPrimary(trail, "primary");
    if (at.at === "unknown") {
      return own(
        trail,
        "no primary known",
        answer(503, "Proxy error: no primary available", RETRY),
      );
    }
    note(trail, "replay", `the primary is ${at.hostname}`);
    return replay(at.hostname);
  }

  /**
   * Runs a request here because this is the primary, and mints. Nothing is newer than what is here: a token from ahead
   * is of a lost past, and gets replaced.
   */
  async function onPrimary(trail: Trail, reason: string): Promise<ResponseMessage> {
    const { request } = trail;
    const response = await send(trail, reason, async () => (await primary()).at === "here");
    if (response !== undefined) return mint(response, request);
    // The primary moved while the target did not listen. Nothing was sent: the request finds its way anew.
    return trail.kind === "write" ? write(request) : read(request);
  }

  async function toTarget(trail: Trail, reason: string): Promise<ResponseMessage> {
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

  /** Puts this node's position on a response. It is read as late as can be, so that it covers what the app has done. */
  async function mint(
    response: ResponseMessage,
    request: IncomingRequest,
  ): Promise<ResponseMessage> {
    if (response.status === 101 || isShareable(request.method, response.headers)) return response;
    const position = await orReport(() => storage.commit?.() ?? storage.position());
    if (position === undefined) return response;
    return withToken(response, request.method, position, clock.date?.() ?? clock.now(), {
      name: settings.cookieName,
      expiry: settings.cookieExpiry,
      secure: settings.secureCookie === "auto" ? cameSecurely(request) : settings.secureCookie,
    });
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
    if (response.body !== null && !(response.body instanceof Uint8Array)) {
      await response.body[Symbol.asyncIterator]().return?.();
    }
    return response.status;
  }

  function own(trail: Trail, reason: string, response: ResponseMessage): ResponseMessage {
    note(trail, "answer", reason);
    return trail.request.method === "HEAD" ? { ...response, body: null } : response;
  }

  function refuse(request: IncomingRequest, response: ResponseMessage): ResponseMessage {
    return own({ request, kind: "refused" }, `status ${response.status}`, response);
  }

  function note(trail: Trail, outcome: Decision["outcome"], reason: string): void {
    const { request, kind, token, waited } = trail;
    settings.onDecision?.({
      method: request.method,
      target: request.target,
      kind,
      outcome,
      reason,
      token,
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
    close: () => waiters.close(),
  };
}

/** Methods whose requests ask for nothing to be changed (RFC 9110 section 9.2.1). */
const SAFE: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "QUERY"]);

/** What a refused method is answered with (RFC 9110 section 15.5.6). */
const ALLOWED = "GET, HEAD, OPTIONS, QUERY, POST, PUT, PATCH, DELETE";

function notAllowed(): ResponseMessage {
  return answer(405, "Method not allowed", ["Allow", ALLOWED]);
}

/** Why the primary runs a read whose token is ahead of it. */
const LOST_PAST = "primary, and the token is of a lost past";

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
