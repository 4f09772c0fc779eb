import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { createClient } from "@libsql/client";
import type { Client } from "@libsql/client";
import { libsql } from "../adapters/libsql.ts";
import { connect } from "../cluster/libsql/connection.ts";
import { startLibsqlPrimary } from "../cluster/libsql/primary.ts";
import type { LibsqlPrimary } from "../cluster/libsql/primary.ts";
import { startLibsqlReplica } from "../cluster/libsql/replica.ts";
import type { LibsqlReplica } from "../cluster/libsql/replica.ts";
import { libsqlWays } from "../cluster/libsql/ways.ts";
import { createJar } from "../cluster/jar.ts";
import type { Jar } from "../cluster/jar.ts";
import { sendWritesTo } from "../cluster/notes-client.ts";
import { checkSessions } from "../cluster/session.ts";
import type { SessionOptions, SessionReport } from "../cluster/session.ts";
import { until } from "./until.ts";

const root = mkdtempSync(join(tmpdir(), "txid-libsql-"));
let replicas: readonly [LibsqlReplica, LibsqlReplica];
let primary: LibsqlPrimary;
let remote: Client;

// Processes take long to start on a machine that is busy; and what a suite is given, Node gives all of its tests together.
const patience = { timeout: 180_000 };

before(async () => {
  primary = await startLibsqlPrimary({ directory: join(root, "primary") });
  remote = createClient({ url: primary.url });
  await remote.executeMultiple(
    "CREATE TABLE notes (key TEXT PRIMARY KEY, value TEXT NOT NULL); CREATE TABLE counts (n); INSERT INTO counts VALUES (0)",
  );
  const start = (name: string): Promise<LibsqlReplica> =>
    startLibsqlReplica({ name, primary: primary.url, directory: join(root, name), interval: 20 });
  replicas = await Promise.all([start("one"), start("two")]);
}, patience);

after(async () => {
  remote.close();
  await Promise.all(replicas.map((replica) => replica.stop()));
  await primary.stop();
  rmSync(root, { recursive: true, force: true });
}, patience);

describe("libsql() with -info, beside a real embedded replica", patience, () => {
  it("covers with seen() whatever could be read, and with position() no more than what is there", async () => {
    const [{ path }] = replicas;
    // As any app on that node reads; the replica syncs in its own process, and goes on doing so.
    const connection = connect(path, true);
    const storage = libsql({ info: `${path}-info` });
    const rounds = 60;
    /** Where the primary was when each number had been written. */
    const written: string[] = [];
    const reads: { n: number; next: number; position: string; seen: string }[] = [];
    let isOver = false;

    async function note(n: number): Promise<void> {
      written[n] = (await primary.status()).index.toString(16).padStart(16, "0");
    }

    async function write(): Promise<void> {
      const n = written.length;
      await remote.execute(`UPDATE counts SET n = ${n}`);
      await note(n);
      // In the middle the frames begin anew.
      if (n === rounds / 2) await primary.roll();
    }

    async function writeAll(): Promise<void> {
      try {
        while (written.length <= rounds) await write();
        // seen() is for rows that come before the file tells of them; a replica that rests meanwhile shows none.
        await until("rows are read that the file is yet to tell of", async () => {
          await write();
          return reads.some(({ n, position }) => position < at(n));
        });
      } finally {
        isOver = true;
      }
    }

    function number(): number {
      const [[value] = []] = connection.run("SELECT n FROM counts").rows;
      return value?.type === "integer" ? Number(value.value) : NaN;
    }

    async function read(): Promise<void> {
      while (!isOver) {
        const n = number();
        const position = String(await storage.position());
        const seen = String(await storage.seen?.());
        reads.push({ n, next: number(), position, seen });
        await new Promise((resolve) => setTimeout(resolve, 0));
      }
    }

    const at = (n: number): string => written[n] ?? "";
    await note(0);
    await until(
      "the replica has the table",
      async () => ((await storage.position()) ?? "") >= at(0),
    );
    await Promise.all([writeAll(), read()]);
    assert.deepEqual(
      reads.filter(({ n, seen }) => seen < at(n)),
      [],
    );
    assert.deepEqual(
      reads.filter(({ next, position }) => next < rounds / 2 && position > at(next)),
      [],
    );
    // It never asks for what does not come to be.
    const last = at(written.length - 1);
    assert.ok(reads.every(({ seen }) => seen <= last));
    storage.close();
    connection.close();
  });
});

