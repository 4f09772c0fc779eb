/**
 * An HTTP/1.1 client over `node:net` (RFC 9112), the same on Node, Bun and Deno, that passes every byte on as it came.
 *
 * @module
 */
import { type Clock, systemClock } from "../../src/clock.ts";
import {
  type ResponseMessage,
  type Transport,
  TransportError,
  type UpstreamRequest,
} from "../../src/index.ts";
import { openSocket } from "./connect.ts";
import { DEFAULT_LIMITS, type Limits } from "./limits.ts";
import { createPool } from "./pool.ts";
import { createUpstreamConnection, type UpstreamConnection } from "./upstream-connection.ts";

/** How the client behaves. Durations are milliseconds, and 0 means no limit. */
export interface Http1ClientOptions {
  /**
   * How long a connection may take to come up.
   *
   * @default 10_000
   */
  readonly connectTimeout?: number | undefined;
  /**
   * How long the upstream may keep a request waiting: from the end of the request to the head of the answer, and before
   * that while it takes nothing of the body. The time of a slow client is not counted.
   *
   * @default 0
   */
  readonly headTimeout?: number | undefined;
  /**
   * How long a connection is kept for the next request; less than the few seconds after which servers close it.
   *
   * @default 4_000
   */
  readonly keepAliveTimeout?: number | undefined;
  /**
   * How long a connection takes further requests, however busy it is: a name may lead elsewhere by then, and only who
   * connects asks where.
   *
   * @default 60_000
   */
  readonly maxAge?: number | undefined;
  /**
   * How many idle connections are kept for each origin.
   *
   * @default 256
   */
  readonly maxIdle?: number | undefined;
  /** What a message may cost. */
  readonly limits?: Partial<Limits> | undefined;
  /**
   * What `headTimeout` is measured with, and how long a body waits for 100.
   *
   * @default The clock of the runtime.
   */
  readonly clock?: Clock | undefined;
  /**
   * Opens connections.
   *
   * @default `openSocket`
   */
  readonly open?: typeof openSocket | undefined;
}

/** A transport that keeps its connections. */
export interface Http1Client extends Transport {
  /** Closes the idle connections, and the others as soon as they are idle. */
  close(): void;
}

/**
 * Creates a client with a pool of connections of its own. A request is sent again only when a kept connection turned
 * out to be closed before a byte of the answer came, only once, and only when its method is safe, it has no body, and
 * nobody has said that it writes all the same.
 * Other idempotent methods are not repeated, as LiteFS does not: the upstream may have acted on the first `DELETE`, and
 * would answer the second as if nothing had been there.
 *
 * @param options How it behaves.
 */
export function createHttp1Client(options: Http1ClientOptions = {}): Http1Client {
  const {
    connectTimeout = 10_000,
    headTimeout = 0,
    clock = systemClock,
    open = openSocket,
  } = options;
  const limits: Limits = { ...DEFAULT_LIMITS, ...options.limits };
  const { keepAliveTimeout = 4000, maxAge = 60_000, maxIdle = 256 } = options;
  const pool = createPool(keepAliveTimeout, maxAge || Infinity, maxIdle);

  async function transport(request: UpstreamRequest): Promise<ResponseMessage> {
    if (request.signal.aborted) throw new TransportError("aborted", "Request aborted");
    const kept = pool.take(request.origin);
    if (kept === undefined) return sendOnNew(request);
    request.connect?.done();
    try {
      return await kept.send(request);
    } catch (error) {
      if (!isUnheard(error, kept) || !mayRepeat(request)) throw error;
      return sendOnNew(request);
    }
  }

  async function sendOnNew(request: UpstreamRequest): Promise<ResponseMessage> {
    const { origin, signal, connect } = request;
    const socket = await open(origin, signal, connectTimeout, connect?.begin());
    connect?.done();
    const connection = createUpstreamConnection(socket, {
      limits,
      headTimeout,
      clock,
      onIdle: () => pool.put(origin, connection),
      onClose: () => pool.remove(origin, connection),
    });
    return connection.send(request);
  }

  return Object.assign(transport, { close: () => pool.close() });
}

/** Tells whether a request failed because its connection was closed before a byte of an answer came. */
function isUnheard(error: unknown, connection: UpstreamConnection): boolean {
  return error instanceof TransportError && error.failure === "reset" && !connection.hasAnswered();
}

/** Methods that only read (RFC 9110 section 9.2.1). */
const SAFE: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "QUERY", "TRACE"]);

function mayRepeat(request: UpstreamRequest): boolean {
  const { method, body, upgrade, once = false } = request;
  return body === null && SAFE.has(method) && !upgrade && !once;
}
