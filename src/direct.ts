import { answer, moving, RETRY, unreachable } from "./answer.ts";
import { createBreaker } from "./breaker.ts";
import { fetchTransport } from "./fetch-transport.ts";
import { clientOf } from "./peer.ts";
import { exchange, toUpstream } from "./upstream.ts";
import { allValues, firstValue } from "./headers.ts";
import { createLookout, type Watch } from "./lookout.ts";
import {
  type HeaderLines,
  type IncomingRequest,
  type ResponseMessage,
  type Transport,
  TransportError,
} from "./message.ts";
import type { Node } from "./node.ts";
import type { ResolvedOptions } from "./options.ts";
import { createQueue, LOOK_INTERVAL } from "./queue.ts";
import { cameThroughFly } from "./replay.ts";
import { createSeats } from "./seats.ts";
import { takesWrites } from "./storage.ts";
import { dispose, isUnsent } from "./target.ts";
import type { Reporter, Trail } from "./trail.ts";

/** What has become of a request that belongs to the primary. */
export type Passed =
  /** There is an answer to it. */
  | { readonly is: "answered"; readonly response: ResponseMessage }
  /** Nothing was sent: the primary is this node by now, or there is no way any more. */
  | { readonly is: "moved" }
  /** There is no getting through: nothing was sent, or a read whose answer did not come. */
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
   * @param terms On which terms.
   */
  send(trail: Trail, hostname: string, reason: string, terms: Terms): Promise<Passed>;
}

/** On which terms a request is sent. */
interface Terms {
  /** What the primary's proxy is told beside the request. */
  readonly lines: HeaderLines;
  /** Until when it may be held, on the proxy's clock. */
  readonly deadline: number;
  /** Whether its answer may be held until this node has caught up. */
  readonly isHeld: boolean;
}

/** How long a proxy may take to show that it is alive, in milliseconds. */
const PROBE_TIMEOUT = 1000;

/**
 * How long a connection to the primary's proxy may always take, in milliseconds, however late it is: round the world and
 * back is a third of a second, and who loses the first packet waits another one.
 */
const CONNECT_TIME = 2000;

