import { afterEach, beforeEach, describe, it } from "node:test";
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import {
  appendFileSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import fc from "fast-check";
import { litefs, type LiteFSOptions, type LiteFSStorage } from "../adapters/litefs.ts";
import { freePort } from "../cluster/ports.ts";
import type { Clock } from "../src/clock.ts";
import type { Position, Primary } from "../src/storage.ts";
import { CHECKSUM, createMount, type Mount, positionText } from "./mount.ts";
import { storageContract, type StorageFixture, untilTrue } from "./storage-contract.ts";

const HERE: Primary = { at: "here" };
const UNKNOWN: Primary = { at: "unknown" };
const NODE_B: Primary = { at: "elsewhere", hostname: "node-b" };

const OTHER_CHECKSUM = "8a3c000000000001";

function txid(value: number): Position {
  return value.toString(16).padStart(16, "0");
}

function init(primary: Primary): string {
  return roleEvent("init", primary);
}

function primaryChange(primary: Primary): string {
  return roleEvent("primaryChange", primary);
}

function roleEvent(type: string, primary: Primary): string {
  const hostname = primary.at === "elsewhere" ? { hostname: primary.hostname } : {};
  return `${JSON.stringify({ type, data: { isPrimary: primary.at === "here", ...hostname } })}\n`;
}

function latin1(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

function tx(position: Position, db = "app.db", checksum: string = CHECKSUM): string {
  const data = { txID: position, postApplyChecksum: checksum, pageSize: 4096, commit: 2 };
  return `${JSON.stringify({ type: "tx", db, data: { ...data, timestamp: "2026-01-02T03:04:05.6Z" } })}\n`;
}

/** LiteFS's API as a server on the loopback interface. */
interface Api {
  readonly url: string;
  /** Sends to all who follow the events. */
  send(text: string): void;
  /** Sets what a new follower gets first. */
  greet(text: string): void;
  /** Sets the status of further answers. */
  answer(status: number): void;
  /** Breaks the connections of all followers. */
  reset(): void;
  followers(): number;
  /** How many were turned away. */
  refused(): number;
  close(): Promise<void>;
}

async function startApi(): Promise<Api> {
  const responses = new Set<ServerResponse>();
  const sockets = new Set<Socket>();
  let greeting = "";
  let status = 200;
  let refused = 0;
  const server = createServer((request, response) => {
    if (request.url !== "/events") {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(status, {
      "content-type": "application/json",
      "litefs-id": "0123456789ABCDEF",
    });
    if (status !== 200) {
      refused++;
      response.end("failed\n");
      return;
    }
    responses.add(response);
    response.on("close", () => responses.delete(response));
    response.write(greeting);
  });
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  const reset = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: `http://127.0.0.1:${address.port}`,
    send: (text) => {
      for (const response of responses) response.write(text);
    },
    greet: (text) => {
      greeting = text;
    },
    answer: (next) => {
      status = next;
    },
    reset,
    followers: () => responses.size,
    refused: () => refused,
    close: () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      reset();
      return closed;
    },
  };
}

/** One request for the events, made through a scripted `fetch`. */
interface Call {
  readonly url: string;
  readonly signal: AbortSignal;
  /** Answers with a stream. */
  accept(status?: number): void;
  /** Sends on the stream. */
  send(text: string | Uint8Array): void;
  /** Ends the stream. */
  end(): void;
  /** Fails the request, or breaks its stream. */
  fail(): void;
}

/** A `fetch` whose calls wait to be answered by the test. */
interface Script {
  readonly fetch: (url: URL, init: RequestInit) => Promise<Response>;
  readonly calls: readonly Call[];
  /** Resolves to the call with this number, counted from 0, once it was made. */
  call(index: number): Promise<Call>;
}

function createScript(): Script {
  const calls: Call[] = [];
  const encoder = new TextEncoder();
  const request = (url: URL, options: RequestInit): Promise<Response> =>
    new Promise((resolve, reject) => {
      let sink: ReadableStreamDefaultController<Uint8Array> | undefined;
      assert.ok(options.signal);
      calls.push({
        url: url.href,
        signal: options.signal,
        accept: (status = 200) => {
          const stream = new ReadableStream<Uint8Array>({
            start: (controller) => {
              sink = controller;
            },
          });
          resolve(new Response(status === 204 ? null : stream, { status }));
        },
        send: (text) => sink?.enqueue(typeof text === "string" ? encoder.encode(text) : text),
        end: () => sink?.close(),
        fail: () => {
          reject(new Error("connection refused"));
          sink?.error(new Error("connection reset"));
        },
      });
    });
  return {
    fetch: request,
    calls,
    call: async (index) => {
      await untilTrue(() => calls.length > index);
      const call = calls[index];
      assert.ok(call !== undefined);
      return call;
    },
  };
}

/** A clock that stands still until it is moved. */
interface ManualClock extends Clock {
  /** Moves the time and calls what falls due on the way. */
  advance(ms: number): void;
  /** Sets the time without calling anything. */
  jump(ms: number): void;
  /** Returns how long each timer still has to run, in milliseconds, ascending. */
  timers(): number[];
}

function createClock(): ManualClock {
  const pending = new Map<object, { readonly at: number; readonly callback: () => void }>();
  let now = 1_700_000_000_000;
  return {
    now: () => now,
    setTimeout: (callback, delay) => {
      const timer = {};
      pending.set(timer, { at: now + delay, callback });
      return timer;
    },
    clearTimeout: (timer) => {
      for (const known of pending.keys()) if (known === timer) pending.delete(known);
    },
    advance: (ms) => {
      const end = now + ms;
      for (;;) {
        const [next] = [...pending]
          .filter(([, { at }]) => at <= end)
          .sort(([, a], [, b]) => a.at - b.at);
        if (next === undefined) break;
        pending.delete(next[0]);
        now = Math.max(now, next[1].at);
        next[1].callback();
      }
      now = end;
    },
    jump: (ms) => {
      now += ms;
    },
    timers: () => [...pending.values()].map(({ at }) => at - now).sort((a, b) => a - b),
  };
}

/** Returns how many descriptors of this process lead to files below `dir`. */
function openDescriptors(dir: string): number {
  const links = readdirSync("/proc/self/fd").map((descriptor) => {
    try {
      return readlinkSync(`/proc/self/fd/${descriptor}`);
    } catch {
      // The descriptor with which the directory was listed is closed by now.
      return "";
    }
  });
  return links.filter((link) => link.startsWith(`${dir}/`)).length;
}

/** Resolves to true when `promise` does not settle while everything that is due has its turn. */
async function isPending(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  void promise.finally(() => {
    settled = true;
  });
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setTimeout(resolve, 0));
  return !settled;
}

