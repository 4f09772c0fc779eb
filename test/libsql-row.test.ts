import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import type { Client } from "@libsql/client";
import fc from "fast-check";
import { libsql, type LibSQLClient, type LibSQLRowStorage } from "../adapters/libsql.ts";
import { createProxy, type Position, type Primary } from "../src/index.ts";
import { fakeClock, settled } from "./fake-clock.ts";
import { createDatabases, type Databases } from "./libsql-databases.ts";
import { storageContract, untilTrue } from "./storage-contract.ts";

const HERE: Primary = { at: "here" };

for (const mode of ["wal", "delete"] as const) {
  storageContract(
    `libsql() with the row, on a copy of a primary with journal_mode ${mode}`,
    async () => {
      const databases = await createDatabases(mode);
      const primary = libsql({ client: databases.primary, primary: HERE });
      await primary.commit();
      await databases.ship();
      return {
        storage: libsql({ client: databases.replica, node: "node-r" }),
        advance: async () => {
          await databases.write();
          const position = await primary.commit();
          await databases.ship();
          return position ?? assert.fail("the row is not there");
        },
        rewind: async () => {
          await databases.restore(0);
          await databases.ship();
          return (await primary.position()) ?? assert.fail("the row is not there");
        },
        drop: async () => {
          await databases.primary().execute("DROP TABLE _txid");
          await databases.ship();
        },
        spoil: databases.breakReplica,
        setPrimary: async (role) => {
          await databases.primary().execute({
            sql: "UPDATE _txid SET primary_node = ?",
            args: [nameOf(role)],
          });
          await databases.ship();
        },
        cleanup: databases.cleanup,
      };
    },
    ["setLag"],
  );
}

storageContract(
  "libsql() with the row, on the primary",
  async () => {
    const databases = await createDatabases();
    let role: Primary = { at: "here" };
    const writer = libsql({ client: databases.primary, primary: HERE });
    const client = databases.open({ concurrency: 1 });
    return {
      storage: libsql({ client, dedicated: true, primary: () => role }),
      advance: async () => {
        await databases.write();
        return (await writer.commit()) ?? assert.fail("the row is not there");
      },
      drop: async () => void (await databases.primary().execute("DROP TABLE IF EXISTS _txid")),
      setPrimary: (primary) => {
        role = primary;
      },
      cleanup: databases.cleanup,
    };
  },
  ["rewind", "spoil", "setLag"],
);

function nameOf(role: Primary): string | null {
  if (role.at === "elsewhere") return role.hostname;
  return role.at === "here" ? "node-r" : null;
}

/** A client that counts, and can be made to fail. */
interface Counted extends LibSQLClient {
  /** The first words of what was asked, in order. */
  readonly asked: string[];
  /** Throws this instead of asking, as often as it is there. */
  readonly failures: Error[];
}

function counted(client: LibSQLClient): Counted {
  const asked: string[] = [];
  const failures: Error[] = [];
  return {
    asked,
    failures,
    execute: async (sql) => {
      note(sql);
      return client.execute(sql);
    },
    executeMultiple: async (sql) => {
      note(sql);
      return client.executeMultiple(sql);
    },
    reconnect: () => client.reconnect?.(),
  };

  function note(sql: string): void {
    asked.push(sql.split(" ")[0] ?? "");
    const failure = failures.shift();
    if (failure !== undefined) throw failure;
  }
}

function coded(code: string): Error {
  return Object.assign(new Error(code), { code });
}

function bumps({ asked }: Counted): number {
  return asked.filter((word) => word === "UPDATE").length;
}