describe("consistency() on real embedded replicas", patience, () => {
  /** Few clients and rounds, for everything here runs at once: `npm start -- --libsql` does it with more. */
  const check = (urls: readonly string[], send?: SessionOptions["fetch"]): Promise<SessionReport> =>
    checkSessions({
      urls,
      site: "http://app.example",
      clients: 3,
      rounds: 2,
      duration: Infinity,
      fetch: send,
    });

  it("sees without it that reads are out of date, so that the check can fail", async () => {
    const [one, two] = replicas;
    await primary.setDelay(3_600_000);
    // What a replica writes brings it everything before that: the one that is read from writes nothing.
    const { stale, errors } = await check([two.url], sendWritesTo(one.url));
    // Each of the three clients looks four times in each of two rounds for what it has written.
    assert.deepEqual([stale, errors], [24, 0]);
    await primary.setDelay(200);
  });

  for (const way of libsqlWays) {
    it(`shows each client what it has written and no less than before (${way})`, async () => {
      const report = await check(replicas.map(({ consistent }) => consistent[way]));
      const { reads, writes, stale, back, errors, examples } = report;
      assert.deepEqual([reads, writes, stale, errors], [42, 6, 0, 0], examples.join("\n"));
      // With the row a read may see a write that is yet to be answered, and so it may with the index.
      if (way === "info" || way === "both") assert.equal(back, 0, examples.join("\n"));
    });
  }

  for (const way of ["info", "both"] as const) {
    it(`shows each client no less than before where a write of the replica's client has failed (${way})`, async () => {
      const [one, two] = replicas;
      const path = `/kv/failed-${way}`;
      const jar = createJar();
      await primary.setDelay(0);
      await say(jar, `${two.consistent[way]}${path}`, { method: "PUT", body: "first" });
      await untilCaughtUp();
      await primary.setDelay(3_600_000);
      await primary.partition("one");
      const { status } = await fetch(`${one.url}/kv/refused`, { method: "PUT", body: "text" });
      await primary.heal();
      assert.equal(status, 500);
      await remote.execute("UPDATE notes SET value = 'second' WHERE value = 'first'");
      const shown = [];
      for (const { consistent } of replicas)
        shown.push(await say(jar, `${consistent[way]}${path}`));
      await primary.setDelay(0);
      assert.deepEqual(shown, ["first", "first"]);
    });

    it(`lets nobody hang whose token is of a past that a restore has lost (${way})`, async () => {
      await primary.setDelay(0);
      const urls = replicas.map(({ consistent }) => consistent[way]);
      const jar = createJar();
      const ask = (url: string, init?: RequestInit): Promise<string> => say(jar, url, init);
      await ask(`${urls[0]}/kv/${way}`, { method: "PUT", body: "kept" });
      await primary.save(way);
      await ask(`${urls[0]}/kv/${way}`, { method: "PUT", body: "lost" });
      assert.equal(await ask(`${urls[1]}/kv/${way}`), "lost");
      await primary.restore(way);
      // What the row counts would go on from before; who restores says so.
      if (way === "both") await promote();
      // A replica that has not got "lost" yet shows what one shows that has the restore.
      await untilCaughtUp();
      for (const url of urls) assert.equal(await ask(`${url}/kv/${way}`), "kept");
      await ask(`${urls[1]}/kv/${way}`, { method: "PUT", body: "new" });
      assert.equal(await ask(`${urls[0]}/kv/${way}`), "new");
    });
  }

  /** Waits until both replicas have everything that the primary has. */
  async function untilCaughtUp(): Promise<void> {
    await until("both replicas have it all", async () => {
      const { generation, frame } = await primary.status();
      return replicas.every((replica) => {
        const place = placeOf(replica);
        return place.generation === generation && place.frame === frame;
      });
    });
  }

  function placeOf({ path }: LibsqlReplica): { generation: number; frame: number } {
    // The format of this file is the native client's.
    const info = JSON.parse(readFileSync(`${path}-info`, "utf8")) as Record<string, number>;
    return { generation: info["generation"] ?? 0, frame: info["durable_frame_num"] ?? 0 };
  }

  async function promote(): Promise<void> {
    const storage = libsql({ client: remote, node: "restored" });
    await storage.promote();
    storage.close();
  }

  async function say(jar: Jar, url: string, init: RequestInit = {}): Promise<string> {
    const at = new URL(url);
    const page = new URL(at.pathname, "http://app.example");
    const cookie = jar.header(page);
    const response = await fetch(at, { ...init, headers: cookie === undefined ? {} : { cookie } });
    jar.take(response.headers.getSetCookie(), page);
    return (await response.text()).trim();
  }
});
