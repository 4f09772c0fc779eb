import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import { Duplex } from "node:stream";

/** A connection without a system behind it: a test says what the system does, and when the socket is told. */
export interface FakeSocket {
  readonly socket: Socket;
  /** Returns what the peer has taken so far, as latin-1 text. */
  text(): string;
  /** Lets the peer take what is being written; returns whether anything was. */
  take(): boolean;
  /** Has the peer send something. */
  say(text: string): void;
  /** Has the peer end its side. */
  end(): void;
  /** Breaks the connection: it is destroyed at once, and whoever listens hears of it when they are told. */
  break(error?: Error): void;
  /** Has what is being written fail; returns whether anything was. */
  refuse(): boolean;
  /** Tells whoever listens that the connection is destroyed. */
  tell(): void;
  /** Returns how this end has closed: its side in order, or by a reset. */
  closed(): "open" | "ended" | "reset";
}

/**
 * Creates a connection.
 *
 * @param highWaterMark How many bytes may wait to be taken before the socket asks for patience.
 * @param onWrite Called when something is written.
 */
export function fakeSocket(highWaterMark: number, onWrite: () => void = () => {}): FakeSocket {
  let text = "";
  let closed: "open" | "ended" | "reset" = "open";
  let writing: { bytes: Buffer; done(error?: Error | null): void } | undefined;
  let tell = (): void => {};
  const duplex = new Duplex({
    allowHalfOpen: true,
    writableHighWaterMark: highWaterMark,
    read: () => {},
    write: (bytes: Buffer, _encoding, done) => {
      writing = { bytes, done };
      onWrite();
    },
    writev: (all, done) => {
      writing = { bytes: Buffer.concat(all.map(({ chunk }) => chunk as Buffer)), done };
      onWrite();
    },
    final: (done) => {
      closed = "ended";
      done();
    },
    destroy: (error, done) => {
      tell = () => {
        tell = () => {};
        done(error);
      };
    },
  });
  function written(error?: Error): boolean {
    if (writing === undefined) return false;
    const { done } = writing;
    writing = undefined;
    done(error);
    return true;
  }
  const socket = Object.assign(duplex, {
    bytesRead: 0,
    remoteAddress: "127.0.0.1",
    resetAndDestroy: () => {
      if (!duplex.destroyed) closed = "reset";
      return duplex.destroy();
    },
  });
  return {
    // The engine uses no more of a socket than there is.
    socket: socket as unknown as Socket,
    text: () => text,
    take: () => {
      if (duplex.destroyed || writing === undefined) return false;
      text += writing.bytes.toString("latin1");
      return written();
    },
    say: (said) => {
      if (duplex.destroyed) return;
      socket.bytesRead += said.length;
      duplex.push(Buffer.from(said, "latin1"));
    },
    end: () => {
      if (!duplex.destroyed) duplex.push(null);
    },
    break: (error) => void duplex.destroy(error),
    refuse: () => !duplex.destroyed && written(new Error("Write failed")),
    tell: () => {
      if (!duplex.destroyed) return;
      tell();
      written(new Error("Write cancelled"));
    },
    closed: () => closed,
  };
}
