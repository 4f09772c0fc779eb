import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { memory, type MemoryStorage } from "../adapters/memory.ts";
import {
  type HeaderLines,
  type Primary,
  type ProxyOptions,
  type ResponseMessage,
  TransportError,
} from "../src/index.ts";
import { settled } from "./fake-clock.ts";
import { eventually } from "./http1-wire.ts";
import {
  begin,
  cookie,
  elsewhere,
  header,
  here,
  minted,
  node,
  type Node,
  T26,
  T27,
  T28,
  text,
  unknown,
} from "./node.ts";

const everywhere: Primary = { at: "everywhere" };

/** The second cookie of a client that has seen another history than that of the node. */
const FOREIGN: HeaderLines = ["Cookie", `__txid_seen=${T26}/lost`];

/** Every way to the primary that there could be. */
const WAYS: Partial<ProxyOptions> = {
  primaryUrl: (hostname) => `http://${hostname}:8080`,
  primaryReads: "always",
};

/** Starts a proxy at position 27 on a node that takes writes as every other one does. */
function replica(options: Partial<ProxyOptions> = {}): Node & { storage: MemoryStorage } {
  const storage = memory({ position: T27, primary: everywhere });
  storage.setHistory("h");
  return { ...node(unknown, { storage, ...WAYS, ...options }), storage };
}

