import assert from "node:assert/strict";
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { createClient as createHttpClient } from "@libsql/client/http";
import { createClient as createSqliteClient } from "@libsql/client/sqlite3";
import { createClient as createWebClient } from "@libsql/client/web";
import { libsql, type LibSQLClient, type LibSQLStorage, track } from "../adapters/libsql.ts";
import { createWal } from "../adapters/libsql/wal.ts";
import { createProxy, type Position, type Primary } from "../src/index.ts";
import { fakeClock } from "./fake-clock.ts";
import { storageContract, untilTrue } from "./storage-contract.ts";

const EVERYWHERE: Primary = { at: "everywhere" };

/** A file in a directory of its own. */
interface Place {
  readonly path: string;
  /** Puts a new file in the place of the one that is there. */
  replace(content: string | Uint8Array): void;
  /** Writes into the file that is there. */
  write(content: string | Uint8Array): void;
  remove(): void;
  cleanup(): void;
}

function createPlace(name: string): Place {
  const dir = mkdtempSync(join(tmpdir(), "libsql-test-"));
  const path = join(dir, name);
  return {
    path,
    replace: (content) => {
      writeFileSync(join(dir, ".tmp"), content);
      renameSync(join(dir, ".tmp"), path);
    },
    write: (content) => writeFileSync(path, content, { flag: "r+" }),
    remove: () => rmSync(path, { force: true, recursive: true }),
    cleanup: () => rmSync(dir, { recursive: true, force: true }),
  };
}

