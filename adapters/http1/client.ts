/**
 * An HTTP/1.1 client over `node:net` (RFC 9112), the same on Node, Bun and Deno, that passes every byte on as it came.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import {
  type HeaderLines,
  type ResponseMessage,
  type Transport,
  TransportError,
  type TransportFailure,
  type UpstreamRequest,
} from "../../src/index.ts";
import { type BodyDecoder, createBodyDecoder } from "./body.ts";
import { type Channel, createChannel } from "./channel.ts";
import { DEFAULT_LIMITS, type Limits, PROBE_DELAY } from "./limits.ts";
import {
  createJoiner,
  headEnd,
  isTarget,
  isToken,
  parseResponseHead,
  ProtocolError,
  type ResponseHead,
} from "./parse.ts";
import { createTunnel } from "./tunnel.ts";
import { declaredLength, letGo, spellHead, writeBody, writeHead } from "./write.ts";

/** How the client behaves. Durations are milliseconds, and 0 means no limit. */
export interface Http1ClientOptions {
  /**
   * How long a connection may take to come up.
   *
   * @default 10_000
   */
  readonly connectTimeout?: number | undefined;
  /**
   * How long the upstream may take from the end of the request to the head of its answer.
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
   * How many idle connections are kept for each origin.
   *
   * @default 256
   */
  readonly maxIdle?: number | undefined;
  /** What a message may cost. */
  readonly limits?: Partial<Limits> | undefined;
}

/** A transport that keeps its connections. */
export interface Http1Client extends Transport {
  /** Closes the idle connections, and the others as soon as they are idle. */
  close(): void;
}

/** One request on a connection. */
interface Exchange {
  readonly request: UpstreamRequest;
  /** Whether the whole request has gone out. */
  sent: boolean;
  /** Whether a byte of the answer has come. */
  answered: boolean;
  /** Tells a request that waits for 100 whether its body is wanted. */
  proceed: ((wanted: boolean) => void) | undefined;
  /** The body on its way out, if it is a stream. */
  source: AsyncIterator<Uint8Array> | undefined;
  settle(result: ResponseMessage): void;
  fail(failure: TransportFailure, message: string, cause?: unknown): void;
}

/** A connection to an upstream. */
interface Connection {
  /** Sends a request and resolves with the answer. */
  send(request: UpstreamRequest): Promise<ResponseMessage>;
  /** Closes the connection. */
  destroy(): void;
  /** Tells whether it can take a request; its end is known a moment before the pool hears of it. */
  isOpen(): boolean;
  /** Whether an earlier request has used it. */
  reused: boolean;
  idleSince: number;
}

/** How long a body waits for 100 before it goes out unasked (RFC 9110 section 10.1.1), in milliseconds. */
const CONTINUE_TIMEOUT = 1000;

/**
 * Creates a client with a pool of connections of its own. A request is sent again only when an idle connection turned
 * out to be closed before a byte of the answer came, and only when its method is safe and it has no body, so that no
 * write ever runs twice.
 *
 * @param options How it behaves.
 */
export function createHttp1Client(options: Http1ClientOptions = {}): Http1Client {
  const {
    connectTimeout = 10_000,
    headTimeout = 0,
    keepAliveTimeout = 4000,
    maxIdle = 256,
  } = options;
  const limits: Limits = { ...DEFAULT_LIMITS, ...options.limits };
  const pools = new Map<string, Connection[]>();
  let closed = false;
  let sweeper: ReturnType<typeof setInterval> | undefined;

  async function transport(request: UpstreamRequest): Promise<ResponseMessage> {
    if (request.signal.aborted) throw new TransportError("aborted", "Request aborted");
    const idle = takeIdle(request.origin);
    if (idle === undefined) return sendOnNew(request);
    try {
      return await idle.send(request);
    } catch (error) {
      if (!(error instanceof StaleConnection)) throw error;
      return sendOnNew(request);
    }
  }

  async function sendOnNew(request: UpstreamRequest): Promise<ResponseMessage> {
    const socket = await open(request.origin, request.signal, connectTimeout);
    return createConnection(socket, {
      limits,
      headTimeout,
      release: (one) => release(request.origin, one),
    }).send(request);
  }

  function takeIdle(origin: string): Connection | undefined {
    const pool = pools.get(origin);
    const oldest = performance.now() - keepAliveTimeout;
    for (let one = pool?.pop(); one !== undefined; one = pool?.pop()) {
      if (one.idleSince >= oldest && one.isOpen()) return one;
      one.destroy();
    }
    return undefined;
  }

  function release(origin: string, connection: Connection): { forget(): void } {
    let pool = pools.get(origin);
    if (pool === undefined) pools.set(origin, (pool = []));
    if (closed || pool.length >= maxIdle) {
      connection.destroy();
      return { forget: () => {} };
    }
    connection.idleSince = performance.now();
    pool.push(connection);
    sweeper ??= unreferenced(setInterval(sweep, 1000));
    const own = pool;
    return {
      forget: () => {
        const at = own.indexOf(connection);
        if (at !== -1) own.splice(at, 1);
      },
    };
  }

  /** Closes what has been idle for too long; one coarse timer serves all connections. */
  function sweep(): void {
    const oldest = performance.now() - keepAliveTimeout;
    let left = 0;
    for (const pool of pools.values()) {
      while (pool[0] !== undefined && pool[0].idleSince < oldest) pool.shift()?.destroy();
      left += pool.length;
    }
    if (left > 0) return;
    clearInterval(sweeper);
    sweeper = undefined;
  }

  return Object.assign(transport, {
    close: () => {
      closed = true;
      clearInterval(sweeper);
      for (const pool of pools.values())
        for (const connection of pool.splice(0)) connection.destroy();
    },
  });
}

