/**
 * What a position of libSQL costs: the processor's time for each call, on a local file with a write-ahead log.
 *
 * @module
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createClient } from "@libsql/client";
import { libsql } from "../adapters/libsql.ts";
import type { Primary } from "../src/index.ts";

const primary: Primary = { at: "here" };

/** Prints the median of five rounds. The time of the clock would be that of the disk. */
async function measure(name: string, count: number, call: () => unknown): Promise<void> {
  const rounds: number[] = [];
  for (let round = 0; round < 6; round++) {
    const start = process.cpuUsage();
    for (let turn = 0; turn < count; turn++) await call();
    const { user, system } = process.cpuUsage(start);
    // The first round warms up.
    if (round > 0) rounds.push((user + system) / count);
  }
  const median = rounds.toSorted((a, b) => a - b)[2] ?? 0;
  console.log(`${name}: ${median.toFixed(1)} µs`);
}

const dir = mkdtempSync(join(tmpdir(), "storages-"));
const url = `file:${join(dir, "app.db")}`;
const app = createClient({ url });
const own = createClient({ url, concurrency: 1 });
const info = join(dir, "app.db-info");
const walIndex = join(dir, "app.db-client_wal_index");
try {
  await app.execute("PRAGMA journal_mode = wal");
  await app.execute("CREATE TABLE items (x)");
  const write = (): Promise<unknown> => app.execute("INSERT INTO items VALUES (1)");
  const shared = libsql({ client: app, primary });
  const dedicated = libsql({ client: own, dedicated: true, primary });
  await dedicated.commit();
  await measure("row: position()", 2000, () => dedicated.position());
  await measure("row: commit() when nobody has committed", 2000, () => dedicated.commit());
  await measure("a write of the app", 300, write);
  await measure("a write and commit()", 300, async () => {
    await write();
    await shared.commit();
  });
  await measure("a write and commit(), client dedicated", 300, async () => {
    await write();
    await dedicated.commit();
  });
  writeFileSync(info, '{"hash":1767926145,"version":0,"durable_frame_num":0,"generation":3}');
  const replica = libsql({ info });
  await measure("-info: position()", 20_000, () => replica.position());
  writeFileSync(walIndex, new Uint8Array(32));
  const older = libsql({ walIndex });
  await measure("-client_wal_index: position()", 20_000, () => older.position());
} finally {
  app.close();
  own.close();
  rmSync(dir, { recursive: true, force: true });
}
