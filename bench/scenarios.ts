import { checkAnswer, checkMint } from "./check.ts";
import { sleep } from "../cluster/sleep.ts";
import { drive } from "./drive.ts";
import { openStreams } from "./events.ts";
import { fixedFraming, httpFraming } from "./framing.ts";
import { bytesOf, type Generator, type Load, rateOf, type Request, withSockets } from "./load.ts";
import type { Metric, Sample } from "./metrics.ts";
import { open } from "./open.ts";
import type { OriginName } from "./origin.ts";
import type { Kind, Peer, Running, Setting } from "./peers.ts";
import { type Cost, costOfAll, forgetPeak } from "./process.ts";
import { summary } from "./statistics.ts";
import { FRAME, HANDSHAKE } from "./websocket.ts";

/** What a scenario measures with. */
export interface Tools {
  readonly generate: Generator;
  /** How long each measurement takes. */
  readonly seconds: number;
  /** How many files a process may hold open. */
  readonly files: number;
}

/** Who is measured, in front of which app. */
export interface Subject {
  readonly peer: Peer;
  readonly running: Running;
  readonly setting: Setting;
  readonly tools: Tools;
}

/** Something that is measured of each peer. */
export interface Scenario {
  readonly name: string;
  /** The heading. */
  readonly title: string;
  /** What happens. */
  readonly says: string;
  readonly origin: OriginName;
  /** The columns, in order. */
  readonly metrics: readonly Metric[];
  /** What is compared with the yardstick; 2 × is twice as much, whether that is good or bad. */
  readonly compared: Metric;
  /** Whether it has one round more than others, or but one. */
  readonly rounds: "more" | "usual" | "one";
  /** Whether it belongs to the short run. */
  readonly quick: boolean;
  /** Who takes part. */
  readonly kinds: readonly Kind[];
  /** Makes something else of a peer, which is then started for this scenario alone. */
  readonly wrap?: ((peer: Peer) => Peer) | undefined;
  /** How many seconds a measurement takes where it must be more than others. */
  readonly seconds?: number | undefined;
  /** Fails unless the answers are right. */
  readonly check: (subject: Subject) => Promise<void>;
  readonly measure: (subject: Subject) => Promise<Sample>;
}

const PROXIES: readonly Kind[] = ["exact", "native", "other"];
const ALL: readonly Kind[] = ["none", ...PROXIES];
const EXACT: readonly Kind[] = ["exact", "other"];

const RATES: readonly Metric[] = ["rate", "p50", "p99", "p999", "cpu", "peak", "rss", "errors"];

/** What can be said of each scenario of one kind. */
type Rest = Pick<Scenario, "name" | "title" | "says"> & Partial<Scenario>;

/** Makes a scenario in which connections send one request over and over. */
function exchanges(
  request: Request,
  connections: number | ((tools: Tools) => number),
  rest: Rest,
): Scenario {
  const withToken = ({ token }: Running): Request =>
    request.token === undefined ? request : { ...request, token };
  return {
    origin: "fast",
    metrics: RATES,
    compared: "rate",
    rounds: "usual",
    quick: false,
    kinds: ALL,
    check: async ({ peer, running, setting }) => {
      const mayChunk = peer.kind === "native";
      await checkAnswer(running.port, setting.target, withToken(running), mayChunk);
      const mints = peer.kind === "exact" || peer.kind === "native" || peer.name === "LiteFS";
      if (mints && rest.wrap === undefined) await checkMint(running);
    },
    measure: ({ running, tools }) => {
      const count = typeof connections === "number" ? connections : connections(tools);
      return costed(running, () =>
        tools.generate(running.port, withToken(running), count, tools.seconds),
      );
    },
    ...rest,
  };
}

/** Has a load come, and tells what it was and what it cost. */
async function costed(running: Running, work: () => Promise<Load>): Promise<Sample> {
  forgetPeak(running.pids);
  const before = costOfAll(running.pids);
  const load = await work();
  const after = costOfAll(running.pids);
  const { requests, bytes, duration, p50, p99, p999, errors } = load;
  const times = requests > 0 ? { p50, p99, p999 } : {};
  const mib = bytes / 2 ** 20 / (duration / 1000);
  return {
    rate: rateOf(load),
    mib,
    ...times,
    errors,
    ...costs(before, after, requests),
    ...(running.pids.length > 0 ? { cpuGib: (after.cpu - before.cpu) / (bytes / 2 ** 30) } : {}),
  };
}

