import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type Context, Hono } from "hono";
import { cors } from "hono/cors";
import { setCookie } from "hono/cookie";
import { HTTPException } from "hono/http-exception";
import { streamSSE } from "hono/streaming";
import { consistency as wrapper, txidOf } from "../adapters/fetch.ts";
import { consistency, type ConsistencyOptions, type TxidVariables } from "../adapters/hono.ts";
import { memory, type MemoryStorage } from "../adapters/memory.ts";
import { allValues } from "../src/headers.ts";
import { createProxy, type Decision, fetchTransport, type HeaderLines } from "../src/index.ts";
import { type FakeClock, fakeClock, settled } from "./fake-clock.ts";

type App = Hono<{ Variables: TxidVariables }>;
type Fetch = (request: Request) => Promise<Response>;

/** Makes an app consistent whose routes are added by `routes`. */
type Way = (options: ConsistencyOptions, routes: (app: App) => unknown) => Fetch;

const inside: Readonly<Record<string, Way>> = {
  "consistency() of @txid/proxy/hono": (options, routes) => {
    const app: App = new Hono();
    app.use(consistency(options));
    routes(app);
    return async (request) => app.fetch(request);
  },
  "consistency() of @txid/proxy/fetch": (options, routes) => {
    const app = told();
    routes(app);
    return wrapper(options)((request: Request) => app.fetch(request));
  },
};

const ways: Readonly<Record<string, Way>> = {
  ...inside,
  "createProxy() with app.fetch": (options, routes) => {
    const app = told();
    routes(app);
    return createProxy({ ...options, target: app.fetch }).fetch;
  },
};

/** An app whose handlers find under `txid` what the proxy around it tells. */
function told(): App {
  const app: App = new Hono();
  app.use(async (c, next) => {
    const txid = txidOf(c.req.raw);
    if (txid !== undefined) c.set("txid", txid);
    await next();
  });
  return app;
}

interface Node {
  readonly fetch: Fetch;
  readonly storage: MemoryStorage;
  /** The requests that the app has run. */
  readonly ran: string[];
  readonly decisions: Decision[];
  readonly errors: unknown[];
  send(path: string, init?: RequestInit): Promise<Response>;
}

interface Cluster {
  readonly primary: Node;
  readonly replica: Node;
  readonly clock: FakeClock;
  /** Lets the replica apply everything. */
  replicate(): void;
}

/** Starts a primary and a replica of one app. What is written is there as far as each node has applied it. */
function cluster(
  way: Way,
  options: Partial<ConsistencyOptions> = {},
  routes: (app: App) => unknown = () => {},
): Cluster {
  const clock = fakeClock();
  const log: string[] = [];

  function start(storage: MemoryStorage, own: Partial<ConsistencyOptions>): Node {
    const ran: string[] = [];
    const decisions: Decision[] = [];
    const errors: unknown[] = [];
    const fetch = way(
      {
        storage,
        clock,
        onDecision: (decision) => decisions.push(decision),
        onError: (error) => errors.push(error),
        ...own,
        ...options,
      },
      (app) => {
        app.use(async (c, next) => {
          ran.push(`${c.req.method} ${c.req.path}`);
          await next();
        });
        routes(app);
        app.get("/last", (c) => c.text(log[Number(`0x${storage.position()}`) - 2] ?? "nothing"));
        app.put("/last", async (c) => {
          log.push(await c.req.text());
          storage.advance();
          return c.text("Written", 201);
        });
        app.get("/facts", (c) => c.json(c.var.txid));
        app.all("/empty", () => new Response(null, { status: 204 }));
      },
    );
    const send: Node["send"] = async (path, init) =>
      fetch(new Request(`http://app.test${path}`, init));
    return { fetch, storage, ran, decisions, errors, send };
  }

  const first = memory({ position: position(0) });
  const second = memory({ position: position(0), primary: { at: "elsewhere", hostname: "p" } });
  const primary = start(first, {});
  const transport = fetchTransport(async (url, init) => primary.fetch(new Request(url, init)));
  const replica = start(second, { transport, primaryUrl: (name) => `http://${name}:8080` });
  const replicate = (): void => second.setPosition(first.position());
  return { primary, replica, clock, replicate };
}

/** Where a node is after so many writes; it begins with one, for the first position is that of an empty database. */
function position(writes: number): string {
  return (1 + writes).toString(16).padStart(16, "0");
}

const put = (body: string): RequestInit => ({ method: "PUT", body });
const FLY = { "Fly-Request-Id": "01" };

/** The cookies that an answer sets, by name. */
function cookies(response: Response): Record<string, string> {
  const pairs = response.headers.getSetCookie().map((line) => /^([^=]+)=([^;]*)/.exec(line));
  return Object.fromEntries(pairs.map((pair) => [pair?.[1] ?? "", pair?.[2] ?? ""]));
}

