import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import {
  type Clock,
  type ResponseMessage,
  TransportError,
  type TransportFailure,
  type UpstreamRequest,
} from "../../src/index.ts";
import { afterReading } from "./after-reading.ts";
import { type BodyDecoder, createBodyDecoder } from "./body.ts";
import { type Channel, createChannel } from "./channel.ts";
import { listen, unlisten } from "./departure.ts";
import { createInbox, type Inbox } from "./inbox.ts";
import { hearLastWords, type LastWords } from "./last-words.ts";
import type { Limits } from "./limits.ts";
import { parseResponseHead, ProtocolError, type ResponseHead } from "./parse.ts";
import { expectsContinue, type FramedRequest, frameRequest } from "./request.ts";
import { createTunnel } from "./tunnel.ts";
import { drained, letGo, writeBody, writeHead } from "./write.ts";

/** How a connection behaves, and who hears of it. */
export interface UpstreamContext {
  /** What a message may cost. */
  readonly limits: Limits;
  /**
   * How long the upstream may take for the head of its answer while it has the whole request, or takes nothing of it, in
   * milliseconds; 0 means no limit.
   */
  readonly headTimeout: number;
  /** What that is measured with, and how long a body waits for 100. */
  readonly clock: Clock;
  /** Called when the connection can take another request. */
  onIdle(): void;
  /** Called when it is closed. */
  onClose(): void;
}

/** A connection to an upstream, which carries one request at a time. */
export interface UpstreamConnection {
  /** When it was opened, on the clock of `performance.now()`. */
  readonly openedAt: number;
  /**
   * Sends a request and resolves with its answer once the head is there.
   *
   * @throws {TransportError} When there is no answer.
   */
  send(request: UpstreamRequest): Promise<ResponseMessage>;
  /** Closes the connection. */
  destroy(): void;
  /** Tells whether it can take a request; its end is known a moment before `onClose` is called. */
  isOpen(): boolean;
  /** Tells whether a byte has come in answer to the last request. */
  hasAnswered(): boolean;
}

/** The state of a connection. What a request needs is its exchange. */
interface Connection {
  readonly socket: Socket;
  readonly context: UpstreamContext;
  /** What has come and is not read yet. */
  readonly inbox: Inbox;
  /** The request that is under way; undefined between requests. */
  exchange: Exchange | undefined;
  /** Whether a byte has come in answer to the last request. */
  answered: boolean;
  /** Whether the upstream has ended its side. */
  ended: boolean;
  /** Whether the connection has left HTTP. */
  tunnelled: boolean;
  /** What knows of failed writes, once a request with a body has gone out. */
  lastWords: LastWords | undefined;
}

/** One request and its answer. */
interface Exchange {
  readonly request: UpstreamRequest;
  /** Breaks the exchange off when the request's signal aborts. */
  readonly abort: () => void;
  /** Hands on the answer. */
  readonly resolve: (response: ResponseMessage) => void;
  /** Hands on that there is none. */
  readonly reject: (error: TransportError) => void;
  /** The request's body on its way out, if it is a stream. */
  source: AsyncIterator<Uint8Array> | undefined;
  /** Whether the whole request has gone out. */
  sent: boolean;
  /** Tells a body that waits for 100 whether it is wanted. */
  permit: ((wanted: boolean) => void) | undefined;
  /** Runs while the upstream owes the head of its answer; undefined: it does not run. */
  timer: unknown;
  /** The head of the answer, once it is there. */
  head: ResponseHead | undefined;
  /** Finds the rest of the answer's body. */
  decoder: BodyDecoder | undefined;
  /** Hands the answer's body to whoever reads it. */
  channel: Channel | undefined;
}

/** How long a body waits for 100 before it goes out unasked (RFC 9110 section 10.1.1), in milliseconds. */
const CONTINUE_TIMEOUT = 1000;

/**
 * Makes a connection to an upstream of a socket.
 *
 * @param socket The socket, connected; opened with `allowHalfOpen`.
 * @param context How it behaves, and who hears of it.
 */
export function createUpstreamConnection(
  socket: Socket,
  context: UpstreamContext,
): UpstreamConnection {
  const connection: Connection = {
    socket,
    context,
    inbox: createInbox(context.limits),
    exchange: undefined,
    answered: false,
    ended: false,
    tunnelled: false,
    lastWords: undefined,
  };
  socket.on("data", (bytes: Buffer) => {
    if (connection.tunnelled) return;
    try {
      receive(connection, bytes);
    } catch (error) {
      const message = error instanceof ProtocolError ? error.message : "Malformed answer";
      fail(connection, "malformed", message, error);
    }
  });
  socket.on("end", () => endSide(connection));
  socket.on("error", (error) => fail(connection, "reset", "Connection broke", error));
  socket.on("close", () => {
    // A connection that was reset ends no body, whatever the runtime tells before.
    fail(connection, "reset", "Connection closed");
    context.onClose();
  });
  return {
    openedAt: performance.now(),
    send: (request) => exchangeWith(connection, request),
    destroy: () => socket.destroy(),
    isOpen: () => isUsable(connection),
    hasAnswered: () => connection.answered,
  };
}