describe("libsql() with the row", () => {
  let databases: Databases;
  let client: Counted;

  beforeEach(async () => {
    databases = await createDatabases();
    client = counted(databases.primary());
  });
  afterEach(() => databases.cleanup());

  describe("position()", () => {
    it("is undefined where there is no table, no row and no database yet", async () => {
      const storage = libsql({ client, node: "a" });
      assert.equal(await storage.position(), undefined);
      await storage.promote();
      await client.execute("DELETE FROM _txid");
      assert.equal(await storage.position(), undefined);
    });

    it("has 16 lower-case hexadecimal digits, the first six of them for the epoch", async () => {
      const storage = libsql({ client, primary: HERE });
      await storage.commit();
      await client.execute("UPDATE _txid SET epoch = 10, n = 1099511627774");
      assert.equal(await storage.position(), "00000afffffffffe");
      assert.equal(await storage.commit(), "00000affffffffff");
    });

    it("throws where the row holds no position, and where nothing more fits", async () => {
      const storage = libsql({ client, primary: HERE });
      await storage.commit();
      for (const change of [
        "n = 1099511627776",
        "n = -1",
        "n = 1.5",
        "n = 'many'",
        "epoch = 16777216",
        "n = 3, history = ''",
        "history = 'a/b'",
      ]) {
        await client.execute(`UPDATE _txid SET ${change}`);
        await assert.rejects(async () => storage.position(), Error, change);
        await client.execute("UPDATE _txid SET epoch = 1, n = 1, history = 'h'");
      }
    });

    it("throws what the client throws, and never says that there is no table instead", async () => {
      const storage = libsql({ client, primary: HERE });
      for (const error of [coded("SQLITE_IOERR"), new Error("no such table: items")]) {
        client.failures.push(error);
        await assert.rejects(async () => storage.position(), error);
      }
      databases.primary().close();
      await assert.rejects(async () => storage.position(), /closed/);
      await assert.rejects(async () => storage.commit(), /closed/);
      await assert.rejects(async () => storage.promote(), /closed/);
    });

    it("reads integers in each of the client's ways", async () => {
      const values = [(value: number) => BigInt(value), String, Number];
      const storage = libsql({ client, primary: HERE });
      const position = await storage.commit();
      for (const way of values) {
        const other: LibSQLClient = {
          executeMultiple: client.executeMultiple,
          execute: async (sql) => {
            const { rows } = await client.execute(sql);
            return {
              rows: rows.map((row) => ({
                ...row,
                epoch: way(Number(row["epoch"])),
                n: way(Number(row["n"])),
                history: row["history"],
                primary_node: row["primary_node"],
              })),
            };
          },
        };
        assert.equal(await libsql({ client: other, primary: HERE }).position(), position);
      }
    });

    it("waits while the database is busy, leaving the event loop alone", async () => {
      const storage = libsql({ client, primary: HERE });
      const position = await storage.commit();
      client.failures.push(coded("SQLITE_BUSY"), coded("SQLITE_BUSY_SNAPSHOT"));
      client.failures.push(coded("SQLITE_LOCKED"), coded("TRANSACTION_ACTIVE"));
      assert.equal(await storage.position(), position);
    });

    it("gives up on a database that does not answer", async () => {
      const clock = fakeClock();
      const silent: LibSQLClient = {
        execute: () => new Promise(() => {}),
        executeMultiple: () => new Promise(() => {}),
      };
      const storage = libsql({ client: silent, primary: HERE, clock });
      const answer = assert.rejects(async () => storage.position(), /no answer in 5000 ms/);
      await clock.advance(5000);
      await answer;
      assert.equal(clock.timers(), 0);
    });
  });

  describe("commit()", () => {
    it("creates the table with the first commit on the primary", async () => {
      const storage = libsql({ client, primary: HERE, table: "Positions" });
      const first = await storage.commit();
      assert.match(first ?? "", /^[0-9a-f]{6}0000000001$/);
      assert.equal(await storage.position(), first);
      const { rows } = await databases.primary().execute("SELECT count(*) AS n FROM Positions");
      assert.equal(rows[0]?.["n"], 1);
    });

    it("writes nothing on a node that is not the primary", async () => {
      await libsql({ client, node: "a" }).promote();
      const roles: Primary[] = [{ at: "elsewhere", hostname: "a" }, { at: "unknown" }];
      const others = [
        libsql({ client, node: "b" }),
        ...roles.map((primary) => libsql({ client, primary })),
      ];
      client.asked.length = 0;
      for (const other of others) assert.equal(await other.commit(), await other.position());
      assert.equal(bumps(client), 0);
    });

    it("writes nothing when another node has taken over in the last moment", async () => {
      const a = libsql({ client, node: "a" });
      await a.promote();
      assert.deepEqual(await a.primary(), HERE);
      const taken = await libsql({ client, node: "b" }).promote();
      assert.equal(await a.commit(), taken);
    });

    it("goes through the writer, where every node takes writes", async () => {
      const writer = counted(databases.open());
      await databases.ship();
      const storage = libsql({ client: databases.replica, writer, primary: { at: "everywhere" } });
      const position = await storage.commit();
      assert.equal(await storage.position(), undefined);
      await databases.ship();
      assert.equal(await storage.position(), position);
      assert.equal(storage.historyAt?.(position ?? ""), storage.historyAt?.(position ?? ""));
      assert.ok(bumps(writer) > 0);
    });

    it("shares a bump that begins after each of the calls", async () => {
      const storage = libsql({ client, primary: HERE });
      await storage.commit();
      client.asked.length = 0;
      const positions = await Promise.all(
        Array.from({ length: 100 }, async () => storage.commit()),
      );
      assert.equal(bumps(client), 1);
      assert.equal(new Set(positions).size, 1);
      const first = storage.commit();
      await Promise.resolve();
      await Promise.resolve();
      const late = await Promise.all([storage.commit(), storage.commit()]);
      assert.ok(((await first) ?? "") < (late[0] ?? ""));
      assert.equal(late[0], late[1]);
      assert.equal(bumps(client), 3);
    });

    it("goes on after a bump that has failed", async () => {
      const storage = libsql({ client, primary: HERE });
      await storage.commit();
      client.failures.push(coded("SQLITE_FULL"));
      const both = await Promise.allSettled([storage.commit(), storage.commit()]);
      assert.deepEqual(
        both.map(({ status }) => status),
        ["rejected", "rejected"],
      );
      assert.equal(await storage.commit(), await storage.position());
    });

    it("waits for an open transaction to end, while the event loop goes on", async () => {
      const storage = libsql({ client, primary: HERE });
      const before = await storage.commit();
      const transaction = await databases.open().transaction("write");
      await transaction.execute("INSERT INTO items DEFAULT VALUES");
      let ended = false;
      const commit = Promise.resolve(storage.commit()).finally(() => {
        ended = true;
      });
      for (let turn = 0; turn < 5; turn++) {
        await new Promise((resolve) => setTimeout(resolve, 5));
        assert.equal(ended, false);
      }
      assert.equal(await storage.position(), before);
      await transaction.commit();
      const position = (await commit) ?? "";
      assert.ok(position > (before ?? ""));
      assert.ok(bumps(client) > 3);
      // A statement that was refused and stays open would keep the lock, and hide what is committed after it.
      const reader = libsql({ client: databases.open(), primary: HERE });
      assert.equal(await reader.position(), position);
      await databases.open().execute("INSERT INTO items DEFAULT VALUES");
    });

    it("throws when the database stays busy for too long", async () => {
      const storage = libsql({ client, primary: HERE, timeout: 30 });
      await storage.commit();
      const transaction = await databases.open().transaction("write");
      await assert.rejects(async () => storage.commit(), { code: "SQLITE_BUSY" });
      await transaction.rollback();
      await storage.commit();
    });

    it("throws where the database cannot be written", async () => {
      const readonly = databases.open({ concurrency: 1 });
      await readonly.execute("PRAGMA query_only = 1");
      const storage = libsql({ client: readonly, primary: HERE });
      await assert.rejects(async () => storage.commit(), { code: "SQLITE_READONLY" });
    });
  });

  describe("commit() with a client of its own", () => {
    let dedicated: Counted;
    let storage: LibSQLRowStorage;
    let own: Client;

    beforeEach(async () => {
      own = databases.open({ concurrency: 1 });
      dedicated = counted(own);
      storage = libsql({ client: dedicated, dedicated: true, primary: HERE });
      await storage.commit();
      await storage.commit();
      dedicated.asked.length = 0;
    });

    it("bumps nothing when nobody else has committed", async () => {
      const before = await storage.position();
      for (let turn = 0; turn < 5; turn++) assert.equal(await storage.commit(), before);
      assert.equal(bumps(dedicated), 0);
      const reader = await databases.open().transaction("write");
      await reader.execute("INSERT INTO items DEFAULT VALUES");
      await reader.rollback();
      assert.equal(await storage.commit(), before);
      assert.equal(bumps(dedicated), 0);
    });

    it("bumps once for each time that somebody has: rows, tables, nothing but an index", async () => {
      let last = await storage.position();
      for (const sql of [
        "INSERT INTO items DEFAULT VALUES",
        "CREATE TABLE more (x)",
        "CREATE INDEX by_x ON more (x)",
        "DELETE FROM items",
        "DROP TABLE more",
      ]) {
        dedicated.asked.length = 0;
        await databases.primary().execute(sql);
        const position = await storage.commit();
        assert.ok((position ?? "") > (last ?? ""), sql);
        assert.equal(await storage.commit(), position);
        assert.equal(bumps(dedicated), 1);
        last = position;
      }
    });

    it("bumps after a bump and after a promotion of somebody else's", async () => {
      const other = libsql({ client, primary: HERE });
      const position = await other.commit();
      assert.ok(((await storage.commit()) ?? "") > (position ?? ""));
      const raised = await other.promote();
      assert.ok(((await storage.commit()) ?? "") > raised);
    });

    it("bumps after its own promotion", async () => {
      const raised = await storage.promote();
      assert.ok(((await storage.commit()) ?? "") >= raised);
      assert.equal(await storage.commit(), await storage.position());
    });

    it("lets go of what a read has locked that met a commit, without a write-ahead log", async () => {
      const rollback = await createDatabases("delete");
      try {
        const own = rollback.open({ concurrency: 1 });
        const locked = libsql({ client: own, dedicated: true, primary: HERE });
        const before = await locked.commit();
        const other = rollback.open({ concurrency: 1 });
        await other.execute("PRAGMA locking_mode = exclusive");
        await other.execute("INSERT INTO items DEFAULT VALUES");
        const position = locked.position();
        await new Promise((resolve) => setTimeout(resolve, 10));
        await other.execute("PRAGMA locking_mode = normal");
        await other.execute("SELECT * FROM items");
        assert.equal(await position, before);
        await rollback.open().execute("INSERT INTO items DEFAULT VALUES");
      } finally {
        rollback.cleanup();
      }
    });

    it("is not taken in by a connection that was opened anew and counts as far", async () => {
      const versionOf = async (): Promise<unknown> =>
        (await own.execute("PRAGMA data_version")).rows[0]?.["data_version"];
      const before = await versionOf();
      await databases.write();
      own.reconnect();
      for (let turn = 0; turn < 20 && (await versionOf()) !== before; turn++)
        await databases.write();
      assert.equal(await versionOf(), before);
      const last = await storage.position();
      assert.ok(((await storage.commit()) ?? "") > (last ?? ""));
    });

    it("bumps even when the app writes through it by mistake", async () => {
      const last = await storage.position();
      await own.execute("INSERT INTO items DEFAULT VALUES");
      assert.ok(((await storage.commit()) ?? "") > (last ?? ""));
    });
  });

  describe("promote()", () => {
    it("names this node, in a new database as well", async () => {
      const [a, b] = [libsql({ client, node: "a" }), libsql({ client, node: "b" })];
      assert.deepEqual(await a.primary(), { at: "unknown" });
      await a.promote();
      assert.deepEqual(await a.primary(), HERE);
      assert.deepEqual(await b.primary(), { at: "elsewhere", hostname: "a" });
      await b.promote();
      assert.deepEqual(await b.primary(), HERE);
      await untilTrue(async () => (await a.primary()).at === "elsewhere");
    });

    it("begins above every token of a past that was lost", async () => {
      const a = libsql({ client, node: "a" });
      await a.promote();
      await databases.ship();
      const lost: Position[] = [];
      for (let turn = 0; turn < 5; turn++) lost.push((await a.commit()) ?? "");
      const b = libsql({ client: databases.replica, node: "b" });
      const first = await b.promote();
      for (const token of lost) assert.ok(first > token);
      assert.equal(await b.position(), first);
    });

    it("does so after a restore from before an earlier promotion, too, once ten minutes have passed", async () => {
      const clock = { ...fakeClock(), date: () => now };
      let now = Date.UTC(2026, 5, 1);
      const storage = libsql({ client: databases.primary, node: "a", clock });
      await storage.promote();
      await databases.ship();
      now += 3_600_000;
      const lost = await storage.promote();
      await databases.restore(0);
      now += 600_000;
      assert.ok((await storage.promote()) > lost);
    });

    it("raises the epoch with a clock that stands still or has gone back", async () => {
      let now = Date.UTC(2026, 5, 1);
      const clock = { ...fakeClock(), date: () => now };
      const storage = libsql({ client, node: "a", clock });
      let last = await storage.promote();
      for (const date of [now, now - 1e9, 0]) {
        now = date;
        const next = await storage.promote();
        assert.equal(
          next.slice(0, 6),
          (Number.parseInt(last.slice(0, 6), 16) + 1).toString(16).padStart(6, "0"),
        );
        last = next;
      }
    });

    it("leaves the row alone where a clock that is wrong or the last epoch would make it unreadable", async () => {
      let now = Date.UTC(2500, 0, 1);
      const clock = { ...fakeClock(), date: () => now };
      const storage = libsql({ client, node: "a", clock });
      await assert.rejects(storage.promote(), {
        name: "RangeError",
        message: "Cannot begin epoch: the clock says Fri, 01 Jan 2500 00:00:00 GMT",
      });
      assert.equal(await storage.position(), undefined);
      now = Date.UTC(2344, 0, 1);
      await storage.promote();
      await client.execute(`UPDATE _txid SET epoch = ${2 ** 24 - 1}`);
      await assert.rejects(storage.promote(), /last epoch/);
      assert.match((await storage.commit()) ?? "", /^ffffff/);
    });

    it("tells two nodes apart that were promoted at once, by the history", async () => {
      const a = libsql({ client, node: "a" });
      await a.promote();
      await databases.ship();
      const b = libsql({ client: databases.replica, node: "b" });
      const [one, other] = [await a.promote(), await b.promote()];
      assert.equal(one, other);
      assert.notEqual(a.historyAt?.(one), b.historyAt?.(other));
    });

    it("waits while the database is busy", async () => {
      const transaction = await databases.open().transaction("write");
      const promoted = libsql({ client, node: "a" }).promote();
      await new Promise((resolve) => setTimeout(resolve, 10));
      await transaction.rollback();
      assert.match(await promoted, /^[0-9a-f]{16}$/);
    });
  });

  describe("primary()", () => {
    it("knows nobody by a name that can be none", async () => {
      const storage = libsql({ client, node: "a" });
      await storage.promote();
      for (const name of ["", "a b", "a;b", "a\nb"]) {
        await client.execute(`UPDATE _txid SET primary_node = '${name}'`);
        const other = libsql({ client, node: "c" });
        assert.deepEqual(await other.primary(), { at: "unknown" });
      }
    });

    it("takes the word of whoever was given, and asks anew each time", async () => {
      let at: Primary = { at: "unknown" };
      const storage = libsql({ client, node: "a", primary: async () => at });
      assert.deepEqual(await storage.primary(), at);
      at = HERE;
      assert.deepEqual(await storage.primary(), at);
      assert.equal(await storage.lag?.(), 0);
      at = { at: "elsewhere", hostname: "b" };
      assert.equal(await storage.lag?.(), undefined);
    });
  });

  describe("gap()", () => {
    it("counts within an epoch and knows nothing beyond", () => {
      const { gap } = libsql({ client, node: "a" });
      assert.equal(gap?.("000001000000000a", "0000010000000003"), 7);
      assert.equal(gap?.("000001000000000a", "00000100000000ff"), -245);
      assert.equal(gap?.("0000020000000000", "0000010000000003"), undefined);
    });
  });

  describe("subscribe()", () => {
    it("reads nothing while nobody subscribes, and every so often while somebody does", async () => {
      const clock = fakeClock();
      const storage = libsql({ client, primary: HERE, clock });
      await storage.commit();
      client.asked.length = 0;
      await clock.advance(1000);
      assert.equal(client.asked.length, 0);
      assert.equal(clock.timers(), 0);
      const end = storage.subscribe(() => {});
      for (let turn = 0; turn < 10; turn++) await clock.advance(10);
      await settled();
      end();
      const looks = client.asked.length;
      assert.ok(looks > 5 && looks < 15, `${looks} looks`);
      await clock.advance(1000);
      assert.equal(client.asked.length, looks);
      assert.equal(clock.timers(), 0);
    });

    it("does not look again before a slow database has answered", async () => {
      const clock = fakeClock();
      let open = 0;
      const slow: LibSQLClient = {
        executeMultiple: () => Promise.resolve(),
        execute: () => {
          open++;
          return new Promise(() => {});
        },
      };
      const storage = libsql({ client: slow, primary: HERE, clock });
      const end = storage.subscribe(() => {});
      for (let turn = 0; turn < 10; turn++) await clock.advance(10);
      assert.equal(open, 1);
      end();
    });
  });

  it("throws from all but close() after that", async () => {
    const storage = libsql({ client, node: "a" });
    await storage.promote();
    storage.close();
    await assert.rejects(async () => storage.position(), /closed/);
    await assert.rejects(async () => storage.primary(), /closed/);
    await assert.rejects(async () => storage.commit(), /closed/);
    await assert.rejects(async () => storage.promote(), /closed/);
    assert.equal(await storage.lag?.(), undefined);
    storage.subscribe(() => assert.fail("it is closed"))();
  });

  for (const [name, options] of [
    ["a client that is none", { client: { execute: 1 }, node: "a" }],
    ["no client", { client: undefined, node: "a" }],
    ["a writer that is none", { writer: 7, node: "a" }],
    ["neither a name nor a primary", {}],
    ["a name that can be none", { node: "a b" }],
    ["a table that is no identifier", { node: "a", table: 'x"; DROP TABLE items' }],
    ["a table of SQLite's own", { node: "a", table: "SQLite_schema" }],
    ["an interval of 0", { node: "a", interval: 0 }],
    ["a time-out that is no number", { node: "a", timeout: "5s" }],
    ["a name that is misspelt", { node: "a", tabel: "x" }],
    ["a client beside a file", { info: "/data/app.db-info" }],
    ["a flag that is none", { node: "a", dedicated: "yes" }],
    ["a primary that is none", { primary: "here" }],
    ["a primary without a name", { primary: { at: "elsewhere" } }],
  ] as const) {
    it(`refuses ${name}`, () => {
      // What TypeScript would not let through may come from JavaScript.
      const given = { client, ...options } as unknown as Parameters<typeof libsql>[0];
      assert.throws(() => libsql(given), /^(Type|Range)Error: Cannot create storage: /);
    });
  }

  it("refuses a writer beside a client that writes", () => {
    const options = { client, dedicated: true, writer: client, node: "a" };
    assert.throws(() => libsql(options), TypeError);
  });
});

