import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import type { HeaderLines } from "../../src/index.ts";
import { GIVE_BACK, type PieceSource } from "./channel.ts";
import { isFieldValue, isToken } from "./parse.ts";

/** Bodies up to this size go out in one write with their head, in bytes. */
const JOINED = 64 * 1024;

/** Chunks up to this size go out in one piece, in bytes; to copy larger ones costs more than to write three pieces. */
const COPIED = 8 * 1024;

/**
 * Spells a head.
 *
 * @param startLine The request line or status line.
 * @param headers The header section.
 * @param framing Lines that the engine adds; each ends with CRLF.
 * @throws {TypeError} When a line could be read as another line.
 */
export function spellHead(startLine: string, headers: HeaderLines, framing: string): string {
  if (!isFieldValue(startLine)) throw new TypeError("Cannot write head: malformed start line");
  let head = `${startLine}\r\n`;
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index] ?? "";
    const value = headers[index + 1] ?? "";
    if (!isToken(name) || !isFieldValue(value))
      throw new TypeError(`Cannot write head: field "${name}" is malformed`);
    head += `${name}: ${value}\r\n`;
  }
  return `${head}${framing}\r\n`;
}

/**
 * Returns the length that a header section declares, if any.
 *
 * @param headers The header section of a message that is to go out.
 * @throws {TypeError} When the section frames the message in a way that could be read as another.
 */
export function declaredLength(headers: HeaderLines): number | undefined {
  let declared: number | undefined;
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index] ?? "";
    if (name.length === 14 && name.toLowerCase() === "content-length") {
      const value = headers[index + 1] ?? "";
      if (declared !== undefined || !/^\d{1,15}$/.test(value))
        throw new TypeError("Cannot write head: malformed length");
      declared = Number(value);
    } else if (name.length === 17 && name.toLowerCase() === "transfer-encoding")
      throw new TypeError("Cannot write head: the transfer coding is not the message's");
  }
  return declared;
}

/**
 * Writes a head, in one piece with what is there of the body.
 *
 * @param socket Where to.
 * @param head The head in latin-1.
 * @param body The whole body, or nothing.
 */
export function writeHead(socket: Socket, head: string, body: Uint8Array | undefined): void {
  if (body === undefined || body.length === 0) {
    socket.write(head, "latin1");
    return;
  }
  if (body.length > JOINED) {
    socket.write(head, "latin1");
    socket.write(body);
    return;
  }
  const bytes = Buffer.allocUnsafe(head.length + body.length);
  bytes.write(head, 0, "latin1");
  bytes.set(body, head.length);
  socket.write(bytes);
}

/**
 * Spells a whole body as one chunk and the end of chunks.
 *
 * @param body The body.
 * @param trailers Returns the trailer section.
 */
export function inChunks(body: Uint8Array, trailers: (() => HeaderLines) | undefined): Uint8Array {
  const start = body.length === 0 ? "" : `${body.length.toString(16)}\r\n`;
  const end = `${body.length === 0 ? "" : "\r\n"}${spellHead("0", trailers?.() ?? [], "")}`;
  return Buffer.concat([Buffer.from(start, "latin1"), body, Buffer.from(end, "latin1")]);
}

/** Resolves when the socket takes more, or at once when it is closed. */
export function drained(socket: Socket): Promise<void> {
  if (socket.destroyed || !socket.writableNeedDrain) return Promise.resolve();
  return new Promise((resolve) => {
    const end = (): void => {
      socket.off("drain", end);
      socket.off("close", end);
      resolve();
    };
    socket.on("drain", end);
    socket.on("close", end);
  });
}

/** How a body goes out. */
export interface BodyFraming {
  /** How many bytes it must have; undefined: it is chunked, or it ends with the connection. */
  readonly length: number | undefined;
  /** Whether it goes out in chunks. */
  readonly chunked: boolean;
}

/** A body that is to go out. */
export interface BodyWriting {
  /** Where to. */
  readonly socket: Socket;
  /** The pieces. */
  readonly source: PieceSource;
  /** How it goes out. */
  readonly framing: BodyFraming;
  /** Returns the trailer section once the pieces have ended. */
  readonly trailers: (() => HeaderLines) | undefined;
  /** Tells whether nobody wants the rest. */
  stopped(): boolean;
  /** Resolves when the socket takes more. */
  taken(): Promise<void>;
}

/**
 * Writes a body piece by piece, as fast as the socket takes it. It waits for the source alone: whoever finds that nobody
 * wants the rest lets go of the source.
 *
 * @param writing What, where to, and how.
 * @returns Whether the body went out whole: false when it was stopped, the socket closed, or the length was missed.
 * @throws {TypeError} When a piece is no bytes, and what the source throws.
 */
export async function writeBody(writing: BodyWriting): Promise<boolean> {
  const { socket, source, framing } = writing;
  const isOver = (): boolean => writing.stopped() || socket.destroyed;
  let sent = 0;
  for (;;) {
    // Nobody may want it by now, and a source that was let go of is not to be asked again.
    const next = isOver() ? undefined : await source.next();
    if (next === undefined || isOver()) {
      letGo(source);
      return false;
    }
    if (next.done === true) break;
    const piece = next.value;
    // Streams of others come through here, and a text has a length that is not its bytes'.
    if (!(piece instanceof Uint8Array)) {
      letGo(source);
      throw new TypeError(`Cannot write body: a piece is no Uint8Array but ${typeof piece}`);
    }
    if (piece.length === 0) continue;
    sent += piece.length;
    if (framing.length !== undefined && sent > framing.length) {
      letGo(source);
      return false;
    }
    const done = source[GIVE_BACK] === undefined ? undefined : () => source[GIVE_BACK]?.(piece);
    if (framing.chunked) writeChunk(socket, piece, done);
    else socket.write(piece, done);
    await writing.taken();
  }
  if (framing.chunked) socket.write(spellHead("0", writing.trailers?.() ?? [], ""), "latin1");
  return framing.length === undefined || sent === framing.length;
}

function writeChunk(socket: Socket, piece: Uint8Array, done: (() => void) | undefined): void {
  const size = `${piece.length.toString(16)}\r\n`;
  if (piece.length > COPIED) {
    socket.cork();
    socket.write(size, "latin1");
    socket.write(piece, done);
    socket.write("\r\n", "latin1");
    socket.uncork();
    return;
  }
  const bytes = Buffer.allocUnsafe(size.length + piece.length + 2);
  bytes.write(size, 0, "latin1");
  bytes.set(piece, size.length);
  bytes.write("\r\n", size.length + piece.length, "latin1");
  socket.write(bytes);
  done?.();
}

/**
 * Tells a source that nobody wants the rest. It is not waited for: a generator in the middle of a wait comes back from
 * `return()` only after that wait.
 */
export function letGo(source: AsyncIterator<Uint8Array>): void {
  void stop(source);
}

async function stop(source: AsyncIterator<Uint8Array>): Promise<void> {
  try {
    await source.return?.();
  } catch {
    // Nobody is left to whom it would matter.
  }
}
