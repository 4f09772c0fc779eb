import { connect, type Socket } from "node:net";
import type { Framing } from "./framing.ts";
import type { Load } from "./load.ts";
import { quantile } from "./statistics.ts";

/** What is sent, and how. */
export interface Drive {
  readonly port: number;
  readonly connections: number;
  readonly seconds: number;
  /** What is sent for each answer. */
  readonly message: Buffer;
  readonly framing: Framing;
  /** What is sent first on each connection, and answered by a head alone. */
  readonly opening?: string | undefined;
  /**
   * How many messages are sent a second, whatever the answers do; left out: each connection sends the next one when it
   * has its answer. What finds no connection waits for one, and that counts as its own time.
   */
  readonly rate?: number | undefined;
}

/** How long what is under way at the end may take, in milliseconds. */
const PATIENCE = 5000;

/** Sends messages over raw sockets from this process. */
export async function drive(what: Drive): Promise<Load> {
  const times: number[] = [];
  /** When each message that waits for a connection was to be sent. */
  const waiting: number[] = [];
  const idle: Line[] = [];
  let [answers, bytes, errors, under] = [0, 0, 0, 0];
  let isOver = false;
  let tell: () => void = () => {};

  function next(line: Line): void {
    const due = what.rate === undefined && !isOver ? performance.now() : waiting.shift();
    if (due === undefined) idle.push(line);
    else send(line, due);
  }

  function send(line: Line, due: number): void {
    under++;
    line.due = due;
    line.socket.write(what.message);
  }

  const lines = await Promise.all(
    Array.from({ length: what.connections }, () => open(what.port, what.opening)),
  );
  const start = performance.now();
  for (const socket of lines) {
    const line: Line = { socket, due: undefined };
    const read = what.framing();
    socket.on("data", (piece: Buffer) => {
      if (!isOver) bytes += piece.length;
      const ended = read(piece);
      if (ended.answers === 0 || line.due === undefined) return;
      if (!isOver || what.rate !== undefined) {
        answers++;
        errors += ended.errors;
        times.push(performance.now() - line.due);
      }
      line.due = undefined;
      under--;
      next(line);
      if (isOver && under === 0) tell();
    });
    socket.on("close", () => {
      if (isOver) return;
      errors++;
      if (line.due !== undefined) under--;
      line.due = undefined;
    });
    socket.resume();
    next(line);
  }

  let sent = 0;
  const tick = setInterval(() => {
    const now = performance.now();
    const goal = ((now - start) / 1000) * (what.rate ?? 0);
    for (; sent < goal; sent++) {
      const line = idle.pop();
      if (line === undefined) waiting.push(now);
      else send(line, now);
    }
  }, 1);
  await new Promise((resolve) => setTimeout(resolve, what.seconds * 1000));
  clearInterval(tick);
  const duration = performance.now() - start;
  isOver = true;
  if (what.rate !== undefined && under > 0) {
    await new Promise<void>((resolve) => {
      tell = resolve;
      setTimeout(resolve, PATIENCE).unref();
    });
    errors += under + waiting.length;
  }
  for (const socket of lines) socket.destroy();
  const [p50 = 0, p99 = 0, p999 = 0] = [0.5, 0.99, 0.999].map((part) => quantile(times, part));
  return { requests: answers, bytes, duration, p50, p99, p999, errors };
}

/** A connection, and when the message that is under way on it was to be sent. */
interface Line {
  readonly socket: Socket;
  due: number | undefined;
}

/** Connects, and sees what it sends first answered. */
export function open(port: number, opening?: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    const fail = (): void => reject(new Error("The connection broke before it was open"));
    socket.once("error", reject);
    socket.once("close", fail);
    socket.setTimeout(PATIENCE, () => socket.destroy());
    const done = (): void => {
      socket.setTimeout(0);
      socket.off("close", fail);
      socket.off("error", reject);
      socket.on("error", () => {});
      resolve(socket);
    };
    socket.once("connect", () => {
      if (opening === undefined) return done();
      socket.write(opening);
      let head = "";
      const read = (piece: Buffer): void => {
        head += piece.toString("latin1");
        const end = head.indexOf("\r\n\r\n");
        if (end === -1) return;
        socket.off("data", read);
        socket.pause();
        // What has come behind the head is the next reader's.
        const rest = head.slice(end + 4);
        if (rest !== "") socket.unshift(Buffer.from(rest, "latin1"));
        if (/^HTTP\/1\.1 (?:101|2)/.test(head)) done();
        else {
          socket.off("close", fail);
          socket.destroy();
          reject(new Error(head.slice(0, head.indexOf("\r\n"))));
        }
      };
      socket.on("data", read);
    });
  });
}