describe("createProxy() over libsql() with the row", () => {
  it("lets a client read its write on a replica, and no lost token block anybody after a restore", async () => {
    const databases = await createDatabases();
    try {
      const a = libsql({ client: databases.primary, node: "a" });
      await a.promote();
      await databases.ship();
      const app = (client: () => Client) => async (request: Request) => {
        if (request.method === "POST") await databases.write();
        const { rows } = await client().execute("SELECT count(*) AS n FROM items");
        return new Response(String(rows[0]?.["n"]), { headers: { "Content-Type": "text/plain" } });
      };
      const errors: unknown[] = [];
      const onError = (error: unknown): void => void errors.push(error);
      const primary = createProxy({ target: app(databases.primary), storage: a, onError });
      const b = libsql({ client: databases.replica, node: "b" });
      const replica = createProxy({ target: app(databases.replica), storage: b, onError });
      const url = "http://app.test/";

      const written = await primary.fetch(
        new Request(url, { method: "POST", headers: { Txid: "0" } }),
      );
      const token = written.headers.get("txid") ?? "";
      assert.match(token, /^[0-9a-f]{16}\/[0-9a-f]{16}$/);
      const read = replica.fetch(new Request(url, { headers: { Txid: token } }));
      await new Promise((resolve) => setTimeout(resolve, 20));
      await databases.ship();
      assert.equal(await (await read).text(), "1");

      await databases.restore(0);
      await databases.ship();
      const late = createProxy({
        target: app(databases.replica),
        storage: b,
        waitTimeout: 50,
        onError,
      });
      const blocked = await late.fetch(new Request(url, { headers: { Txid: token } }));
      assert.equal(blocked.status, 504);
      await a.promote();
      await databases.ship();
      const healed = await replica.fetch(new Request(url, { headers: { Txid: token } }));
      assert.equal(await healed.text(), "0");
      assert.deepEqual(errors, []);
      a.close();
      b.close();
    } finally {
      databases.cleanup();
    }
  });

  it("waits for the token of a new epoch, however far its position is ahead", async () => {
    const databases = await createDatabases();
    try {
      const a = libsql({ client: databases.primary, node: "a" });
      await a.promote();
      await databases.ship();
      const b = libsql({ client: databases.replica, node: "b" });
      const proxy = createProxy({ target: () => new Response("x"), storage: b, waitTimeout: 30 });
      await a.promote();
      await databases.write();
      const token = (await a.commit()) ?? "";
      const response = await proxy.fetch(
        new Request("http://app.test/", { headers: { Txid: token } }),
      );
      assert.equal(response.status, 504);
    } finally {
      databases.cleanup();
    }
  });
});

