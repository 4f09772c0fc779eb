import { createClient } from "@libsql/client";
import type { Client, Config } from "@libsql/client";
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { connect } from "../cluster/libsql/connection.ts";
import { createHrana } from "../cluster/libsql/hrana.ts";
import { startLibsqlPrimary } from "../cluster/libsql/primary.ts";
import type { LibsqlPrimary } from "../cluster/libsql/primary.ts";
import type { PipelineResponse } from "../cluster/libsql/protocol.ts";
import { startLibsqlReplica } from "../cluster/libsql/replica.ts";
import type { LibsqlReplica } from "../cluster/libsql/replica.ts";
import { fakeClock } from "./fake-clock.ts";
import { until } from "./until.ts";

const root = mkdtempSync(join(tmpdir(), "txid-libsql-"));
const clients: Client[] = [];
const embedded = new Map<string, Client>();
const replicas: LibsqlReplica[] = [];

// Long enough that nothing waits for it, and set to 0 again when the test has seen enough.
const ages = 3_600_000;

let primary: LibsqlPrimary;
let remote: Client;

function open(config: Config): Client {
  const client = createClient(config);
  clients.push(client);
  return client;
}

/** An embedded replica in this process, which asks for more when it is told to. Its file is its own. */
function embed(name: string): Client {
  const known = embedded.get(name);
  if (known !== undefined) {
    return known;
  }
  const url = `file:${join(root, name)}.db`;
  const client = open({ url, syncUrl: primary.url, authToken: name });
  embedded.set(name, client);
  return client;
}

/** Where an embedded replica is, by the file that the native client writes. */
function place(path: string): { generation: number; frame: number } {
  // The format of this file is the native client's.
  const info = JSON.parse(readFileSync(`${path}-info`, "utf8")) as Record<string, number>;
  return { generation: info["generation"] ?? 0, frame: info["durable_frame_num"] ?? 0 };
}

function placeOf(name: string): { generation: number; frame: number } {
  return place(`${join(root, name)}.db`);
}

async function end(): Promise<{ generation: number; frame: number }> {
  const { generation, frame } = await primary.status();
  return { generation, frame };
}

async function names(client: Client): Promise<string[]> {
  const { rows } = await client.execute("SELECT name FROM things ORDER BY id");
  return rows.map((row) => String(row["name"]));
}

/** Checks the file, past the embedded replica: that one would send the PRAGMA to the primary. */
async function isWhole(name: string): Promise<void> {
  const client = createClient({ url: `file:${join(root, name)}.db` });
  const { rows } = await client.execute("PRAGMA integrity_check");
  client.close();
  assert.equal(rows[0]?.[0], "ok");
}

function insert(name: string): { sql: string; args: string[] } {
  return { sql: "INSERT INTO things (name) VALUES (?)", args: [name] };
}

after(async () => {
  for (const client of clients) {
    client.close();
  }
  await Promise.all([...replicas, primary].map((started) => started.stop()));
  rmSync(root, { recursive: true, force: true, maxRetries: 5 });
});

// What starts processes may take long on a machine that is busy. No hooks for that: Bun gives a hook 5 s, whatever it asks
// for.
const patience = { timeout: 60_000 };

