import { connect } from "node:net";
import { sleep } from "../cluster/sleep.ts";
import type { Sample } from "./metrics.ts";
import { startOrigin } from "./origin.ts";
import type { Peer, Running } from "./peers.ts";
import { judge, TOLERANCE } from "./growth.ts";
import { costOfAll } from "./process.ts";
import type { Row, Section } from "./report.ts";
import { type Generator, type Load, rateOf } from "./load.ts";
import { HANDSHAKE } from "./websocket.ts";

/** How often memory is read, in milliseconds. */
const INTERVAL = 1000;

/** How many clients a second leave in the middle of something. */
const LEAVERS = 20;

/** What is said of a peer whose memory is not flat. */
const GROWS = "GROWS";

/** Tells whether nobody's memory grew. */
export function isFlat({ rows }: Section): boolean {
  return !rows.some(({ peer }) => peer.endsWith(GROWS));
}

/** Loads the drop-ins for a long time, all at once, with all that could leave something behind. */
export async function soak(
  peers: readonly Peer[],
  time: number,
  generate: Generator,
  say: (text: string) => void,
): Promise<Section> {
  const own = await startOrigin("own");
  try {
    const rows = await Promise.all(
      peers.map(async (peer): Promise<Row> => {
        const running = await peer.start({ target: own.port });
        try {
          return await soakOne(peer.name, running, time, generate, say);
        } finally {
          running.stop();
        }
      }),
    );
    return {
      name: "soak",
      title: "Soak",
      says: `${Math.round(time / 1000)} seconds, all at once: reads with a token, writes, event streams and WebSockets that end, and clients that leave in the middle. The slope of the memory is the median of all slopes between two samples after the first third; "flat" is up to ${TOLERANCE * 100} % more at the end.`,
      metrics: ["rate", "rss", "peak", "slope", "growth", "errors"],
      rows,
    };
  } finally {
    own.stop();
  }
}

async function soakOne(
  peer: string,
  running: Running,
  time: number,
  generate: Generator,
  say: (text: string) => void,
): Promise<Row> {
  const { port, pids, token } = running;
  const points: [number, number][] = [];
  const start = performance.now();
  const seconds = Math.ceil(time / 1000);
  const loads = Promise.all([
    generate(port, { method: "GET", path: "/1k", token }, 8, seconds),
    generate(port, { method: "POST", path: "/1k", length: 2 ** 10 }, 4, seconds),
  ]);
  const leaving = leave(port, start + time);
  while (performance.now() - start < time) {
    await sleep(INTERVAL);
    points.push([performance.now() - start, costOfAll(pids).rss]);
    if (points.length % 60 === 0)
      say(`soak: ${peer}, ${Math.round((points.at(-1)?.[1] ?? 0) / 1024)} MiB`);
  }
  const done: Load[] = await loads;
  await leaving;
  const { slope, growth, isFlat: isEven } = judge(points);
  const end = costOfAll(pids);
  const sample: Sample = {
    rate: done.reduce((sum, load) => sum + rateOf(load), 0),
    rss: end.rss / 1024,
    peak: end.peak / 1024,
    slope,
    growth,
    errors: done.reduce((sum, { errors }) => sum + errors, 0),
  };
  return { peer: `${peer}: ${isEven ? "flat" : GROWS}`, samples: [sample] };
}

/** Has clients leave in the middle of a large answer, of an upload, of an event stream and of a WebSocket. */
async function leave(port: number, deadline: number): Promise<void> {
  const first = [
    "GET /1g HTTP/1.1\r\nHost: bench.test\r\n\r\n",
    `POST /1k HTTP/1.1\r\nHost: bench.test\r\nContent-Length: 100000\r\n\r\n${"x".repeat(50_000)}`,
    "GET /events HTTP/1.1\r\nHost: bench.test\r\n\r\n",
    HANDSHAKE,
  ];
  for (let count = 0; performance.now() < deadline; count++) {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.on("error", () => {});
    socket.write(first[count % first.length] ?? "");
    setTimeout(() => socket.destroy(), 100);
    await sleep(1000 / LEAVERS);
  }
}
