import type { Socket } from "node:net";
import { sleep } from "../cluster/sleep.ts";
import { open } from "./open.ts";

const OPENING = "GET /events HTTP/1.1\r\nHost: bench.test\r\nAccept: text/event-stream\r\n\r\n";

/** How many streams are opened at once. */
const AT_ONCE = 200;

/** Event streams that are open. */
export interface Streams {
  /** Takes what comes for a time: how many milliseconds each event was on its way. */
  listen(milliseconds: number): Promise<number[]>;
  /** How many have broken. */
  broken(): number;
  close(): void;
}

/** Opens event streams, and waits until each has had an event. */
export async function openStreams(port: number, count: number): Promise<Streams> {
  const sockets: Socket[] = [];
  let times: number[] = [];
  let [first, broken, isClosed] = [0, 0, false];

  function take(socket: Socket): void {
    let held = "";
    let isNew = true;
    socket.on("data", (bytes: Buffer) => {
      const now = process.hrtime.bigint();
      held += bytes.toString("latin1");
      const parts = held.split("\n\n");
      held = parts.pop() ?? "";
      for (const part of parts) {
        const stamp = /data: (\d+)$/.exec(part)?.[1];
        if (stamp === undefined) continue;
        times.push(Number(now - BigInt(stamp)) / 1e6);
        if (isNew) first++;
        isNew = false;
      }
    });
    socket.on("close", () => {
      if (!isClosed) broken++;
    });
    socket.resume();
  }

  const close = (): void => {
    isClosed = true;
    for (const socket of sockets) socket.destroy();
  };
  try {
    while (sockets.length < count) {
      const some = Math.min(AT_ONCE, count - sockets.length);
      const more = await Promise.all(Array.from({ length: some }, () => open(port, OPENING)));
      for (const socket of more) take(socket);
      sockets.push(...more);
    }
    const deadline = Date.now() + 10_000;
    while (first < count) {
      if (Date.now() > deadline) throw new Error(`${count - first} streams had no event`);
      await sleep(20);
    }
  } catch (error) {
    close();
    throw error;
  }
  return {
    listen: async (milliseconds) => {
      times = [];
      await sleep(milliseconds);
      return times;
    },
    broken: () => broken,
    close,
  };
}