/** An idle connection was closed before it answered anything, and the request may be sent again. */
class StaleConnection extends Error {}

/** Methods that only read (RFC 9110 section 9.2.1); a second DELETE would be answered as if nothing had been there. */
const SAFE: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE"]);

function mayRepeat(request: UpstreamRequest): boolean {
  return request.body === null && SAFE.has(request.method) && !request.upgrade;
}

/** Keeps a timer from keeping the process alive; Deno's and Bun's have the method as Node's do. */
function unreferenced(timer: ReturnType<typeof setInterval>): ReturnType<typeof setInterval> {
  timer.unref();
  return timer;
}

/** Connects to an origin. */
function open(origin: string, signal: AbortSignal, timeout: number): Promise<Socket> {
  const url = new URL(origin);
  const host = url.hostname.startsWith("[") ? url.hostname.slice(1, -1) : url.hostname;
  const isTls = url.protocol === "https:";
  const port = Number(url.port) || (isTls ? 443 : 80);
  return new Promise((resolve, reject) => {
    const socket = isTls
      ? connectTls({
          host,
          port,
          // RFC 6066 section 3: an address is no server name.
          ...(isIP(host) === 0 ? { servername: host } : {}),
          ALPNProtocols: ["http/1.1"],
        })
      : connectTcp({ host, port, allowHalfOpen: true });
    // An error that comes while nobody else listens must not end the process.
    socket.on("error", () => {});
    const timer =
      timeout > 0
        ? setTimeout(() => give(new TransportError("unreachable", "Connect timed out")), timeout)
        : undefined;
    const abort = (): void => give(new TransportError("aborted", "Request aborted"));
    const fail = (error: Error): void =>
      give(new TransportError(connectFailure(error), "Connect failed", { cause: error }));
    function leave(): void {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
      socket.off("error", fail);
    }
    function give(error: TransportError): void {
      leave();
      socket.destroy();
      reject(error);
    }
    signal.addEventListener("abort", abort);
    socket.on("error", fail);
    socket.once(isTls ? "secureConnect" : "connect", () => {
      leave();
      socket.setNoDelay(true);
      socket.setKeepAlive(true, PROBE_DELAY);
      resolve(socket);
    });
  });
}

function connectFailure(error: Error): TransportFailure {
  const errors: unknown[] = error instanceof AggregateError ? error.errors : [error];
  const codes = errors.map((one) => (one instanceof Error && "code" in one ? one.code : undefined));
  return codes.includes("ECONNREFUSED") ? "refused" : "unreachable";
}

interface ConnectionOptions {
  readonly limits: Limits;
  readonly headTimeout: number;
  /** Gives the connection back; `forget` takes it away again when it closes. */
  release(connection: Connection): { forget(): void };
}

