// Sends events through the started drop-in, and has clients leave: `npm run bench:streams [-- --place Bun] [-- --json]`.
// Beside it stands the same without a proxy.
import { parseArgs } from "node:util";
import { dial, listen, type Origin, type Peer } from "../test/http1-wire.ts";
import { createMount } from "../test/mount.ts";
import { findPlaces, type Place, startDropIn } from "../test/wire/places.ts";
import { sleep } from "../cluster/sleep.ts";
import { quantile } from "./statistics.ts";

/** What one place took, in milliseconds. */
interface Result {
  readonly place: string;
  /** From the event's way out of the app to its arrival at the client: each sample. */
  readonly events: readonly number[];
  /** From the client's end to the end of the app's connection: each sample. */
  readonly leavings: readonly number[];
}

const EVENTS = 300;
const LEAVINGS = 100;

const HEAD =
  "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

const EVENT = "9\r\ndata: 0\n\n\r\n";

const { values } = parseArgs({
  options: { place: { type: "string" }, json: { type: "boolean", default: false } },
});

/** Opens an event stream: both ends of it. */
async function open(port: number, app: Origin): Promise<[Peer, Peer]> {
  const count = app.peers.length;
  const client = await dial(port);
  client.send("GET /events HTTP/1.1\r\nHost: bench.test\r\n\r\n");
  while (app.peers.length === count) await sleep(1);
  const peer = app.peers[count];
  if (peer === undefined) throw new Error("No connection came");
  await peer.until("\r\n\r\n");
  // With the first event, for Bun.serve sends no head alone.
  peer.send(`${HEAD}${EVENT}`);
  await client.until(EVENT);
  return [client, peer];
}

async function measure(name: string, port: number, app: Origin): Promise<Result> {
  const events: number[] = [];
  const [client, peer] = await open(port, app);
  for (let count = 0; count < EVENTS; count++) {
    const arrival = new Promise<number>((resolve) =>
      client.socket.once("data", () => resolve(performance.now())),
    );
    const start = performance.now();
    peer.send(EVENT);
    events.push((await arrival) - start);
    await sleep(2);
  }
  client.socket.destroy();
  const leavings: number[] = [];
  for (let count = 0; count < LEAVINGS; count++) {
    const [leaver, left] = await open(port, app);
    const end = new Promise<number>((resolve) => {
      for (const event of ["end", "error", "close"])
        left.socket.once(event, () => resolve(performance.now()));
    });
    const start = performance.now();
    leaver.socket.destroy();
    leavings.push((await end) - start);
  }
  return { place: name, events, leavings };
}

async function measureBehind(place: Place, app: Origin): Promise<Result> {
  const mount = createMount({ position: "0000000000000001" });
  const proxy = await startDropIn(place, mount.dir, ["--target", `127.0.0.1:${app.port}`]);
  try {
    return await measure(place.name, proxy.port, app);
  } finally {
    await proxy.stop();
    mount.cleanup();
  }
}

function spread(samples: readonly number[]): string {
  return [0.5, 0.99, 1].map((part) => quantile([...samples], part).toFixed(2)).join(" / ");
}

const app = await listen(() => {});
const results = [await measure("no proxy", app.port, app)];
for (const place of findPlaces())
  if (values.place === undefined || place.name === values.place)
    results.push(await measureBehind(place, app));
await app.close();

if (values.json) console.log(JSON.stringify(results));
else {
  console.log("Milliseconds: median / 99th percentile / longest\n");
  console.log("| | an event | a client that leaves |\n| --- | --- | --- |");
  for (const { place, events, leavings } of results)
    console.log(`| ${place} | ${spread(events)} | ${spread(leavings)} |`);
}
