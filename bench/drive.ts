import type { Socket } from "node:net";
import { sleep } from "../cluster/sleep.ts";
import type { Framing } from "./framing.ts";
import type { Load } from "./load.ts";
import { open } from "./open.ts";
import { summary } from "./statistics.ts";

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

/** A connection, and when the message that is under way on it was to be sent. */
interface Line {
  readonly socket: Socket;
  due: number | undefined;
}

/** How things stand while messages are sent. */
interface Run {
  readonly what: Drive;
  /** The connections on which nothing is under way. */
  readonly idle: Line[];
  /** When each message that waits for a connection was to be sent. */
  readonly waiting: number[];
  /** How long each answer took from when its message was to be sent, in milliseconds. */
  readonly times: number[];
  bytes: number;
  errors: number;
  /** How many messages are under way. */
  under: number;
  /** Whether the time is up. */
  isOver: boolean;
  /** Is called when the last message is answered after that. */
  drained: () => void;
}

/** Sends messages over raw sockets from this process. */
export async function drive(what: Drive): Promise<Load> {
  const { connections, port, opening, seconds, rate } = what;
  const sockets = await Promise.all(Array.from({ length: connections }, () => open(port, opening)));
  const run: Run = {
    what,
    idle: [],
    waiting: [],
    times: [],
    bytes: 0,
    errors: 0,
    under: 0,
    isOver: false,
    drained: () => {},
  };
  const start = performance.now();
  for (const socket of sockets) attend(run, socket);
  const stop = keepRate(run, start);
  await sleep(seconds * 1000);
  stop();
  const duration = performance.now() - start;
  run.isOver = true;
  if (rate !== undefined && run.under > 0) await drain(run);
  for (const socket of sockets) socket.destroy();
  const { times, bytes, errors } = run;
  return { requests: times.length, bytes, duration, ...summary(times), errors };
}

/** Sends messages on a connection and counts what comes back, until it ends. */
function attend(run: Run, socket: Socket): void {
  const line: Line = { socket, due: undefined };
  const read = run.what.framing();
  socket.on("data", (piece: Buffer) => {
    if (!run.isOver) run.bytes += piece.length;
    const { answers, errors } = read(piece);
    if (answers > 0 && line.due !== undefined) answered(run, line, line.due, errors);
  });
  socket.on("close", () => {
    if (run.isOver) return;
    run.errors++;
    if (line.due !== undefined) run.under--;
    line.due = undefined;
  });
  socket.resume();
  sendNext(run, line);
}

/** Counts an answer, and has its connection go on. */
function answered(run: Run, line: Line, due: number, errors: number): void {
  // What is late counts where messages are sent whatever the answers do: it is what was asked for in time.
  if (!run.isOver || run.what.rate !== undefined) {
    run.errors += errors;
    run.times.push(performance.now() - due);
  }
  line.due = undefined;
  run.under--;
  sendNext(run, line);
  if (run.isOver && run.under === 0) run.drained();
}

/** Sends on a connection what is to be sent next; at a rate that is what waits, and otherwise the next message at once. */
function sendNext(run: Run, line: Line): void {
  const isAtOnce = run.what.rate === undefined && !run.isOver;
  const due = isAtOnce ? performance.now() : run.waiting.shift();
  if (due === undefined) run.idle.push(line);
  else send(run, line, due);
}

function send(run: Run, line: Line, due: number): void {
  run.under++;
  line.due = due;
  line.socket.write(run.what.message);
}

/** Sends as many messages as the rate asks for, if there is one, until the returned function is called. */
function keepRate(run: Run, start: number): () => void {
  let sent = 0;
  const tick = setInterval(() => {
    const now = performance.now();
    const goal = ((now - start) / 1000) * (run.what.rate ?? 0);
    for (; sent < goal; sent++) {
      const line = run.idle.pop();
      if (line === undefined) run.waiting.push(now);
      else send(run, line, now);
    }
  }, 1);
  return () => clearInterval(tick);
}

/** Lets what is under way or waits be answered, and counts what is not in time. */
async function drain(run: Run): Promise<void> {
  await new Promise<void>((resolve) => {
    run.drained = resolve;
    setTimeout(resolve, PATIENCE).unref();
  });
  run.errors += run.under + run.waiting.length;
}