/** What makes the next request one of the client that got this answer. */
function jar(response: Response): RequestInit {
  const pairs = Object.entries(cookies(response)).map(([name, value]) => `${name}=${value}`);
  return { headers: { Cookie: pairs.join("; ") } };
}

/** What makes a request one of a client that has seen a position. */
function having(seen: number): RequestInit {
  return { headers: { Cookie: `__txid=${position(seen)}` } };
}

/** Lets a request begin and tells whether it has ended. */
function begin(promise: Promise<Response>): { response(): Response | undefined } {
  let response: Response | undefined;
  void promise.then((ended) => (response = ended));
  return { response: () => response };
}

for (const [name, way] of Object.entries(ways)) {
  describe(name, () => {
    it("mints after a write, and not for a stranger who reads", async () => {
      const { primary } = cluster(way);
      const written = await primary.send("/last", put("a"));
      assert.equal(written.status, 201);
      assert.equal(await written.text(), "Written");
      assert.equal(cookies(written)["__txid"], position(1));
      const read = await primary.send("/last");
      assert.equal(await read.text(), "a");
      assert.deepEqual(cookies(read), {});
    });

    it("lets a client read its own write on a replica once it is there", async () => {
      const { primary, replica, replicate } = cluster(way);
      const written = await replica.send("/last", put("a"));
      assert.deepEqual([written.status, await written.text()], [201, "Written"]);
      assert.deepEqual([primary.ran, replica.ran], [["PUT /last"], []]);
      assert.equal(cookies(written)["__txid"], position(1));
      const read = begin(replica.send("/last", jar(written)));
      await settled();
      assert.deepEqual([read.response(), replica.ran], [undefined, []]);
      replicate();
      await settled();
      assert.equal(await read.response()?.text(), "a");
      assert.deepEqual(replica.ran, ["GET /last"]);
    });

    it("reads from the primary what the replica does not have in time", async () => {
      const { primary, replica, clock } = cluster(way, { waitTimeout: 50 });
      const written = await primary.send("/last", put("a"));
      const read = replica.send("/last", jar(written));
      await clock.advance(50);
      assert.equal(await (await read).text(), "a");
      assert.deepEqual(replica.ran, []);
      assert.equal(replica.decisions.at(-1)?.outcome, "forward");
    });

    it("goes down the ladder where there is no way to the primary", async () => {
      const options = { waitTimeout: 50, primaryUrl: undefined, stale: ["/empty"] };
      const { replica, clock } = cluster(way, options);
      const late = replica.send("/last", having(1));
      const stale = replica.send("/empty", having(1));
      await clock.advance(50);
      assert.equal((await late).status, 504);
      assert.equal((await late).headers.get("retry-after"), "1");
      assert.equal((await stale).status, 204);
      assert.deepEqual(cookies(await stale), {});
    });

    it("answers with a replay what came through Fly Proxy", async () => {
      const { replica, primary } = cluster(way);
      const response = await replica.send("/last", {
        ...put("a"),
        headers: { ...FLY, "Content-Length": "1" },
      });
      assert.equal(response.status, 409);
      assert.match(response.headers.get("fly-replay") ?? "", /^instance=p;/);
      assert.deepEqual([primary.ran, replica.ran], [[], []]);
    });

    it("holds a write while no primary is known, and refuses it then", async () => {
      const { replica, clock } = cluster(way);
      replica.storage.setPrimary({ at: "unknown" });
      const response = replica.send("/last", put("a"));
      await clock.advance(5000);
      assert.equal((await response).status, 503);
      assert.deepEqual(replica.ran, []);
    });

    it("takes back a token of a lost history where that is an error", async () => {
      const { primary } = cluster(way, { foreignTokens: "error" });
      const response = await primary.send("/last", having(5));
      assert.equal(response.status, 412);
      assert.equal(cookies(response)["__txid"], "");
    });

    it("tells the node's health, also when it drains", async () => {
      const { primary } = cluster(way);
      const response = await primary.send("/litefs/health");
      assert.deepEqual([response.status, await response.text()], [200, "OK\n"]);
      assert.deepEqual(primary.ran, []);
    });

    it("refuses a path with a broken escape", async () => {
      assert.equal((await cluster(way).primary.send("/%E0%A4%A")).status, 400);
    });

    it("runs reads on always-forward paths on the primary, and mints", async () => {
      const { primary, replica } = cluster(way, { alwaysForward: ["/empty"] });
      const response = await replica.send("/empty");
      assert.equal(response.status, 204);
      assert.equal(cookies(response)["__txid"], position(0));
      assert.deepEqual([primary.ran, replica.ran], [["GET /empty"], []]);
    });

    it("lets passthrough paths by, without a token and without facts", async () => {
      const { replica } = cluster(way, { passthrough: ["/facts", "/empty"] });
      assert.equal((await replica.send("/empty", { method: "POST" })).status, 204);
      const facts = await (await replica.send("/facts", having(9))).json();
      assert.deepEqual(facts, { role: "unknown" });
    });

    it("carries tokens in the header for clients that use it", async () => {
      const { primary } = cluster(way);
      const written = await primary.send("/last", { ...put("a"), headers: { Txid: "0" } });
      assert.equal(written.headers.get("txid"), position(1));
      assert.deepEqual(cookies(written), {});
      const read = await primary.send("/last", { headers: { Txid: "0" } });
      assert.equal(read.headers.get("txid"), position(1));
    });

    for (const [reads, stranger, known] of [
      ["session", undefined, position(0)],
      ["all", position(0), position(0)],
      ["off", undefined, undefined],
    ] as const) {
      it(`remembers reads as told: ${reads}`, async () => {
        const { primary } = cluster(way, { reads });
        assert.equal(cookies(await primary.send("/last"))["__txid_seen"], stranger);
        assert.equal(cookies(await primary.send("/last", having(0)))["__txid_seen"], known);
      });
    }

    it("keeps tokens of several databases apart", async () => {
      const users = memory({ position: position(7) });
      const { primary } = cluster(way, { databases: { users } });
      const written = await primary.send("/last", put("a"));
      assert.equal(cookies(written)["__txid"], position(1));
      assert.equal(cookies(written)["__txid_users"], position(7));
    });

    it("gives no token where a shared cache may store it", async () => {
      const { primary } = cluster(way, {}, (app) =>
        app.get("/public", (c) => c.text("for all", 200, { "Cache-Control": "max-age=60" })),
      );
      const response = await primary.send("/public", having(0));
      assert.deepEqual(cookies(response), {});
      assert.equal(response.headers.get("cache-control"), "max-age=60");
    });

    it("answers HEAD without a body and 304 without one, with their tokens", async () => {
      const { primary } = cluster(way, {}, (app) =>
        app.get("/same", (c) => c.body(null, 304, { ETag: '"1"' })),
      );
      const head = await primary.send("/last", { method: "HEAD", ...having(0) });
      assert.deepEqual([head.status, await head.text()], [200, ""]);
      assert.equal(cookies(head)["__txid_seen"], position(0));
      const same = await primary.send("/same", having(0));
      assert.deepEqual([same.status, same.headers.get("etag"), same.body], [304, '"1"', null]);
      assert.equal(cookies(same)["__txid_seen"], position(0));
    });

    it("keeps the cookies and the lines of the app, and of several middlewares around it", async () => {
      const { primary } = cluster(way, {}, (app) => {
        app.use(async (c, next) => {
          await next();
          c.header("X-After", "1");
          c.header("Set-Cookie", "b=2", { append: true });
        });
        app.post("/cookies", (c) => {
          c.header("Set-Cookie", "a=1");
          return c.body("x", 200, { "X-Handler": "1" });
        });
      });
      const response = await primary.send("/cookies", { method: "POST" });
      assert.deepEqual(cookies(response), { a: "1", b: "2", __txid: position(0) });
      assert.equal(response.headers.get("x-after"), "1");
      assert.equal(response.headers.get("x-handler"), "1");
    });

    it("tells the handler what is known", async () => {
      const { replica, primary, clock, replicate } = cluster(way);
      assert.deepEqual(await (await primary.send("/facts")).json(), {
        position: position(0),
        role: "primary",
      });
      const written = await primary.send("/last", put("a"));
      const waiting = replica.send("/facts", jar(written));
      await clock.advance(30);
      replicate();
      await settled();
      assert.deepEqual(await (await waiting).json(), {
        position: position(1),
        role: "replica",
        waited: 30,
      });
      replica.storage.setPrimary({ at: "unknown" });
      assert.equal((await (await replica.send("/facts")).json()).role, "unknown");
    });

    it("tells of no wait where there was none", async () => {
      const { primary } = cluster(way, {}, (app) => app.post("/facts", (c) => c.json(c.var.txid)));
      const facts = await (await primary.send("/facts", { method: "POST" })).json();
      assert.deepEqual(facts, { position: position(0), role: "primary" });
    });

    it("runs a write nowhere but on the primary, though that moves at the last moment", async () => {
      const { primary, replica } = cluster(way);
      const { storage } = replica;
      storage.setPrimary({ at: "here" });
      const asked = storage.primary;
      storage.primary = () => {
        storage.setPrimary({ at: "elsewhere", hostname: "p" });
        storage.primary = asked;
        return { at: "here" };
      };
      const written = await replica.send("/last", put("a"));
      assert.equal(written.status, 201);
      assert.deepEqual([primary.ran, replica.ran], [["PUT /last"], []]);
    });

    it("shows no client an older state than it has written or seen", async () => {
      const step = fc.record({
        on: fc.constantFrom("primary" as const, "replica" as const),
        does: fc.constantFrom("write", "read", "replicate"),
      });
      await fc.assert(
        fc.asyncProperty(
          fc.array(step, { maxLength: 20 }),
          fc.boolean(),
          async (steps, byHeader) => {
            const nodes = cluster(way, { waitTimeout: 10 });
            const client = new Map<string, string>();
            let token = "0";
            let written = 0;
            let seen = 0;
            for (const { on, does } of steps) {
              if (does === "replicate") nodes.replicate();
              if (does === "write") written++;
              if (does === "replicate") continue;
              const pairs = Array.from(client, ([key, value]) => `${key}=${value}`).join("; ");
              const pending = nodes[on].send("/last", {
                ...(does === "write" && put(String(written))),
                headers: byHeader ? { Txid: token } : { Cookie: pairs },
              });
              await nodes.clock.advance(10);
              const response = await pending;
              for (const [key, value] of Object.entries(cookies(response))) client.set(key, value);
              token = response.headers.get("txid") ?? token;
              const text = await response.text();
              if (does === "write") assert.equal(response.status, 201);
              else
                assert.ok(Number(text === "nothing" ? 0 : text) >= seen, `${text} after ${seen}`);
              seen = does === "write" ? written : Math.max(seen, Number(text) || 0);
            }
          },
        ),
        { numRuns: 50 },
      );
    });

    for (const how of ["said", "written into Txid-App"] as const) {
      describe(`with a word that is ${how}`, () => {
        const isSaid = how === "said";
        const field = (word: string): [string, string][] => (isSaid ? [] : [["Txid-App", word]]);
        const routes = (app: App): unknown =>
          app
            .get("/wrote", (c) => {
              if (isSaid) c.var.txid.wrote();
              return new Response("x", { headers: field("wrote") });
            })
            .post("/unchanged", (c) => {
              if (isSaid) c.var.txid.unchanged();
              return new Response("x", { headers: field("unchanged") });
            })
            .get("/must-write", (c) => {
              if (c.var.txid.role === "primary") return c.text("on the primary");
              if (isSaid) return c.var.txid.primary();
              return new Response("x", { headers: field("primary") });
            });

        it("mints although the method is safe", async () => {
          const response = await cluster(way, {}, routes).primary.send("/wrote");
          assert.equal(cookies(response)["__txid"], position(0));
          assert.equal(response.headers.get("txid-app"), null);
        });

        it("mints nothing although the method is not safe", async () => {
          const response = await cluster(way, {}, routes).primary.send("/unchanged", {
            method: "POST",
          });
          assert.deepEqual(cookies(response), {});
          assert.equal(response.headers.get("txid-app"), null);
          assert.equal(await response.text(), "x");
        });

        it("runs a read on the primary that found that it must write", async () => {
          const { primary, replica } = cluster(way, {}, routes);
          const response = await replica.send("/must-write");
          assert.equal(await response.text(), "on the primary");
          assert.equal(cookies(response)["__txid"], undefined);
          assert.deepEqual(primary.ran, ["GET /must-write"]);
          const replayed = await replica.send("/must-write", { headers: FLY });
          assert.equal(replayed.status, 409);
        });
      });
    }

    it("takes a read to the primary if that is only called, and lets go of its answer", async () => {
      const cancelled: unknown[] = [];
      const { replica } = cluster(way, {}, (app) =>
        app.get("/must-write", (c) => {
          if (c.var.txid.role === "primary") return c.text("on the primary");
          c.var.txid.primary();
          return c.body(new ReadableStream({ cancel: () => void cancelled.push("cancelled") }));
        }),
      );
      assert.equal(await (await replica.send("/must-write")).text(), "on the primary");
      await settled();
      assert.deepEqual(cancelled, ["cancelled"]);
    });

    it("leaves on the primary what asks for the primary", async () => {
      const { primary } = cluster(way, {}, (app) =>
        app.get("/must-write", (c) => {
          c.var.txid.primary();
          return c.text("here");
        }),
      );
      assert.equal(await (await primary.send("/must-write")).text(), "here");
    });

    it("takes an unread body to the primary, and none that is used up", async () => {
      const { replica } = cluster(way, {}, (app) =>
        app.on("QUERY", "/query", async (c) => {
          if (c.var.txid.role === "primary") return c.text(`got ${await c.req.text()}`);
          if (c.req.header("read") !== undefined) await c.req.text();
          return c.var.txid.primary();
        }),
      );
      const query = { method: "QUERY", body: "hello" };
      assert.equal(await (await replica.send("/query", query)).text(), "got hello");
      const used = await replica.send("/query", { ...query, headers: { Read: "1" } });
      assert.equal(used.status, 503);
    });

    it("passes the first bytes on at once, and tells the handler when nobody reads on", async () => {
      let cancelled = false;
      let go = (): void => {};
      const { primary } = cluster(way, {}, (app) =>
        app.get("/stream", (c) =>
          c.body(
            new ReadableStream({
              start: (controller) => {
                controller.enqueue(new TextEncoder().encode("first"));
                go = () => controller.enqueue(new TextEncoder().encode("second"));
              },
              cancel: () => void (cancelled = true),
            }),
          ),
        ),
      );
      const response = await primary.send("/stream", having(0));
      assert.equal(cookies(response)["__txid_seen"], position(0));
      const reader = response.body?.getReader();
      assert.equal(new TextDecoder().decode((await reader?.read())?.value), "first");
      go();
      assert.equal(new TextDecoder().decode((await reader?.read())?.value), "second");
      await reader?.cancel();
      assert.equal(cancelled, true);
    });

    it("passes events on", async () => {
      const { primary } = cluster(way, {}, (app) =>
        app.get("/events", (c) =>
          streamSSE(c, async (stream) => {
            await stream.writeSSE({ data: "one" });
          }),
        ),
      );
      const response = await primary.send("/events", having(0));
      assert.equal(response.headers.get("content-type"), "text/event-stream");
      assert.equal(await response.text(), "data: one\n\n");
    });

    it("lets the app handle what its handlers throw, and mints all the same", async () => {
      const { primary } = cluster(way, {}, (app) => {
        app.onError((error, c) =>
          error instanceof HTTPException ? error.getResponse() : c.text(error.message, 500),
        );
        app.post("/fails", () => {
          throw new Error("after it wrote");
        });
        app.post("/denied", () => {
          throw new HTTPException(403, { message: "denied" });
        });
      });
      const failed = await primary.send("/fails", { method: "POST" });
      assert.deepEqual([failed.status, await failed.text()], [500, "after it wrote"]);
      assert.equal(cookies(failed)["__txid"], position(0));
      const denied = await primary.send("/denied", { method: "POST" });
      assert.deepEqual([denied.status, await denied.text()], [403, "denied"]);
      assert.deepEqual(primary.errors, []);
    });

    it("answers 404 as the app does", async () => {
      const { primary } = cluster(way, {}, (app) =>
        app.notFound((c) => c.text("no such page", 404)),
      );
      const response = await primary.send("/nowhere", having(0));
      assert.deepEqual([response.status, await response.text()], [404, "no such page"]);
      assert.equal(cookies(response)["__txid_seen"], position(0));
    });

    it("gives an untouched response as the very object that the app made", async () => {
      const own = new Response("x", { headers: { "Content-Type": "text/plain" } });
      const { primary } = cluster(way, {}, (app) => app.get("/own", () => own));
      assert.equal(await primary.send("/own", { headers: { Origin: "http://page.test" } }), own);
    });

    it("gives a response that switches protocols as it is", async () => {
      // Only servers can make one; Hono then copies what it is given if it has set anything before.
      const own = Object.defineProperty(new Response(null), "status", { value: 101 });
      const { primary } = cluster(way, { serverTiming: true }, (app) =>
        app.get("/socket", () => own),
      );
      const headers = { Origin: "http://page.test", Txid: "0" };
      assert.equal(await primary.send("/socket", { headers }), own);
    });

    it("says in Server-Timing what it did", async () => {
      const { primary } = cluster(way, { serverTiming: true });
      const response = await primary.send("/last");
      assert.equal(response.headers.get("server-timing"), 'txid;desc="no token"');
    });

    it("keeps an answer that is given again free of the tokens of others", async () => {
      const empty = new Response(null, { headers: { "X-App": "1" } });
      const { primary } = cluster(way, {}, (app) => app.all("/again", () => empty));
      const first = await primary.send("/again", { method: "POST" });
      assert.equal(cookies(first)["__txid"], position(0));
      const second = await primary.send("/again");
      assert.deepEqual(cookies(second), {});
      assert.equal(second.headers.get("x-app"), "1");
      primary.storage.advance();
      const third = await primary.send("/again", { method: "POST" });
      assert.deepEqual(cookies(third), { __txid: position(1) });
    });
  });
}