function costs(before: Cost, after: Cost, count: number): Sample {
  // Where nothing stands between there is nothing that costs.
  if (after.rss === 0) return {};
  return {
    cpu: ((after.cpu - before.cpu) * 1000) / count,
    rss: after.rss / 1024,
    peak: after.peak / 1024,
  };
}

const small: Request = { method: "GET", path: "/1k" };

/** How many connections can be held open at once where each needs two files of a proxy. */
const asMany =
  (wanted: number) =>
  ({ files }: Tools): number =>
    Math.min(wanted, Math.floor((files - 1000) / 2));

/** How many event streams there are. */
const STREAMS = asMany(5000);

/** The part of its own peak at which a peer's latency is looked at. */
const PART = 0.7;

/** What each peer can do at most, by its process. */
const peaks = new Map<Running, number>();

const latencyAtPart: Scenario = {
  name: "latency",
  title: "p99 at 70 % of its own peak",
  says: "256 connections; requests come at a fixed rate in a burst each millisecond, whatever the answers do, and a request that finds no connection waits. The rate is 70 % of what the same generator (raw sockets) got out of the peer.",
  origin: "fast",
  metrics: ["rate", "p50", "p99", "p999", "cpu", "errors"],
  compared: "p99",
  rounds: "usual",
  quick: false,
  kinds: PROXIES,
  check: ({ running, setting }) => checkAnswer(running.port, setting.target, small),
  measure: async ({ running, tools: { seconds } }) => {
    let peak = peaks.get(running);
    if (peak === undefined) {
      const found = await withSockets(running.port, small, 64, Math.max(1, seconds));
      peak = rateOf(found);
      peaks.set(running, peak);
    }
    const rate = peak * PART;
    const message = bytesOf(small);
    const { port } = running;
    return costed(running, () =>
      drive({ port, connections: 256, seconds, message, framing: httpFraming, rate }),
    );
  },
};

const events: Scenario = {
  name: "events",
  title: "Event streams",
  says: "Up to 5,000 streams; the app sends each an event a second, all at once. Latency is from the app's write to the client's read.",
  origin: "own",
  metrics: ["rate", "p50", "p99", "p999", "cpu", "each", "errors"],
  compared: "cpu",
  rounds: "one",
  quick: false,
  kinds: ["none", ...EXACT],
  check: async ({ running }) => (await openStreams(running.port, 1)).close(),
  measure: async ({ running, tools }) => {
    const count = STREAMS(tools);
    const idle = costOfAll(running.pids);
    const streams = await openStreams(running.port, count);
    try {
      const before = costOfAll(running.pids);
      const duration = 3000;
      const times = await streams.listen(duration);
      const after = costOfAll(running.pids);
      return {
        rate: times.length / (duration / 1000),
        ...summary(times),
        ...costs(before, after, times.length),
        ...(after.rss > 0 ? { each: (after.rss - idle.rss) / count } : {}),
        errors: streams.broken(),
      };
    } finally {
      streams.close();
    }
  },
};

const echoes: Scenario = {
  name: "websocket",
  title: "WebSocket echo",
  says: "64 WebSockets; each sends a frame of 64 bytes when the last one has come back.",
  origin: "own",
  metrics: ["rate", "p50", "p99", "p999", "cpu", "errors"],
  compared: "rate",
  rounds: "usual",
  quick: false,
  kinds: ALL,
  check: async ({ running }) => {
    const socket = await open(running.port, HANDSHAKE);
    socket.destroy();
  },
  measure: ({ running, tools: { seconds } }) =>
    costed(running, () =>
      drive({
        port: running.port,
        connections: 64,
        seconds,
        message: FRAME,
        framing: fixedFraming(FRAME.length),
        opening: HANDSHAKE,
      }),
    ),
};