/** What a database holds after a commit. */
interface Snapshot {
  readonly row: Readonly<Record<string, unknown>> | undefined;
  readonly writes: ReadonlySet<number>;
  /** Who committed: the app, or the client with the row. */
  readonly by: "app" | "row";
}

/** A database of which each commit is remembered, and that understands what the row needs. */
function createModel(): {
  readonly commits: Snapshot[];
  write(id: number): void;
  run(sql: string, at?: number): { rows: Record<string, unknown>[] };
} {
  const commits: Snapshot[] = [{ row: undefined, writes: new Set(), by: "app" }];
  const last = (): Snapshot => commits.at(-1) ?? assert.fail();
  let words = 0;
  let changes = 0;
  const commit = (row: Record<string, unknown>): { rows: Record<string, unknown>[] } => {
    commits.push({ row: { ...row, history: `h${words++}` }, writes: last().writes, by: "row" });
    changes++;
    return { rows: [{ ...last().row }] };
  };
  return {
    commits,
    write: (id) =>
      void commits.push({ row: last().row, writes: new Set([...last().writes, id]), by: "app" }),
    run: (sql, at = commits.length - 1) => {
      const { row } = commits[at] ?? assert.fail();
      if (sql.includes("pragma_data_version"))
        return {
          rows: [{ version: commits.filter(({ by }) => by === "app").length, changes }],
        };
      if (sql.startsWith("CREATE")) return { rows: [] };
      if (sql.startsWith("INSERT") && sql.includes("max(epoch"))
        return commit({ epoch: Number(row?.["epoch"] ?? 0) + 1, n: 0, primary_node: null });
      if (row === undefined && !sql.startsWith("INSERT")) throw new Error("no such table: _txid");
      if (sql.startsWith("SELECT")) return { rows: [{ ...row }] };
      if (sql.startsWith("UPDATE")) return commit({ ...row, n: Number(row?.["n"]) + 1 });
      return row === undefined ? commit({ epoch: 1, n: 0, primary_node: null }) : { rows: [] };
    },
  };
}

