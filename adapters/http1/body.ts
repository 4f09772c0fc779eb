import { Buffer } from "node:buffer";
import type { HeaderLines } from "../../src/index.ts";
import type { Limits } from "./limits.ts";
import { type Framing, parseTrailers, ProtocolError } from "./parse.ts";

/** Finds the content in the bytes of a connection, whatever pieces they come in. */
export interface BodyDecoder {
  /**
   * Takes what has come and hands on what of it is content.
   *
   * @param bytes What has come.
   * @param data Gets what is there of the content, if anything; it may share memory with `bytes`.
   * @returns How many bytes belong to the body; fewer than there are only once the body has ended.
   * @throws {ProtocolError} When the framing is broken.
   */
  decode(bytes: Buffer, data: (piece: Buffer) => void): number;
  /** Returns whether the body has ended. */
  isDone(): boolean;
  /** Returns whether the connection may end now: the body has ended, or it ends with the connection. */
  mayEnd(): boolean;
  /** Returns the trailer section, once the body has ended. */
  trailers(): HeaderLines;
}

/**
 * Creates the decoder for one body.
 *
 * @param framing How its end is found.
 * @param limits The limits.
 */
export function createBodyDecoder(framing: Framing, limits: Limits): BodyDecoder {
  if (framing.kind === "chunked") return createChunkedDecoder(limits);
  const endless = framing.kind === "close";
  let left = framing.kind === "length" ? framing.length : 0;
  return {
    decode: (bytes, data) => {
      const taken = endless ? bytes.length : Math.min(left, bytes.length);
      if (taken > 0) data(taken === bytes.length ? bytes : bytes.subarray(0, taken));
      left -= taken;
      return taken;
    },
    isDone: () => !endless && left <= 0,
    mayEnd: () => endless || left <= 0,
    trailers: () => [],
  };
}

const EMPTY: Buffer = Buffer.alloc(0);

/** So many digits fit a double without loss (RFC 9112 section 7.1 asks for care with large ones). */
const MAX_SIZE_DIGITS = 13;

/** Decodes chunks (RFC 9112 section 7.1): lines end with CRLF and nothing else, and sizes are hexadecimal digits. */
function createChunkedDecoder(limits: Limits): BodyDecoder {
  let state: "size" | "data" | "data-end" | "trailers" | "done" = "size";
  let left = 0;
  // The line that is not all there yet; then the trailer section as far as it has come.
  let held: Buffer = EMPTY;
  let section = "";
  let trailers: HeaderLines = [];

  /** Returns the line that ends in `bytes` at or after `from`, joined with what was held, or undefined. */
  function takeLine(bytes: Buffer, from: number): { line: string; end: number } | undefined {
    const lf = bytes.indexOf(10, from);
    const piece = bytes.subarray(from, lf === -1 ? bytes.length : lf + 1);
    if (held.length + piece.length > limits.trailerBytes)
      throw new ProtocolError(400, "Chunk line too long");
    held = held.length === 0 && lf !== -1 ? piece : Buffer.concat([held, piece]);
    if (lf === -1) return undefined;
    if (held.length < 2 || held[held.length - 2] !== 13) throw new ProtocolError(400, "Bare LF");
    const line = held.toString("latin1", 0, held.length - 2);
    held = EMPTY;
    return { line, end: lf + 1 };
  }

  function decode(bytes: Buffer, data: (piece: Buffer) => void): number {
    const pieces: Buffer[] = [];
    try {
      return split(bytes, pieces);
    } finally {
      // What came at once goes on at once: chunks of a byte each would else cost their reader a turn and a write each.
      if (pieces.length > 0)
        data(pieces.length === 1 && pieces[0] !== undefined ? pieces[0] : Buffer.concat(pieces));
    }
  }

  function split(bytes: Buffer, pieces: Buffer[]): number {
    let at = 0;
    while (at < bytes.length && state !== "done") {
      if (state === "data") {
        const taken = Math.min(left, bytes.length - at);
        pieces.push(bytes.subarray(at, at + taken));
        at += taken;
        left -= taken;
        if (left === 0) state = "data-end";
        continue;
      }
      // A size that is too small shows at once; the sender may have nothing more to say.
      if (state === "data-end" && bytes[at] !== (held.length === 0 ? 13 : 10))
        throw new ProtocolError(400, "Malformed chunk");
      const taken = takeLine(bytes, at);
      if (taken === undefined) return bytes.length;
      at = taken.end;
      if (state === "data-end") {
        if (taken.line !== "") throw new ProtocolError(400, "Malformed chunk");
        state = "size";
      } else if (state === "size") {
        left = chunkSize(taken.line);
        state = left === 0 ? "trailers" : "data";
      } else if (taken.line === "") {
        trailers = parseTrailers(section, limits);
        state = "done";
      } else {
        section += section === "" ? taken.line : `\r\n${taken.line}`;
        if (section.length > limits.trailerBytes)
          throw new ProtocolError(400, "Trailers too large");
      }
    }
    return at;
  }

  return {
    decode,
    isDone: () => state === "done",
    mayEnd: () => state === "done",
    trailers: () => trailers,
  };
}

/** A chunk-size line: hexadecimal digits, and extensions that are skipped if they are printable. */
const SIZE_LINE = new RegExp(
  `^([0-9a-fA-F]{1,${MAX_SIZE_DIGITS}})(?:[ \\t]*;[\\t\\x20-\\x7e\\x80-\\xff]*)?$`,
);

function chunkSize(line: string): number {
  const digits = SIZE_LINE.exec(line)?.[1];
  if (digits === undefined) throw new ProtocolError(400, "Malformed chunk size");
  return Number.parseInt(digits, 16);
}
