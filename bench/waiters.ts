// Holds reads behind a token on a replica, commits once, and tells what the wait cost and how fast all were answered:
// `npm run bench:waiters [-- --place Bun] [-- --rounds 5] [-- --counts 1,1000] [-- --hold 3] [-- --json]`. Beside it stand LiteFS's own figures.
import { openSync, writeSync } from "node:fs";
import type { Socket } from "node:net";
import { parseArgs } from "node:util";
import { sleep } from "../cluster/sleep.ts";
import { createMount, positionText } from "../test/mount.ts";
import { findPlaces, type Place, startDropIn } from "../test/wire/places.ts";
import { serveScript } from "./children.ts";
import { open } from "./open.ts";
import { costOf } from "./process.ts";
import { quantile, spreadOf } from "./statistics.ts";

/** What one number of waiting reads came to. */
export interface Result {
  readonly place: string;
  readonly waiting: number;
  /** The part of a core that the proxy took while they waited, in percent. */
  readonly core: number;
  /** The 99th percentile of requests that did not wait, while the others did, in milliseconds. */
  readonly bystander: number;
  /** From the commit to the last answer, in milliseconds. */
  readonly answered: number;
  /** What as many reads take on the same connections that need not wait, in milliseconds. */
  readonly atOnce: number;
  /** The answers with 200. */
  readonly ok: number;
  /** The memory of each with its connection, in KiB. */
  readonly each: number;
}

/** The header line of a client that has seen what is yet to come. */
const TOKEN = "Cookie: __txid=0000000000000002\r\n";

/** What LiteFS's own proxy did with two real nodes on a machine of this kind; of 10,000 reads it lost more than half. */
const LITEFS: readonly Result[] = [
  { waiting: 1, core: 6.5, bystander: 12, answered: 2.4, ok: 1 },
  { waiting: 100, core: 14, bystander: 3.3, answered: 23, ok: 100 },
  { waiting: 1000, core: 64, bystander: 3.8, answered: 243, ok: 1000 },
  { waiting: 10_000, core: 195, bystander: 3420, answered: Number.NaN, ok: 4450 },
].map((one) => ({ ...one, place: "LiteFS", atOnce: Number.NaN, each: Number.NaN }));

const { values } = parseArgs({
  options: {
    place: { type: "string", multiple: true },
    rounds: { type: "string", default: "3" },
    counts: { type: "string", default: "1,100,1000,10000" },
    hold: { type: "string", default: "3" },
    json: { type: "boolean", default: false },
  },
});

/** How many reads wait. */
const COUNTS = values.counts.split(",").map(Number);

/** How long reads are held, in milliseconds. */
const HOLD = Number(values.hold) * 1000;

async function measure(place: Place, appPort: number, waiting: number): Promise<Result> {
  const mount = createMount({
    position: "0000000000000001",
    primary: { at: "elsewhere", hostname: "primary" },
  });
  const position = openSync(mount.file, "r+");
  const proxy = await startDropIn(place, mount.dir, [
    "--target",
    `127.0.0.1:${appPort}`,
    "--wait-timeout",
    "60s",
    "--max-waiters-per-client",
    "20000",
    "--idle-timeout",
    "5m",
  ]);
  try {
    await ask(await open(proxy.port), "");
    const bystander = await open(proxy.port);
    for (let count = 0; count < 2000; count++) await ask(bystander, "");
    const before = costOf(proxy.pid);
    const sockets: Socket[] = [];
    while (sockets.length < waiting) {
      const some = Math.min(500, waiting - sockets.length);
      sockets.push(...(await Promise.all(Array.from({ length: some }, () => open(proxy.port)))));
    }
    const readAll = (): Promise<number>[] => sockets.map((socket) => ask(socket, TOKEN));
    const answers = readAll();
    await sleep(1000);

    const held = costOf(proxy.pid);
    const start = performance.now();
    await sleep(HOLD);
    const core = ((costOf(proxy.pid).cpu - held.cpu) / (performance.now() - start)) * 100;
    const times: number[] = [];
    while (performance.now() - start < HOLD * 2) {
      const sent = performance.now();
      await ask(bystander, "");
      times.push(performance.now() - sent);
      await sleep(2);
    }
    const committed = performance.now();
    writeSync(position, positionText("0000000000000002"), 0);
    const statuses = await Promise.all(answers);
    const answered = performance.now() - committed;
    const begun = performance.now();
    await Promise.all(readAll());
    const atOnce = performance.now() - begun;
    for (const socket of sockets) socket.destroy();
    return {
      place: place.name,
      waiting,
      core,
      bystander: quantile(times, 0.99),
      answered,
      atOnce,
      ok: statuses.filter((status) => status === 200).length,
      each: (held.rss - before.rss) / waiting,
    };
  } finally {
    await proxy.stop();
    mount.cleanup();
  }
}

/** Sends a request and resolves to the status of its answer; the body is short enough to come with it or soon after. */
function ask(socket: Socket, lines: string): Promise<number> {
  return new Promise((resolve) => {
    let length = 0;
    let status = 0;
    const take = (bytes: Buffer): void => {
      if (length === 0) status = Number(bytes.toString("latin1", 9, 12));
      length += bytes.length;
      if (status === 200 && length < 1024) return;
      socket.off("data", take);
      resolve(status);
    };
    socket.on("data", take);
    socket.write(`GET / HTTP/1.1\r\nHost: bench.test\r\n${lines}\r\n`);
  });
}

/** Writes the median of some values, and between what they lay. */
function spread(values: readonly number[], digits: number): string {
  const found = spreadOf(values);
  if (found === undefined) return "–";
  const [median, least, most] = [found.median, found.least, found.most].map((value) =>
    value.toFixed(digits),
  );
  return least === most ? `${median}` : `${median} (${least}–${most})`;
}

function print(place: string, waiting: number, results: readonly Result[]): void {
  const all = (value: (result: Result) => number, digits: number): string =>
    spread(results.map(value), digits);
  const cells = [
    place,
    waiting,
    all(({ ok }) => ok, 0),
    all(({ core }) => core, 1),
    all(({ bystander }) => bystander, 1),
    all(({ answered }) => answered, 0),
    all(({ atOnce }) => atOnce, 0),
    // What the first requests of a process take is no matter of how many wait.
    waiting < 1000 ? "" : all(({ each }) => each, 1),
  ];
  console.log(`| ${cells.join(" | ")} |`);
}

const app = await serveScript("app.ts");
const results: Result[] = [];
try {
  const places = findPlaces().filter(
    ({ name }) => values.place === undefined || values.place.includes(name),
  );
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const waiting of COUNTS) {
      for (const place of places) results.push(await measure(place, app.port, waiting));
    }
  }
  if (values.json) console.log(JSON.stringify(results, undefined, 2));
  else {
    console.log(
      "| | reads that wait | answered 200 | % of a core while they wait | p99 of a bystander, ms | commit to last answer, ms | as many that need not wait, ms | KiB each |",
    );
    console.log("|---|---|---|---|---|---|---|---|");
    for (const waiting of COUNTS) {
      for (const { name } of places) {
        const own = results.filter((one) => one.place === name && one.waiting === waiting);
        print(name, waiting, own);
      }
      print(
        "LiteFS 0.5.14",
        waiting,
        LITEFS.filter((one) => one.waiting === waiting),
      );
    }
  }
} finally {
  app.stop();
}