/** Makes a connection of a socket. All its state is here; what a request needs is its exchange. */
function createConnection(socket: Socket, options: ConnectionOptions): Connection {
  const { limits, headTimeout } = options;
  let exchange: Exchange | undefined;
  const join = createJoiner();
  let pending: Buffer = EMPTY;
  let seen = 0;
  let head: ResponseHead | undefined;
  let decoder: BodyDecoder | undefined;
  let channel: Channel | undefined;
  let idle: { forget(): void } | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let tunnelled = false;
  let peerEnded = false;

  const connection: Connection = {
    send,
    destroy: () => socket.destroy(),
    isOpen: () => !socket.destroyed && !peerEnded,
    reused: false,
    idleSince: 0,
  };

  socket.on("data", (bytes: Buffer) => {
    if (tunnelled) return;
    try {
      receive(bytes);
    } catch (error) {
      fail("malformed", error instanceof ProtocolError ? error.message : "Malformed answer", error);
    }
  });
  socket.on("error", (error) => fail("reset", "Connection broke", error));
  socket.on("end", () => ended());
  socket.on("close", () => {
    // A connection that was reset ends no body, whatever the runtime tells before.
    fail("reset", "Connection closed");
    idle?.forget();
  });

  function receive(bytes: Buffer): void {
    if (exchange === undefined) {
      // Nobody has asked for anything: whatever this is, the next request must not take it for its answer.
      socket.destroy();
      return;
    }
    exchange.answered = true;
    if (decoder !== undefined) {
      takeBody(bytes);
      return;
    }
    pending = join(pending, bytes);
    while (exchange !== undefined && decoder === undefined && pending.length > 0) {
      const end = headEnd(pending, seen, limits);
      if (end === -1) {
        seen = pending.length;
        return;
      }
      const text = pending.toString("latin1", 0, end - 4);
      pending = pending.subarray(end);
      seen = 0;
      takeHead(exchange, parseResponseHead(text, exchange.request.method, limits));
    }
  }

  function takeHead(current: Exchange, parsed: ResponseHead): void {
    if (parsed.status === 101) {
      takeTunnel(current, parsed);
      return;
    }
    if (parsed.status < 200) {
      if (parsed.status === 100) current.proceed?.(true);
      current.request.inform?.(parsed.status, parsed.headers);
      return;
    }
    clearTimeout(timer);
    head = parsed;
    current.proceed?.(false);
    decoder = createBodyDecoder(parsed.framing, limits);
    const rest = pending;
    pending = EMPTY;
    const { status, statusText, headers, framing } = parsed;
    if (framing.kind === "none") {
      const trailing = rest.length > 0;
      finish(!trailing);
      current.settle({ status, statusText, headers, body: null });
      return;
    }
    const pieces: Buffer[] = [];
    const used = rest.length > 0 ? decoder.decode(rest, (piece) => pieces.push(piece)) : 0;
    if (decoder.isDone()) {
      const done = decoder;
      finish(used === rest.length);
      const body =
        pieces.length === 1 && pieces[0] !== undefined ? pieces[0] : Buffer.concat(pieces);
      current.settle({
        status,
        statusText,
        headers,
        body,
        trailers: framing.kind === "chunked" ? () => done.trailers() : undefined,
      });
      return;
    }
    const reading = decoder;
    channel = createChannel(
      socket,
      () => {},
      () => fail("aborted", "Reader left"),
    );
    for (const piece of pieces) channel.push(piece);
    current.settle({
      status,
      statusText,
      headers,
      body: channel.body,
      trailers: () => reading.trailers(),
    });
  }

  function takeTunnel(current: Exchange, parsed: ResponseHead): void {
    if (!current.request.upgrade) throw new ProtocolError(502, "Unasked upgrade");
    clearTimeout(timer);
    current.request.signal.removeEventListener("abort", abort);
    tunnelled = true;
    exchange = undefined;
    const { status, statusText, headers } = parsed;
    current.settle({
      status,
      statusText,
      headers,
      body: null,
      tunnel: createTunnel(socket, pending),
    });
  }

  function takeBody(bytes: Buffer): void {
    const used = decoder?.decode(bytes, (piece) => channel?.push(piece)) ?? 0;
    if (decoder?.isDone() !== true) return;
    const done = channel;
    finish(used === bytes.length);
    done?.end();
  }

  /** Ends the exchange: the connection is free again, or closed when anything speaks against another request on it. */
  function finish(clean: boolean): void {
    const reusable =
      clean && head?.keepAlive === true && exchange?.sent === true && !socket.destroyed;
    exchange?.request.signal.removeEventListener("abort", abort);
    const source = exchange?.sent === false ? exchange.source : undefined;
    exchange = undefined;
    head = undefined;
    decoder = undefined;
    channel = undefined;
    pending = EMPTY;
    if (reusable) {
      connection.reused = true;
      idle = options.release(connection);
    } else socket.destroy();
    // The answer is whole, and whoever gave it reads no more.
    if (source !== undefined) letGo(source);
  }

  function ended(): void {
    peerEnded = true;
    if (tunnelled) return;
    if (exchange === undefined) {
      socket.destroy();
      return;
    }
    if (decoder?.mayEnd() === true) {
      const done = channel;
      finish(false);
      done?.end();
      return;
    }
    fail("reset", "Connection ended early");
  }

  function fail(failure: TransportFailure, message: string, cause?: unknown): void {
    if (tunnelled) return;
    const current = exchange;
    clearTimeout(timer);
    exchange = undefined;
    socket.destroy();
    if (current === undefined) return;
    current.request.signal.removeEventListener("abort", abort);
    current.proceed?.(false);
    if (current.source !== undefined) letGo(current.source);
    if (channel !== undefined) channel.fail(new TransportError(failure, message, { cause }));
    else current.fail(failure, message, cause);
  }

  function abort(): void {
    fail("aborted", "Request aborted");
  }

  function send(request: UpstreamRequest): Promise<ResponseMessage> {
    idle = undefined;
    return new Promise((resolve, reject) => {
      exchange = {
        request,
        sent: false,
        answered: false,
        proceed: undefined,
        source: undefined,
        settle: resolve,
        fail: (failure, message, cause) => {
          const stale =
            connection.reused &&
            failure === "reset" &&
            exchanged?.answered === false &&
            mayRepeat(request);
          reject(stale ? new StaleConnection() : new TransportError(failure, message, { cause }));
        },
      };
      const exchanged: Exchange | undefined = exchange;
      if (request.signal.aborted) {
        abort();
        return;
      }
      request.signal.addEventListener("abort", abort);
      void sendRequest(exchange).catch((error: unknown) => {
        if (exchange === exchanged) fail("request", "Request body failed", error);
      });
    });
  }

  async function sendRequest(current: Exchange): Promise<void> {
    const { request } = current;
    const { body } = request;
    if (!isToken(request.method) || !isTarget(request.target))
      throw new TypeError("Cannot send request: malformed method or target");
    const startLine = `${request.method} ${request.target} HTTP/1.1`;
    const declared = declaredLength(request.headers);
    if (body === null || body instanceof Uint8Array) {
      const framing =
        declared === undefined && (body !== null || announcesEmpty(request.method))
          ? `Content-Length: ${body?.length ?? 0}\r\n`
          : "";
      if (declared !== undefined && declared !== (body?.length ?? 0))
        throw new TypeError("Cannot send request: the body misses its length");
      writeHead(socket, spellHead(startLine, request.headers, framing), body ?? undefined);
      sent(current);
      return;
    }
    const chunked = declared === undefined;
    writeHead(
      socket,
      spellHead(startLine, request.headers, chunked ? "Transfer-Encoding: chunked\r\n" : ""),
      undefined,
    );
    if (expectsContinue(request.headers) && !(await permission(current))) return;
    const stopped = (): boolean => exchange !== current;
    current.source = body[Symbol.asyncIterator]();
    const whole = await writeBody(
      socket,
      current.source,
      { length: declared, chunked },
      request.trailers,
      stopped,
    );
    if (whole) sent(current);
    else if (!stopped()) throw new TypeError("Cannot send request: the body misses its length");
  }

  function sent(current: Exchange): void {
    current.sent = true;
    if (headTimeout > 0 && exchange === current && head === undefined) {
      timer = setTimeout(() => fail("timeout", "No answer in time"), headTimeout);
    }
  }

  /** Waits for 100, for the final answer, or for a second (RFC 9110 section 10.1.1). */
  function permission(current: Exchange): Promise<boolean> {
    return new Promise((resolve) => {
      const wait = setTimeout(() => resolve(true), CONTINUE_TIMEOUT);
      current.proceed = (wanted) => {
        clearTimeout(wait);
        resolve(wanted);
      };
    });
  }

  return connection;
}

function expectsContinue(headers: HeaderLines): boolean {
  for (let index = 0; index < headers.length; index += 2) {
    if (headers[index]?.length === 6 && headers[index]?.toLowerCase() === "expect") return true;
  }
  return false;
}

/** Methods whose requests are expected to have content say so when they have none (RFC 9110 section 8.6). */
function announcesEmpty(method: string): boolean {
  return method === "POST" || method === "PUT" || method === "PATCH";
}

const EMPTY: Buffer = Buffer.alloc(0);
