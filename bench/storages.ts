/**
 * What a position of libSQL costs: on a local file, beside real embedded replicas of a stand-in primary, and over hrana;
 * how many bumps of the row are saved; and how long a node's event loop stands still under load.
 *
 * @module
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createClient } from "@libsql/client";
import { libsql, type LibSQLStorage, track } from "../adapters/libsql.ts";
import { openEmbedded } from "../cluster/libsql/embedded.ts";
import { startLibsqlPrimary } from "../cluster/libsql/primary.ts";
import { readyOf } from "../cluster/libsql/ready.ts";
import { startLibsqlReplica } from "../cluster/libsql/replica.ts";
import { createConsistent } from "../cluster/libsql/ways.ts";
import { start } from "../cluster/processes.ts";
import { thisRuntime, thisRuntimeVersion } from "../cluster/runtime.ts";
import { sleep } from "../cluster/sleep.ts";
import type { Primary } from "../src/index.ts";

const here: Primary = { at: "here" };
const everywhere: Primary = { at: "everywhere" };

/** How far away the primary is while the event loop is watched, in milliseconds one way. */
const DISTANCE = 10;

/** Prints the median of five rounds, of the processor's time and of the clock's. Of writes the latter is the disk's. */
async function measure(name: string, count: number, call: () => unknown): Promise<void> {
  const rounds: { readonly cpu: number; readonly wall: number }[] = [];
  for (let round = 0; round < 6; round++) {
    const [begin, before] = [performance.now(), process.cpuUsage()];
    for (let turn = 0; turn < count; turn++) await call();
    const { user, system } = process.cpuUsage(before);
    const wall = (performance.now() - begin) * 1000;
    // The first round warms up.
    if (round > 0) rounds.push({ cpu: (user + system) / count, wall: wall / count });
  }
  const median = (of: (round: { cpu: number; wall: number }) => number): string =>
    (rounds.map(of).toSorted((a, b) => a - b)[2] ?? 0).toFixed(1);
  console.log(
    `${name}: ${median(({ cpu }) => cpu)} µs, ${median(({ wall }) => wall)} µs by the clock`,
  );
}

