/**
 * An HTTP/1.1 server over `node:net` (RFC 9112), the same on Node, Bun and Deno. It hands on what came and writes what
 * it is given, byte for byte, and refuses what could be read in two ways.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { type AddressInfo, createServer, type Socket } from "node:net";
import type {
  HeaderLines,
  IncomingRequest,
  MaybePromise,
  ResponseMessage,
  Transport,
} from "../../src/index.ts";
import { type BodyDecoder, createBodyDecoder } from "./body.ts";
import { type Channel, createChannel } from "./channel.ts";
import { DEFAULT_LIMITS, type Limits, PROBE_DELAY } from "./limits.ts";
import {
  createJoiner,
  headEnd,
  parseRequestHead,
  ProtocolError,
  type RequestHead,
} from "./parse.ts";
import { createTunnel, joinTunnels } from "./tunnel.ts";
import {
  declaredLength,
  drained,
  inChunks,
  letGo,
  spellHead,
  writeBody,
  writeHead,
} from "./write.ts";

/** Answers requests. */
export type Http1Handler = (request: IncomingRequest) => MaybePromise<ResponseMessage>;

/** How the server behaves. Durations are milliseconds, and 0 means no limit. */
export interface Http1ServerOptions {
  /** What the requests name as the best way to an upstream. */
  readonly transport?: Transport | undefined;
  /**
   * How long a client may take for a head.
   *
   * @default 10_000
   */
  readonly readHeaderTimeout?: number | undefined;
  /**
   * How long a client may take for a whole request.
   *
   * @default 0
   */
  readonly readTimeout?: number | undefined;
  /**
   * How long a response may take from the end of the request's head.
   *
   * @default 0
   */
  readonly writeTimeout?: number | undefined;
  /**
   * How long a connection may stay open between requests.
   *
   * @default 30_000
   */
  readonly idleTimeout?: number | undefined;
  /** What a message may cost. */
  readonly limits?: Partial<Limits> | undefined;
  /** Gets what a handler or a response's body throws. */
  readonly onError?: ((error: unknown) => void) | undefined;
}

/** A server. */
export interface Http1Server {
  /** Begins to listen; rejects when it cannot. */
  listen(where: {
    readonly port: number;
    readonly hostname?: string | undefined;
  }): Promise<{ port: number; hostname: string }>;
  /** Stops listening, closes idle connections, lets the others finish and cuts them off after `timeout`. */
  close(how?: { readonly timeout?: number | undefined }): Promise<void>;
}

/** What a connection is doing; each has its own time limit. */
type Phase = "idle" | "head" | "request" | "response" | "closing" | "lingering" | "tunnel";

interface Connection {
  /** When the time of what the connection is doing is up, on the clock of `performance.now()`. */
  deadline(): number;
  /** Called when that time is up. */
  expire(): void;
  /** Closes the connection when it is idle, else after its response. */
  drain(): void;
  destroy(): void;
}

interface ServerContext {
  readonly handler: Http1Handler;
  readonly limits: Limits;
  readonly transport: Transport | undefined;
  readonly timeouts: Readonly<Record<Phase, number>>;
  readonly readTimeout: number;
  readonly writeTimeout: number;
  readonly onError: (error: unknown) => void;
}

/** How long a connection waits for the client's end once its own is out, in milliseconds (RFC 9112 section 9.6). */
const LINGER = 2000;

/**
 * Creates a server.
 *
 * @param handler Answers requests; what it throws is answered with 500.
 * @param options How the server behaves.
 */