storageContract("litefs() without the API", () => {
  const mount = createMount();
  mount.setPosition(txid(9));
  mount.setPrimary(HERE);
  return createFixture(mount, litefs({ dir: mount.dir, db: "app.db", api: false }));
});

storageContract("litefs() with the API", async () => {
  const mount = createMount();
  const api = await startApi();
  mount.setPosition(txid(9));
  mount.setPrimary(HERE);
  api.greet(init(HERE));
  const fixture = createFixture(
    mount,
    litefs({ dir: mount.dir, db: "app.db", api: api.url }),
    (text) => api.send(text),
  );
  return {
    ...fixture,
    setPrimary: (primary) => {
      mount.setPrimary(primary);
      api.greet(init(primary));
      api.send(primaryChange(primary));
    },
    cleanup: async () => {
      await api.close();
      mount.cleanup();
    },
  };
});

storageContract("litefs() beside an API that is down", async () => {
  const mount = createMount();
  // The system gives a port that was closed to whoever comes next, such as the API of a test that runs at the same time.
  const api = `http://127.0.0.1:${await freePort()}`;
  mount.setPosition(txid(9));
  mount.setPrimary(HERE);
  return createFixture(mount, litefs({ dir: mount.dir, db: "app.db", api }));
});

function createFixture(
  mount: Mount,
  storage: LiteFSStorage,
  send: (text: string) => void = () => {},
): StorageFixture {
  let count = 9;
  let checksum = CHECKSUM;
  const move = (to: number): Position => {
    count = to;
    mount.setPosition(txid(count), checksum);
    send(tx(txid(count), "app.db", checksum));
    return txid(count);
  };
  return {
    storage,
    advance: () => move(count + 1),
    rewind: () => {
      checksum = OTHER_CHECKSUM;
      return move(3);
    },
    drop: () => {
      mount.remove("app.db-pos");
      send(tx(txid(count)));
    },
    spoil: () => mount.write("app.db-pos", "00000000"),
    setPrimary: mount.setPrimary,
    setLag: mount.setLag,
    cleanup: mount.cleanup,
  };
}