/** Begins an exchange. */
function exchangeWith(connection: Connection, request: UpstreamRequest): Promise<ResponseMessage> {
  return new Promise((resolve, reject) => {
    const exchange: Exchange = {
      request,
      abort: () => fail(connection, "aborted", "Request aborted"),
      resolve,
      reject,
      source: undefined,
      sent: false,
      permit: undefined,
      timer: undefined,
      head: undefined,
      decoder: undefined,
      channel: undefined,
    };
    connection.exchange = exchange;
    connection.answered = false;
    if (request.signal.aborted) {
      exchange.abort();
      return;
    }
    listen(request.signal, exchange.abort);
    try {
      sendRequest(connection, exchange);
    } catch (error) {
      failRequest(connection, exchange, error);
    }
  });
}

function failRequest(connection: Connection, exchange: Exchange, error: unknown): void {
  if (connection.exchange === exchange) fail(connection, "request", "Request body failed", error);
}

function sendRequest(connection: Connection, exchange: Exchange): void {
  const { socket } = connection;
  const { request } = exchange;
  const framed = frameRequest(request);
  if (request.body !== null) connection.lastWords ??= hearLastWords(socket);
  writeHead(socket, framed.head, framed.whole);
  if (framed.stream === undefined && !socket.writableNeedDrain) endRequest(connection, exchange);
  else
    void sendRest(connection, exchange, framed).catch((error: unknown) =>
      failRequest(connection, exchange, error),
    );
}

/** Sends what does not go out with the head. */
async function sendRest(
  connection: Connection,
  exchange: Exchange,
  framed: FramedRequest,
): Promise<void> {
  if (framed.whole !== undefined) await taken(connection, exchange);
  if (framed.stream !== undefined) {
    if (expectsContinue(exchange.request.headers) && !(await permission(connection, exchange)))
      return;
    if (!(await sendBody(connection, exchange, framed, framed.stream))) return;
  }
  endRequest(connection, exchange);
}

function endRequest(connection: Connection, exchange: Exchange): void {
  exchange.sent = true;
  startTimer(connection, exchange);
}

/** Sends the body and returns whether all of it was wanted. */
async function sendBody(
  connection: Connection,
  exchange: Exchange,
  { framing }: FramedRequest,
  stream: AsyncIterable<Uint8Array>,
): Promise<boolean> {
  const stopped = (): boolean => connection.exchange !== exchange;
  exchange.source = stream[Symbol.asyncIterator]();
  const whole = await writeBody({
    socket: connection.socket,
    source: exchange.source,
    framing,
    trailers: exchange.request.trailers,
    stopped,
    taken: () => taken(connection, exchange),
  });
  if (whole) return true;
  // A connection that has broken says so by itself, in a later turn.
  if (!stopped() && !connection.socket.destroyed)
    throw new TypeError("Cannot send request: the body misses its length");
  return false;
}

/** Waits for 100, for the final answer, or for a second (RFC 9110 section 10.1.1). */
function permission({ context }: Connection, exchange: Exchange): Promise<boolean> {
  const { clock } = context;
  return new Promise((resolve) => {
    const wait = clock.setTimeout(() => resolve(true), CONTINUE_TIMEOUT);
    exchange.permit = (wanted) => {
      clock.clearTimeout(wait);
      resolve(wanted);
    };
  });
}

/** Waits until the upstream has taken what was sent; for so long the time for its answer runs. */
async function taken(connection: Connection, exchange: Exchange): Promise<void> {
  if (!connection.socket.writableNeedDrain) return;
  startTimer(connection, exchange);
  await drained(connection.socket);
  stopTimer(connection, exchange);
}

function startTimer(connection: Connection, exchange: Exchange): void {
  const { headTimeout, clock } = connection.context;
  if (headTimeout === 0 || connection.exchange !== exchange || exchange.head !== undefined) return;
  // The answer may have come and be yet to be read; once it is, this timer is not the exchange's any more.
  function late(): void {
    if (exchange.timer === timer) fail(connection, "timeout", "No answer in time");
  }
  const timer = clock.setTimeout(() => afterReading(late), headTimeout);
  exchange.timer = timer;
}

function stopTimer({ context }: Connection, exchange: Exchange): void {
  context.clock.clearTimeout(exchange.timer);
  exchange.timer = undefined;
}

function receive(connection: Connection, bytes: Buffer): void {
  const { inbox, exchange } = connection;
  if (exchange === undefined) {
    // Nobody has asked for anything: whatever this is, the next request must not take it for its answer.
    connection.socket.destroy();
    return;
  }
  connection.answered = true;
  if (exchange.decoder !== undefined) {
    takeBody(connection, exchange, exchange.decoder, bytes);
    return;
  }
  inbox.add(bytes);
  while (connection.exchange === exchange && exchange.head === undefined) {
    const text = inbox.takeHead();
    if (text === undefined) return;
    const head = parseResponseHead(text, exchange.request.method, connection.context.limits);
    if (head.status === 101) takeTunnel(connection, exchange, head);
    else if (head.status < 200) takeInformation(exchange, head);
    else takeHead(connection, exchange, head);
  }
}