describe("libsql() with the row, in any order of events", () => {
  for (const gated of [false, true]) {
    it(`reaches a token nowhere without the write, ${gated ? "with" : "without"} a client of its own`, async () => {
      const step = fc.constantFrom("write", "write", "commit", "busy", "promote");
      await fc.assert(
        fc.asyncProperty(
          fc.scheduler(),
          fc.array(step, { minLength: 1, maxLength: 12 }),
          async (scheduler, steps) => {
            const model = createModel();
            let busy = 0;
            const client: LibSQLClient = {
              execute: run,
              executeMultiple: async (sql) => void (await run(sql)),
            };
            async function run(sql: string): Promise<{ rows: Record<string, unknown>[] }> {
              await scheduler.schedule(Promise.resolve(), `to ${sql.slice(0, 6)}`);
              if (busy > 0) {
                busy--;
                throw coded("SQLITE_BUSY");
              }
              const answer = model.run(sql);
              await scheduler.schedule(Promise.resolve(), `from ${sql.slice(0, 6)}`);
              return answer;
            }
            const clock = fakeClock();
            const storage = libsql({
              client,
              primary: HERE,
              // Nothing waits for the time here: what is busy is asked again at once.
              clock: {
                ...clock,
                setTimeout: (callback, delay) => {
                  if (delay <= 50) queueMicrotask(callback);
                  return 0;
                },
                clearTimeout: () => {},
              },
              dedicated: gated,
            });
            const tokens: { readonly id: number; readonly token: Position }[] = [];
            const work = steps.map(async (name, id) => {
              await scheduler.schedule(Promise.resolve(), `${name} ${id}`);
              if (name === "busy") busy++;
              if (name === "promote") await storage.promote();
              if (name === "write") model.write(id);
              if (name !== "write" && name !== "commit") return;
              const token = (await storage.commit()) ?? assert.fail("no token");
              if (name === "write") tokens.push({ id, token });
            });
            await scheduler.waitFor(Promise.all(work));
            for (const [index, { writes }] of model.commits.entries()) {
              const replica: LibSQLClient = {
                execute: async (sql) => model.run(sql, index),
                executeMultiple: () => assert.fail("a replica writes"),
              };
              const position = await libsql({ client: replica, node: "r" }).position();
              for (const { id, token } of tokens) {
                assert.match(token, /^[0-9a-f]{16}$/);
                if (position !== undefined && position >= token) assert.ok(writes.has(id));
              }
            }
          },
        ),
        { numRuns: 300 },
      );
    });
  }

  it("does so over real files", async () => {
    const step = fc.constantFrom("write", "ship", "read");
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 10 }), async (steps) => {
        const databases = await createDatabases();
        try {
          const primary = libsql({ client: databases.primary, primary: HERE });
          const replica = libsql({ client: databases.replica, node: "r" });
          await databases.ship();
          const tokens: Position[] = [];
          for (const name of steps) {
            if (name === "write") {
              await databases.write();
              tokens.push((await primary.commit()) ?? "");
            }
            if (name === "ship") await databases.ship();
            if (name !== "read") continue;
            const position = (await replica.position()) ?? "";
            const { rows } = await databases.replica().execute("SELECT count(*) AS n FROM items");
            for (const [index, token] of tokens.entries())
              if (position >= token) assert.ok(Number(rows[0]?.["n"]) > index);
          }
        } finally {
          databases.cleanup();
        }
      }),
      { numRuns: 10 },
    );
  });
});