describe("litefs()", () => {
  let mount: Mount;
  let clock: ManualClock;
  let script: Script;
  let errors: unknown[];
  let storage: LiteFSStorage;

  beforeEach(() => {
    mount = createMount();
    clock = createClock();
    script = createScript();
    errors = [];
    storage = open({ api: false });
  });

  afterEach(() => {
    storage.close();
    mount.cleanup();
  });

  function open(options: Partial<LiteFSOptions> = {}): LiteFSStorage {
    const defaults = { dir: mount.dir, db: "app.db", clock, fetch: script.fetch };
    return litefs({ ...defaults, onError: (error) => errors.push(error), ...options });
  }

  /** Opens a storage that follows the events and has been told a role. */
  async function follow(primary: Primary): Promise<Call> {
    storage = open();
    const first = storage.primary();
    const call = await script.call(0);
    call.accept();
    call.send(init(primary));
    assert.deepEqual(await first, primary);
    return call;
  }

  describe("historyAt()", () => {
    it("returns the checksum of a position that was read, and of no other", () => {
      mount.setPosition(txid(7));
      assert.equal(storage.historyAt(txid(7)), undefined);
      storage.position();
      assert.equal(storage.historyAt(txid(7)), CHECKSUM);
      assert.equal(storage.historyAt(txid(6)), undefined);
    });

    it("forgets what was beyond a position to which the database goes back", () => {
      for (const at of [5, 6, 7]) {
        mount.setPosition(txid(at));
        storage.position();
      }
      mount.setPosition(txid(6), OTHER_CHECKSUM);
      storage.position();
      const known = [5, 6, 7].map((at) => storage.historyAt(txid(at)));
      assert.deepEqual(known, [CHECKSUM, OTHER_CHECKSUM, undefined]);
    });
  });

  describe("construction", () => {
    const refused: readonly [string, object, typeof TypeError | typeof RangeError][] = [
      ["an empty dir", { dir: "" }, TypeError],
      ["a dir that is no text", { dir: 1 }, TypeError],
      ["no db", { db: undefined }, TypeError],
      ["an empty db", { db: "" }, RangeError],
      ["the db .", { db: "." }, RangeError],
      ["the db ..", { db: ".." }, RangeError],
      ["a db in a subdirectory", { db: "a/b.db" }, RangeError],
      ["a db outside the mount", { db: "../app.db" }, RangeError],
      ["a db with a backslash", { db: "a\\b" }, RangeError],
      ["a db with a zero byte", { db: "a\0" }, RangeError],
      ["api true", { api: true }, TypeError],
      ["an api without scheme", { api: "127.0.0.1:20202" }, RangeError],
      ["an api of another scheme", { api: "ftp://127.0.0.1" }, RangeError],
      ["an api with a password", { api: "http://a:b@127.0.0.1" }, RangeError],
    ];
    for (const [name, options, kind] of refused) {
      it(`refuses ${name}`, () => {
        // The type forbids some of these values, a caller in JavaScript does not.
        const given = { dir: mount.dir, db: "app.db", ...options } as LiteFSOptions;
        assert.throws(() => litefs(given), kind);
        assert.throws(
          () => litefs(given),
          /^\w+Error: Cannot create storage: `(dir|db|api)` must be .*, received .*[^.]$/,
        );
      });
    }

    it("refuses an option that there is not, and names the one that was meant", () => {
      const given = { dir: mount.dir, db: "app.db", apii: false } as LiteFSOptions;
      assert.throws(() => litefs(given), {
        name: "TypeError",
        message: "Cannot create storage: `apii` is not an option, did you mean `api`",
      });
    });

    it("opens nothing, connects to nothing and minds no missing directory", () => {
      storage = open({ dir: join(mount.dir, "missing") });
      assert.equal(storage.position(), undefined);
      assert.equal(storage.lag(), undefined);
      assert.equal(script.calls.length, 0);
      assert.deepEqual(clock.timers(), []);
    });

    it("asks the API on the port of LiteFS unless told otherwise", async () => {
      storage = open();
      storage.subscribe(() => {});
      assert.equal((await script.call(0)).url, "http://127.0.0.1:20202/events");
    });

    it("keeps the path of the API's address", async () => {
      storage = open({ api: new URL("https://[::1]:9/litefs/") });
      storage.subscribe(() => {});
      assert.equal((await script.call(0)).url, "https://[::1]:9/litefs/events");
    });
  });

  describe("position()", () => {
    it("heals when the directory appears, vanishes and appears again", () => {
      const dir = join(mount.dir, "late");
      storage = open({ dir, api: false });
      for (let turn = 1; turn <= 3; turn++) {
        assert.equal(storage.position(), undefined);
        mkdirSync(dir);
        assert.equal(storage.position(), undefined);
        writeFileSync(join(dir, "app.db-pos"), positionText(txid(turn)));
        assert.equal(storage.position(), txid(turn));
        rmSync(dir, { recursive: true });
        clock.advance(1000);
      }
    });

    const spoilt: readonly [string, string][] = [
      ["nothing", ""],
      ["the TXID alone", txid(1)],
      ["all but the line feed", positionText(txid(1)).slice(0, -1)],
      ["upper-case digits", `${"A".repeat(16)}/f630f5ae3060002c\n`],
      ["another separator", positionText(txid(1)).replace("/", "-")],
      ["spaces", positionText(txid(1)).replaceAll("0", " ")],
      ["zero bytes", "\0".repeat(34)],
      ["a TXID of 15 digits", `${txid(1).slice(1)}/f630f5ae3060002cf\n`],
      ["the past line feed first", `\n${positionText(txid(1)).slice(0, -1)}`],
    ];
    for (const [name, content] of spoilt) {
      it(`throws on a file that holds ${name}, and heals`, () => {
        mount.setPosition(txid(7));
        assert.equal(storage.position(), txid(7));
        mount.write("app.db-pos", content);
        const message = /^Error: Cannot read position: expected 16 hexadecimal digits.*app\.db-pos/;
        assert.throws(() => storage.position(), message);
        assert.throws(() => storage.position(), message);
        mount.setPosition(txid(8));
        assert.equal(storage.position(), txid(8));
      });
    }

    it("throws when the file is a directory", () => {
      mkdirSync(mount.file);
      assert.throws(() => storage.position(), /^Error: Cannot read position: .*app\.db-pos/);
    });

    it("reads through a descriptor that it holds", () => {
      mount.setPosition(txid(1));
      assert.equal(storage.position(), txid(1));
      renameSync(mount.file, join(mount.dir, "moved"));
      mount.write("moved", positionText(txid(2)));
      assert.equal(storage.position(), txid(2));
    });

    it("opens the file again when the descriptor shows no position any more", () => {
      mount.setPosition(txid(1));
      assert.equal(storage.position(), txid(1));
      renameSync(mount.file, join(mount.dir, "moved"));
      mount.setPosition(txid(2));
      mount.write("moved", "");
      assert.equal(storage.position(), txid(2));
    });

    it("is undefined when the descriptor shows no position and the file is gone", () => {
      mount.setPosition(txid(1));
      assert.equal(storage.position(), txid(1));
      renameSync(mount.file, join(mount.dir, "moved"));
      mount.write("moved", "");
      assert.equal(storage.position(), undefined);
    });

    it("notices within a second that another file is at the path", () => {
      mount.setPosition(txid(5));
      assert.equal(storage.position(), txid(5));
      mount.replacePosition(txid(2));
      clock.advance(999);
      assert.equal(storage.position(), txid(5));
      clock.advance(1);
      assert.equal(storage.position(), txid(2));
    });

    it("notices within a second that the file is gone", () => {
      mount.setPosition(txid(5));
      assert.equal(storage.position(), txid(5));
      mount.remove("app.db-pos");
      clock.advance(1000);
      assert.equal(storage.position(), undefined);
    });

    it("notices another file although the clock has stepped back", () => {
      mount.setPosition(txid(5));
      assert.equal(storage.position(), txid(5));
      mount.replacePosition(txid(2));
      clock.jump(-3_600_000);
      assert.equal(storage.position(), txid(2));
    });

    it("notices another file when an event tells another position", async () => {
      mount.setPosition(txid(5));
      const call = await follow(HERE);
      assert.equal(storage.position(), txid(5));
      clock.advance(20);
      mount.replacePosition(txid(2));
      assert.equal(storage.position(), txid(5));
      call.send(tx(txid(2)));
      await untilTrue(() => storage.position() === txid(2));
    });

    it("notices another file when the role changes", async () => {
      mount.setPosition(txid(5));
      const call = await follow(HERE);
      assert.equal(storage.position(), txid(5));
      clock.advance(20);
      mount.replacePosition(txid(2));
      call.send(primaryChange(NODE_B));
      await untilTrue(() => storage.position() === txid(2));
    });

    it("notices another file when the events are lost", async () => {
      mount.setPosition(txid(5));
      const call = await follow(HERE);
      assert.equal(storage.position(), txid(5));
      clock.advance(20);
      mount.replacePosition(txid(2));
      call.fail();
      await untilTrue(() => storage.position() === txid(2));
    });

    it("throws once the storage is closed", () => {
      mount.setPosition(txid(1));
      assert.equal(storage.position(), txid(1));
      storage.close();
      assert.throws(
        () => storage.position(),
        /^Error: Cannot read position: the storage is closed$/,
      );
    });

    // A process tells its descriptors in a directory on Linux only.
    it(
      "holds one descriptor whatever happens to the file, and none in the end",
      { skip: process.platform !== "linux" },
      () => {
        assert.equal(openDescriptors(mount.dir), 0);
        for (let turn = 0; turn < 200; turn++) {
          mount.replacePosition(txid(turn));
          clock.advance(1000);
          assert.equal(storage.position(), txid(turn));
          mount.replacePosition(txid(turn + 1));
          clock.advance(1000);
          assert.equal(storage.position(), txid(turn + 1));
          assert.equal(openDescriptors(mount.dir), 1);
          mount.write("app.db-pos", "spoilt");
          assert.throws(() => storage.position());
          assert.equal(openDescriptors(mount.dir), 0);
          mount.remove("app.db-pos");
          assert.equal(storage.position(), undefined);
          assert.equal(openDescriptors(mount.dir), 0);
        }
        mount.setPosition(txid(1));
        assert.equal(storage.position(), txid(1));
        storage.close();
        storage.close();
        assert.equal(openDescriptors(mount.dir), 0);
      },
    );

    it("returns what a property writes, whatever the TXID and the checksum", () => {
      const digits = fc
        .bigInt({ min: 0n, max: 2n ** 64n - 1n })
        .map((value) => value.toString(16).padStart(16, "0"));
      fc.assert(
        fc.property(digits, digits, (position, checksum) => {
          mount.write("app.db-pos", `${position}/${checksum}\n`);
          assert.equal(storage.position(), position);
        }),
      );
    });
  });

  describe("primary() from the files", () => {
    /** Asks until the second look, if there is one, is done. */
    async function ask(): Promise<Primary> {
      const answer = storage.primary();
      clock.advance(5);
      return answer;
    }

    const contents: readonly [string, string | undefined, string | undefined, Primary][] = [
      ["a hostname", "node-b\n", "+000000042\n", NODE_B],
      ["a hostname and no lag at the moment", "node-b\n", "+000000000\n", NODE_B],
      ["a hostname before the first synchronisation", "node-b\n", "+2147483647\n", NODE_B],
      ["a hostname and no .lag", "node-b\n", undefined, NODE_B],
      ["a hostname that is none", "node-b\r\nx: y", "+000000042\n", UNKNOWN],
      ["a hostname without line feed", "node-b", "+000000042\n", NODE_B],
      ["a hostname among spaces and line feeds", " \t node-b\r\n\n", "+000000042\n", NODE_B],
      ["an empty .primary", "", "+000000000\n", UNKNOWN],
      ["a .primary of white space", " \n", "+000000000\n", UNKNOWN],
      ["no .primary and no lag", undefined, "+000000000\n", HERE],
      ["no .primary and no lag, the line feed cut off", undefined, "+000000000", HERE],
      ["a replica that has lost its primary", undefined, "+000001234\n", UNKNOWN],
      ["a replica that has lost its primary, its clock behind", undefined, "-000000123\n", UNKNOWN],
      ["a node that was demoted", undefined, "+2147483647\n", UNKNOWN],
      ["a node that was demoted, the line feed cut off", undefined, "+2147483647", UNKNOWN],
      ["a .lag that is no number", undefined, "zero\n", UNKNOWN],
      ["an empty .lag", undefined, "", UNKNOWN],
      ["no files", undefined, undefined, UNKNOWN],
    ];
    for (const [name, primary, lag, expected] of contents) {
      it(`is ${expected.at} with ${name}`, async () => {
        if (primary !== undefined) mount.write(".primary", primary);
        if (lag !== undefined) mount.write(".lag", lag);
        assert.deepEqual(await ask(), expected);
      });
    }

    it("does not take a lost replica, seen in the millisecond of its last heartbeat, for the primary", async () => {
      mount.setLag(0);
      const answer = storage.primary();
      mount.setLag(5);
      clock.advance(5);
      assert.deepEqual(await answer, UNKNOWN);
    });

    it("does not take a replica that connects between the looks for the primary", async () => {
      mount.setLag(0);
      const answer = storage.primary();
      mount.write(".primary", "node-b\n");
      clock.advance(5);
      assert.deepEqual(await answer, NODE_B);
    });

    it("looks twice once for all who ask meanwhile", async () => {
      mount.setLag(0);
      const answers = Array.from({ length: 10 }, async () => storage.primary());
      assert.deepEqual(clock.timers(), [5]);
      clock.advance(5);
      for (const answer of await Promise.all(answers)) assert.deepEqual(answer, HERE);
    });

    it("uses an answer again for a tenth of a second and no longer", async () => {
      mount.setPrimary(HERE);
      assert.deepEqual(await ask(), HERE);
      mount.setLag(2_147_483_647);
      clock.advance(99);
      assert.deepEqual(storage.primary(), HERE);
      clock.advance(1);
      assert.deepEqual(storage.primary(), UNKNOWN);
    });

    it("does not use an answer again when the clock has stepped back", async () => {
      mount.setPrimary(HERE);
      assert.deepEqual(await ask(), HERE);
      mount.setPrimary(NODE_B);
      clock.jump(-3_600_000);
      assert.deepEqual(await ask(), NODE_B);
    });

    it("answers at once while this node was the primary less than a second ago", async () => {
      mount.setPrimary(HERE);
      assert.deepEqual(await ask(), HERE);
      for (let turn = 0; turn < 5; turn++) {
        clock.advance(999);
        assert.deepEqual(storage.primary(), HERE);
      }
      clock.advance(1000);
      const answer = storage.primary();
      assert.ok(answer instanceof Promise);
      clock.advance(5);
      assert.deepEqual(await answer, HERE);
    });

    it("reports once that the mount is gone, until it has been there again", async () => {
      for (let outage = 1; outage <= 2; outage++) {
        mount.setPrimary(HERE);
        clock.advance(2000);
        assert.deepEqual(await ask(), HERE);
        mount.setLag(undefined);
        for (let turn = 0; turn < 3; turn++) {
          clock.advance(100);
          assert.deepEqual(await ask(), UNKNOWN);
        }
        assert.equal(errors.length, outage);
      }
      assert.match(
        String(errors[0]),
        /^NotMountedError: Cannot read role: no such file \(.*\.lag\); is LiteFS mounted there\?$/,
      );
    });

    it("throws once the storage is closed", () => {
      storage.close();
      assert.throws(() => storage.primary(), /^Error: Cannot read role: the storage is closed$/);
    });
  });

  describe("primary() from the events", () => {
    const roles: readonly [string, unknown, Primary][] = [
      ["isPrimary", { isPrimary: true }, HERE],
      ["isPrimary and a hostname", { isPrimary: true, hostname: "node-a" }, HERE],
      ["a hostname", { isPrimary: false, hostname: "node-b" }, NODE_B],
      [
        "a hostname among spaces and line feeds",
        { isPrimary: false, hostname: " node-b\n" },
        NODE_B,
      ],
      ["no hostname", { isPrimary: false }, UNKNOWN],
      ["an empty hostname", { isPrimary: false, hostname: "" }, UNKNOWN],
      ["a hostname of two lines", { isPrimary: false, hostname: "node-b\r\nx: y" }, UNKNOWN],
      ["a hostname with a field", { isPrimary: false, hostname: "node-b;state=x" }, UNKNOWN],
      ["a null hostname", { isPrimary: false, hostname: null }, UNKNOWN],
    ];
    for (const [name, data, expected] of roles) {
      it(`is ${expected.at} with ${name}, whatever the files say`, async () => {
        mount.write(".primary", "node-c\n");
        storage = open();
        const first = storage.primary();
        const call = await script.call(0);
        call.accept();
        call.send(`${JSON.stringify({ type: "init", data })}\n`);
        assert.deepEqual(await first, expected);
        assert.deepEqual(storage.primary(), expected);
      });
    }

    it("follows each change without a look at the files", async () => {
      const call = await follow(HERE);
      for (const role of [UNKNOWN, NODE_B, HERE, NODE_B]) {
        call.send(primaryChange(role));
        await untilTrue(() => sameRole(storage.primary(), role));
      }
      assert.deepEqual(errors, []);
    });

    it("reads lines wherever they are cut", async () => {
      const name = "node-c";
      const text = `\n${init(HERE)}${tx(txid(1))}\r\n{"type":"weather","data":"nœud-β-🛰"}\n${primaryChange({ at: "elsewhere", hostname: name })}`;
      const bytes = new TextEncoder().encode(text);
      const cuts = fc.array(fc.nat({ max: bytes.length }), { maxLength: 40 });
      await fc.assert(
        fc.asyncProperty(cuts, async (places) => {
          const once = createScript();
          const other = open({ fetch: once.fetch });
          other.subscribe(() => {});
          const call = await once.call(0);
          call.accept();
          await untilTrue(() => once.calls.length === 1);
          let start = 0;
          for (const end of [...places, bytes.length].sort((a, b) => a - b)) {
            call.send(bytes.slice(start, end));
            start = end;
          }
          await untilTrue(() => sameRole(other.primary(), { at: "elsewhere", hostname: name }));
          other.close();
        }),
        { numRuns: 25, examples: [[Array.from(bytes.keys())]] },
      );
      assert.deepEqual(errors, []);
    });

    it("takes a long series of events in one piece", async () => {
      const call = await follow(HERE);
      let called = 0;
      storage.subscribe(() => called++);
      call.send(tx(txid(1)).repeat(1000) + primaryChange(NODE_B));
      await untilTrue(() => sameRole(storage.primary(), NODE_B));
      assert.ok(called > 1000);
      assert.deepEqual(errors, []);
    });

    const bad: readonly [string, string | Uint8Array][] = [
      ["half an object", '{"type":\n'],
      ["no JSON", "<html>\n"],
      ["a list", "[]\n"],
      ["a text", '"init"\n'],
      ["null", "null\n"],
      ["no type", '{"data":{"isPrimary":true}}\n'],
      ["a role without data", '{"type":"primaryChange"}\n'],
      ["a role that is no boolean", '{"type":"init","data":{"isPrimary":"yes"}}\n'],
      ["a hostname that is no text", '{"type":"init","data":{"isPrimary":false,"hostname":7}}\n'],
      ["a transaction without database", '{"type":"tx","data":{}}\n'],
      ["bytes that are not UTF-8", latin1(primaryChange({ at: "elsewhere", hostname: "n\xe4he" }))],
      ["a line without end", "x".repeat(70_000)],
    ];
    for (const [name, line] of bad) {
      it(`closes the stream at ${name}, uses the files and connects again`, async () => {
        mount.setPrimary({ at: "elsewhere", hostname: "node-c" });
        const call = await follow(NODE_B);
        call.send(line);
        await untilTrue(() => sameRole(storage.primary(), { at: "elsewhere", hostname: "node-c" }));
        await untilTrue(() => call.signal.aborted);
        assert.equal(errors.length, 1);
        assert.match(
          String(errors[0]),
          /^Error: Cannot follow LiteFS events: .*\(http:\/\/127\.0\.0\.1:20202\/events\)$/s,
        );
        clock.advance(125);
        const next = await script.call(1);
        next.accept();
        next.send(init(HERE));
        await untilTrue(() => sameRole(storage.primary(), HERE));
      });
    }

    for (const status of [204, 301, 404, 500]) {
      it(`uses the files when the API answers ${status}, and the events once there are some`, async () => {
        mount.setPrimary(NODE_B);
        storage = open();
        const answer = storage.primary();
        const first = await script.call(0);
        first.accept(status);
        assert.deepEqual(await answer, NODE_B);
        await untilTrue(() => first.signal.aborted);
        clock.advance(125);
        const second = await script.call(1);
        second.accept(status);
        await untilTrue(() => second.signal.aborted);
        assert.deepEqual(storage.primary(), NODE_B);
        assert.equal(errors.length, 1);
        clock.advance(250);
        const third = await script.call(2);
        third.accept();
        third.send(init(HERE));
        await untilTrue(() => sameRole(storage.primary(), HERE));
      });
    }

    it("uses the files at once when the connection is refused", async () => {
      mount.setPrimary(NODE_B);
      storage = open();
      const answer = storage.primary();
      (await script.call(0)).fail();
      assert.deepEqual(await answer, NODE_B);
      assert.deepEqual(storage.primary(), NODE_B);
    });

    for (const accepts of [false, true]) {
      it(`uses the files after a second of silence ${accepts ? "behind" : "before"} the response's head`, async () => {
        mount.setPrimary(NODE_B);
        storage = open();
        const answer = storage.primary();
        assert.ok(answer instanceof Promise);
        const call = await script.call(0);
        if (accepts) call.accept();
        clock.advance(999);
        assert.ok(await isPending(answer));
        assert.ok(!call.signal.aborted);
        clock.advance(1);
        assert.deepEqual(await answer, NODE_B);
        assert.ok(call.signal.aborted);
        assert.deepEqual(storage.primary(), NODE_B);
      });
    }

    it("does not cut a stream that is silent after the first event", async () => {
      const call = await follow(HERE);
      clock.advance(86_400_000);
      assert.ok(!call.signal.aborted);
      assert.deepEqual(storage.primary(), HERE);
      assert.equal(script.calls.length, 1);
    });

    it("stays the primary without a gap when only the stream was cut", async () => {
      mount.setPrimary(HERE);
      const call = await follow(HERE);
      const answers: unknown[] = [];
      storage.subscribe(() => answers.push(storage.primary()));
      call.end();
      await untilTrue(() => call.signal.aborted);
      assert.ok(answers.length > 0);
      for (const answer of answers) assert.deepEqual(answer, HERE);
      assert.deepEqual(storage.primary(), HERE);
    });

    it("does not stay the primary when the stream was lost with the lease", async () => {
      mount.setPrimary(HERE);
      const call = await follow(HERE);
      mount.setLag(2_147_483_647);
      call.end();
      await untilTrue(() => sameRole(storage.primary(), UNKNOWN));
    });

    it("connects again at once, and without a word, after a stream that has lasted", async () => {
      mount.setPrimary(HERE);
      const call = await follow(HERE);
      clock.advance(300_000);
      call.end();
      await untilTrue(() => clock.timers().includes(0));
      clock.advance(0);
      const next = await script.call(1);
      next.accept();
      next.send(init(NODE_B));
      await untilTrue(() => sameRole(storage.primary(), NODE_B));
      assert.deepEqual(errors, []);
    });

    it("pauses longer and longer while the API is down, but never more than two and a half seconds", async () => {
      storage = open();
      storage.subscribe(() => {})();
      const pauses: number[] = [];
      for (let attempt = 0; attempt < 9; attempt++) {
        const call = await script.call(attempt);
        assert.equal(script.calls.length, attempt + 1);
        call.fail();
        await untilTrue(() => call.signal.aborted);
        const [pause, ...others] = clock.timers();
        assert.deepEqual(others, []);
        assert.ok(pause !== undefined);
        pauses.push(pause);
        clock.advance(pause);
      }
      const least = [100, 200, 400, 800, 1600, 2000, 2000, 2000, 2000];
      for (const [index, pause] of pauses.entries()) {
        const expected = least[index] ?? 0;
        assert.ok(pause >= expected && pause <= expected * 1.25, `pause ${index}: ${pause} ms`);
      }
      assert.equal(errors.length, 1);
    });

    it("pauses longer and longer while streams end as soon as they have begun", async () => {
      storage = open();
      storage.subscribe(() => {})();
      for (const least of [100, 200, 400, 800]) {
        const call = await script.call(script.calls.length === 0 ? 0 : script.calls.length - 1);
        call.accept();
        await untilTrue(() => script.calls.length > 0);
        call.send(init(HERE));
        call.end();
        await untilTrue(() => call.signal.aborted);
        const pause = clock.timers()[0] ?? 0;
        assert.ok(pause >= least, `${pause} ms`);
        const made = script.calls.length;
        clock.advance(pause);
        await untilTrue(() => script.calls.length > made);
      }
    });

    it("ends the request and connects no more once the storage is closed", async () => {
      const call = await follow(HERE);
      storage.close();
      assert.ok(call.signal.aborted);
      assert.deepEqual(clock.timers(), []);
      clock.advance(10_000);
      assert.equal(script.calls.length, 1);
      assert.deepEqual(errors, []);
    });

    it(
      "lets nobody wait who asked before the storage was closed",
      { timeout: 10_000 },
      async () => {
        mount.setPrimary(NODE_B);
        storage = open();
        const answer = storage.primary();
        storage.close();
        assert.deepEqual(await answer, NODE_B);
        assert.deepEqual(errors, []);
      },
    );
  });

  describe("primary() on the wire", () => {
    it("connects again when the API breaks off, fails and comes back", async () => {
      const api = await startApi();
      try {
        mount.setPrimary(UNKNOWN);
        api.greet(init(HERE));
        storage = litefs({ dir: mount.dir, db: "app.db", api: api.url });
        // On a machine that stands still the first attempt may take more than the one second that it has.
        await untilTrue(async () => sameRole(await storage.primary(), HERE));
        api.answer(500);
        api.reset();
        await untilTrue(() => sameRole(storage.primary(), UNKNOWN));
        await untilTrue(() => api.refused() > 0);
        api.answer(200);
        api.greet(init(NODE_B));
        await untilTrue(() => sameRole(storage.primary(), NODE_B));
        await untilTrue(() => api.followers() === 1);
        storage.close();
        await untilTrue(() => api.followers() === 0);
      } finally {
        await api.close();
      }
    });
  });

  describe("subscribe()", () => {
    it("calls back for the transactions of this database, for the role and for the loss of the events", async () => {
      mount.setPosition(txid(1));
      const call = await follow(HERE);
      let called = 0;
      storage.subscribe(() => called++);
      call.send(tx(txid(1), "other.db"));
      call.send(tx(txid(1)));
      await untilTrue(() => called === 1);
      call.send('{"type":"weather"}\n');
      call.send(primaryChange(NODE_B));
      await untilTrue(() => called === 2);
      call.fail();
      await untilTrue(() => called > 2);
    });

    it("reads nothing while nobody subscribes", async () => {
      const call = await follow(HERE);
      assert.deepEqual(clock.timers(), []);
      const end = storage.subscribe(() => {});
      assert.deepEqual(clock.timers(), [25]);
      const endOther = storage.subscribe(() => {});
      assert.deepEqual(clock.timers(), [25]);
      end();
      assert.deepEqual(clock.timers(), [25]);
      endOther();
      assert.deepEqual(clock.timers(), []);
      call.send(tx(txid(1)));
      call.send(primaryChange(NODE_B));
      await untilTrue(() => sameRole(storage.primary(), NODE_B));
      assert.deepEqual(clock.timers(), []);
    });

    it("finds a transaction that no event tells", async () => {
      mount.setPosition(txid(1));
      await follow(HERE);
      let called = 0;
      storage.subscribe(() => called++);
      clock.advance(1000);
      assert.equal(called, 0);
      mount.setPosition(txid(2));
      clock.advance(25);
      assert.equal(called, 1);
      clock.advance(1000);
      assert.equal(called, 1);
    });

    it("reads every other millisecond while there are no events, and slowly once there are", async () => {
      mount.setPosition(txid(1));
      mount.setPrimary(NODE_B);
      storage = open();
      let called = 0;
      storage.subscribe(() => called++);
      clock.advance(2);
      const before = called;
      mount.setPosition(txid(2));
      clock.advance(2);
      assert.equal(called, before + 1);
      const call = await script.call(0);
      call.accept();
      call.send(init(NODE_B));
      await untilTrue(() => clock.timers()[0] === 25);
      assert.deepEqual(clock.timers(), [25]);
      call.fail();
      await untilTrue(() => clock.timers()[0] === 2);
    });

    it("finds a new role in the files while there are no events", async () => {
      mount.setPrimary(NODE_B);
      storage = open({ api: false });
      const seen: string[] = [];
      storage.subscribe(() => seen.push(roleText(storage.primary())));
      clock.advance(200);
      assert.deepEqual(seen, ["elsewhere"]);
      mount.setPrimary(UNKNOWN);
      clock.advance(102);
      assert.deepEqual(seen, ["elsewhere", "unknown"]);
      mount.setPrimary(HERE);
      clock.advance(110);
      await untilTrue(() => seen.length === 3);
      assert.deepEqual(seen, ["elsewhere", "unknown", "here"]);
    });

    it("calls back once when the position cannot be read, and when it can again", () => {
      mount.setPosition(txid(1));
      mount.setPrimary(NODE_B);
      let called = 0;
      storage.subscribe(() => called++);
      clock.advance(10);
      const before = called;
      mount.write("app.db-pos", "spoilt");
      clock.advance(50);
      assert.equal(called, before + 1);
      mount.setPosition(txid(1));
      clock.advance(50);
      assert.equal(called, before + 2);
    });

    it("reports what a subscriber throws and calls the others", async () => {
      const call = await follow(HERE);
      let called = 0;
      const failure = new Error("a subscriber's own");
      storage.subscribe(() => {
        throw failure;
      });
      storage.subscribe(() => called++);
      call.send(tx(txid(1)));
      await untilTrue(() => called === 1);
      assert.deepEqual(errors, [failure]);
    });

    it("does not tell a transaction again that an event has told", async () => {
      mount.setPosition(txid(1));
      const call = await follow(HERE);
      let called = 0;
      storage.subscribe(() => called++);
      mount.setPosition(txid(2));
      call.send(tx(txid(2)));
      await untilTrue(() => called === 1);
      clock.advance(1000);
      assert.equal(called, 1);
    });

    it("ends with the storage", () => {
      mount.setPosition(txid(1));
      mount.setPrimary(NODE_B);
      let called = 0;
      const end = storage.subscribe(() => called++);
      clock.advance(10);
      const before = called;
      storage.close();
      assert.deepEqual(clock.timers(), []);
      clock.advance(1000);
      assert.equal(called, before);
      end();
      assert.deepEqual(clock.timers(), []);
    });

    it("does nothing once the storage is closed", () => {
      storage.close();
      const end = storage.subscribe(() => assert.fail("called"));
      clock.advance(1000);
      assert.deepEqual(clock.timers(), []);
      end();
    });
  });

  describe("lag()", () => {
    const contents: readonly [string, number | undefined, number][] = [
      ["+000000000\n", 0, 0],
      ["+000000042\n", 42, 0],
      ["+1234567890\n", 1_234_567_890, 0],
      ["+2147483647\n", Infinity, 0],
      ["+2147483647", Infinity, 0],
      ["-000000123\n", 0, 0],
      ["+00000004\n", undefined, 1],
      ["000000042\n", undefined, 1],
      ["+000000042 ms\n", undefined, 1],
      ["", undefined, 1],
    ];
    for (const [content, expected, reports] of contents) {
      it(`returns ${expected} for ${JSON.stringify(content)}`, () => {
        mount.write(".lag", content);
        assert.equal(storage.lag(), expected);
        assert.equal(errors.length, reports);
      });
    }

    it("uses an answer again for a tenth of a second and no longer", () => {
      mount.setLag(1);
      assert.equal(storage.lag(), 1);
      mount.setLag(2);
      clock.advance(99);
      assert.equal(storage.lag(), 1);
      clock.advance(1);
      assert.equal(storage.lag(), 2);
    });

    it("is undefined once the storage is closed", () => {
      mount.setLag(1);
      storage.close();
      assert.equal(storage.lag(), undefined);
    });
  });

  describe("close()", () => {
    it(
      "is not needed for the process to end when there is no stream",
      { timeout: 60_000 },
      async () => {
        mount.setPosition(txid(1));
        mount.setPrimary(HERE);
        const file = join(mount.dir, "main.mts");
        const module = pathToFileURL(join(import.meta.dirname ?? "", "../adapters/litefs.ts")).href;
        writeFileSync(file, `import { litefs } from ${JSON.stringify(module)};\n`);
        appendFileSync(
          file,
          `const storage = litefs({ dir: ${JSON.stringify(mount.dir)}, db: "app.db", api: false });\n`,
        );
        appendFileSync(file, "storage.subscribe(() => {});\n");
        appendFileSync(file, "console.log(storage.position(), (await storage.primary()).at);\n");
        const output = await new Promise<string>((resolve, reject) => {
          execFile(
            process.execPath,
            [...runArguments(), file],
            { timeout: 50_000 },
            (error, stdout) => {
              if (error === null) resolve(stdout);
              else reject(error);
            },
          );
        });
        assert.equal(output, `${txid(1)} here\n`);
      },
    );
  });
});

function runArguments(): string[] {
  if ("Deno" in globalThis) return ["run", "-A"];
  if ("Bun" in globalThis) return ["run"];
  return ["--import", "tsx"];
}

function roleText(primary: Primary | Promise<Primary>): string {
  return primary instanceof Promise ? "promise" : primary.at;
}

function sameRole(a: Primary | Promise<Primary>, b: Primary): boolean {
  if (a instanceof Promise) return false;
  if (a.at === "elsewhere" && b.at === "elsewhere") return a.hostname === b.hostname;
  return a.at === b.at;
}
