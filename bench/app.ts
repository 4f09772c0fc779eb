// An app that answers at once: what a proxy adds to it is what is measured. `app.ts PORT`
import { createServer, type Socket } from "node:net";
import { acceptKey } from "./websocket.ts";

/** The bodies that it has, by path; every other path has the first. */
const SIZES: Readonly<Record<string, number>> = {
  "/1k": 2 ** 10,
  "/64k": 2 ** 16,
  "/1m": 2 ** 20,
  "/1g": 2 ** 30,
};

/** How often each stream gets an event, in milliseconds. */
const EVENT_INTERVAL = 1000;

const PIECE = Buffer.alloc(2 ** 20, "x");

const ANSWER = Buffer.concat([head(2 ** 10), PIECE.subarray(0, 2 ** 10)]);

const streams = new Set<Socket>();

function head(length: number): Buffer {
  return Buffer.from(
    `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${length}\r\n\r\n`,
  );
}

function answer(socket: Socket, path: string): void {
  const length = SIZES[path] ?? 2 ** 10;
  if (length === 2 ** 10) {
    socket.write(ANSWER);
    return;
  }
  socket.write(head(length));
  let left = length;
  const fill = (): void => {
    while (left > 0) {
      const piece = PIECE.subarray(0, Math.min(left, PIECE.length));
      left -= piece.length;
      if (!socket.write(piece) && left > 0) {
        socket.once("drain", fill);
        return;
      }
    }
  };
  fill();
}

/** Begins what is no plain answer, if this head asks for it. */
function turn(socket: Socket, path: string, lines: string): boolean {
  if (path === "/events") {
    // nginx collects what comes unless it is told not to.
    socket.write(
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    streams.add(socket);
    socket.once("close", () => streams.delete(socket));
    return true;
  }
  const key = /\r\nsec-websocket-key: *(\S+)/i.exec(lines)?.[1];
  if (path !== "/echo" || key === undefined) return false;
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptKey(key)}\r\n\r\n`,
  );
  return true;
}

function serve(socket: Socket): void {
  let held = "";
  let left = 0;
  let path = "";
  let isEcho = false;
  socket.on("error", () => socket.destroy());
  socket.on("data", (bytes: Buffer) => {
    if (isEcho) {
      socket.write(bytes);
      return;
    }
    let rest = bytes;
    while (rest.length > 0) {
      if (left > 0) {
        const taken = Math.min(left, rest.length);
        left -= taken;
        rest = rest.subarray(taken);
        if (left === 0) answer(socket, path);
        continue;
      }
      held += rest.toString("latin1");
      const end = held.indexOf("\r\n\r\n");
      if (end === -1) return;
      const lines = held.slice(0, end);
      rest = Buffer.from(held.slice(end + 4), "latin1");
      held = "";
      path = lines.split(" ", 2)[1] ?? "/";
      if (turn(socket, path, lines)) {
        isEcho = path === "/echo";
        return;
      }
      left = Number(/\r\ncontent-length: *(\d+)/i.exec(lines)?.[1] ?? 0);
      if (left === 0) answer(socket, path);
    }
  });
}

setInterval(() => {
  for (const socket of streams) {
    // The clock is the machine's, so that whoever reads it can tell how long the event was on its way.
    const event = `data: ${process.hrtime.bigint()}\n\n`;
    socket.write(`${event.length.toString(16)}\r\n${event}\r\n`);
  }
}, EVENT_INTERVAL);

createServer({ noDelay: true }, serve).listen({
  port: Number(process.argv[2]),
  host: "127.0.0.1",
  backlog: 4096,
});