for (const [name, way] of Object.entries(inside)) {
  describe(`${name}, inside`, () => {
    it("throws what the app throws and does not handle, and reports nothing", async () => {
      const { primary } = cluster(way, {}, (app) => {
        app.get("/fails", () => {
          // Hono hands on what is no Error.
          throw "no error"; // oxlint-disable-line no-throw-literal
        });
      });
      await assert.rejects(primary.send("/fails"), (error) => error === "no error");
      assert.deepEqual(primary.errors, []);
    });

    it("changes the lines of what cannot be changed on a copy", async () => {
      const fetched = await fetch("data:text/plain,hello");
      const { primary } = cluster(way, {}, (app) => app.post("/fetched", () => fetched));
      const response = await primary.send("/fetched", { method: "POST" });
      assert.equal(await response.text(), "hello");
      assert.equal(cookies(response)["__txid"], position(0));
    });

    it("keeps the type that a runtime gives to text", async () => {
      const { primary } = cluster(way, {}, (app) => app.all("/text", () => new Response("text")));
      for (const method of ["GET", "POST"]) {
        const response = await primary.send("/text", { method });
        // Bun tells only whoever gets it over a wire, so that a copy made now would have no type.
        const type = response.headers.get("content-type") ?? (await response.blob()).type;
        assert.match(type, /^text\/plain/);
      }
    });
  });
}