/** Puts two of a peer in a row: one on a replica, and the primary's. */
function chain(peer: Peer): Peer {
  return {
    ...peer,
    start: async (setting) => {
      if (peer.name === "LiteFS") throw new Error("sends nothing on itself");
      const primary = await peer.start(setting);
      try {
        const replica = await peer.start({ ...setting, primary: primary.port });
        const stop = (): void => {
          replica.stop();
          primary.stop();
        };
        return { ...replica, pids: [...replica.pids, ...primary.pids], stop };
      } catch (error) {
        primary.stop();
        throw error;
      }
    },
  };
}

const starts: Scenario = {
  name: "start",
  title: "Start and idle memory",
  says: "From the start of the process to its first answer, and the memory it holds half a second later.",
  origin: "fast",
  metrics: ["start", "rss"],
  compared: "rss",
  rounds: "usual",
  quick: false,
  kinds: PROXIES,
  check: async () => {},
  measure: async ({ peer, setting }) => {
    const start = performance.now();
    const running = await peer.start(setting);
    try {
      await checkAnswer(running.port, setting.target, small);
      const took = performance.now() - start;
      await sleep(500);
      return { start: took, rss: costOfAll(running.pids).rss / 1024 };
    } finally {
      running.stop();
    }
  },
};

/** The smallest there is. */
export const GET: Scenario = exchanges(small, 64, {
  name: "get",
  title: "GET, 1 KiB",
  says: "64 connections.",
  rounds: "more",
  quick: true,
  kinds: [...ALL, "bare"],
});

/** Makes the scenario of answers that have a body of some size. */
function bodies(size: string, told: string, connections: number): Scenario {
  return exchanges({ method: "GET", path: `/${size}` }, connections, {
    name: `get-${size}`,
    title: `GET, ${told}`,
    says: `${connections} connections.`,
    metrics: ["rate", "mib", ...RATES.slice(1)],
  });
}

/** A write, with as much in it as in its answer. */
const write: Request = { method: "POST", path: "/1k", length: 2 ** 10 };

/** All that can be measured of every peer, by the app that it needs. */
export const SCENARIOS: readonly Scenario[] = [
  GET,
  exchanges({ ...small, token: "" }, 64, {
    name: "get-token",
    title: "GET, 1 KiB, with a token",
    says: "64 connections, and each request carries a token that the node satisfies.",
    rounds: "more",
    quick: true,
    kinds: PROXIES,
  }),
  bodies("64k", "64 KiB", 64),
  bodies("1m", "1 MiB", 16),
  exchanges({ method: "GET", path: "/1g" }, 4, {
    name: "get-1g",
    title: "GET, 1 GiB",
    says: "4 connections; the bytes are counted, not the answers.",
    metrics: ["mib", "cpuGib", "peak", "rss", "errors"],
    compared: "mib",
  }),
  latencyAtPart,
  starts,
  exchanges(small, 1, {
    name: "connections-1",
    title: "One connection",
    says: "GET, 1 KiB, on one connection.",
    rounds: "one",
    kinds: EXACT,
  }),
  exchanges(small, asMany(1000), {
    name: "connections-1000",
    title: "1,000 connections",
    says: "GET, 1 KiB, on 1,000 kept connections.",
    kinds: EXACT,
  }),
  exchanges(small, asMany(10_000), {
    name: "connections-10000",
    title: "10,000 connections",
    says: "GET, 1 KiB, on 10,000 kept connections, or as many as a process may open files for; to open them is part of the cost.",
    rounds: "one",
    seconds: 3,
    kinds: EXACT,
  }),
  exchanges(write, 64, {
    name: "post",
    title: "POST, 1 KiB",
    says: "64 connections; the answer has 1 KiB, and a token where there are tokens.",
    origin: "own",
    quick: true,
  }),
  exchanges({ ...write, length: 10 * 2 ** 20 }, 8, {
    name: "post-10m",
    title: "POST, 10 MiB",
    says: "8 connections.",
    origin: "own",
  }),
  exchanges(write, 64, {
    name: "forward",
    title: "POST, 1 KiB, from a replica",
    says: "64 connections to a replica, whose proxy sends each write to the primary's proxy; of the others two stand in a row. The cost is that of both.",
    origin: "own",
    kinds: PROXIES,
    wrap: chain,
  }),
  events,
  echoes,
];