export function createHttp1Server(
  handler: Http1Handler,
  options: Http1ServerOptions = {},
): Http1Server {
  const {
    readTimeout = 0,
    writeTimeout = 0,
    readHeaderTimeout = 10_000,
    idleTimeout = 30_000,
  } = options;
  const context: ServerContext = {
    handler,
    limits: { ...DEFAULT_LIMITS, ...options.limits },
    transport: options.transport,
    timeouts: {
      idle: idleTimeout,
      head: readHeaderTimeout,
      request: 0,
      response: 0,
      closing: 0,
      lingering: LINGER,
      tunnel: 0,
    },
    readTimeout,
    writeTimeout,
    onError: options.onError ?? (() => {}),
  };
  const connections = new Set<Connection>();
  let draining = false;
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.setNoDelay(true);
    socket.setKeepAlive(true, PROBE_DELAY);
    const connection = createConnection(socket, context, () => draining);
    connections.add(connection);
    socket.on("close", () => connections.delete(connection));
  });
  const shortest = Math.min(
    ...[readHeaderTimeout, idleTimeout, readTimeout, writeTimeout].map((limit) => limit || 4000),
  );
  const interval = Math.max(10, Math.min(1000, shortest / 4));
  let sweeper: ReturnType<typeof setInterval> | undefined;

  /** One coarse timer serves all connections. */
  function sweep(): void {
    const now = performance.now();
    for (const connection of connections) if (connection.deadline() <= now) connection.expire();
  }

  return {
    listen: ({ port, hostname }) =>
      new Promise((resolve, reject) => {
        server.once("error", reject);
        server.listen(
          { port, ...(hostname === undefined ? {} : { host: hostname }), backlog: 1024 },
          () => {
            server.off("error", reject);
            server.on("error", context.onError);
            sweeper = setInterval(sweep, interval);
            sweeper.unref();
            // A server that listens on a port has an address of this form.
            const address = server.address() as AddressInfo;
            resolve({ port: address.port, hostname: address.address });
          },
        );
      }),
    close: ({ timeout = 0 } = {}) =>
      new Promise((resolve) => {
        draining = true;
        for (const connection of connections) connection.drain();
        const cut = setTimeout(() => {
          for (const connection of connections) connection.destroy();
        }, timeout);
        server.close(() => {
          clearTimeout(cut);
          clearInterval(sweeper);
          resolve();
        });
      }),
  };
}