describe("consistency() of @txid/proxy/hono with other middlewares", () => {
  const elsewhere = { at: "elsewhere", hostname: "p" } as const;

  it("keeps what middlewares before it have set, and the tokens of the primary's answer", async () => {
    const { primary } = cluster(ways["createProxy() with app.fetch"] ?? assert.fail());
    const transport = fetchTransport(async (url, init) => primary.fetch(new Request(url, init)));
    const app = new Hono();
    app.use(cors({ origin: "http://page.test", credentials: true }));
    app.use(async (c, next) => {
      setCookie(c, "early", "1");
      c.header("X-Early", "1");
      await next();
      c.header("X-Late", "1");
    });
    app.use(
      consistency({
        storage: memory({ position: position(0), primary: elsewhere }),
        transport,
        primaryUrl: () => "http://p:8080",
      }),
    );
    const headers = { Origin: "http://page.test" };
    const response = await app.request("/last", { ...put("a"), headers });
    assert.equal(response.status, 201);
    assert.equal(await response.text(), "Written");
    assert.deepEqual(cookies(response), { early: "1", __txid: position(1) });
    assert.equal(response.headers.get("access-control-allow-origin"), "http://page.test");
    assert.equal(response.headers.get("x-early"), "1");
    assert.equal(response.headers.get("x-late"), "1");
  });

  it("answers in its own words through them", async () => {
    const app = new Hono();
    app.use(cors());
    app.use(consistency({ storage: memory({ position: position(0), primary: elsewhere }) }));
    app.post("/", (c) => c.text("never"));
    const response = await app.request("/", { method: "POST" });
    assert.equal(response.status, 409);
    assert.equal(response.headers.get("access-control-allow-origin"), "*");
    assert.match(await response.text(), /not the primary/);
  });

  it("keeps c.error for those around it, and lets sub-apps handle their own", async () => {
    const seen: unknown[] = [];
    const failure = new Error("in the sub-app");
    const app = new Hono();
    app.use(async (c, next) => {
      await next();
      seen.push(c.error);
    });
    app.use(consistency({ storage: memory({ position: position(0) }) }));
    const sub = new Hono();
    sub.onError((error, c) => c.text(`handled: ${error.message}`, 500));
    sub.post("/fails", () => {
      throw failure;
    });
    app.route("/sub", sub);
    const response = await app.request("/sub/fails", { method: "POST" });
    assert.equal(await response.text(), "handled: in the sub-app");
    assert.equal(cookies(response)["__txid"], position(0));
    assert.deepEqual(seen, [failure]);
  });

  it("decides on the paths and in the sub-apps where it is used", async () => {
    const app = new Hono();
    app.use("/api/*", consistency({ storage: memory({ position: position(0) }) }));
    app.post("/api/x", (c) => c.text("x"));
    app.post("/other", (c) => c.text("other"));
    const sub = new Hono();
    sub.use(consistency({ storage: memory({ position: position(5) }) }));
    sub.post("/x", (c) => c.text("x"));
    app.route("/sub", sub);
    assert.equal(cookies(await app.request("/api/x", { method: "POST" }))["__txid"], position(0));
    assert.deepEqual(cookies(await app.request("/other", { method: "POST" })), {});
    assert.equal(cookies(await app.request("/sub/x", { method: "POST" }))["__txid"], position(5));
    assert.equal((await app.request("/litefs/health")).status, 404);
    assert.equal((await app.request("/api/nowhere", { method: "POST" })).status, 404);
  });

  it("is in charge of what is mounted behind it", async () => {
    const app = new Hono();
    app.use(consistency({ storage: memory({ position: position(0) }) }));
    app.mount("/mounted", (request: Request) => new Response(new URL(request.url).pathname));
    const response = await app.request("/mounted/x", { method: "POST" });
    assert.equal(await response.text(), "/x");
    assert.equal(cookies(response)["__txid"], position(0));
  });

  it("lets the first of two decide", async () => {
    const decisions: Decision[] = [];
    const app: App = new Hono();
    app.use(consistency({ storage: memory({ position: position(1) }) }));
    app.use(
      consistency({
        storage: memory({ position: position(0), primary: elsewhere }),
        onDecision: (decision) => decisions.push(decision),
      }),
    );
    app.post("/", (c) => c.text(String(c.var.txid.role)));
    const response = await app.request("/", { method: "POST" });
    assert.equal(await response.text(), "primary");
    assert.equal(cookies(response)["__txid"], position(1));
    assert.deepEqual(decisions, []);
    const outer = wrapper({ storage: memory({ position: position(3) }) })(app.fetch);
    const wrapped = await outer(new Request("http://app.test/", { method: "POST" }));
    assert.deepEqual(cookies(wrapped), { __txid: position(3) });
  });

  it("serves a request that the app has dispatched before once more", async () => {
    const app = new Hono();
    app.use(consistency({ storage: memory({ position: position(0) }) }));
    app.get("/", (c) => c.text("x"));
    const request = new Request("http://app.test/", having(0));
    for (let time = 0; time < 2; time++)
      assert.equal(cookies(await app.fetch(request))["__txid_seen"], position(0));
  });

  it("runs on a body that was read before, and says so where it cannot be sent on", async () => {
    for (const [at, status] of [
      [{ at: "here" }, 200],
      [elsewhere, 503],
    ] as const) {
      const errors: unknown[] = [];
      const app = new Hono();
      app.use(async (c, next) => {
        await c.req.json();
        await next();
      });
      app.use(
        consistency({
          storage: memory({ position: position(0), primary: at }),
          primaryUrl: () => "http://127.0.0.1:1",
          onError: (error) => errors.push(error),
        }),
      );
      app.post("/", async (c) => c.json(await c.req.json()));
      const response = await app.request("/", { method: "POST", body: '{"a":1}' });
      assert.equal(response.status, status);
      if (status === 200) assert.deepEqual(await response.json(), { a: 1 });
      else assert.match(String(errors[0]), /its body was read before/);
    }
  });

  it("leaves it to Hono to complain of a handler that answers nothing", async () => {
    const app = new Hono();
    const errors: string[] = [];
    app.onError((error, c) => {
      errors.push(error.message);
      return c.text("failed", 500);
    });
    app.use(consistency({ storage: memory({ position: position(0) }) }));
    app.post("/", (() => {}) as () => never);
    assert.equal((await app.request("/", { method: "POST" })).status, 500);
    assert.match(errors.join(), /not finalized/);
  });

  it("answers 503 to a read that comes back because its node has become the primary", async () => {
    const storage = memory({ position: position(0), primary: elsewhere });
    const primaries = [elsewhere, elsewhere, { at: "here" }] as const;
    let asked = 0;
    const app: App = new Hono();
    app.use(
      consistency({
        storage: {
          ...storage,
          primary: () => primaries[Math.min(asked++, 2)] ?? elsewhere,
        },
      }),
    );
    app.get("/", (c) => c.var.txid.primary());
    const response = await app.request("/");
    assert.equal(response.status, 503);
    assert.equal(response.headers.get("retry-after"), "1");
  });

  it("counts those who wait for each client that is known", async () => {
    const clock = fakeClock();
    const app = new Hono<{ Bindings: { address?: string } }>();
    app.use(
      consistency({
        storage: memory({ position: position(0), primary: elsewhere }),
        clock,
        maxWaitersPerClient: 1,
        clientAddress: (c: Context<{ Bindings: { address?: string } }>) => c.env.address,
      }),
    );
    const statuses = ["192.0.2.1", "192.0.2.1", "192.0.2.2", undefined, undefined].map(
      async (address) => (await app.request("/", having(1), address ? { address } : {})).status,
    );
    await clock.advance(5000);
    assert.deepEqual(await Promise.all(statuses), [504, 503, 504, 504, 504]);
  });

  it("sends everybody away when it closes, and fails its health when it drains", async () => {
    const txid = consistency({ storage: memory({ position: position(0), primary: elsewhere }) });
    const app = new Hono();
    app.use(txid);
    const waiting = app.request("/", having(1));
    await settled();
    txid.drain();
    assert.equal((await app.request("/litefs/health")).status, 503);
    assert.equal((await txid.health()).text, "Shutting down");
    txid.close();
    assert.equal((await waiting).status, 503);
  });
});