/** Runs clients for a time, each of which rests for a moment after each turn. */
async function load(clients: number, duration: number, turn: () => Promise<void>): Promise<void> {
  const end = performance.now() + duration;
  const client = async (): Promise<void> => {
    while (performance.now() < end) {
      await turn();
      await sleep(1 + Math.random() * 4);
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
}

async function onFiles(dir: string): Promise<void> {
  console.log("\nA local file, with a write-ahead log:");
  const url = `file:${join(dir, "app.db")}`;
  const app = createClient({ url });
  const own = createClient({ url, concurrency: 1 });
  await app.execute("PRAGMA journal_mode = wal");
  await app.execute("CREATE TABLE items (x)");
  const write = (): Promise<void> => app.executeMultiple("INSERT INTO items VALUES (1)");
  const shared = libsql({ client: app, primary: here });
  const dedicated = libsql({ client: own, dedicated: true, primary: here });
  await dedicated.commit();
  await measure("row: position()", 2000, () => dedicated.position());
  await measure("row: commit() when nobody has committed, client dedicated", 2000, () =>
    dedicated.commit(),
  );
  await measure("a write of the app", 300, write);
  await measure("a write and commit()", 300, async () => {
    await write();
    await shared.commit();
  });
  await measure("a write and commit(), client dedicated", 300, async () => {
    await write();
    await dedicated.commit();
  });
  for (const [name, storage] of [
    ["client shared", shared],
    ["client dedicated", dedicated],
  ] as const) {
    await countBumps(name, storage, write);
  }
  const walIndex = join(dir, "app.db-client_wal_index");
  writeFileSync(walIndex, new Uint8Array(32));
  const older = libsql({ walIndex });
  await measure("-client_wal_index, made by hand: position()", 20_000, () => older.position());
  app.close();
  own.close();
}

/** Counts the bumps where 16 clients post and a half of what they post writes nothing. */
async function countBumps(
  name: string,
  storage: LibSQLStorage,
  write: () => Promise<void>,
): Promise<void> {
  const begin = String(await storage.position());
  let asked = 0;
  await load(16, 2000, async () => {
    if (Math.random() < 0.5) await write();
    asked += 1;
    await storage.commit();
  });
  const bumps = storage.gap?.(String(await storage.position()), begin) ?? 0;
  const saved = ((1 - bumps / asked) * 100).toFixed(0);
  console.log(`row, ${name}: ${asked} commit() of 16 clients, ${bumps} bumps: ${saved} % saved`);
}

async function onReplicas(dir: string): Promise<void> {
  const primary = await startLibsqlPrimary({ directory: join(dir, "primary") });
  const remote = createClient({ url: primary.url });
  await remote.execute("CREATE TABLE notes (key TEXT PRIMARY KEY, value TEXT NOT NULL)");
  const directory = join(dir, "embedded");
  mkdirSync(directory);
  const interval = 50;
  const near = openEmbedded({ name: "embedded", primary: primary.url, directory, interval });
  const { client, path } = near;
  console.log("\nAn embedded replica of the stand-in primary:");
  const info = libsql({ info: `${path}-info` });
  await measure("-info: position()", 20_000, () => info.position());
  await measure("-info: commit() and seen(), with the write-ahead log", 20_000, () =>
    info.seen?.(),
  );
  const row = libsql({ client, writer: remote, primary: everywhere });
  await row.commit();
  await sleep(10 * interval);
  await measure("row, with a writer: position()", 2000, () => row.position());
  await measure("row, with a writer: commit()", 100, () => row.commit());

  console.log("\nThe replication index of a server in front of another one:");
  const replica = await startLibsqlReplica({
    name: "other",
    primary: primary.url,
    directory: join(dir, "other"),
  });
  const tracker = track();
  const asking = createClient({ url: replica.apiUrl, fetch: tracker.fetch });
  const index = libsql({ client: asking, tracker });
  await measure("index: position()", 300, () => index.position());
  await measure("index: commit()", 300, () => index.commit());
  client.close();
  asking.close();
  remote.close();
  await onLoop(dir, primary.url);
}

/** Watches the event loop of this process, in which an app is that reads and writes. */
async function onLoop(dir: string, primary: string): Promise<void> {
  const runtime = thisRuntime();
  const { port } = new URL(primary);
  const relay = await start(runtime, "bench/far.ts", [port, `${DISTANCE}`], dir);
  const { url = "" } = await readyOf(relay, "the relay");
  const directory = join(dir, "far");
  mkdirSync(directory);
  const embedded = openEmbedded({ name: "far", primary: url, directory, interval: 50 });
  console.log(`\nThe longest gap of the event loop, 8 clients, a primary ${DISTANCE} ms away:`);
  for (const [way, share, name] of [
    ["both", 0, "reads only, with a sync every 50 ms"],
    ["both", 0.2, "a fifth writes, by a client of the primary (row and -info)"],
    ["info", 0.2, "a fifth writes, through the replica's own client (-info)"],
  ] as const) {
    const app = createConsistent(way, { embedded, primary: url, apiUrl: "http://127.0.0.1:1" });
    let [last, longest, count] = [performance.now(), 0, 0];
    const timer = setInterval(() => {
      const now = performance.now();
      longest = Math.max(longest, now - last);
      last = now;
    }, 1);
    await load(8, 3000, async () => {
      const write = { method: "PUT", body: "text", headers: { Txid: "0" } };
      const read = { headers: { Txid: "0" } };
      const request = Math.random() < share ? write : read;
      await (await app(new Request("http://app.test/kv/key", request))).text();
      count += 1;
    });
    clearInterval(timer);
    console.log(`${name}: ${longest.toFixed(0)} ms, ${count} requests in 3 s`);
  }
  embedded.client.close();
}

const dir = mkdtempSync(join(tmpdir(), "storages-"));
try {
  console.log(thisRuntimeVersion());
  await onFiles(dir);
  await onReplicas(dir);
} finally {
  rmSync(dir, { recursive: true, force: true });
}
// The native clients never end what they do in the background; this ends the other processes as well.
process.exit(0);