/** Creates the way from a node to the primary's proxy. */
export function createDirect(settings: ResolvedOptions, node: Node, reporter: Reporter): Direct {
  const { isTrusted, clock, hold, onError, clientHeader } = settings;
  const patience = Math.max(0, settings.primaryRedirectTimeout);
  const breaker = createBreaker(clock);
  const queue = createQueue(node, breaker, clock);
  const lookout = createLookout(node.primary, patience, clock);
  const defaultTransport = fetchTransport();
  const seats = createSeats(settings.maxForwards, settings.maxWaitersPerClient);

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
    terms: Terms,
  ): Promise<Passed> {
    const { request, kind } = trail;
    const leave = seats.take(clientOf(request, isTrusted, clientHeader));
    if (leave === undefined) {
      const refusal = answer(503, "Proxy error: too many requests for the primary", RETRY);
      return { is: "unsent", reason: "too many are being forwarded", refusal };
    }
    reporter.note(trail, "forward", reason);
    try {
      const response = await sendUntil(trail, hostname, terms);
      if (response === undefined) return { is: "moved" };
      // It must not come to a client where no Fly Proxy stands between.
      if (isReplayOfOther(response) && !cameThroughFly(request, isTrusted)) {
        await dispose(response);
        const why = "a proxy that is not the primary's has answered";
        return { is: "answered", response: reporter.own(trail, why, moving()) };
      }
      if (hold > 0 && kind === "write" && terms.isHeld) await caughtUp(response, request);
      return { is: "answered", response };
    } catch (error) {
      const refusal = refusalOf(error);
      if (refusal === undefined) throw error;
      onError(error);
      const why = "the primary's proxy does not answer";
      // A read may as well be answered in another way.
      const isLost = kind === "read" && request.body === null;
      if (isUnsent(error) || isLost) return { is: "unsent", reason: why, refusal };
      return { is: "answered", response: reporter.own(trail, why, refusal) };
    } finally {
      leave();
    }
  }

  /** Sends a request as soon as it is taken; undefined: the primary has become this node, or there is no way any more. */
  async function sendUntil(
    trail: Trail,
    hostname: string,
    terms: Terms,
  ): Promise<ResponseMessage | undefined> {
    const { request } = trail;
    let name = hostname;
    let leave: (() => void) | undefined;
    try {
      for (;;) {
        const origin = originOf(name);
        if (origin === undefined) return undefined;
        try {
          return await sendOnce(trail, name, origin, terms);
        } catch (error) {
          const isLast = clock.now() + LOOK_INTERVAL > terms.deadline || node.isClosed();
          if (!isUnsent(error) || isLast || request.signal.aborted) throw error;
          leave ??= node.takeSeat(request);
          if (leave === undefined) throw error;
        }
        await queue.turn({ hostname: name, origin }, terms.deadline, request.signal);
        // A name that leads nowhere is no reason to wait when another node has taken over.
        const at = await node.primary();
        if (takesWrites(at)) return undefined;
        if (at.at === "elsewhere") name = at.hostname;
      }
    } finally {
      leave?.();
    }
  }

  function sendOnce(
    { request, kind }: Trail,
    hostname: string,
    origin: string,
    { lines, deadline }: Terms,
  ): Promise<ResponseMessage> {
    const transport = settings.transport ?? request.transport ?? defaultTransport;
    return breaker.guard(origin, async (connected) => {
      const upstream = toUpstream(request, origin, isTrusted, kind === "write");
      upstream.headers.push(...lines);
      // A connection that is kept needs none of this.
      let connecting: AbortController | undefined;
      let timer: unknown;
      const giveUp = (): void => connecting?.abort();
      const connect = {
        begin: () => {
          connecting = new AbortController();
          const left = Math.max(deadline - clock.now(), CONNECT_TIME);
          if (patience > 0) timer = clock.setTimeout(giveUp, left);
          return connecting.signal;
        },
        done: () => {
          clock.clearTimeout(timer);
          connected();
        },
      };
      const watch: Watch = { moved: giveUp, isAlive: () => isAlive(origin, transport) };
      try {
        return await lookout.await(hostname, watch, request.signal, (signal) =>
          exchange({ ...upstream, signal, connect }, transport),
        );
      } finally {
        clock.clearTimeout(timer);
      }
    });
  }

  /** Tells whether anything answers there, whatever it says. */
  async function isAlive(origin: string, transport: Transport): Promise<boolean> {
    const late = new AbortController();
    const timer = clock.setTimeout(() => late.abort(), PROBE_TIMEOUT);
    const host = origin.slice(origin.indexOf("//") + 2);
    try {
      const response = await transport({
        method: "GET",
        target: settings.healthPath,
        headers: ["Host", host],
        body: null,
        signal: late.signal,
        origin,
        upgrade: false,
      });
      await dispose(response);
      return true;
    } catch {
      return false;
    } finally {
      clock.clearTimeout(timer);
    }
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

/** Tells whether an answer is LiteFS's own word to Fly Proxy: 200, and nothing done. */
function isReplayOfOther({ status, headers }: ResponseMessage): boolean {
  return status < 300 && firstValue(headers, "fly-replay") !== undefined;
}

/** Returns what a client is told when the primary's proxy fails; undefined: that is not what has failed. */
function refusalOf(error: unknown): ResponseMessage | undefined {
  if (!(error instanceof TransportError)) return undefined;
  if (isUnsent(error)) return unreachable();
  if (error.failure === "timeout") return answer(504, "Proxy error: primary timed out");
  const isOfPrimary = error.failure === "reset" || error.failure === "malformed";
  return isOfPrimary ? answer(502, "Proxy error: primary unavailable") : undefined;
}
