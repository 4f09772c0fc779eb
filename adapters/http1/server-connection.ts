import type { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import type { IncomingRequest, MaybePromise, ResponseMessage, Transport } from "../../src/index.ts";
import { dispose } from "../../src/target.ts";
import { type BodyDecoder, createBodyDecoder } from "./body.ts";
import { type Channel, createChannel } from "./channel.ts";
import { createDeparture, type Departure } from "./departure.ts";
import { createInbox, type Inbox } from "./inbox.ts";
import { type Limits, LINGER } from "./limits.ts";
import { parseRequestHead, ProtocolError, type RequestHead } from "./parse.ts";
import { frameResponse, informationalHead, plain } from "./response.ts";
import { createTunnel, joinTunnels } from "./tunnel.ts";
import { drained, letGo, writeBody, writeHead } from "./write.ts";

/** Answers requests. */
export type Http1Handler = (request: IncomingRequest) => MaybePromise<ResponseMessage>;

/** What the connections of a server share. */
export interface ServerContext {
  /** Answers the requests. */
  readonly handler: Http1Handler;
  /** What a message may cost. */
  readonly limits: Limits;
  /** What the requests name as the best way to an upstream. */
  readonly transport: Transport | undefined;
  /** How long a client may take for a head, in milliseconds; 0 means no limit, here and below. */
  readonly readHeaderTimeout: number;
  /** How long a client may take for a whole request, in milliseconds. */
  readonly readTimeout: number;
  /** How long a response may take from the end of the request's head, in milliseconds. */
  readonly writeTimeout: number;
  /** How long a connection may stay open between requests, in milliseconds. */
  readonly idleTimeout: number;
  /** Gets what a handler or a response's body throws. */
  readonly onError: (error: unknown) => void;
  /** Tells whether the server is closing, so that each connection ends with the answer it is giving. */
  isDraining(): boolean;
}

/** A client's connection, in the hands of its server. */
export interface ServerConnection {
  /** Returns when the time for what the connection is doing is up, on the clock of `performance.now()`. */
  deadline(): number;
  /** Acts on that time being up. */
  expire(): void;
  /** Closes the connection when it is idle; otherwise it closes after its response. */
  drain(): void;
  /** Breaks the connection. */
  destroy(): void;
}

/** What a connection is doing; each has its own time limit. */
type Phase =
  /** Nothing of the next request has come. */
  | "idle"
  /** A part of the next request's head has come. */
  | "head"
  /** A request is being answered, and its body has not all come. */
  | "request"
  /** A request that has all come is being answered. */
  | "response"
  /** The response is out, and what is left of a small body is taken and dropped. */
  | "rest"
  /** The last response is going out. */
  | "closing"
  /** The last response is out, and the client's end is awaited. */
  | "lingering"
  /** The connection has left HTTP. */
  | "tunnel";

/** The state of a connection. It serves one request at a time, in the order in which they come. */
interface Connection {
  readonly context: ServerContext;
  readonly socket: Socket;
  /** The client's address as the requests tell it. */
  readonly clientAddress: string | undefined;
  /** What has come of the next requests, or of a tunnel that is not joined yet. */
  readonly inbox: Inbox;
  phase: Phase;
  /** When the time of the phase began to run, on the clock of `performance.now()`. */
  since: number;
  /** The request that is being answered. */
  exchange: Exchange | undefined;
  /** Tells whoever makes an answer that nobody waits for it any more; undefined when the next request needs a new one. */
  departure: Departure | undefined;
  /** Finds the rest of the request's body; undefined once all of it has come. */
  decoder: BodyDecoder | undefined;
  /** Hands the request's body to whoever reads it. */
  channel: Channel | undefined;
  /** Whether nobody takes an answer any more: the client has left, or was refused. */
  gone: boolean;
  /** Whether the client has ended its side. */
  ended: boolean;
  /** Whether the answer's body goes on until the connection ends, as for HTTP/1.0 clients. */
  isBodyEnd: boolean;
  /** Whether reading rests because the client asks on and on while it is being answered. */
  held: boolean;
  /** Whether the one empty line that may stand before a request has been there. */
  skippedEmptyLine: boolean;
}

/** A request and its answer. */
interface Exchange {
  readonly head: RequestHead;
  /** The answer's body on its way out. */
  source: AsyncIterator<Uint8Array> | undefined;
  /** Whether the final answer has begun to go out. */
  answered: boolean;
  /** Whether the client has been asked for the body (RFC 9110 section 10.1.1). */
  continued: boolean;
}

/** How large a body may be whose rest is taken after its answer, in bytes, as by Go's server: a new connection costs more. */
const MAX_REST = 256 * 1024;

/**
 * Serves a connection.
 *
 * @param socket The connection; it must have been accepted with `allowHalfOpen`.
 * @param context What it shares with the others.
 */
export function serveConnection(socket: Socket, context: ServerContext): ServerConnection {
  const connection: Connection = {
    context,
    socket,
    clientAddress: socket.remoteAddress?.replace(/^::ffff:/i, ""),
    inbox: createInbox(context.limits),
    phase: "idle",
    since: performance.now(),
    exchange: undefined,
    departure: undefined,
    decoder: undefined,
    channel: undefined,
    gone: false,
    ended: false,
    isBodyEnd: false,
    held: false,
    skippedEmptyLine: false,
  };
  socket.on("data", (bytes: Buffer) => guarded(connection, () => receive(connection, bytes)));
  socket.on("end", () => endSide(connection));
  socket.on("error", () => leave(connection));
  socket.on("close", () => leave(connection));
  return {
    deadline: () => connection.since + (timeLimit(connection) || Infinity),
    expire: () => expire(connection),
    drain: () => {
      if (connection.phase === "idle") socket.destroy();
    },
    destroy: () => breakOff(connection),
  };
}

/** Returns how long what the connection is doing may take, in milliseconds; 0 means no limit. */
function timeLimit({ phase, context }: Connection): number {
  switch (phase) {
    case "idle":
      return context.idleTimeout;
    case "head":
      return context.readHeaderTimeout;
    case "request":
      return Math.min(context.readTimeout || Infinity, context.writeTimeout || Infinity);
    case "response":
    case "closing":
      return context.writeTimeout;
    case "rest":
    case "lingering":
      return LINGER;
    case "tunnel":
      return 0;
  }
}

function expire(connection: Connection): void {
  if (connection.phase === "head") refuse(connection, new ProtocolError(408, "Request timed out"));
  else breakOff(connection);
}

function enter(connection: Connection, phase: Phase): void {
  connection.phase = phase;
  connection.since = performance.now();
}

/** Refuses the client when what it has sent cannot be read. */
function guarded(connection: Connection, read: () => void): void {
  try {
    read();
  } catch (error) {
    refuse(connection, error);
  }
}

function receive(connection: Connection, bytes: Buffer): void {
  const { phase, inbox } = connection;
  // A tunnel reads for itself, and behind the last request there is nothing to read.
  if (phase === "tunnel" || phase === "closing" || phase === "lingering") return;
  const used = takeBody(connection, bytes);
  if (phase === "rest" && connection.decoder === undefined) becomeIdle(connection);
  if (used === bytes.length || connection.phase === "closing") return;
  inbox.add(used === 0 ? bytes : bytes.subarray(used));
  if (connection.phase === "idle" || connection.phase === "head") takeHead(connection);
  else if (inbox.size() > connection.context.limits.headBytes && !connection.held) {
    // The client sends one request after the other and does not read: the rest stays in its own hands.
    connection.held = true;
    connection.socket.pause();
  }
}

/** Takes what belongs to the body of the current request and returns how many bytes that are. */
function takeBody(connection: Connection, bytes: Buffer): number {
  const { decoder, channel } = connection;
  if (decoder === undefined) return 0;
  const used = decoder.decode(bytes, (piece) => channel?.push(piece));
  if (!decoder.isDone()) return used;
  connection.decoder = undefined;
  channel?.end();
  // The time of a response runs from the end of the request's head: the phase is new, its time is not.
  if (connection.phase === "request") connection.phase = "response";
  return used;
}

function takeHead(connection: Connection): void {
  const { inbox, context, socket } = connection;
  // What had come by the time it was closed is told nevertheless; a request that nobody will see answered is not run.
  if (socket.destroyed) return;
  // One empty line before a request is tolerated (RFC 9112 section 2.2).
  if (!connection.skippedEmptyLine) connection.skippedEmptyLine = inbox.skipEmptyLine();
  if (inbox.size() === 0) return;
  if (connection.phase === "idle") enter(connection, "head");
  const text = inbox.takeHead();
  if (text === undefined) return;
  connection.skippedEmptyLine = false;
  begin(connection, parseRequestHead(text, context.limits));
}

/** Has a request answered. */
function begin(connection: Connection, head: RequestHead): void {
  const { context, inbox, socket } = connection;
  const exchange: Exchange = {
    head,
    source: undefined,
    answered: false,
    continued: false,
  };
  connection.exchange = exchange;
  connection.channel = undefined;
  connection.departure ??= createDeparture();
  let decoder: BodyDecoder | undefined;
  // A small body as a rule comes with its head: then there is nothing to wait for, and it goes on with the head as well.
  const whole = head.framing.kind === "length" ? inbox.take(head.framing.length) : undefined;
  if (head.framing.kind !== "none" && whole === undefined) {
    decoder = createBodyDecoder(head.framing, context.limits);
    connection.decoder = decoder;
    connection.channel = createChannel(
      socket,
      () => proceed(connection, exchange),
      () => {},
    );
  }
  enter(connection, decoder === undefined ? "response" : "request");
  const body = whole ?? connection.channel?.body ?? null;
  if (decoder !== undefined && inbox.size() > 0) receive(connection, inbox.takeAll());
  void serve(connection, exchange, {
    method: head.method,
    target: head.target,
    headers: head.headers,
    body,
    trailers: decoder === undefined ? undefined : () => decoder.trailers(),
    signal: connection.departure.signal,
    inform: (status, headers, statusText = "") =>
      inform(connection, exchange, { status, statusText, headers, body: null }),
    scheme: "http",
    clientAddress: connection.clientAddress,
    canUpgrade: head.upgrade,
    transport: context.transport,
  });
}

async function serve(
  connection: Connection,
  exchange: Exchange,
  request: IncomingRequest,
): Promise<void> {
  const { context, socket } = connection;
  let response: ResponseMessage;
  try {
    const answer = context.handler(request);
    response = answer instanceof Promise ? await answer : answer;
  } catch (error) {
    if (!connection.gone) context.onError(error);
    response = plain(500, INTERNAL_ERROR);
  }
  if (connection.gone || socket.destroyed) {
    void dispose(response);
    return;
  }
  try {
    await respond(connection, exchange, response);
  } catch (error) {
    if (!exchange.answered) void dispose(response);
    if (connection.gone) return;
    context.onError(error);
    if (exchange.answered) breakOff(connection);
    else await respond(connection, exchange, plain(500, INTERNAL_ERROR));
  }
}

async function respond(
  connection: Connection,
  exchange: Exchange,
  response: ResponseMessage,
): Promise<void> {
  const { context, socket } = connection;
  if (response.status === 101) return switchProtocols(connection, exchange, response);
  const mustClose =
    !exchange.head.keepAlive ||
    (connection.decoder !== undefined && !mayOutlastAnswer(exchange)) ||
    context.isDraining();
  const framed = frameResponse(exchange.head, response, mustClose);
  const source = framed.stream?.[Symbol.asyncIterator]();
  exchange.answered = true;
  writeHead(socket, framed.head, framed.whole);
  if (source === undefined) {
    void dispose(response);
    // Who sends requests and does not read the answers gets no more of them.
    if (socket.writableNeedDrain) await drained(socket);
  } else {
    exchange.source = source;
    connection.isBodyEnd = !framed.framing.chunked && framed.framing.length === undefined;
    const whole = await writeBody({
      socket,
      source,
      framing: framed.framing,
      trailers: response.trailers,
      stopped: () => connection.gone,
      taken: () => drained(socket),
    });
    if (!whole) {
      breakOff(connection);
      return;
    }
  }
  finish(connection, framed.close);
}

/**
 * Breaks the connection off so that the client sees that something is missing of an answer that is under way: no last
 * chunk, no full length, no clean end.
 */
function breakOff({ socket, phase, isBodyEnd }: Connection): void {
  // Whoever is about to have all of it would lose it to a reset, and a socket that is ending takes none.
  const isOut = (phase === "closing" || phase === "lingering") && socket.writableLength === 0;
  if (isBodyEnd && !isOut) socket.resetAndDestroy();
  else socket.destroy();
}

/**
 * Tells whether the connection can go on although the request has not all come: its rest must not be taken for the next
 * request, and a client that was not asked for it may never send it.
 */
function mayOutlastAnswer({ head, continued }: Exchange): boolean {
  const { framing, expectsContinue } = head;
  return framing.kind === "length" && framing.length <= MAX_REST && (continued || !expectsContinue);
}

/** Joins the client's connection with the upstream's (RFC 9110 section 7.8). */
async function switchProtocols(
  connection: Connection,
  exchange: Exchange,
  response: ResponseMessage,
): Promise<void> {
  const { socket, inbox } = connection;
  const { tunnel } = response;
  if (tunnel === undefined || !exchange.head.upgrade)
    throw new TypeError("Cannot answer: 101 without a tunnel");
  const head = informationalHead(response);
  exchange.answered = true;
  connection.exchange = undefined;
  enter(connection, "tunnel");
  socket.write(head, "latin1");
  // An end that was clean on both sides has been passed on; what the upstream still has to send goes out.
  socket.on("close", (hadError) => {
    if (hadError || !socket.writableFinished) tunnel.destroy();
  });
  await joinTunnels(createTunnel(socket, inbox.takeAll()), tunnel);
}

/** Takes up the next request, or ends the connection. */
function finish(connection: Connection, close: boolean): void {
  const { exchange, departure } = connection;
  // What was streamed may still have listeners.
  const wasStreamed = exchange?.source !== undefined || connection.channel !== undefined;
  if (wasStreamed || departure?.renew() !== true) connection.departure = undefined;
  connection.exchange = undefined;
  if (connection.gone) return;
  if (close || connection.context.isDraining()) {
    linger(connection);
    return;
  }
  connection.channel?.fail(new Error(UNREAD));
  connection.channel = undefined;
  const isRestDue = connection.decoder !== undefined;
  if (isRestDue) enter(connection, "rest");
  else becomeIdle(connection);
  // Reading has paused for the body's reader, or because the client asks on and on.
  if (isRestDue || connection.held) connection.socket.resume();
  connection.held = false;
  if (connection.inbox.size() === 0) return;
  // The next request came with this one; a turn of the loop keeps a long row of them off the stack.
  queueMicrotask(() => {
    if (!connection.gone && connection.phase === "idle")
      guarded(connection, () => takeHead(connection));
  });
}

/** Waits for the next request; a server that closes wants none. */
function becomeIdle(connection: Connection): void {
  if (connection.context.isDraining()) linger(connection);
  else enter(connection, "idle");
}

/** Ends the connection so that the answer arrives: whoever still sends would otherwise lose it to a reset. */
function linger(connection: Connection): void {
  const { socket, inbox } = connection;
  connection.decoder = undefined;
  inbox.takeAll();
  connection.channel?.fail(new Error(UNREAD));
  connection.phase = "closing";
  socket.end(() => {
    if (connection.ended) socket.destroy();
    else enter(connection, "lingering");
  });
  socket.resume();
}

/** Asks for the body, once, and not in the middle of the answer (RFC 9110 section 10.1.1). */
function proceed(connection: Connection, exchange: Exchange): void {
  if (!exchange.head.expectsContinue || exchange.continued || exchange.answered) return;
  if (connection.gone || connection.exchange !== exchange || connection.decoder === undefined)
    return;
  exchange.continued = true;
  connection.socket.write("HTTP/1.1 100 Continue\r\n\r\n", "latin1");
}

/** Passes an informational response on. */
function inform(connection: Connection, exchange: Exchange, response: ResponseMessage): void {
  const { status } = response;
  if (status === 100) {
    proceed(connection, exchange);
    return;
  }
  if (exchange.head.minor === 0 || status === 101 || connection.exchange !== exchange) return;
  // Whoever does not read them has no use for them, and an upstream may send them without end.
  if (connection.gone || exchange.answered || connection.socket.writableNeedDrain) return;
  connection.socket.write(informationalHead(response), "latin1");
}

/** Tells a client that what it has sent cannot be read, and ends the connection. */
function refuse(connection: Connection, error: unknown): void {
  const { context, socket, exchange } = connection;
  const refusal = error instanceof ProtocolError ? error : undefined;
  if (refusal === undefined) context.onError(error);
  const midway = exchange?.answered === true;
  // A response that is under way finds the connection closed, and one that is still to come is not wanted.
  abandon(connection, new Error("Request body is malformed", { cause: error }));
  if (midway || refusal === undefined) {
    // Whatever was written now would be read as a part of the response.
    breakOff(connection);
    return;
  }
  const { head, whole } = frameResponse(REFUSED, plain(refusal.status, refusal.message), true);
  writeHead(socket, head, whole);
  linger(connection);
}

/** Whoever ends its side is taken for gone, as by LiteFS; a tunnel's ends close one by one. */
function endSide(connection: Connection): void {
  if (connection.phase === "tunnel") return;
  connection.ended = true;
  // The answer is complete and on its way: it arrives before the connection goes.
  if (connection.phase === "closing") return;
  leave(connection);
  connection.socket.destroy();
}

function leave(connection: Connection): void {
  if (!connection.gone) abandon(connection, new Error("Client is gone"));
}

/** Tells whoever reads the request or makes the answer that it is over. */
function abandon(connection: Connection, reason: Error): void {
  const { exchange, channel, departure } = connection;
  connection.gone = true;
  channel?.fail(reason);
  if (exchange !== undefined) departure?.tell();
  if (exchange?.source !== undefined) letGo(exchange.source);
}

/** What is answered when no head of a request could be read. */
const REFUSED: RequestHead = {
  method: "",
  target: "",
  headers: [],
  minor: 1,
  framing: { kind: "none" },
  keepAlive: false,
  upgrade: false,
  expectsContinue: false,
};

const UNREAD = "Request body was not read";
const INTERNAL_ERROR = "Internal server error";