function takeInformation(exchange: Exchange, head: ResponseHead): void {
  const { status, statusText, headers } = head;
  if (status === 100) exchange.permit?.(true);
  exchange.request.inform?.(status, headers, statusText);
}

/** Takes a final head, and hands it on with what has come of its body. */
function takeHead(connection: Connection, exchange: Exchange, head: ResponseHead): void {
  const { inbox, context } = connection;
  const { status, statusText, headers, framing } = head;
  exchange.head = head;
  stopTimer(connection, exchange);
  exchange.permit?.(false);
  const rest = inbox.takeAll();
  if (framing.kind === "none") {
    finish(connection, exchange, rest.length === 0);
    exchange.resolve({ status, statusText, headers, body: null });
    return;
  }
  const decoder = createBodyDecoder(framing, context.limits);
  const pieces: Buffer[] = [];
  const used = rest.length > 0 ? decoder.decode(rest, (piece) => pieces.push(piece)) : 0;
  const trailers = framing.kind === "chunked" ? () => decoder.trailers() : undefined;
  if (decoder.isDone()) {
    finish(connection, exchange, used === rest.length);
    const [only] = pieces;
    const body = pieces.length === 1 && only !== undefined ? only : Buffer.concat(pieces);
    exchange.resolve({ status, statusText, headers, body, trailers });
    return;
  }
  const channel = createChannel(
    connection.socket,
    () => {},
    () => fail(connection, "aborted", "Reader left"),
  );
  exchange.decoder = decoder;
  exchange.channel = channel;
  for (const piece of pieces) channel.push(piece);
  exchange.resolve({ status, statusText, headers, body: channel.body, trailers });
}

function takeTunnel(connection: Connection, exchange: Exchange, head: ResponseHead): void {
  const { socket, inbox } = connection;
  if (!exchange.request.upgrade) throw new ProtocolError(502, "Unasked upgrade");
  release(connection, exchange);
  connection.tunnelled = true;
  const { status, statusText, headers } = head;
  const tunnel = createTunnel(socket, inbox.takeAll());
  exchange.resolve({ status, statusText, headers, body: null, tunnel });
}

function takeBody(
  connection: Connection,
  exchange: Exchange,
  decoder: BodyDecoder,
  bytes: Buffer,
): void {
  const used = decoder.decode(bytes, (piece) => exchange.channel?.push(piece));
  if (!decoder.isDone()) return;
  finish(connection, exchange, used === bytes.length);
  exchange.channel?.end();
}

/** Ends an exchange: the connection is free again, or closed when anything speaks against another request on it. */
function finish(connection: Connection, exchange: Exchange, clean: boolean): void {
  const { socket, context } = connection;
  release(connection, exchange);
  const mayGoOn = clean && exchange.sent && exchange.head?.keepAlive === true;
  if (mayGoOn && isUsable(connection)) context.onIdle();
  else socket.destroy();
  // The answer is whole, and whoever gave it reads no more.
  if (!exchange.sent && exchange.source !== undefined) letGo(exchange.source);
}

/** Tells whether a connection can carry a request: what has become of it is known before it is told. */
function isUsable({ socket, ended, lastWords }: Connection): boolean {
  return !socket.destroyed && !ended && lastWords?.isBroken() !== true;
}

function endSide(connection: Connection): void {
  const { exchange, socket } = connection;
  connection.ended = true;
  if (connection.tunnelled) return;
  if (exchange === undefined) {
    socket.destroy();
    return;
  }
  // The end that follows a reset is no end.
  if (exchange.decoder?.mayEnd() !== true || connection.lastWords?.isBroken() === true) {
    fail(connection, "reset", "Connection ended early");
    return;
  }
  finish(connection, exchange, false);
  exchange.channel?.end();
}

/** Breaks off what is under way, and the connection with it. */
function fail(
  connection: Connection,
  failure: TransportFailure,
  message: string,
  cause?: unknown,
): void {
  if (connection.tunnelled) return;
  const { exchange, socket } = connection;
  socket.destroy();
  if (exchange === undefined) return;
  release(connection, exchange);
  exchange.permit?.(false);
  if (exchange.source !== undefined) letGo(exchange.source);
  const error = new TransportError(failure, message, { cause });
  if (exchange.channel !== undefined) exchange.channel.fail(error);
  else exchange.reject(error);
}

/** Parts an exchange from its connection: whatever comes now is not for it. */
function release(connection: Connection, exchange: Exchange): void {
  connection.exchange = undefined;
  stopTimer(connection, exchange);
  unlisten(exchange.request.signal, exchange.abort);
}