/** Serves one connection: one request at a time, in the order in which they come. */
function createConnection(
  socket: Socket,
  context: ServerContext,
  isDraining: () => boolean,
): Connection {
  const { limits, timeouts } = context;
  const clientAddress = socket.remoteAddress?.replace(/^::ffff:/i, "");
  let phase: Phase = "idle";
  let since = performance.now();
  let pending: Buffer = EMPTY;
  let seen = 0;
  let decoder: BodyDecoder | undefined;
  let channel: Channel | undefined;
  const join = createJoiner();
  let abort: (() => void) | undefined;
  let source: AsyncIterator<Uint8Array> | undefined;
  let answered = false;
  let gone = false;
  let ended = false;
  let skippedEmptyLine = false;
  let held = false;

  socket.on("error", () => leave());
  socket.on("close", () => leave());
  socket.on("end", () => {
    // Whoever ends its side is taken for gone, as by LiteFS; a tunnel's ends close one by one.
    if (phase === "tunnel") return;
    ended = true;
    // The answer is complete and on its way: it arrives before the connection goes.
    if (phase === "closing") return;
    leave();
    socket.destroy();
  });
  socket.on("data", (bytes: Buffer) => {
    if (phase === "tunnel" || phase === "closing" || phase === "lingering") return;
    try {
      receive(bytes);
    } catch (error) {
      refuse(error);
    }
  });

  function enter(next: Phase): void {
    phase = next;
    since = performance.now();
  }

  function receive(bytes: Buffer): void {
    if (decoder !== undefined) {
      const used = takeBody(decoder, bytes);
      if (used === bytes.length) return;
      pending = bytes.subarray(used);
    } else pending = join(pending, bytes);
    if (phase === "idle" || phase === "head") takeHead();
    else if (pending.length > limits.headBytes && !held) {
      // The client sends one request after the other and does not read: the rest stays in its own hands.
      held = true;
      socket.pause();
    }
  }

  function takeBody(current: BodyDecoder, bytes: Buffer): number {
    const used = current.decode(bytes, (piece) => channel?.push(piece));
    if (!current.isDone()) return used;
    decoder = undefined;
    channel?.end();
    if (phase === "request") phase = "response";
    return used;
  }

  function takeHead(): void {
    // One empty line before a request is tolerated (RFC 9112 section 2.2).
    if (!skippedEmptyLine && pending[0] === 13 && pending[1] === 10) {
      skippedEmptyLine = true;
      pending = pending.subarray(2);
      seen = 0;
    }
    if (pending.length === 0) return;
    if (phase === "idle") enter("head");
    const end = headEnd(pending, seen, limits);
    if (end === -1) {
      seen = pending.length;
      return;
    }
    const head = parseRequestHead(pending.toString("latin1", 0, end - 4), limits);
    const rest = pending.subarray(end);
    pending = EMPTY;
    seen = 0;
    skippedEmptyLine = false;
    begin(head, rest);
  }

  function begin(head: RequestHead, rest: Buffer): void {
    channel = undefined;
    source = undefined;
    answered = false;
    // Made for every request: a getter in its place would give every message a shape of its own, which costs more.
    const controller = new AbortController();
    const own = (): void => controller.abort();
    abort = own;
    let continued = false;
    /** Asks for the body, once, and not in the middle of the answer (RFC 9110 section 10.1.1). */
    const proceed = (): void => {
      if (!head.expectsContinue || continued || answered || gone || abort !== own) return;
      if (decoder === undefined) return;
      continued = true;
      socket.write("HTTP/1.1 100 Continue\r\n\r\n", "latin1");
    };
    if (head.framing.kind !== "none") {
      decoder = createBodyDecoder(head.framing, limits);
      channel = createChannel(socket, proceed, () => {});
    }
    const trailing = decoder;
    const body = channel?.body ?? null;
    enter(decoder === undefined ? "response" : "request");
    if (rest.length > 0) receive(rest);
    const message: IncomingRequest = {
      method: head.method,
      target: head.target,
      headers: head.headers,
      body,
      trailers: trailing === undefined ? undefined : () => trailing.trailers(),
      signal: controller.signal,
      inform: (status, headers) => {
        if (status === 100) proceed();
        else if (head.minor === 1 && status !== 101 && abort === own) inform(status, headers);
      },
      scheme: "http",
      clientAddress,
      canUpgrade: head.upgrade,
      transport: context.transport,
    };
    void serve(head, message);
  }

  async function serve(head: RequestHead, message: IncomingRequest): Promise<void> {
    let response: ResponseMessage;
    try {
      const answered = context.handler(message);
      response = answered instanceof Promise ? await answered : answered;
    } catch (error) {
      if (!gone) context.onError(error);
      response = plain(500, INTERNAL_ERROR);
    }
    if (gone || socket.destroyed) {
      dispose(response);
      return;
    }
    try {
      await respond(head, response);
    } catch (error) {
      if (gone) return;
      context.onError(error);
      if (answered) socket.destroy();
      else {
        dispose(response);
        await respond(head, plain(500, INTERNAL_ERROR));
      }
    }
  }

  async function respond(head: RequestHead, response: ResponseMessage): Promise<void> {
    const { status, body, tunnel } = response;
    if (status === 101) {
      if (tunnel === undefined || !head.upgrade)
        throw new TypeError("Cannot answer: 101 without a tunnel");
      const text = spellHead(statusLine(response), response.headers, "");
      answered = true;
      abort = undefined;
      enter("tunnel");
      socket.write(text, "latin1");
      // An end that was clean on both sides has been passed on; what the upstream still has to send goes out.
      socket.on("close", (hadError) => {
        if (hadError || !socket.writableFinished) tunnel.destroy();
      });
      const own = createTunnel(socket, pending);
      pending = EMPTY;
      await joinTunnels(own, tunnel);
      return;
    }
    const bodiless = head.method === "HEAD" || status === 204 || status === 304 || status < 200;
    const stream = bodiless || body === null || body instanceof Uint8Array ? undefined : body;
    const known = body instanceof Uint8Array ? body : undefined;
    const declared = declaredLength(response.headers);
    // What came in chunks goes out in chunks, whether or not all of it was at hand at once.
    const isChunks =
      stream !== undefined || (known !== undefined && response.trailers !== undefined);
    const chunked = !bodiless && isChunks && declared === undefined && head.minor === 1;
    const untilClose = stream !== undefined && declared === undefined && head.minor === 0;
    // A request that has not all come cannot be told from the next one: its connection ends with the answer.
    const close = !head.keepAlive || untilClose || decoder !== undefined || isDraining();

    let framing = "";
    if (chunked) framing += "Transfer-Encoding: chunked\r\n";
    else if (!bodiless && !untilClose && declared === undefined)
      framing += `Content-Length: ${known?.length ?? 0}\r\n`;
    if (!hasDate(response.headers)) framing += `Date: ${dateNow()}\r\n`;
    if (close) framing += "Connection: close\r\n";
    else if (head.minor === 0) framing += "Connection: keep-alive\r\n";
    const text = spellHead(statusLine(response), response.headers, framing);
    if (stream === undefined) {
      if (!bodiless && declared !== undefined && declared !== (known?.length ?? 0)) {
        throw new TypeError("Cannot answer: the body misses its length");
      }
      answered = true;
      const whole = chunked && known !== undefined ? inChunks(known, response.trailers) : known;
      writeHead(socket, text, bodiless ? undefined : whole);
      if (bodiless) dispose(response);
      // Who sends requests and does not read the answers gets no more of them.
      if (socket.writableNeedDrain) await drained(socket);
      finish(close);
      return;
    }
    source = stream[Symbol.asyncIterator]();
    answered = true;
    writeHead(socket, text, undefined);
    const whole = await writeBody(
      socket,
      source,
      { length: declared, chunked },
      response.trailers,
      () => gone,
    );
    // The client must see that something is missing: no last chunk, no full length, no clean end.
    if (whole) finish(close);
    else socket.destroy();
  }

  function finish(close: boolean): void {
    abort = undefined;
    source = undefined;
    if (gone) return;
    if (close || isDraining()) {
      linger();
      return;
    }
    channel = undefined;
    enter("idle");
    if (held) {
      held = false;
      socket.resume();
    }
    // The next request may have come with this one; a turn of the loop keeps a long row of them off the stack.
    if (pending.length > 0) queueMicrotask(next);
  }

  function next(): void {
    if (gone || phase !== "idle") return;
    try {
      takeHead();
    } catch (error) {
      refuse(error);
    }
  }

  /** Ends the connection so that the answer arrives: whoever still sends would otherwise lose it to a reset. */
  function linger(): void {
    decoder = undefined;
    pending = EMPTY;
    channel?.fail(new Error("Request body was not read"));
    phase = "closing";
    socket.end(() => {
      if (ended) socket.destroy();
      else enter("lingering");
    });
    socket.resume();
  }

  function refuse(error: unknown): void {
    const protocol = error instanceof ProtocolError ? error : undefined;
    if (protocol === undefined) context.onError(error);
    const midway = answered && (phase === "request" || phase === "response");
    // A response that is under way finds the connection closed, and one that is still to come is not wanted.
    gone = true;
    channel?.fail(new Error("Request body is malformed", { cause: error }));
    abort?.();
    if (source !== undefined) letGo(source);
    if (midway || protocol === undefined) {
      // Whatever was written now would be read as a part of the response.
      socket.destroy();
      return;
    }
    const text = Buffer.from(`${protocol.message}\n`, "latin1");
    const { status, statusText, headers } = plain(protocol.status, text);
    writeHead(
      socket,
      spellHead(
        `HTTP/1.1 ${status} ${statusText}`,
        headers,
        `Date: ${dateNow()}\r\nConnection: close\r\n`,
      ),
      text,
    );
    linger();
  }

  function inform(status: number, headers: HeaderLines): void {
    // Whoever does not read them has no use for them, and an upstream may send them without end.
    if (gone || answered || socket.writableNeedDrain) return;
    socket.write(spellHead(`HTTP/1.1 ${status} `, headers, ""), "latin1");
  }

  function leave(): void {
    if (gone) return;
    gone = true;
    channel?.fail(new Error("Client is gone"));
    abort?.();
    if (source !== undefined) letGo(source);
  }

  return {
    deadline: () => {
      const limit = timeouts[phase];
      if (limit > 0) return since + limit;
      if (phase === "idle" || phase === "head" || phase === "tunnel") return Infinity;
      const read = phase === "request" ? context.readTimeout : 0;
      return since + Math.min(read || Infinity, context.writeTimeout || Infinity);
    },
    expire: () => {
      if (phase === "head") refuse(new ProtocolError(408, "Request timed out"));
      else socket.destroy();
    },
    drain: () => {
      if (phase === "idle") socket.destroy();
    },
    destroy: () => socket.destroy(),
  };
}