/** The checksum in the file, as a table-driven CRC-32: another way than that of the code under test. */
function crc32(bytes: Uint8Array): number {
  const table = Array.from({ length: 256 }, (_, byte) => {
    let value = byte;
    for (let bit = 0; bit < 8; bit++)
      value = (value % 2 === 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1) >>> 0;
    return value;
  });
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (table[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8);
  return ~crc >>> 0;
}

function infoText(generation: number, frame: number, version = 0): string {
  const hash = crc32(new Uint8Array(new Uint32Array([version, frame, generation]).buffer));
  return JSON.stringify({ hash, version, durable_frame_num: frame, generation });
}

/** Makes a write-ahead log with frames, and behind them frames of the log that was in the file before. */
function walBytes(frames: number, stale: number): Uint8Array {
  const bytes = new Uint8Array(32 + (frames + stale) * (24 + 4096));
  bytes.fill(1, 16, 24);
  for (let frame = 0; frame < frames + stale; frame++) {
    const salts = 32 + frame * (24 + 4096) + 8;
    bytes.fill(frame < frames ? 1 : 2, salts, salts + 8);
  }
  return bytes;
}

const LOG = 0x0123456789abcdef0011223344556677n;
const NONE = 2n ** 64n - 1n;

function walIndexBytes(frame: bigint, log: bigint = LOG): Uint8Array {
  const view = new DataView(new ArrayBuffer(32));
  view.setBigUint64(0, log & NONE, true);
  view.setBigUint64(8, log >> 64n, true);
  view.setBigUint64(16, frame, true);
  return new Uint8Array(view.buffer);
}

function hex(value: bigint | number): Position {
  return value.toString(16).padStart(16, "0");
}

storageContract(
  "libsql() with -info",
  () => {
    const place = createPlace("app.db-info");
    let frame = 7;
    let role: Primary = EVERYWHERE;
    place.replace(infoText(2, frame));
    const set = (): Position => {
      place.replace(infoText(2, frame));
      return `00000002${hex(frame).slice(8)}`;
    };
    return {
      storage: libsql({ info: place.path, primary: () => role }),
      advance: () => {
        frame += 3;
        return set();
      },
      rewind: () => {
        frame = 1;
        return set();
      },
      drop: place.remove,
      spoil: () => place.replace('{"hash":'),
      setPrimary: (primary) => {
        role = primary;
      },
      cleanup: place.cleanup,
    };
  },
  ["setLag"],
);

storageContract(
  "libsql() with -client_wal_index",
  () => {
    const place = createPlace("app.db-client_wal_index");
    let frame = 7n;
    let log = LOG;
    let role: Primary = EVERYWHERE;
    place.replace(walIndexBytes(frame));
    const set = (put: (content: Uint8Array) => void): Position => {
      put(walIndexBytes(frame, log));
      return hex(frame);
    };
    return {
      storage: libsql({ walIndex: place.path, primary: () => role }),
      advance: () => {
        frame += 1n;
        try {
          return set(place.write);
        } catch {
          return set(place.replace);
        }
      },
      rewind: () => {
        frame = 2n;
        log += 1n;
        return set(place.replace);
      },
      drop: place.remove,
      spoil: () => truncateSync(place.path, 31),
      setPrimary: (primary) => {
        role = primary;
      },
      cleanup: place.cleanup,
    };
  },
  ["setLag"],
);

describe("createWal()", () => {
  it("counts the frames that SQLite knows of, however often it begins the log anew", async () => {
    const place = createPlace("app.db");
    const client = createSqliteClient({ url: `file:${place.path}` });
    const wal = createWal(`${place.path}-wal`);
    assert.deepEqual(wal.measure(), { inode: 0n, frames: 0 });
    await client.execute("PRAGMA journal_mode = WAL");
    await client.execute("CREATE TABLE t (a)");
    for (const writes of [9, 1, 4, 2, 30]) {
      for (let count = 0; count < writes; count++) await client.execute("INSERT INTO t VALUES (1)");
      const { frames } = wal.measure();
      const [told] = (await client.execute("PRAGMA wal_checkpoint(PASSIVE)")).rows;
      assert.equal(frames, Number(told?.["log"]));
    }
    wal.close();
    client.close();
    place.cleanup();
  });
});

describe("libsql() with -info", () => {
  let place: Place;
  let storage: LibSQLStorage;

  beforeEach(() => {
    place = createPlace("app.db-info");
    storage = libsql({ info: place.path });
  });
  afterEach(() => {
    storage.close();
    place.cleanup();
  });

  it("orders generations, then the frames that begin anew in each", () => {
    const seen = [
      [1, 7],
      [2, 0],
      [2, 1],
      [10, 4_294_967_295],
      [4_294_967_295, 4_294_967_295],
    ].map(([generation = 0, frame = 0]) => {
      place.replace(infoText(generation, frame));
      return storage.position();
    });
    assert.deepEqual(seen, [
      "0000000100000007",
      "0000000200000000",
      "0000000200000001",
      "0000000affffffff",
      "ffffffffffffffff",
    ]);
  });

  it("reads what an embedded replica of @libsql/client 0.18 has written", () => {
    place.replace('{"hash":1767926145,"version":0,"durable_frame_num":0,"generation":3}');
    assert.equal(storage.position(), "0000000300000000");
  });

  for (const [name, content] of [
    ["nothing", ""],
    ["half of it", infoText(1, 7).slice(0, 20)],
    ["no object", "7"],
    ["no generation", '{"hash":0,"version":0,"durable_frame_num":1}'],
    ["a frame that is a text", '{"hash":0,"version":0,"durable_frame_num":"1","generation":1}'],
    ["a frame below 0", '{"hash":0,"version":0,"durable_frame_num":-1,"generation":1}'],
    ["a wrong hash", infoText(1, 7).replace(/"hash":\d+/, '"hash":1')],
    ["a version of the future", infoText(1, 7, 1)],
    ["bytes that are no text", new Uint8Array(40).fill(0xff)],
  ] as const) {
    it(`throws where there is ${name}, and never tells a position instead`, () => {
      place.replace(infoText(1, 7));
      assert.equal(storage.position(), "0000000100000007");
      place.replace(content);
      for (let turn = 0; turn < 2; turn++)
        assert.throws(() => storage.position(), /^Error: Cannot read position: .*app\.db-info/s);
      place.replace(infoText(1, 8));
      assert.equal(storage.position(), "0000000100000008");
    });
  }

  it("throws where the path leads to a directory", () => {
    mkdirSync(place.path);
    assert.throws(() => storage.position(), /Cannot read position/);
    place.remove();
    assert.equal(storage.position(), undefined);
  });

  it("sees each of many files that take the place, however fast", () => {
    for (let frame = 1; frame <= 500; frame++) {
      place.replace(infoText(1, frame));
      assert.equal(storage.position(), hex(2 ** 32 + frame));
    }
  });

  it("is where every node takes writes, and the replica's own pull covers them", async () => {
    place.replace(infoText(1, 7));
    assert.deepEqual(storage.primary(), EVERYWHERE);
    assert.equal(await storage.commit(), "0000000100000007");
    assert.equal(await storage.lag?.(), undefined);
    assert.equal(storage.historyAt, undefined);
  });

  it("covers what can be read before the file says so: the frames of the write-ahead log", async () => {
    const wal = place.path.replace(/-info$/, "-wal");
    place.replace(infoText(1, 7));
    assert.equal(storage.seen?.(), "0000000100000007");
    for (const [frames, position] of [
      [7, "0000000100000007"],
      [9, "0000000100000009"],
    ] as const) {
      writeFileSync(wal, new Uint8Array(32 + frames * (24 + 4096)));
      assert.equal(storage.seen?.(), position);
      assert.equal(await storage.commit(), position);
      assert.equal(storage.position(), "0000000100000007");
    }
    // Begun, and not whole.
    appendFileSync(wal, new Uint8Array(100));
    assert.equal(storage.seen?.(), "0000000100000009");
    place.remove();
    assert.equal(storage.seen?.(), undefined);
  });

  it("covers it where somebody else has emptied the write-ahead log", () => {
    const wal = place.path.replace(/-info$/, "-wal");
    for (const [generation, frame, frames, position] of [
      [1, 7, 7, "0000000100000007"],
      [1, 7, 0, "0000000100000007"],
      [1, 7, 2, "0000000100000009"],
      // Emptied once more, while a transaction was there that the file did not have.
      [1, 7, 0, "0000000100000007"],
      [1, 9, 0, "0000000100000009"],
      [1, 9, 3, "000000010000000c"],
      [1, 12, 3, "000000010000000c"],
      // The end of a generation: the replica empties it, and then says so.
      [1, 12, 0, "000000010000000c"],
      [2, 0, 0, "0000000200000000"],
      [2, 0, 4, "0000000200000004"],
      [2, 4, 4, "0000000200000004"],
      // A replica that has begun anew.
      [2, 4, 0, "0000000200000004"],
      [2, 1, 1, "0000000200000001"],
      [2, 1, 3, "0000000200000003"],
    ] as const) {
      place.replace(infoText(generation, frame));
      writeFileSync(wal, new Uint8Array(32 + frames * (24 + 4096)));
      assert.equal(storage.seen?.(), position);
    }
  });

  it("covers it where somebody else has had the write-ahead log begin anew in its file", () => {
    const wal = place.path.replace(/-info$/, "-wal");
    for (const [frame, frames, stale, position] of [
      [7, 7, 0, "0000000100000007"],
      [9, 2, 5, "0000000100000009"],
      [9, 4, 3, "000000010000000b"],
      [11, 4, 3, "000000010000000b"],
      [11, 6, 1, "000000010000000d"],
      [13, 6, 1, "000000010000000d"],
      [13, 9, 0, "0000000100000010"],
      // Once more, and nothing of the new one is there yet.
      [16, 0, 9, "0000000100000010"],
      [16, 1, 8, "0000000100000011"],
      [17, 1, 8, "0000000100000011"],
      [17, 2, 7, "0000000100000012"],
    ] as const) {
      place.replace(infoText(1, frame));
      writeFileSync(wal, walBytes(frames, stale));
      assert.equal(storage.seen?.(), position);
    }
  });

  it("takes no frames for gone of a replica that begins anew while it looks", () => {
    const wal = place.path.replace(/-info$/, "-wal");
    place.replace(infoText(1, 7));
    const { parse } = JSON;
    JSON.parse = (text: string) => {
      // What the file said is being read.
      JSON.parse = parse;
      place.replace(infoText(1, 1));
      writeFileSync(wal, walBytes(1, 0));
      return parse(text);
    };
    try {
      assert.equal(storage.seen?.(), "0000000100000001");
    } finally {
      JSON.parse = parse;
    }
    place.replace(infoText(1, 2));
    writeFileSync(wal, walBytes(2, 0));
    assert.equal(storage.seen?.(), "0000000100000002");
  });

  it("forgets what was gone of a log that is another's", () => {
    const wal = place.path.replace(/-info$/, "-wal");
    place.replace(infoText(1, 7));
    assert.equal(storage.seen?.(), "0000000100000007");
    writeFileSync(wal, new Uint8Array(32 + 9 * (24 + 4096)));
    assert.equal(storage.seen?.(), "0000000100000009");
  });

  it("counts the frames between positions of one generation", () => {
    assert.equal(storage.gap?.("0000000100000009", "0000000100000007"), 2);
    assert.equal(storage.gap?.("0000000200000009", "0000000100000007"), undefined);
  });

  it("lets a read wait for the replica's own sync", async () => {
    place.replace(infoText(1, 7));
    const proxy = createProxy({ target: () => new Response("x"), storage });
    const write = await proxy.fetch(
      new Request("http://app.test/", { method: "POST", headers: { Txid: "0" } }),
    );
    assert.equal(write.headers.get("txid"), "0000000100000007");
    const headers = { Txid: "0000000200000001" };
    const read = proxy.fetch(new Request("http://app.test/", { headers }));
    await new Promise((resolve) => setTimeout(resolve, 20));
    place.replace(infoText(2, 1));
    assert.equal((await read).status, 200);
    proxy.close();
  });
});

describe("libsql() with -client_wal_index", () => {
  let place: Place;
  let storage: LibSQLStorage;

  beforeEach(() => {
    place = createPlace("app.db-client_wal_index");
    storage = libsql({ walIndex: place.path });
  });
  afterEach(() => {
    storage.close();
    place.cleanup();
  });

  it("knows no position before the replica has one", () => {
    assert.equal(storage.position(), undefined);
    place.replace("");
    assert.equal(storage.position(), undefined);
    place.replace(walIndexBytes(NONE));
    assert.equal(storage.position(), undefined);
    place.write(walIndexBytes(0n));
    assert.equal(storage.position(), "0000000000000000");
  });

  it("reads all 64 bits", () => {
    place.replace(walIndexBytes(NONE - 1n));
    assert.equal(storage.position(), "fffffffffffffffe");
  });

  it("tells logs apart", () => {
    place.replace(walIndexBytes(7n));
    const position = storage.position() as Position;
    const before = storage.historyAt?.(position);
    assert.equal(before, "0123456789abcdef0011223344556677");
    place.write(walIndexBytes(7n, LOG + 1n));
    assert.equal(storage.position(), position);
    assert.notEqual(storage.historyAt?.(position), before);
  });

  it("throws where the file is too short or too long to be one", () => {
    place.replace(walIndexBytes(7n).subarray(0, 24));
    assert.throws(() => storage.position(), /expected 32 bytes, received 24/);
    place.replace(walIndexBytes(7n));
    assert.equal(storage.position(), hex(7));
    appendFileSync(place.path, "x");
    assert.throws(() => storage.position(), /expected 32 bytes/);
  });
});

describe("libsql() with a file", () => {
  it("reads nothing while nobody subscribes, and every so often while somebody does", async () => {
    const place = createPlace("app.db-info");
    place.replace(infoText(1, 1));
    const clock = fakeClock();
    let asked = 0;
    const primary = (): Primary => {
      asked++;
      return EVERYWHERE;
    };
    const storage = libsql({ info: place.path, primary, clock });
    await clock.advance(1000);
    assert.equal(asked + clock.timers(), 0);
    let called = 0;
    const end = storage.subscribe(() => called++);
    await clock.advance(10);
    assert.equal(called, 0);
    assert.equal(asked, 6);
    place.replace(infoText(1, 2));
    await clock.advance(2);
    assert.equal(called, 1);
    place.replace("broken");
    await clock.advance(4);
    assert.equal(called, 2);
    end();
    assert.equal(clock.timers(), 0);
    storage.close();
    place.cleanup();
  });

  it("goes on to look when the primary cannot be told", async () => {
    const place = createPlace("app.db-info");
    const clock = fakeClock();
    let broken = true;
    const storage = libsql({
      info: place.path,
      clock,
      primary: () => {
        if (broken) throw new Error("nobody knows");
        return Promise.reject(new Error("nobody knows"));
      },
    });
    let called = 0;
    storage.subscribe(() => called++);
    await clock.advance(4);
    broken = false;
    place.replace(infoText(1, 2));
    await clock.advance(4);
    assert.equal(called, 1);
    await assert.rejects(async () => storage.primary(), /nobody knows/);
    storage.close();
    place.cleanup();
  });

  it("throws after it is closed", async () => {
    const place = createPlace("app.db-info");
    place.replace(infoText(1, 1));
    const storage = libsql({ info: place.path });
    storage.position();
    storage.close();
    assert.throws(() => storage.position(), /closed/);
    assert.throws(() => storage.primary(), /closed/);
    await assert.rejects(async () => storage.commit(), /closed/);
    storage.subscribe(() => assert.fail("it is closed"))();
    place.cleanup();
  });

  for (const options of [{ info: "" }, { info: 7 }, { walIndex: undefined }]) {
    it(`refuses ${JSON.stringify(options)}`, () => {
      // What TypeScript would not let through may come from JavaScript.
      const given = options as unknown as { info: string };
      assert.throws(() => libsql(given), /^TypeError: Cannot create storage: `(info|walIndex)`/);
    });
  }
});

/** A stand-in for sqld: as much of Hrana over HTTP as a client needs that runs statements. */
interface Server {
  readonly url: string;
  /** The index of this node, and that of the primary to which it takes what it counts among the writes. */
  own: number;
  primary: number;
  /** The status of further answers, and how they say the index. */
  status: number;
  say: (index: number) => unknown;
  /** The statements that came. */
  readonly asked: string[];
  close(): Promise<void>;
}

async function createHranaServer(): Promise<Server> {
  const server = createServer((request, response) => void serve(request, response));
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  const state: Server = {
    url: `http://127.0.0.1:${port}`,
    own: 5,
    primary: 5,
    status: 200,
    say: String,
    asked: [],
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = "";
    for await (const chunk of request) text += String(chunk);
    const { requests } = JSON.parse(text) as {
      requests: { type: string; stmt?: { sql: string } }[];
    };
    const results = requests.map(({ type, stmt }) => {
      const sql = stmt?.sql ?? "";
      if (type === "execute") state.asked.push(sql);
      const index = sql.startsWith("SELECT") ? state.own : state.primary;
      const result = {
        cols: [{ name: "one", decltype: null }],
        rows: [[{ type: "integer", value: "1" }]],
        affected_row_count: 0,
        last_insert_rowid: null,
        replication_index: state.say(index),
      };
      return { type: "ok", response: type === "execute" ? { type, result } : { type } };
    });
    response.writeHead(state.status, { "Content-Type": "application/json" });
    response.end(JSON.stringify({ baton: null, base_url: null, results }));
  }
  return state;
}

storageContract(
  "libsql() with a tracker",
  async () => {
    const server = await createHranaServer();
    const tracker = track();
    const client = createHttpClient({ url: server.url, fetch: tracker.fetch });
    let role: Primary = EVERYWHERE;
    return {
      storage: libsql({ client, tracker, primary: () => role }),
      advance: () => {
        server.status = 200;
        return hex(++server.own);
      },
      rewind: () => hex((server.own = 1)),
      spoil: () => {
        server.status = 500;
      },
      setPrimary: (primary) => {
        role = primary;
      },
      cleanup: async () => {
        client.close();
        await server.close();
      },
    };
  },
  ["drop", "setLag"],
);

describe("libsql() with a tracker", () => {
  let server: Server;
  let client: ReturnType<typeof createHttpClient>;
  let storage: LibSQLStorage;

  beforeEach(async () => {
    server = await createHranaServer();
    const tracker = track();
    client = createHttpClient({ url: server.url, fetch: tracker.fetch });
    storage = libsql({ client, tracker });
  });
  afterEach(async () => {
    storage.close();
    client.close();
    await server.close();
  });

  it("tells what the node has applied, and mints what the primary has", async () => {
    server.primary = 9;
    assert.equal(await storage.position(), hex(5));
    assert.equal(await storage.commit(), hex(9));
    assert.deepEqual(server.asked, ["SELECT 1", "PRAGMA data_version"]);
    assert.deepEqual(storage.primary(), EVERYWHERE);
  });

  it("never takes the primary's index for its own, whatever is asked at once", async () => {
    server.primary = 9;
    const all = await Promise.all(
      Array.from({ length: 40 }, async (_, turn) =>
        turn % 2 === 0 ? storage.position() : storage.commit(),
      ),
    );
    for (const [turn, position] of all.entries())
      assert.equal(position, hex(turn % 2 === 0 ? 5 : 9));
    assert.ok(server.asked.length < 10, String(server.asked.length));
  });

  it("keeps to the lesser one when the app uses its client after all", async () => {
    server.primary = 9;
    const answers = await Promise.all([client.execute("INSERT"), storage.position()]);
    assert.equal(answers[1], hex(5));
  });

  it("follows a server that counts anew", async () => {
    assert.equal(await storage.position(), hex(5));
    server.own = 2;
    assert.equal(await storage.position(), hex(2));
  });

  it("reads 64 bits, and numbers that are no texts", async () => {
    server.say = () => "18446744073709551615";
    assert.equal(await storage.position(), "f".repeat(16));
    server.say = Number;
    assert.equal(await storage.position(), hex(5));
  });

  for (const [name, say] of [
    ["none", () => null],
    ["nonsense", () => "five"],
    ["one that is too great", () => "18446744073709551616"],
    ["one below 0", () => -1],
  ] as const) {
    it(`throws where the server tells ${name}, and never position 0 instead`, async () => {
      server.say = say;
      await assert.rejects(async () => storage.position(), /no replication index/);
      await assert.rejects(async () => storage.commit(), /no replication index/);
      server.say = String;
      assert.equal(await storage.position(), hex(5));
    });
  }

  it("throws what the client throws", async () => {
    server.status = 503;
    await assert.rejects(async () => storage.position(), Error);
    client.close();
    await assert.rejects(async () => storage.position(), Error);
  });

  it("refuses what track() has not made", () => {
    const tracker = {} as unknown as ReturnType<typeof track>;
    assert.throws(() => libsql({ client, tracker }), /^TypeError: .*`tracker`/);
  });
});

describe("track()", () => {
  it("leaves answers alone while nobody listens, and what is no pipeline at all", async () => {
    const tracker = track(() => Promise.resolve(new Response("not json")));
    const ask = async (path: string): Promise<string> =>
      (await tracker.fetch(new Request(`http://db.test${path}`, { method: "POST" }))).text();
    assert.equal(await ask("/v2/pipeline"), "not json");
    const heard: bigint[] = [];
    const end = tracker.listen((index) => heard.push(index));
    assert.equal(await ask("/v2/pipeline"), "not json");
    assert.equal(await ask("/v2"), "not json");
    end();
    end();
    assert.deepEqual(heard, []);
  });

  it("hears every index of an answer before the client has it, batches included", async () => {
    const result = (index: unknown): object => ({
      type: "ok",
      response: { type: "execute", result: { replication_index: index } },
    });
    const body = { results: [result("3"), { type: "error" }, result(null), result("7"), null] };
    const tracker = track(() => Promise.resolve(Response.json(body)));
    const heard: bigint[] = [];
    tracker.listen((index) => heard.push(index));
    const response = await tracker.fetch(new Request("http://db.test/v3/pipeline"));
    assert.deepEqual(heard, [3n, 7n]);
    assert.deepEqual(await response.json(), body);
  });
});

describe("LibSQLClient", () => {
  it("is what each entry of @libsql/client makes", async () => {
    const clients: LibSQLClient[] = [
      createHttpClient({ url: "http://127.0.0.1:1" }),
      createWebClient({ url: "http://127.0.0.1:1" }),
      createSqliteClient({ url: ":memory:" }),
    ];
    for (const client of clients) libsql({ client, node: "a" }).close();
    const memory = libsql({ client: clients[2] ?? assert.fail(), primary: { at: "here" } });
    const position = await memory.commit();
    await untilTrue(async () => (await memory.position()) === position);
  });

  it("is not needed by the module: nothing is imported for it", () => {
    for (const name of ["libsql.ts", "libsql/client.ts", "libsql/row.ts", "libsql/track.ts"]) {
      const text = readFileSync(new URL(`../adapters/${name}`, import.meta.url), "utf8");
      assert.doesNotMatch(text, /^import .*"@libsql/m);
    }
  });
});
