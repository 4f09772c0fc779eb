import { answer, RETRY } from "./answer.ts";
import { createBreaker } from "./breaker.ts";
import { pause } from "./clock.ts";
import { fetchTransport } from "./fetch-transport.ts";
import { exchange, toUpstream } from "./forward.ts";
import { allValues } from "./headers.ts";
import { createLookout } from "./lookout.ts";
import {
  type HeaderLines,
  type IncomingRequest,
  type ResponseMessage,
  TransportError,
} from "./message.ts";
import type { Node } from "./node.ts";
import type { ResolvedOptions } from "./options.ts";
import { isUnsent } from "./target.ts";
import type { Reporter, Trail } from "./trail.ts";

/** What has become of a request that belongs to the primary. */
export type Passed =
  /** There is an answer to it. */
  | { readonly is: "answered"; readonly response: ResponseMessage }
  /** Nothing was sent: the primary is this node by now, or there is no way any more. */
  | { readonly is: "moved" }
  /** Nothing was sent: there is no getting through. */
  | {
      readonly is: "unsent";
      /** Why, for the operator. */
      readonly reason: string;
      /** What its client can be told. */
      readonly refusal: ResponseMessage;
    };

/** Sends requests to the primary's proxy. */
export interface Direct {
  /** Tells whether this node has a way there. */
  leadsTo(hostname: string): boolean;
  /**
   * Sends a request there. A write that is not taken is held, until it is or another node is the primary.
   *
   * @param trail The request.
   * @param hostname The primary's name.
   * @param reason Why it belongs there.
   * @param lines What the primary's proxy is told beside the request.
   */
  send(trail: Trail, hostname: string, reason: string, lines: HeaderLines): Promise<Passed>;
}

/** How often a primary's proxy that does not listen is tried, in milliseconds. */
const RETRY_INTERVAL = 100;

/** Creates the way from a node to the primary's proxy. */
export function createDirect(settings: ResolvedOptions, node: Node, reporter: Reporter): Direct {
  const { isTrusted, clock, hold, maxForwards, onError } = settings;
  const patience = Math.max(0, settings.primaryRedirectTimeout);
  const breaker = createBreaker(clock);
  const lookout = createLookout(node.primary, patience, clock);
  const defaultTransport = fetchTransport();
  let underWay = 0;

  /** Returns the origin of the primary's proxy; what is wrong with it is reported, and there is no way there. */
  function originOf(hostname: string): string | undefined {
    try {
      return settings.primaryUrl(hostname);
    } catch (error) {
      onError(error);
      return undefined;
    }
  }

  async function send(
    trail: Trail,
    hostname: string,
    reason: string,
    lines: HeaderLines,
  ): Promise<Passed> {
    const { request, kind } = trail;
    if (underWay >= maxForwards) {
      const refusal = answer(503, "Proxy error: too many requests for the primary", RETRY);
      return { is: "unsent", reason: "too many are being forwarded", refusal };
    }
    reporter.note(trail, "forward", reason);
    underWay++;
    try {
      // A read has other ways to end.
      const deadline = clock.now() + (kind === "write" ? patience : 0);
      const response = await sendUntil(deadline, request, hostname, lines);
      if (response === undefined) return { is: "moved" };
      if (hold > 0 && kind === "write") await caughtUp(response, request);
      return { is: "answered", response };
    } catch (error) {
      const refusal = refusalOf(error);
      if (refusal === undefined) throw error;
      onError(error);
      const why = "the primary's proxy does not answer";
      if (isUnsent(error)) return { is: "unsent", reason: why, refusal };
      return { is: "answered", response: reporter.own(trail, why, refusal) };
    } finally {
      underWay--;
    }
  }

  /** Sends a request as soon as it is taken; undefined: the primary has become this node, or there is no way any more. */
  async function sendUntil(
    deadline: number,
    request: IncomingRequest,
    hostname: string,
    lines: HeaderLines,
  ): Promise<ResponseMessage | undefined> {
    let name = hostname;
    let leave: (() => void) | undefined;
    try {
      for (;;) {
        const origin = originOf(name);
        if (origin === undefined) return undefined;
        try {
          return await sendOnce(request, name, origin, lines);
        } catch (error) {
          const isLast = clock.now() + RETRY_INTERVAL > deadline || request.signal.aborted;
          if (!isUnsent(error) || isLast) throw error;
          leave ??= node.takeSeat(request);
          if (leave === undefined) throw error;
        }
        await pause(RETRY_INTERVAL, request.signal, clock);
        // A name that leads nowhere is no reason to wait when another node has taken over.
        const at = await node.primary();
        if (at.at === "here") return undefined;
        if (at.at === "elsewhere") name = at.hostname;
      }
    } finally {
      leave?.();
    }
  }

  function sendOnce(
    request: IncomingRequest,
    hostname: string,
    origin: string,
    lines: HeaderLines,
  ): Promise<ResponseMessage> {
    const transport = settings.transport ?? request.transport ?? defaultTransport;
    const upstream = toUpstream(request, origin, isTrusted);
    upstream.headers.push(...lines);
    return breaker.guard(origin, () =>
      lookout.await(hostname, request.signal, (signal) =>
        exchange({ ...upstream, signal }, transport),
      ),
    );
  }

  /** Waits until this node has what the answer to a write says that there is. */
  async function caughtUp(response: ResponseMessage, request: IncomingRequest): Promise<void> {
    const cookies = allValues(response.headers, "set-cookie").map(
      (line) => line.split(";")[0] ?? "",
    );
    const tokens = allValues(response.headers, "txid").flatMap((value) => ["Txid", value]);
    const claims = node.claims({ headers: ["Cookie", cookies.join("; "), ...tokens] });
    if (!claims.isEmpty) await node.waitFor(claims, hold, request);
  }

  return { leadsTo: (hostname) => originOf(hostname) !== undefined, send };
}

/** Returns what a client is told when the primary's proxy fails; undefined: that is not what has failed. */
function refusalOf(error: unknown): ResponseMessage | undefined {
  if (!(error instanceof TransportError)) return undefined;
  if (isUnsent(error)) return answer(503, "Proxy error: primary unreachable", RETRY);
  if (error.failure === "timeout") return answer(504, "Proxy error: primary timed out");
  const isOfPrimary = error.failure === "reset" || error.failure === "malformed";
  return isOfPrimary ? answer(502, "Proxy error: primary unavailable") : undefined;
}