/** Lets go of a response that nobody reads any more, so that its source stops. */
function dispose(response: ResponseMessage): void {
  response.tunnel?.destroy();
  if (response.body === null || response.body instanceof Uint8Array) return;
  try {
    letGo(response.body[Symbol.asyncIterator]());
  } catch {
    // A stream that somebody else reads is somebody else's to end.
  }
}

function statusLine(response: ResponseMessage): string {
  return `HTTP/1.1 ${response.status} ${response.statusText}`;
}

function plain(status: number, body: Uint8Array): ResponseMessage {
  const headers = [
    "Content-Type",
    "text/plain; charset=utf-8",
    "Content-Length",
    String(body.length),
  ];
  return { status, statusText: "", headers, body };
}

function hasDate(headers: HeaderLines): boolean {
  for (let index = 0; index < headers.length; index += 2) {
    if (headers[index]?.length === 4 && headers[index]?.toLowerCase() === "date") return true;
  }
  return false;
}

let dateSecond = 0;
let dateText = "";

/** The time as `Date` says it (RFC 9110 section 5.6.7), spelled once a second. */
function dateNow(): string {
  const now = Date.now();
  if (now - dateSecond < 1000) return dateText;
  dateSecond = now - (now % 1000);
  dateText = new Date(now).toUTCString();
  return dateText;
}

const EMPTY: Buffer = Buffer.alloc(0);

const INTERNAL_ERROR: Buffer = Buffer.from("Internal server error\n", "latin1");