describe("startLibsqlPrimary()", () => {
  it("starts with an empty database, in a process of its own", patience, async () => {
    primary = await startLibsqlPrimary({ directory: join(root, "primary") });
    remote = open({ url: primary.url });
    assert.deepEqual(await end(), { generation: 1, frame: 0 });
    assert.notEqual(primary.process().pid, process.pid);
  });

  it("gives a client over HTTP each type of value back, and errors with their codes", async () => {
    await remote.execute("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT UNIQUE, more)");
    const big = 2n ** 62n;
    const bytes = new Uint8Array([0, 1, 254, 255]);
    const sql = "SELECT ? AS i, ? AS f, ? AS t, ? AS b, ? AS n, typeof(?) AS r";
    const precise = open({ url: primary.url, intMode: "bigint" });
    const { columns, rows } = await precise.execute({ sql, args: [big, 1.5, "é", bytes, null, 2] });
    assert.deepEqual(columns, ["i", "f", "t", "b", "n", "r"]);
    const row = rows[0];
    assert.deepEqual(
      [row?.[0], row?.[1], row?.[2], row?.[4], row?.[5]],
      [big, 1.5, "é", null, "real"],
    );
    assert.ok(row?.[3] instanceof ArrayBuffer);
    assert.deepEqual(new Uint8Array(row[3]), bytes);
    const named = await remote.execute({
      sql: "SELECT :a || @b || $c",
      args: { a: "x", b: "y", c: "z" },
    });
    assert.equal(named.rows[0]?.[0], "xyz");
    const written = await remote.execute(insert("first"));
    assert.deepEqual([written.rowsAffected, written.lastInsertRowid], [1, 1n]);
    const returned = await remote.execute("UPDATE things SET more = 1 RETURNING id, more AS m");
    assert.deepEqual([returned.columns, returned.rowsAffected], [["id", "m"], 1]);
    await assert.rejects(remote.execute(insert("first")), { code: "SQLITE_CONSTRAINT" });
    await assert.rejects(remote.execute("SELECT * FROM nothing"), { code: "SQL_INPUT_ERROR" });
    await assert.rejects(remote.execute("PRAGMA wal_checkpoint"), /Unsupported statement/);
  });

  it("runs batches and transactions whole or not at all", async () => {
    await assert.rejects(remote.batch([insert("lost"), insert("first")], "write"), {
      code: "SQLITE_CONSTRAINT",
    });
    const results = await remote.batch([insert("second"), "SELECT count(*) FROM things"], "write");
    assert.equal(results[1]?.rows[0]?.[0], 2);
    const kept = await remote.transaction("write");
    await kept.execute(insert("third"));
    assert.deepEqual(await names(remote), ["first", "second"]);
    // It waits for the transaction, and goes on when that is over.
    const waits = remote.execute(insert("fourth"));
    await kept.commit();
    await waits;
    const dropped = await remote.transaction("write");
    await dropped.execute(insert("dropped"));
    await dropped.rollback();
    await remote.executeMultiple("UPDATE things SET more = 2; UPDATE things SET more = 3;");
    await remote.execute(insert("fifth"));
    assert.deepEqual(await names(remote), ["first", "second", "third", "fourth", "fifth"]);
  });

  it("tells the replication index where sqld does, as text", async () => {
    const told: string[] = [];
    const watched = open({
      url: primary.url,
      async fetch(request: Request) {
        const response = await fetch(request);
        const text = await response.clone().text();
        told.push(...(text.match(/"replication_index":[^,}]+/g) ?? []));
        return response;
      },
    });
    const begin = (await primary.status()).index;
    await watched.execute("UPDATE things SET more = 4");
    const { index } = await primary.status();
    assert.ok(index > begin);
    await watched.batch(["SELECT 1", "SELECT 2"], "read");
    const here = `"replication_index":"${index}"`;
    const none = `"replication_index":null`;
    // One for a statement; one for a batch as a whole, and none for its steps, which include BEGIN, COMMIT and ROLLBACK.
    assert.deepEqual(told, [here, ...told.slice(1, -1).map(() => none), here]);
    assert.ok(told.length > 2);
  });

  it("feeds an embedded replica, and runs what that writes", async () => {
    const replica = embed("a");
    assert.deepEqual(placeOf("a"), { generation: 1, frame: 0 });
    await replica.sync();
    assert.deepEqual(placeOf("a"), await end());
    assert.deepEqual(await names(replica), await names(remote));

    await replica.execute(insert("sixth"));
    assert.deepEqual((await names(replica)).at(-1), "sixth");
    assert.deepEqual(placeOf("a"), await end());
    const returned = await replica.execute(
      "INSERT INTO things (name) VALUES ('seventh') RETURNING name",
    );
    assert.equal(returned.rows[0]?.["name"], "seventh");
    await replica.batch([insert("eighth"), insert("ninth")], "write");
    await assert.rejects(replica.batch([insert("lost"), insert("ninth")], "write"), /UNIQUE/);
    const kept = await replica.transaction("write");
    await kept.execute(insert("tenth"));
    assert.equal((await kept.execute("SELECT count(*) FROM things")).rows[0]?.[0], 10);
    await kept.commit();
    const dropped = await replica.transaction("write");
    await dropped.execute(insert("dropped"));
    await dropped.rollback();
    const bytes = new Uint8Array(70_000).fill(7);
    await replica.execute({ sql: "UPDATE things SET more = ? WHERE id = 1", args: [bytes] });
    await replica.sync();
    const { rows } = await replica.execute("SELECT more FROM things WHERE id = 1");
    const more = rows[0]?.["more"];
    assert.ok(more instanceof ArrayBuffer);
    assert.deepEqual(new Uint8Array(more), bytes);
    assert.deepEqual(await names(replica), await names(remote));
    assert.deepEqual(placeOf("a"), await end());
    await isWhole("a");
  });

  it("ships a transaction that is longer than what a replica asks for at once", async () => {
    const replica = embed("a");
    const before = (await end()).frame;
    await remote.executeMultiple(
      `CREATE TABLE long (id INTEGER PRIMARY KEY, bytes BLOB);
       WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
       INSERT INTO long (bytes) SELECT zeroblob(4000) FROM n;`,
    );
    assert.ok((await end()).frame - before > 2 * 128);
    await replica.sync();
    assert.deepEqual(placeOf("a"), await end());
    assert.equal((await replica.execute("SELECT count(*) FROM long")).rows[0]?.[0], 300);
  });

  it("ships nothing of a transaction that is taken back, though the log has had pages of it", async () => {
    const replica = embed("a");
    const known = await end();
    const big = await remote.transaction("write");
    // More than SQLite keeps in memory.
    await big.execute(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
       INSERT INTO long (bytes) SELECT randomblob(4000) FROM n`,
    );
    await replica.sync();
    assert.deepEqual(placeOf("a"), known);
    await big.rollback();
    await remote.execute("DELETE FROM long WHERE id > 10");
    await replica.sync();
    assert.deepEqual(placeOf("a"), await end());
    assert.equal((await replica.execute("SELECT count(*) FROM long")).rows[0]?.[0], 10);
    await isWhole("a");
  });

  it("holds transactions back from the others, never from the one that wrote", async () => {
    const [writer, reader] = [embed("a"), embed("b")];
    await reader.sync();
    const known = await end();
    await primary.setDelay(ages);
    await remote.execute(insert("late"));
    await reader.sync();
    assert.deepEqual(placeOf("b"), known);
    assert.equal((await names(reader)).includes("late"), false);
    await writer.execute(insert("own"));
    assert.deepEqual((await names(writer)).slice(-2), ["late", "own"]);
    await reader.sync();
    assert.deepEqual(placeOf("b"), known);
    assert.deepEqual((await primary.status("b")).frame, known.frame);
    await primary.setDelay(0, "b");
    await reader.sync();
    assert.deepEqual(placeOf("b"), await end());
    await primary.setDelay(0);
  });

  it("runs what a replica's client reads in a batch or a transaction, in every mode", async () => {
    const replica = embed("a");
    await replica.sync();
    const before = await names(replica);
    await primary.setDelay(ages);
    await remote.execute(insert("on the primary alone"));
    const sql = "SELECT name FROM things ORDER BY id";
    for (const mode of ["read", "deferred", "write"] as const) {
      const [batched] = await replica.batch([sql], mode);
      const transaction = await replica.transaction(mode);
      const { rows } = await transaction.execute(sql);
      await transaction.rollback();
      assert.deepEqual([batched?.rows.length, rows.length], [before.length + 1, before.length + 1]);
      // What is in none comes from the replica's file.
      assert.deepEqual(await names(replica), before);
    }
    const file = createClient({ url: `file:${join(root, "a")}.db` });
    const [local] = await file.batch([sql], "read");
    file.close();
    assert.equal(local?.rows.length, before.length);
    await primary.setDelay(0);
  });

  it("takes replicas along into a new generation, those that are behind as well", async () => {
    const [near, far] = [embed("a"), embed("b")];
    await near.sync();
    await far.sync();
    await remote.execute(insert("old generation"));
    await near.sync();
    const open = await remote.transaction("write");
    await open.execute(insert("dropped"));
    await assert.rejects(primary.roll(), /a transaction is open/);
    await open.rollback();
    await remote.execute(insert("in the generation that goes on"));
    await near.sync();
    assert.deepEqual(await names(near), await names(remote));
    await primary.roll();
    assert.deepEqual(await end(), { generation: 2, frame: 0 });
    for (const [name, replica] of [
      ["a", near],
      ["b", far],
      ["c", embed("c")],
    ] as const) {
      await replica.sync();
      assert.deepEqual(placeOf(name), { generation: 2, frame: 0 });
      assert.deepEqual(await names(replica), await names(remote));
    }
    await remote.execute(insert("new generation"));
    assert.equal((await end()).generation, 2);
    await far.sync();
    assert.deepEqual(placeOf("b"), await end());
    assert.equal((await names(far)).at(-1), "new generation");
  });

  it("goes back to what was saved, and its replicas with it", async () => {
    const replica = embed("a");
    await primary.save("before");
    await remote.executeMultiple(
      "CREATE TABLE mistake (x); INSERT INTO things (name) VALUES ('lost')",
    );
    await replica.sync();
    assert.equal((await names(replica)).at(-1), "lost");
    const lost = await primary.status();
    await primary.restore("before");
    assert.ok((await primary.status()).index > lost.index);
    await remote.execute(insert("found"));
    for (const [name, one] of [
      ["a", replica],
      ["b", embed("b")],
      ["d", embed("d")],
    ] as const) {
      await one.sync();
      assert.deepEqual(placeOf(name), await end());
      assert.deepEqual((await names(one)).slice(-2), ["new generation", "found"]);
      await assert.rejects(one.execute("SELECT * FROM mistake"), /no such table/);
      await isWhole(name);
    }
  });

  it("cuts a replica off, and lets it catch up", async () => {
    const replica = embed("a");
    await primary.partition("a");
    await remote.execute(insert("while cut off"));
    await assert.rejects(replica.sync());
    await assert.rejects(replica.execute(insert("never")));
    assert.equal((await names(replica)).at(-1), "found");
    await primary.heal();
    await replica.sync();
    assert.equal((await names(replica)).at(-1), "while cut off");

    // By hand from here: the native client tries again for 12 seconds, or waits for ever.
    const headers = { Authorization: "Bearer a" };
    await primary.partition("a", "unavailable");
    const refused = await fetch(`${primary.url}/info`, { headers });
    await refused.body?.cancel();
    assert.equal(refused.status, 503);
    await primary.partition("a", "hang");
    const signal = AbortSignal.timeout(100);
    await assert.rejects(fetch(`${primary.url}/info`, { headers, signal }), {
      name: "TimeoutError",
    });
    await primary.heal();
  });

  it("goes on after it was killed, in the same generation", patience, async () => {
    const replica = embed("a");
    const known = await end();
    await primary.stop();
    await assert.rejects(replica.sync());
    assert.equal((await names(replica)).at(-1), "while cut off");
    await primary.restart();
    assert.deepEqual(await end(), known);
    await remote.execute(insert("after the restart"));
    await replica.sync();
    assert.deepEqual(placeOf("a"), await end());
    assert.deepEqual((await names(replica)).slice(-2), ["while cut off", "after the restart"]);
    await isWhole("a");
  });
});

describe("createHrana()", () => {
  it("takes back a transaction that is left alone, and lets others go on", async () => {
    const clock = fakeClock();
    const path = join(root, "hrana.db");
    const hrana = createHrana({
      connect: () => connect(path),
      index: () => 7,
      reach: () => Promise.resolve(),
      streamTimeout: 100,
      busyTimeout: 200,
      clock,
    });
    const ask = (sql: string, baton?: string | null): Promise<PipelineResponse> =>
      hrana.pipeline({ baton: baton ?? null, requests: [{ type: "execute", stmt: { sql } }] });
    await ask("PRAGMA user_version = 1");
    const { baton } = await ask("BEGIN IMMEDIATE");
    const { baton: later } = await ask("PRAGMA user_version = 2", baton);
    await assert.rejects(ask("COMMIT", baton), { code: "STREAM_EXPIRED" });
    const other = ask("CREATE TABLE other (x)");
    await clock.advance(99);
    await assert.rejects(ask("COMMIT", "unknown"), { code: "STREAM_EXPIRED" });
    await clock.advance(1);
    await assert.rejects(ask("COMMIT", later), { code: "STREAM_EXPIRED" });
    await clock.advance(2);
    assert.equal((await other).results[0]?.type, "ok");
    const connection = connect(path);
    assert.deepEqual(connection.run("PRAGMA user_version").rows, [
      [{ type: "integer", value: "1" }],
    ]);
    connection.close();
    hrana.reset();
  });
});

describe("startLibsqlReplica()", () => {
  let one: LibsqlReplica;
  let two: LibsqlReplica;

  async function get(replica: LibsqlReplica, key: string): Promise<string> {
    const response = await fetch(`${replica.url}/kv/${key}`);
    return response.ok ? response.text() : `${response.status} ${(await response.text()).trim()}`;
  }

  async function put(replica: LibsqlReplica, key: string, value: string): Promise<void> {
    const response = await fetch(`${replica.url}/kv/${key}`, { method: "PUT", body: value });
    assert.equal(await response.text(), "Written\n");
  }

  it("starts the app on an embedded replica, in a process of its own", patience, async () => {
    await remote.execute("CREATE TABLE notes (key TEXT PRIMARY KEY, value TEXT NOT NULL)");
    const start = (name: string): Promise<LibsqlReplica> =>
      startLibsqlReplica({ name, primary: primary.url, directory: join(root, name), interval: 20 });
    [one, two] = await Promise.all([start("r1"), start("r2")]);
    replicas.push(one, two);
    await until("both have the table", async () => {
      const seen = await Promise.all([get(one, "none"), get(two, "none")]);
      return seen.every((text) => text === "404 No such note");
    });
  });

  it("runs the app, and shows what another one wrote after the delay and not before", async () => {
    await primary.setDelay(300);
    const begin = Date.now();
    await put(one, "k", "v");
    assert.equal(await get(one, "k"), "v");
    await until("the other one has it", async () => (await get(two, "k")) === "v");
    assert.ok(Date.now() - begin >= 300);
    // The native client writes its place after the rows.
    const { frame } = await end();
    await until("it says so", () => place(two.path).frame === frame);
    const hello = await (await fetch(two.url)).text();
    const txid = (await primary.status()).index.toString(16).padStart(16, "0");
    assert.match(hello, new RegExp(`^Node r2 on \\w+ [0-9.]+ at ${txid}\n$`));
    await primary.setDelay(0);
  });

  it("answers over hrana as an sqld that follows: late, at once on the primary, or when it is there", async () => {
    const told = { index: "0", atLeast: undefined as string | undefined };
    const client = open({
      url: two.apiUrl,
      async fetch(request: Request) {
        const body = await request.text();
        const asked = JSON.parse(body) as { requests: { stmt?: Record<string, unknown> }[] };
        for (const { stmt } of asked.requests) {
          if (stmt !== undefined && told.atLeast !== undefined) {
            stmt["replication_index"] = told.atLeast;
          }
        }
        const { url, method, headers } = request;
        const response = await fetch(url, { method, headers, body: JSON.stringify(asked) });
        const [, index] = /"replication_index":"(\d+)"/.exec(await response.clone().text()) ?? [];
        told.index = index ?? told.index;
        return response;
      },
    });
    await primary.setDelay(ages);
    const before = place(two.path);
    await client.execute("INSERT INTO notes VALUES ('late', 'by HTTP')");
    const written = told.index;
    assert.equal(written, String((await primary.status()).index));
    const read = async (): Promise<unknown> =>
      (await client.execute("SELECT value FROM notes WHERE key = 'late'")).rows[0]?.[0];
    assert.equal(await read(), undefined);
    assert.equal(told.index, String(before.generation * 2 ** 32 + before.frame));
    const tx = await client.transaction("write");
    assert.equal((await tx.execute("SELECT count(*) FROM notes")).rows[0]?.[0], 2);
    await tx.rollback();
    told.atLeast = written;
    const waits = read();
    const early = await Promise.race([
      waits,
      new Promise((resolve) => setTimeout(resolve, 100, "waits")),
    ]);
    assert.equal(early, "waits");
    await primary.setDelay(0);
    assert.equal(await waits, "by HTTP");
    assert.equal(told.index, written);
  });

  it("goes on after it was killed, with what it had", patience, async () => {
    await primary.setDelay(ages, "r2");
    const known = place(two.path);
    await put(one, "k", "while it was down");
    await two.restart();
    assert.deepEqual(place(two.path), known);
    assert.equal(await get(two, "k"), "v");
    await primary.setDelay(0, "r2");
    await until("it has the rest", async () => (await get(two, "k")) === "while it was down");
  });
});