describe("createProxy() where every node takes writes", () => {
  it("runs a write here, whatever ways there are to another node", async () => {
    for (const forward of ["auto", "direct", "replay"] as const) {
      const one = replica({ forward });
      const response = await one.send("POST", "/a", ["Fly-Request-Id", "01"]);
      assert.equal(response.status, 200);
      assert.deepEqual(
        one.seen.map(({ origin, target }) => [origin, target]),
        [["http://app.test:8081", "/a"]],
      );
      assert.equal(one.decisions.at(-1)?.reason, "every node takes writes");
    }
  });

  it("mints what commit() returns after the app has answered", async () => {
    const storage = memory({ position: T26, primary: everywhere });
    const one = node(unknown, {
      storage: { ...storage, commit: () => (one.seen.length === 1 ? T28 : T27) },
    });
    assert.equal(minted(await one.send("POST", "/")), T28);
  });

  it("mints the position without commit()", async () => {
    assert.equal(minted(await replica().send("POST", "/")), T27);
  });

  it("holds a write until this node has what its client has seen, for the app may read first", async () => {
    const one = replica();
    const write = begin(one.send("POST", "/", cookie(T28)));
    await one.clock.advance(100);
    assert.equal(one.seen.length, 0);
    one.storage.advance();
    await settled();
    assert.equal(write.response()?.status, 200);
    assert.equal(minted(write.response()), T28);
    assert.equal(one.decisions.at(-1)?.waited, 100);
    assert.equal(one.clock.timers(), 0);
  });

  it("refuses a write where this node stays behind, and has sent nothing then", async () => {
    const one = replica();
    const write = begin(one.send("POST", "/", cookie(T28)));
    await one.clock.advance(4999);
    assert.equal(write.response(), undefined);
    await one.clock.advance(1);
    assert.equal(write.response()?.status, 504);
    assert.deepEqual(header(write.response(), "retry-after"), ["1"]);
    assert.deepEqual(header(write.response(), "set-cookie"), []);
    assert.equal(one.seen.length, 0);
  });

  it("waits no longer, however often the position goes back meanwhile", async () => {
    const one = replica();
    const write = begin(one.send("POST", "/", cookie(T28)));
    for (let turn = 0; turn < 16; turn++) {
      await one.clock.advance(300);
      one.storage.setPosition(T28);
      one.storage.setPosition(T27);
    }
    assert.equal(write.response(), undefined);
    await one.clock.advance(200);
    assert.equal(write.response()?.status, 504);
  });

  it("refuses a write when too many wait, and while it closes", async () => {
    const full = replica({ maxWaiters: 0 });
    const refused = await full.send("POST", "/", cookie(T28));
    assert.equal(refused.status, 503);
    assert.match(text(refused), /too many requests wait/);
    const closing = replica();
    const held = closing.send("POST", "/", cookie(T28));
    await settled();
    closing.proxy.close();
    assert.equal((await held).status, 503);
    assert.equal(full.seen.length + closing.seen.length, 0);
  });

  it("sends a write that waits to the primary, when it turns out that there is one", async () => {
    const one = replica();
    const write = begin(one.send("POST", "/", cookie(T28)));
    await one.clock.advance(100);
    one.storage.setPrimary(elsewhere);
    one.storage.advance();
    await settled();
    assert.equal(write.response()?.status, 200);
    assert.equal(one.seen[0]?.origin, "http://p:8080");
  });

  it("runs a write that waits at once, when this node becomes the primary", async () => {
    const one = replica();
    const write = begin(one.send("POST", "/", cookie(T28)));
    await one.clock.advance(100);
    one.storage.setPrimary(here);
    await settled();
    assert.equal(write.response()?.status, 200);
    assert.equal(one.seen[0]?.origin, "http://app.test:8081");
  });

  it("runs a write that was held while nobody knew where writes run", async () => {
    const one = replica();
    one.storage.setPrimary(unknown);
    const write = begin(one.send("POST", "/"));
    await one.clock.advance(50);
    assert.equal(write.response(), undefined);
    one.storage.setPrimary(everywhere);
    await settled();
    assert.equal(write.response()?.status, 200);
  });

  it("runs a write here that could not be sent to a primary, once every node takes writes", async () => {
    const one = replica();
    one.storage.setPrimary(elsewhere);
    const app = one.app.answer;
    one.app.answer = (request) =>
      request.origin === "http://p:8080"
        ? Promise.reject(new TransportError("refused", "nobody listens"))
        : app(request);
    const write = begin(one.send("POST", "/"));
    await one.clock.advance(100);
    assert.equal(write.response(), undefined);
    one.storage.setPrimary(everywhere);
    await one.clock.advance(2000);
    assert.equal(write.response()?.status, 200);
    assert.equal(one.seen.at(-1)?.origin, "http://app.test:8081");
  });

  it("serves a read once this node has what its client has seen", async () => {
    const one = replica();
    const read = begin(one.send("GET", "/", cookie(T28)));
    await one.clock.advance(100);
    assert.equal(one.seen.length, 0);
    one.storage.advance();
    await settled();
    assert.equal(read.response()?.status, 200);
    assert.deepEqual(
      one.seen.map(({ origin }) => origin),
      ["http://app.test:8081"],
    );
  });

  it("answers 504 to a read that is behind for good: there is no primary to ask", async () => {
    const one = replica();
    const read = begin(one.send("GET", "/", cookie(T28)));
    await one.clock.advance(5000);
    assert.equal(read.response()?.status, 504);
    assert.deepEqual(header(read.response(), "retry-after"), ["1"]);
    assert.equal(one.seen.length, 0);
  });

  it("serves such a read where the path may be stale, and gives no token for it", async () => {
    const one = replica({ stale: ["/news"] });
    const read = begin(one.send("GET", "/news", cookie(T28)));
    await one.clock.advance(5000);
    assert.equal(read.response()?.status, 200);
    assert.deepEqual(header(read.response(), "set-cookie"), []);
  });

  it("waits for the lag to go down as well: nobody else could answer", async () => {
    const one = replica();
    one.storage.setLag(60_000);
    const read = begin(one.send("GET", "/", cookie(T28)));
    await one.clock.advance(100);
    assert.equal(read.response(), undefined);
    one.storage.advance();
    await settled();
    assert.equal(read.response()?.status, 200);
  });

  it("serves a read of another history at once where nothing is missing, and heals its token", async () => {
    for (const foreignTokens of ["primary", "ignore"] as const) {
      const one = replica({ foreignTokens });
      const response = await one.send("GET", "/", FOREIGN);
      assert.equal(response.status, 200);
      assert.equal(minted(response), T27);
    }
    const strict = await replica({ foreignTokens: "error" }).send("GET", "/", FOREIGN);
    assert.equal(strict.status, 412);
  });

  it("lets nobody wait for what another cluster has, which never comes, and heals the token", async () => {
    for (const foreignTokens of ["primary", "ignore"] as const) {
      for (const method of ["GET", "POST"]) {
        const one = replica({ cluster: "blue", foreignTokens });
        const response = await one.send(method, "/", ["Txid", `${T28}//green`]);
        assert.equal(response.status, 200);
        assert.deepEqual(header(response, "txid"), [`${T27}/h/blue;reset`]);
      }
    }
  });

  it("lets nobody wait for a signed token once it does not count any more", async () => {
    const signing = { keys: [{ id: "k1", secret: "0123456789abcdef" }] };
    const before = replica({ signing });
    before.storage.setPosition(T28);
    const token = header(await before.send("POST", "/", ["Txid", "0"]), "txid")[0] ?? "";
    for (const [time, status] of [
      [359_000, 504],
      [361_000, 200],
    ] as const) {
      for (const method of ["GET", "POST"]) {
        const restored = replica({ signing, waitTimeout: 0 });
        restored.storage.setHistory(undefined);
        await restored.clock.advance(time);
        const pending = begin(restored.send(method, "/", ["Txid", token]));
        await eventually(
          () => {
            void restored.clock.advance(0);
            return pending.response() !== undefined;
          },
          () => "for an answer",
        );
        assert.equal(pending.response()?.status, status);
      }
    }
  });

  it("waits for what is missing beside the token of another history", async () => {
    const both: HeaderLines = ["Cookie", `__txid_seen=${T26}/lost; __txid=${T28}`];
    const one = replica();
    const read = begin(one.send("GET", "/", both));
    await one.clock.advance(100);
    assert.equal(read.response(), undefined);
    one.storage.advance();
    await settled();
    assert.equal(read.response()?.status, 200);
    const late = replica();
    const refused = begin(late.send("GET", "/", both));
    await late.clock.advance(4999);
    assert.equal(refused.response(), undefined);
    await late.clock.advance(1);
    assert.equal(refused.response()?.status, 504);
  });

  it("does not wait for a token that is ahead of all reason, and replaces it", async () => {
    for (const method of ["GET", "POST"]) {
      const one = replica();
      const response = await one.send(method, "/", cookie("ffffffffffffffff"));
      assert.equal(response.status, 200);
      assert.equal(minted(response), T27);
    }
  });

  it("leaves it to the storage how far a token is ahead", async () => {
    const raised = "0000010000000000";
    const plain = await replica().send("GET", "/", cookie(raised));
    assert.equal(plain.status, 200);
    const storage = memory({ position: T27, primary: everywhere });
    const one = node(unknown, { storage: { ...storage, gap: () => undefined } });
    const read = begin(one.send("GET", "/", cookie(raised)));
    await one.clock.advance(100);
    assert.equal(read.response(), undefined);
    storage.setPosition(raised);
    await settled();
    assert.equal(read.response()?.status, 200);
    const far = node(unknown, { storage: { ...storage, gap: () => 2 ** 33 } });
    assert.equal((await far.send("GET", "/", cookie("0000020000000000"))).status, 200);
  });

  it("gives the app's answer out although it asks for the primary: it runs as a write would", async () => {
    const one = replica();
    one.app.headers = ["Txid-App", "primary"];
    const response = await one.send("GET", "/");
    assert.equal(response.status, 200);
    assert.deepEqual(header(response, "txid-app"), []);
    assert.equal(one.seen.length, 1);
  });

  it("runs a read on an always-forward path as a write", async () => {
    const one = replica({ alwaysForward: ["/callback"] });
    assert.equal(minted(await one.send("GET", "/callback")), T27);
  });

  it("never lets a write answer with a lower token than it came with", async () => {
    const one = replica();
    const write = one.send("POST", "/", cookie(T28));
    await one.clock.advance(10_000);
    assert.deepEqual(header(await write, "set-cookie"), []);
  });

  it("is a replica to the health check", async () => {
    const one = replica();
    const check = (): Promise<ResponseMessage> => one.send("GET", "/litefs/health");
    assert.equal((await check()).status, 200);
    one.storage.setLag(undefined);
    assert.equal((await check()).status, 200);
    one.storage.setLag(10_001);
    assert.equal((await check()).status, 503);
    assert.deepEqual((await one.proxy.health()).primary, everywhere);
  });
});
