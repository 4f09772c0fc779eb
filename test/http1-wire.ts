import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { connect, createServer, type Socket } from "node:net";
import type { Body } from "../src/index.ts";

/** One end of a connection, in the hands of a test: bytes as latin-1 text. */
export interface Peer {
  readonly socket: Socket;
  /** Returns what has come so far. */
  text(): string;
  /** Forgets what has come. */
  clear(): void;
  send(text: string | Uint8Array): void;
  /** Resolves with what has come once it holds `part` (or passes the check). */
  until(part: string | ((text: string) => boolean)): Promise<string>;
  /** Tells whether the other side has ended or broken the connection. */
  isOver(): boolean;
  /** Resolves when the other side has ended or broken the connection. */
  over(): Promise<string>;
}

/** What one look may count of the time for which a condition is waited for, in milliseconds. */
const LOOK = 10;

/**
 * Waits for a condition; never for a time.
 *
 * @param timeout How long at most, in milliseconds. On a machine that is too busy to look in time that takes longer: who
 * is waited for is late there, too.
 */
export async function eventually(
  check: () => boolean,
  what: () => string,
  timeout = 5000,
): Promise<void> {
  let waited = 0;
  let last = Date.now();
  while (!check()) {
    assert.ok(waited < timeout, `Waited in vain: ${what()}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
    const now = Date.now();
    waited += Math.min(now - last, LOOK);
    last = now;
  }
}

/** Stops this process for a time in milliseconds, as a machine that is busy does. */
export function standStill(time: number): void {
  const end = performance.now() + time;
  while (performance.now() < end);
}

function peer(socket: Socket): Peer {
  let text = "";
  let over = false;
  socket.setNoDelay(true);
  socket.on("data", (bytes: Buffer) => (text += bytes.toString("latin1")));
  socket.on("error", () => (over = true));
  socket.on("end", () => (over = true));
  socket.on("close", () => (over = true));
  const shown = (): string => JSON.stringify(text.slice(-2000));
  return {
    socket,
    text: () => text,
    clear: () => {
      text = "";
    },
    send: (bytes) => {
      if (typeof bytes === "string") socket.write(bytes, "latin1");
      else socket.write(bytes);
    },
    until: async (part) => {
      const check = typeof part === "string" ? (all: string) => all.includes(part) : part;
      await eventually(
        () => check(text) || over,
        () => `for ${String(part)} in ${shown()}`,
      );
      assert.ok(check(text), `Connection ended before ${String(part)} came: ${shown()}`);
      return text;
    },
    isOver: () => over,
    over: async () => {
      await eventually(
        () => over,
        () => `for the end after ${shown()}`,
      );
      return text;
    },
  };
}

/** Connects to a port of this machine. */
export function dial(port: number): Promise<Peer> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    socket.once("error", reject);
    socket.once("connect", () => resolve(peer(socket)));
  });
}

/** A server that says what the test says. */
export interface Origin {
  readonly port: number;
  readonly origin: string;
  /** Every connection so far. */
  readonly peers: Peer[];
  close(): Promise<void>;
}

/** Listens on a port of this machine and hands every connection to the test. */
export function listen(onPeer: (peer: Peer, index: number) => void): Promise<Origin> {
  const peers: Peer[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const one = peer(socket);
    peers.push(one);
    onPeer(one, peers.length - 1);
  });
  return new Promise((resolve) => {
    server.listen({ port: 0, host: "127.0.0.1", backlog: 1024 }, () => {
      const address = server.address();
      assert.ok(address !== null && typeof address === "object");
      resolve({
        port: address.port,
        origin: `http://127.0.0.1:${address.port}`,
        peers,
        close: () =>
          new Promise((done) => {
            server.close(() => done());
            for (const one of peers) one.socket.destroy();
          }),
      });
    });
  });
}

/** Answers each request without a body with what `answer` says. */
export function answering(
  answer: (head: string, peer: Peer, count: number) => string,
): (peer: Peer) => void {
  return (one) => {
    let count = 0;
    one.socket.on("data", () => {
      for (
        let end = one.text().indexOf("\r\n\r\n");
        end !== -1;
        end = one.text().indexOf("\r\n\r\n")
      ) {
        const head = one.text().slice(0, end);
        const rest = one.text().slice(end + 4);
        one.clear();
        if (rest !== "") one.socket.emit("data", Buffer.from(rest, "latin1"));
        one.send(answer(head, one, count++));
      }
    });
  };
}

/** Reads a body to its end as latin-1 text. */
export async function readText(body: Body | null): Promise<string> {
  if (body === null) return "";
  if (body instanceof Uint8Array) return Buffer.from(body).toString("latin1");
  let text = "";
  for await (const piece of body) text += Buffer.from(piece).toString("latin1");
  return text;
}

/** Makes a body of texts. */
export async function* pieces(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text, "latin1");
}