describe("consistency() of @txid/proxy/fetch", () => {
  it("passes on what the server gives beside the request", async () => {
    const consistent = wrapper({ storage: memory({ position: position(0) }) });
    const app = consistent((_: Request, env: { name: string }, more: number) => {
      return new Response(`${env.name} ${more}`);
    });
    const response = await app(new Request("http://app.test/"), { name: "env" }, 7);
    assert.equal(await response.text(), "env 7");
  });

  it("asks for the client's address with all of it", async () => {
    const clock = fakeClock();
    const consistent = wrapper({
      storage: memory({ position: position(0), primary: { at: "elsewhere", hostname: "p" } }),
      clock,
      maxWaitersPerClient: 1,
      clientAddress: (_, server: { requestIP(): string | undefined }) => server.requestIP(),
    });
    const app = consistent(() => new Response("x"));
    const statuses = ["192.0.2.1", "192.0.2.1", "192.0.2.2"].map(async (address) => {
      const request = new Request("http://app.test/", having(1));
      return (await app(request, { requestIP: () => address })).status;
    });
    await clock.advance(5000);
    assert.deepEqual(await Promise.all(statuses), [504, 503, 504]);
  });

  it("believes nothing of a client whose address is not told any more", async () => {
    const sent: HeaderLines[] = [];
    const consistent = wrapper({
      storage: memory({ position: position(0), primary: { at: "elsewhere", hostname: "p" } }),
      primaryUrl: () => "http://p.test",
      transport: ({ headers }) => {
        sent.push(headers);
        return Promise.resolve({ status: 200, statusText: "", headers: [], body: null });
      },
      clientAddress: () => undefined,
    });
    const headers = { "X-Forwarded-For": "192.0.2.1", "Txid-Hops": "1" };
    await consistent(() => new Response("x"))(
      new Request("http://app.test/", { method: "POST", headers }),
    );
    assert.deepEqual(allValues(sent[0] ?? [], "x-forwarded-for"), ["unknown"]);
  });

  it("runs a read once more that must write, where its node has become the primary", async () => {
    const roles = [
      { at: "elsewhere", hostname: "p" },
      { at: "elsewhere", hostname: "p" },
    ] as const;
    let asked = 0;
    const storage = memory({ position: position(0) });
    const app = wrapper({
      storage: { ...storage, primary: () => roles[asked++] ?? { at: "here" } },
    })((request: Request) => {
      const txid = txidOf(request);
      return txid?.role === "primary" ? new Response("written") : txid?.primary();
    });
    const response = await app(new Request("http://app.test/"));
    assert.equal(await response?.text(), "written");
    assert.deepEqual(response && cookies(response), { __txid: position(0) });
  });

  it("passes on that the app has answered in a way of its own", async () => {
    const consistent = wrapper({ storage: memory({ position: position(0) }) });
    // Bun's handlers return nothing for a request that they have upgraded.
    const app = consistent((): Response | undefined => undefined);
    assert.equal(await app(new Request("http://app.test/", having(0))), undefined);
  });

  it("knows nothing of requests that no proxy has let in", () => {
    assert.equal(txidOf(new Request("http://app.test/")), undefined);
  });

  it("keeps answers apart that the app gives as one to requests of the same moment", async () => {
    const shared = new Response(null, { status: 204 });
    const consistent = wrapper({ storage: memory({ position: position(1) }) });
    const app = consistent(() => shared);
    const ask = (method: string, headers: HeadersInit): Promise<Response> =>
      app(new Request("http://app.test/", { method, headers }));
    const answers = await Promise.all([
      ask("GET", {}),
      ask("POST", { Txid: position(1) }),
      ask("POST", {}),
    ]);
    assert.deepEqual(answers.map(cookies), [{}, {}, { __txid: position(1) }]);
    assert.deepEqual(
      answers.map(({ headers }) => headers.get("txid")),
      [null, position(1), null],
    );
  });

  it("takes no token of a word that comes after the answer", async () => {
    const consistent = wrapper({ storage: memory({ position: position(0) }) });
    let late = (): void => {};
    const app = consistent((request: Request) => {
      late = () => txidOf(request)?.wrote();
      return new Response("x");
    });
    const response = await app(new Request("http://app.test/"));
    late();
    assert.deepEqual(cookies(response), {});
  });

  it("refuses options as the proxy does", () => {
    assert.throws(
      () => wrapper({ storage: memory({ position: position(0) }), waitTimeout: -1 }),
      RangeError,
    );
    assert.throws(
      () => consistency({ storage: memory({ position: position(0) }), reads: "never" as "off" }),
      TypeError,
    );
    // What TypeScript would not let through may come from JavaScript.
    const text = "X-Forwarded-For" as unknown as () => string;
    const message =
      /^Cannot create proxy: `clientAddress` must be a function, received "X-Forwarded-For"$/;
    assert.throws(() => wrapper({ storage: memory(), clientAddress: text }), { message });
    assert.throws(() => consistency({ storage: memory(), clientAddress: text }), { message });
    const app = { fetch: () => new Response() } as unknown as () => Response;
    // A module is such an object, and cannot be written as text.
    const module = Object.assign(Object.create(null), app) as () => Response;
    for (const given of [app, module])
      assert.throws(() => wrapper({ storage: memory() })(given), /must be a fetch handler/);
  });
});
