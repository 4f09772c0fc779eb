import { answer, internalError, noHost } from "./answer.ts";
import { checkHealth, type Health, healthAnswer } from "./health.ts";
import { endsHere } from "./max-forwards.ts";
import { type IncomingRequest, type ResponseMessage, TransportError } from "./message.ts";
import { createNode } from "./node.ts";
import { type ProxyOptions, resolveOptions } from "./options.ts";
import { createPassage } from "./passage.ts";
import { decodePath, matchesAny, matchesEvery } from "./pattern.ts";
import { createReads } from "./reads.ts";
import { createRunner, UNAVAILABLE } from "./runner.ts";
import type { MaybePromise } from "./storage.ts";
import { createTarget } from "./target.ts";
import { beginTrail, createReporter } from "./trail.ts";
import { fromRequest, toResponse } from "./web.ts";
import { createWrites } from "./writes.ts";

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
  const { onError } = settings;
  const node = createNode(settings);
  const target = createTarget(settings);
  const reporter = createReporter(settings);
  const runner = createRunner(settings, node, target, reporter);
  const passage = createPassage(settings, node, reporter);
  const write = createWrites(settings, node, runner, passage, reporter);
  const read = createReads(settings, node, runner, passage, reporter, write);
  let draining = false;

  function route(request: IncomingRequest): MaybePromise<ResponseMessage> {
    const { method, target: full } = request;
    // What CONNECT names is no path: no pattern can let it pass.
    if (method === "CONNECT") return refuse(request, notAllowed());
    const path = decodePath(full);
    if (path === undefined)
      return refuse(request, answer(400, "Bad request: broken escape in the path"));
    // An app in this process is whom the request has reached.
    const isElsewhere = settings.app === undefined && request.app === undefined;
    if (isElsewhere && endsHere(request))
      return refuse(request, request.method === "OPTIONS" ? capabilities() : notAllowed());
    if (matchesEvery(settings.passthrough, path)) return pass(request);
    if (path === settings.healthPath && (method === "GET" || method === "HEAD"))
      return healthResponse(request);
    if (method === "TRACE") return refuse(request, notAllowed());
    return isWrite(method, path) ? write(request) : read(request);
  }

  async function pass(request: IncomingRequest): Promise<ResponseMessage> {
    const trail = beginTrail(request, "passthrough");
    return reporter.finish(trail, PASSTHROUGH, await runner.run(trail, PASSTHROUGH));
  }

  function isWrite(method: string, path: string): boolean {
    if (!SAFE.has(method)) return true;
    // The preflight of a path that writes does not write itself.
    return method !== "OPTIONS" && matchesAny(settings.alwaysForward, path);
  }

  function health(): Promise<Health> {
    return checkHealth(settings, draining, target.probe);
  }

  async function healthResponse(request: IncomingRequest): Promise<ResponseMessage> {
    const state = await health();
    const response = healthAnswer(state, settings.healthDetail);
    return reporter.own(beginTrail(request, "health"), state.text, response);
  }

  function refuse(request: IncomingRequest, response: ResponseMessage): ResponseMessage {
    return reporter.own(beginTrail(request, "refused"), `status ${response.status}`, response);
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
      if (message === undefined) return toResponse(noHost());
      try {
        return toResponse(await handle(message));
      } catch (error) {
        onError(error);
        return toResponse(internalError());
      }
    },
    health,
    drain: () => {
      draining = true;
    },
    close: node.close,
  };
}

/** Methods whose requests ask for nothing to be changed (RFC 9110 section 9.2.1). */
const SAFE: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "QUERY"]);

/** What a refused method is answered with (RFC 9110 section 15.5.6). */
const ALLOWED = "GET, HEAD, OPTIONS, QUERY, POST, PUT, PATCH, DELETE";

function notAllowed(): ResponseMessage {
  return answer(405, "Method not allowed", ["Allow", ALLOWED]);
}

/** Answers a request that asks what this proxy does, and not what the app does (RFC 9110 section 9.3.7). */
function capabilities(): ResponseMessage {
  return { status: 204, statusText: "No Content", headers: ["Allow", ALLOWED], body: null };
}

const PASSTHROUGH = "passthrough pattern";

/** Answers for a target that did not: a status and a few fixed words, and nothing of the cause. */
function failure(error: unknown): ResponseMessage {
  if (!(error instanceof TransportError)) return internalError();
  if (error.failure === "timeout") return answer(504, "Proxy error: target timed out");
  if (error.failure === "request") return answer(400, "Bad request: the body broke off");
  return answer(502, UNAVAILABLE);
}
