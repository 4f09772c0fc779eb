import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { eventually, type Peer } from "../http1-wire.ts";
import { parse, values } from "./kit.ts";

const MIB = 1024 * 1024;

/** Takes what a connection brings away from its peer, for a case that brings more than text can hold. */
export function takeBytes(peer: Peer, onBytes: (bytes: Buffer) => void): void {
  peer.socket.removeAllListeners("data");
  peer.socket.on("data", onBytes);
}

/** Writes bytes until the socket takes no more, and so on, until `count` are out or the socket is gone. */
export async function pump(peer: Peer, count: number, stop: () => boolean): Promise<number> {
  const piece = Buffer.alloc(64 * 1024, "x");
  let sent = 0;
  while (sent < count && !stop() && !peer.socket.destroyed) {
    const bytes = count - sent < piece.length ? piece.subarray(0, count - sent) : piece;
    sent += bytes.length;
    if (!peer.socket.write(bytes)) {
      await eventually(
        () => !peer.socket.writableNeedDrain || stop() || peer.socket.destroyed,
        () => `for room after ${sent} bytes`,
        60_000,
      );
      // Who is late may find the other side gone: what has come by then is read first, for a failed write would drop it.
      await turn();
    }
  }
  return sent;
}

/** What a connection brings of a body that is too large to be kept. */
export interface Intake {
  bytes(): number;
  sum(): string;
  isWhole(): boolean;
}

/** Counts and sums the body of a message whose head has come. */
export function takeBody(peer: Peer): Intake {
  const { lines, rest } = parse(peer.text());
  const hash = createHash("sha1");
  const length = Number(values(lines, "content-length")[0] ?? Infinity);
  let bytes = 0;
  let isLast = false;
  const content = (piece: Uint8Array): void => {
    bytes += piece.length;
    hash.update(piece);
  };
  const chunked = values(lines, "transfer-encoding").length > 0;
  const take = chunked ? dechunk(content, () => (isLast = true)) : content;
  take(Buffer.from(rest, "latin1"));
  takeBytes(peer, take);
  return {
    bytes: () => bytes,
    sum: () => hash.digest("hex"),
    isWhole: () => (chunked ? isLast : bytes >= length || (length === Infinity && peer.isOver())),
  };
}

/** Takes chunks apart as they come. */
function dechunk(
  content: (piece: Uint8Array) => void,
  onLast: () => void,
): (bytes: Buffer) => void {
  let line = "";
  let left = 0;
  let isOver = false;
  return (bytes) => {
    for (let at = 0; at < bytes.length && !isOver;) {
      if (left > 0) {
        const piece = bytes.subarray(at, at + left);
        content(piece);
        left -= piece.length;
        at += piece.length;
        continue;
      }
      line += String.fromCharCode(bytes[at++] ?? 0);
      // The line end behind a chunk stands before the next size.
      if (!line.endsWith("\r\n") || line === "\r\n") continue;
      left = Number.parseInt(line.trim(), 16);
      assert.ok(left >= 0, `No chunk size: ${JSON.stringify(line)}`);
      isOver = left === 0;
      line = "";
      if (isOver) onLast();
    }
  };
}

/** Resolves once a socket takes more, or is gone. */
export function roomIn(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      socket.off("drain", done);
      socket.off("close", done);
      resolve();
    };
    socket.on("drain", done);
    socket.on("close", done);
  });
}

/** Returns what fails if one of the processes has taken more memory since than `limit`, in bytes; where the system tells. */
export function limitMemory(pids: readonly number[], limit: number): () => void {
  const peaks = pids.map((pid) => watchMemory(pid));
  return () => {
    for (const [index, peak] of peaks.entries()) {
      const memory = peak();
      const name = `Proxy ${index + 1} of ${pids.length}`;
      assert.ok(memory === undefined || memory < limit, `${name} took ${memory} bytes of memory`);
    }
  };
}

/** Returns what tells the most memory that a process has taken since, in bytes; undefined where the system does not tell. */
function watchMemory(pid: number): () => number | undefined {
  const directory = `/proc/${pid}`;
  if (!existsSync(`${directory}/status`)) return () => undefined;
  try {
    writeFileSync(`${directory}/clear_refs`, "5");
  } catch {
    // Then the peak since the start counts.
  }
  return () => {
    const status = readFileSync(`${directory}/status`, "latin1");
    return Number(/VmHWM:\s*(\d+) kB/.exec(status)?.[1]) * 1024;
  };
}

/** A body that no row of socket buffers holds. */
export const ENDLESS = 256 * MIB;

/** What the buffers of the four sockets around a proxy hold at most as Linux sizes them, and 8 MiB in the proxy and its runtime. */
const HELD = (4 * 6 + 8) * MIB;

/**
 * Has one end send although the other does not read, until it stops; then the other reads on.
 *
 * @param from Who sends.
 * @param to Who does not read.
 * @param before How many bytes of the body have come.
 * @param proxies How many proxies are in between.
 */
export async function pauseAndResume(
  from: Peer,
  to: Peer,
  before: number,
  proxies: number,
): Promise<void> {
  // Linux lets those between two proxies grow to more than both ends need.
  const held = proxies ** 2 * HELD;
  to.socket.pause();
  let isPaused = true;
  let sent = 0;
  let since = Date.now();
  const sending = (async () => {
    const piece = Buffer.alloc(65_536, "y");
    for (
      ;
      sent < ENDLESS && isPaused && !from.socket.destroyed;
      sent += piece.length, since = Date.now()
    )
      if (!from.socket.write(piece)) await roomIn(from.socket);
  })();
  await eventually(
    () => sent > held || Date.now() - since > 700,
    () => `for the sending to stop at ${sent} bytes`,
    20_000,
  );
  isPaused = false;
  assert.ok(sent <= held, `${sent} bytes were taken`);
  assert.ok(!to.isOver() && !from.isOver());
  const intake = takeBody(to);
  to.socket.resume();
  await sending;
  await eventually(
    () => intake.bytes() === sent + before,
    () => `for ${sent + before} bytes after ${intake.bytes()}`,
    20_000,
  );
}
