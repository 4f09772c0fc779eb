import type { Socket } from "node:net";
import { afterReading } from "./after-reading.ts";

/** Tells whether writing to a socket has failed. */
export interface LastWords {
  /** Returns whether a write has failed, even if the socket has not been told yet. */
  isBroken(): boolean;
}

/**
 * Lets what a peer has sent be read before a failed write breaks the connection. Whoever answers an upload early and
 * closes resets the connection; the answer is here then, but the next write fails, and a stream that fails drops what it
 * has not read.
 *
 * @param socket The connection; from now on its writes fail only once there is nothing left to read.
 */
export function hearLastWords(socket: Socket): LastWords {
  let broken = false;
  /** Stands in for what the stream would hear of a write. */
  function told(callback: (error?: Error | null) => void): (error?: Error | null) => void {
    return (error) => {
      if (error === undefined || error === null) {
        callback();
        return;
      }
      broken = true;
      whenSilent(socket, () => callback(error));
    };
  }
  // The hooks by which a stream writes (https://nodejs.org/api/stream.html#implementing-a-writable-stream).
  const write = socket._write.bind(socket);
  const writeMany = socket._writev?.bind(socket);
  socket._write = (bytes, encoding, callback) => write(bytes, encoding, told(callback));
  if (writeMany !== undefined) socket._writev = (all, callback) => writeMany(all, told(callback));
  return { isBroken: () => broken };
}

/** How long nothing must come until all that was there counts as read, in milliseconds; Deno reads turns later. */
const SILENCE = 10;

/** Calls back once nothing has come for a while; a socket that is paused is not silent. */
function whenSilent(socket: Socket, done: () => void): void {
  let read = socket.bytesRead;
  function look(): void {
    if (socket.destroyed) return;
    if (socket.isPaused()) {
      socket.once("resume", () => later(look));
      return;
    }
    if (socket.bytesRead === read) {
      done();
      return;
    }
    read = socket.bytesRead;
    later(look);
  }
  later(look);
}

/** Calls back after a while in which the sockets have been read. */
function later(look: () => void): void {
  setTimeout(() => afterReading(look), SILENCE);
}
