import assert from "node:assert/strict";
import { once } from "node:events";
import { closeSync, existsSync, openSync, readFileSync, readSync } from "node:fs";
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { Worker } from "node:worker_threads";
import { createCluster } from "../cluster/cluster.ts";
import type { Cluster, ClusterOptions } from "../cluster/cluster.ts";
import { createEdge } from "../cluster/edge.ts";
import type { Edge, EdgeNode, EdgeOptions } from "../cluster/edge.ts";
import { lagText, timeText } from "../cluster/format.ts";
import { listen } from "../cluster/listen.ts";
import type { Listener } from "../cluster/listen.ts";
import type { ClusterNode } from "../cluster/node.ts";
import { freePort } from "../cluster/ports.ts";
import { parseReplay, parseReplayBody } from "../cluster/replay.ts";
import type { Clock } from "../src/clock.ts";
import { openProxy } from "./front.ts";
import { checkSessions } from "../cluster/session.ts";
import { until } from "./until.ts";

interface ManualClock extends Clock {
  /** Moves the time on and calls what is due. */
  advance(delay: number): void;
}

function manualClock(start: number): ManualClock {
  const timers = new Set<{ at: number; callback: () => void }>();
  let now = start;
  return {
    now: () => now,
    setTimeout(callback, delay) {
      const timer = { at: now + delay, callback };
      timers.add(timer);
      return timer;
    },
    clearTimeout(timer) {
      for (const one of timers) {
        if (one === timer) {
          timers.delete(one);
        }
      }
    },
    advance(delay) {
      now += delay;
      for (const timer of Array.from(timers)) {
        if (timer.at <= now && timers.delete(timer)) {
          timer.callback();
        }
      }
    },
  };
}

function content(node: ClusterNode, file: string): string {
  return readFileSync(join(node.directory, file), "latin1");
}

function has(node: ClusterNode, file: string): boolean {
  return existsSync(join(node.directory, file));
}

function txid(node: ClusterNode): string {
  return content(node, "app.db-pos").slice(0, 16);
}

async function put(url: string, key: string, value: string): Promise<Response> {
  const response = await fetch(`${url}/kv/${key}`, { method: "PUT", body: value });
  await response.clone().text();
  return response;
}

async function get(url: string, key: string): Promise<string> {
  const response = await fetch(`${url}/kv/${key}`);
  const text = await response.text();
  return response.ok ? text : `${response.status}`;
}

const first = "0000000000000001";
const second = "0000000000000002";
const third = "0000000000000003";

describe("createCluster()", () => {
  const start = Date.parse("2026-01-01T00:00:00.120Z");
  let clock: ManualClock;
  let cluster: Cluster;
  let faults: unknown[];

  async function open(options: ClusterOptions = {}): Promise<void> {
    clock = manualClock(start);
    faults = [];
    cluster = await createCluster({ clock, onError: (error) => faults.push(error), ...options });
  }

  afterEach(async () => {
    const directory = dirname(dirname(cluster.node("n1").directory));
    await cluster.close();
    assert.deepEqual(faults, []);
    assert.equal(existsSync(directory), false);
  });

  describe("files of a node", () => {
    it("has 34 bytes of position, written in place", async () => {
      await open();
      const [n1, n2] = [cluster.node("n1"), cluster.node("n2")];
      const file = openSync(join(n2.directory, "app.db-pos"), "r");
      await put(n1.url, "a", "1");
      assert.match(content(n1, "app.db-pos"), /^0000000000000002\/[89a-f][0-9a-f]{15}\n$/);
      await until("n2 has it", () => txid(n2) === second);
      const bytes = new Uint8Array(64);
      assert.equal(readSync(file, bytes, 0, 64, 0), 34);
      closeSync(file);
      assert.equal(
        Buffer.from(bytes.subarray(0, 34)).toString("latin1"),
        content(n1, "app.db-pos"),
      );
    });

    it("has no position before the first transaction", async () => {
      await open({ schema: [], names: ["n1"] });
      assert.equal(has(cluster.node("n1"), "app.db-pos"), false);
    });

    it("names the primary on replicas only", async () => {
      await open();
      assert.equal(content(cluster.node("n2"), ".primary"), "n1\n");
      assert.equal(has(cluster.node("n1"), ".primary"), false);
    });

    it("tells the lag: none on the primary, the way's length and the heartbeat's age on a replica", async () => {
      await open({ lag: 150 });
      const [n1, n2] = [cluster.node("n1"), cluster.node("n2")];
      assert.equal(content(n1, ".lag"), "+000000000\n");
      clock.advance(1000);
      await until("the heartbeat came", () => content(n2, ".lag") === "+000000150\n");
      clock.advance(250);
      await until("it grows old", () => content(n2, ".lag") === "+000000400\n");
    });

    it("is not ready until the primary was heard", async () => {
      await open({ schema: [], names: ["n1", "n2"] });
      await cluster.network.partition("n2");
      await cluster.crash("n2");
      await cluster.restart("n2");
      assert.equal(content(cluster.node("n2"), ".lag"), "+2147483647\n");
    });
  });

  describe("API of a node", () => {
    it("tells the role in /info", async () => {
      await open();
      const { apiUrl, directory } = cluster.node("n2");
      const response = await fetch(`${apiUrl}/info`);
      assert.match(response.headers.get("litefs-id") ?? "", /^[0-9A-F]{16}$/);
      assert.match(response.headers.get("litefs-cluster-id") ?? "", /^LFSC[0-9A-F]{16}$/);
      assert.equal(
        await response.text(),
        `{
  "clusterID": "LFSC0000000000000001",
  "isPrimary": false,
  "candidate": true,
  "path": "${join(dirname(directory), "data")}",
  "primary": {
    "hostname": "n1"
  }
}
`,
      );
      const onPrimary = await (await fetch(`${cluster.node("n1").apiUrl}/info`)).text();
      assert.match(onPrimary, /"isPrimary": true,[^]*"hostname": "n1"/);
    });

    it("tells the positions in /debug/vars", async () => {
      await open();
      const n1 = cluster.node("n1");
      const response = await fetch(`${n1.apiUrl}/debug/vars`);
      const { store } = JSON.parse(await response.text());
      const [position = "", checksum = ""] = content(n1, "app.db-pos").trim().split("/");
      assert.equal(position, first);
      assert.deepEqual(store, {
        isPrimary: true,
        candidate: true,
        dbs: { "app.db": { name: "app.db", txid: position, checksum, locks: {} } },
      });
    });

    it("streams events, and the files and the database are there first", async () => {
      await open();
      const n2 = cluster.node("n2");
      const abort = new AbortController();
      const response = await fetch(`${n2.apiUrl}/events`, { signal: abort.signal });
      assert.equal(response.headers.get("content-type"), "application/json");
      const lines = linesOf(response);
      assert.equal(
        await lines.next(),
        '{"type":"init","data":{"isPrimary":false,"hostname":"n1"}}',
      );
      await put(cluster.node("n1").url, "a", "1");
      const line = await lines.next();
      const checksum = content(n2, "app.db-pos").slice(17, 33);
      const data = `{"txID":"${second}","postApplyChecksum":"${checksum}","pageSize":4096,"commit":4,"timestamp":"2026-01-01T00:00:00.12Z"}`;
      assert.equal(line, `{"type":"tx","db":"app.db","data":${data}}`);
      assert.equal(txid(n2), second);
      assert.equal(await get(n2.url, "a"), "1");
      await cluster.network.failover("n2");
      assert.equal(await lines.next(), '{"type":"primaryChange","data":{"isPrimary":true}}');
      abort.abort();
    });

    it("becomes the primary when it is asked to", async () => {
      await open();
      const response = await fetch(`${cluster.node("n2").apiUrl}/promote`, { method: "POST" });
      assert.equal(response.status, 200);
      await until("n2 leads", () => cluster.network.primary() === "n2");
    });

    it("refuses other methods and paths", async () => {
      await open();
      const { apiUrl } = cluster.node("n1");
      const wrong = await fetch(`${apiUrl}/info`, { method: "POST" });
      assert.deepEqual([wrong.status, await wrong.text()], [405, "method not allowed\n"]);
      const missing = await fetch(`${apiUrl}/nothing`);
      assert.deepEqual([missing.status, await missing.text()], [404, "404 page not found\n"]);
    });
  });

  describe("replication", () => {
    it("moves the primary's position inside the write, before the app can answer", async () => {
      await open({
        lag: 1000,
        app: (context) => async () => {
          await context.write([
            { sql: "INSERT INTO notes VALUES (?, '')", args: [context.position().txid] },
          ]);
          return new Response(txid(cluster.node(context.node)));
        },
      });
      const { url } = cluster.node("n1");
      assert.equal(await (await fetch(url)).text(), second);
      assert.equal(await (await fetch(url)).text(), third);
    });

    it("refuses writes on a replica", async () => {
      await open();
      const n2 = cluster.node("n2");
      const response = await put(n2.url, "a", "1");
      assert.equal(response.status, 503);
      assert.match(await response.text(), /attempt to write a readonly database/);
      assert.equal(await get(n2.url, "a"), "404");
      assert.equal(txid(n2), first);
    });

    it("ships a transaction when its lag has passed and not before", async () => {
      await open({ lag: 300 });
      const [n1, n2] = [cluster.node("n1"), cluster.node("n2")];
      await put(n1.url, "a", "1");
      clock.advance(299);
      assert.equal(await get(n2.url, "a"), "404");
      assert.equal(txid(n2), first);
      clock.advance(1);
      await until("n2 has it", () => txid(n2) === second);
      assert.equal(await get(n2.url, "a"), "1");
      assert.equal(content(n2, "app.db-pos"), content(n1, "app.db-pos"));
    });

    it("lets the lag change for what is under way, and for one node alone", async () => {
      await open({ lag: 60_000 });
      await put(cluster.node("n1").url, "a", "1");
      cluster.network.setLag(0, "n3");
      await until("n3 has it", () => txid(cluster.node("n3")) === second);
      assert.equal(txid(cluster.node("n2")), first);
      cluster.network.setLag(0);
      await cluster.network.settled();
      assert.equal(txid(cluster.node("n2")), second);
    });

    it("keeps a node that is cut off where it is, until the partition ends", async () => {
      await open();
      const [n1, n2, n3] = [cluster.node("n1"), cluster.node("n2"), cluster.node("n3")];
      await cluster.network.partition("n2");
      assert.equal(has(n2, ".primary"), false);
      await put(n1.url, "a", "1");
      await until("n3 has it", () => txid(n3) === second);
      clock.advance(60_000);
      assert.equal(txid(n2), first);
      await cluster.network.heal();
      await cluster.network.settled();
      assert.equal(txid(n2), second);
      assert.equal(content(n2, ".primary"), "n1\n");
    });

    it("lets a primary that is cut off go on alone", async () => {
      await open();
      const [n1, n2, n3] = [cluster.node("n1"), cluster.node("n2"), cluster.node("n3")];
      await cluster.network.partition("n1");
      assert.equal((await put(n1.url, "a", "1")).status, 200);
      assert.deepEqual([txid(n1), txid(n2), txid(n3)], [second, first, first]);
      assert.equal(has(n3, ".primary"), false);
    });
  });

  describe("failover", () => {
    it("loses nothing when the old primary can be reached", async () => {
      await open({ lag: 60_000 });
      const [n1, n2] = [cluster.node("n1"), cluster.node("n2")];
      await put(n1.url, "a", "1");
      await cluster.network.failover("n2");
      assert.equal(await get(n2.url, "a"), "1");
      assert.deepEqual(cluster.network.lost(), []);
      assert.equal(content(n1, ".primary"), "n2\n");
      assert.equal(has(n2, ".primary"), false);
      assert.equal((await put(n1.url, "a", "2")).status, 503);
      assert.equal((await put(n2.url, "a", "2")).status, 200);
      assert.equal(txid(n2), third);
      cluster.network.setLag(0);
      await cluster.network.settled();
      assert.equal(await get(n1.url, "a"), "2");
    });

    it("loses what was under way when it must be quick, and overwrites it on the old primary", async () => {
      await open({ lag: 60_000 });
      const [n1, n2] = [cluster.node("n1"), cluster.node("n2")];
      await put(n1.url, "a", "lost");
      const lost = content(n1, "app.db-pos");
      await cluster.network.failover("n2", true);
      assert.equal(await get(n2.url, "a"), "404");
      assert.equal(await get(n1.url, "a"), "404");
      assert.equal(txid(n1), first);
      const gone = cluster.network.lost().map(({ transaction }) => transaction.statements[0]?.args);
      assert.deepEqual(gone, [["a", "lost"]]);
      await put(n2.url, "a", "kept");
      cluster.network.setLag(0);
      await cluster.network.settled();
      assert.equal(await get(n1.url, "a"), "kept");
      assert.equal(txid(n1), lost.slice(0, 16));
      assert.notEqual(content(n1, "app.db-pos"), lost);
    });

    it("loses what a primary wrote while it was cut off", async () => {
      await open();
      const [n1, n3] = [cluster.node("n1"), cluster.node("n3")];
      await cluster.network.partition("n1");
      await put(n1.url, "a", "lost");
      await cluster.network.failover("n3");
      await put(n3.url, "b", "kept");
      assert.equal(has(n1, ".primary"), false);
      assert.equal((await put(n1.url, "a", "again")).status, 503);
      await cluster.network.heal();
      await cluster.network.settled();
      assert.deepEqual([await get(n1.url, "a"), await get(n1.url, "b")], ["404", "kept"]);
    });

    it("refuses a node that is down, cut off or unknown", async () => {
      await open();
      await cluster.network.partition("n2");
      await cluster.crash("n3");
      await assert.rejects(cluster.network.failover("n2"), RangeError);
      await assert.rejects(cluster.network.failover("n3"), RangeError);
      await assert.rejects(cluster.network.failover("n4"), RangeError);
      assert.equal(cluster.network.primary(), "n1");
    });
  });

  describe("crash", () => {
    it("takes the mount's own files away and keeps the database", async () => {
      await open();
      const n2 = cluster.node("n2");
      await cluster.crash("n2");
      assert.deepEqual(
        ["app.db", "app.db-pos", ".primary", ".lag"].map((file) => has(n2, file)),
        [true, false, false, false],
      );
      await assert.rejects(fetch(n2.url));
      await put(cluster.node("n1").url, "a", "1");
      await cluster.restart("n2");
      await cluster.network.settled();
      assert.equal(cluster.node("n2").url, n2.url);
      assert.equal(await get(n2.url, "a"), "1");
    });

    it("leaves no primary until the old one is back", async () => {
      await open();
      const [n1, n2] = [cluster.node("n1"), cluster.node("n2")];
      await put(n1.url, "a", "1");
      await cluster.network.settled();
      await cluster.crash("n1");
      assert.equal(has(n2, ".primary"), false);
      assert.match(await (await fetch(`${n2.apiUrl}/info`)).text(), /"hostname": ""/);
      await cluster.restart("n1");
      assert.equal(content(n2, ".primary"), "n1\n");
      assert.equal((await put(n1.url, "a", "2")).status, 200);
      assert.equal(txid(cluster.node("n1")), third);
    });

    it("makes an old primary a replica of the new one", async () => {
      await open();
      await cluster.crash("n1");
      await cluster.network.failover("n2");
      await put(cluster.node("n2").url, "a", "1");
      await cluster.restart("n1");
      await cluster.network.settled();
      assert.equal(content(cluster.node("n1"), ".primary"), "n2\n");
      assert.equal(await get(cluster.node("n1").url, "a"), "1");
    });
  });

  describe("restore", () => {
    it("puts every node back, the position included", async () => {
      await open();
      const [n1, n2, n3] = [cluster.node("n1"), cluster.node("n2"), cluster.node("n3")];
      await put(n1.url, "a", "old");
      const saved = await cluster.network.snapshot();
      await put(n1.url, "a", "new");
      await put(n1.url, "b", "new");
      await cluster.network.settled();
      await cluster.network.restore(saved);
      assert.deepEqual([txid(n1), txid(n2), txid(n3)], [second, second, second]);
      assert.deepEqual([await get(n2.url, "a"), await get(n3.url, "b")], ["old", "404"]);
      await put(n1.url, "b", "third");
      await cluster.network.settled();
      assert.equal(await get(n3.url, "b"), "third");
      assert.equal(content(n3, "app.db-pos"), content(n1, "app.db-pos"));
    });
  });

  describe("control API", () => {
    async function order(path: string): Promise<string> {
      const response = await fetch(`${cluster.controlUrl}${path}`, { method: "PUT" });
      return `${response.status} ${(await response.text()).trim()}`;
    }

    it("changes the cluster while it runs and tells its state", async () => {
      await open();
      assert.equal(await order("/lag/300"), "200 Transactions take 300 ms");
      assert.equal(await order("/lag/20/n3"), "200 Transactions take 20 ms to n3");
      assert.equal(await order("/snapshot"), `200 Saved the database at ${first}`);
      assert.equal(await order("/failover/n2"), "200 n2 is the primary");
      assert.equal(await order("/crash/n1"), "200 n1 is down");
      assert.equal(await order("/partition/n3"), "200 n3 is cut off from the other nodes");
      const state = await (await fetch(cluster.controlUrl)).text();
      assert.deepEqual(JSON.parse(state), [
        { name: "n1", up: false, isPrimary: false, partitioned: false, lag: 300 },
        { name: "n2", up: true, isPrimary: true, partitioned: false, lag: 300, txid: first },
        { name: "n3", up: true, isPrimary: false, partitioned: true, lag: 20, txid: first },
      ]);
      assert.equal(await order("/heal"), "200 All nodes reach each other");
      assert.equal(await order("/restart/n1"), "200 n1 is up");
      assert.equal(await order("/restore"), `200 The database is back at ${first}`);
    });

    it("refuses what makes no sense", async () => {
      await open();
      for (const path of [
        "/lag/",
        "/lag/x",
        "/lag/-1",
        "/lag/1/n9",
        "/failover/n9",
        "/restart/n1",
        "/restore",
        "/upheaval/1/1",
        "/dance",
      ]) {
        assert.match(await order(path), /^400 Cannot /, path);
      }
    });
  });

  it("answers through the edge and in front of it through what was put there", async () => {
    const fronts: Listener[] = [];
    await open({
      front: async (node) => {
        const front = await listen((_request, response) => response.end(`front of ${node.name}`));
        fronts.push(front);
        return front;
      },
      edge: { choose: (_method, nodes) => nodes[1] },
    });
    assert.equal(await (await fetch(cluster.url)).text(), "front of n2");
    assert.equal(fronts.length, 3);
  });

  it("has no edge where none is wanted, and calls each node by the address of its front", async () => {
    await open({
      front: (node, port) => listen((_request, response) => response.end(node.name), port),
      edge: false,
    });
    assert.equal(cluster.edge, undefined);
    const [primary = ""] = cluster.urls();
    assert.equal(content(cluster.node("n2"), ".primary"), `${new URL(primary).host}\n`);
    await cluster.crash("n2");
    const texts = cluster.urls().map(async (url) => (await fetch(url)).text());
    assert.deepEqual(await Promise.all(texts), ["n1", "n3"]);
    await cluster.restart("n2");
    assert.equal(cluster.urls().length, 3);
  });

  it("leaves nothing behind when it cannot start", async () => {
    let directory = "";
    const start = createCluster({
      front: async (node) => {
        directory = dirname(dirname(node.directory));
        throw new Error(node.name);
      },
    });
    await assert.rejects(start, /n1/);
    assert.equal(existsSync(directory), false);
    await open();
  });

  it("streams positions as they move", async () => {
    await open();
    const abort = new AbortController();
    const response = await fetch(`${cluster.url}/live`, {
      signal: abort.signal,
      headers: { "fly-force-instance-id": "n2" },
    });
    const lines = linesOf(response);
    assert.deepEqual(
      [await lines.next(), await lines.next()],
      ["event: position", `data: ${first}`],
    );
    await lines.next();
    await put(cluster.node("n1").url, "a", "1");
    assert.deepEqual(
      [await lines.next(), await lines.next()],
      ["event: position", `data: ${second}`],
    );
    abort.abort();
  });
});

describe("lagText()", () => {
  it("writes a sign and at least nine digits", () => {
    assert.deepEqual([0, 12, -123, 2_147_483_647].map(lagText), [
      "+000000000\n",
      "+000000012\n",
      "-000000123\n",
      "+2147483647\n",
    ]);
  });
});

describe("timeText()", () => {
  it("leaves out the zeros at the fraction's end", () => {
    const times = ["10.000Z", "10.100Z", "10.120Z", "10.123Z"].map((text) => {
      return timeText(Date.parse(`2026-01-01T00:00:${text}`)).slice(17);
    });
    assert.deepEqual(times, ["10Z", "10.1Z", "10.12Z", "10.123Z"]);
  });
});

describe("createEdge()", () => {
  interface Seen {
    readonly node: string;
    readonly method: string | undefined;
    readonly path: string | undefined;
    readonly headers: IncomingHttpHeaders;
    readonly body: string;
  }
  type Answer = (request: IncomingMessage, response: ServerResponse) => void;

  let nodes: EdgeNode[];
  let answers: Map<string, Answer>;
  let seen: Seen[];
  let closing: { close(): Promise<void> }[];
  let edge: Edge;

  async function addNode(name: string): Promise<void> {
    const listener = await listen((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const { method, url: path, headers } = request;
        seen.push({ node: name, method, path, headers, body: Buffer.concat(chunks).toString() });
        const answer = answers.get(name);
        return answer === undefined ? response.end(name) : answer(request, response);
      });
    });
    nodes.push({ name, url: listener.url });
    closing.push(listener);
  }

  /** Adds a node at a port that is given to nobody else, where nobody listens. */
  async function addAbsent(name: string): Promise<void> {
    nodes.push({ name, url: `http://127.0.0.1:${await freePort()}` });
  }

  async function open(options: Partial<EdgeOptions> = {}): Promise<void> {
    edge = await createEdge({
      nodes: () => nodes,
      choose: () => nodes[0],
      retryDelay: 1,
      reachTimeout: 5,
      ...options,
    });
    closing.push(edge);
  }

  function replay(value: string): Answer {
    return (_request, response) => {
      response.writeHead(409, { "fly-replay": value }).end("not here");
    };
  }

  function replayBody(content: unknown): Answer {
    return (_request, response) => {
      response.writeHead(200, { "content-type": "application/vnd.fly.replay+json" });
      response.end(JSON.stringify(content));
    };
  }

  async function ask(path = "/", init: RequestInit = {}): Promise<[status: number, text: string]> {
    const response = await fetch(`${edge.url}${path}`, init);
    assert.equal(response.headers.get("fly-replay"), null);
    return [response.status, await response.text()];
  }

  beforeEach(async () => {
    nodes = [];
    answers = new Map();
    seen = [];
    closing = [];
    await addNode("n1");
    await addNode("n2");
  });

  afterEach(async () => {
    for (const one of closing.reverse()) {
      await one.close();
    }
  });

  it("runs the original request on the node that a replay names", async () => {
    await open();
    answers.set("n1", replay("instance=n2;state=a=b"));
    assert.deepEqual(await ask("/a?b=%20", { method: "PUT", body: "hello" }), [200, "n2"]);
    assert.equal(edge.replays(), 1);
    assert.deepEqual(
      seen.map(({ node, method, path, body }) => ({ node, method, path, body })),
      ["n1", "n2"].map((node) => ({ node, method: "PUT", path: "/a?b=%20", body: "hello" })),
    );
    assert.equal(seen[0]?.headers["fly-replay-src"], undefined);
    assert.match(
      String(seen[1]?.headers["fly-replay-src"]),
      /^instance=n1;region=local;t=\d{16};state=a=b$/,
    );
  });

  it("knows a node by what the other nodes call it, too", async () => {
    await open();
    nodes = nodes.map((one) => (one.name === "n2" ? { ...one, hostname: "127.0.0.1:8080" } : one));
    answers.set("n1", replay("instance=127.0.0.1:8080"));
    assert.deepEqual(await ask("/", { method: "POST" }), [200, "n2"]);
    answers.set("n1", replay("prefer_instance=127.0.0.1:8080;elsewhere=true"));
    assert.deepEqual(await ask("/", { method: "POST" }), [200, "n2"]);
  });

  it("sends a body of 1 MiB again and refuses a longer one", async () => {
    await open();
    answers.set("n1", replay("instance=n2"));
    assert.deepEqual(await ask("/", { method: "POST", body: "x".repeat(1 << 20) }), [200, "n2"]);
    assert.equal(seen[1]?.body.length, 1 << 20);
    const [status, text] = await ask("/", { method: "POST", body: "x".repeat((1 << 20) + 1) });
    assert.equal(status, 502);
    assert.match(text, /^PA01 /);
    assert.equal(seen.filter(({ node }) => node === "n2").length, 1);
  });

  it("passes a long body on when nobody asks for a replay", async () => {
    await open();
    assert.deepEqual(await ask("/", { method: "POST", body: "x".repeat(3 << 20) }), [200, "n1"]);
    assert.equal(seen[0]?.body.length, 3 << 20);
  });

  it("replays ten times and not an eleventh time", async () => {
    await open();
    let left = 10;
    answers.set("n1", (request, response) => {
      left -= 1;
      return left < 0 ? response.end("done") : replay("instance=n1")(request, response);
    });
    assert.deepEqual(await ask(), [200, "done"]);
    assert.equal(seen.length, 11);
    left = 11;
    const [status, text] = await ask();
    assert.equal(status, 502);
    assert.match(text, /^PA02 /);
    assert.equal(seen.length, 22);
  });

  it("takes a replay from the body, which may change the request", async () => {
    await open();
    const transform = {
      path: "/other?q=1",
      delete_headers: ["X-Old"],
      set_headers: [{ name: "X-New", value: "2" }],
    };
    answers.set("n1", replayBody({ instance: "n2", state: "s", transform }));
    const headers = { "x-old": "1", "x-new": "1" };
    assert.deepEqual(await ask("/", { method: "POST", body: "b", headers }), [200, "n2"]);
    const request = seen[1];
    assert.deepEqual([request?.path, request?.body], ["/other?q=1", "b"]);
    assert.deepEqual([request?.headers["x-old"], request?.headers["x-new"]], [undefined, "2"]);
    assert.match(String(request?.headers["fly-replay-src"]), /;state=s$/);
  });

  it("gives the request back when the node cannot be reached and a fallback is named", async () => {
    await open();
    await addAbsent("n3");
    let asked = 0;
    answers.set("n1", (request, response) => {
      asked += 1;
      return asked === 1
        ? replay("instance=n3;timeout=20ms;fallback=force_self")(request, response)
        : response.end("back");
    });
    assert.deepEqual(await ask("/", { method: "POST", body: "b" }), [200, "back"]);
    const failed = String(seen[1]?.headers["fly-replay-failed"]);
    assert.match(
      failed,
      /^instance=n3;app=app;region=local;replay_source=n1;reason=timeout;elapsed_ms=\d+$/,
    );
    assert.equal(seen[1]?.body, "b");
  });

  it("falls back when there is no such node, and takes no replay from there", async () => {
    await open();
    answers.set("n1", replay("instance=n9;fallback=prefer_self"));
    const [status, text] = await ask();
    assert.equal(status, 502);
    assert.match(text, /^PA03 /);
    assert.match(String(seen[1]?.headers["fly-replay-failed"]), /;reason=no_candidate;/);
    assert.equal(seen.length, 2);
  });

  it("answers an empty 502 when the node cannot be reached and nothing is named", async () => {
    await open();
    answers.set("n1", replay("instance=n9"));
    assert.deepEqual(await ask(), [502, ""]);
    await addAbsent("n3");
    answers.set("n1", replay("instance=n3"));
    assert.deepEqual(await ask(), [502, ""]);
  });

  it("refuses a malformed replay and another app", async () => {
    await open();
    const cases: [string, RegExp][] = [
      ["n2", /^PA03 /],
      ["instance=n2;fallback=someone", /^PA03 /],
      ["instance=n2;timeout=soon", /^PA03 /],
      ["app=other", /^PA04 /],
    ];
    for (const [header, expected] of cases) {
      answers.set("n1", replay(header));
      const [status, text] = await ask();
      assert.equal(status, 502);
      assert.match(text, expected, header);
    }
    answers.set("n1", replayBody("instance=n2"));
    assert.match((await ask())[1], /^PA03 /);
  });

  it("leaves out the node that says elsewhere", async () => {
    await open();
    answers.set("n1", replay("elsewhere=true"));
    for (let i = 0; i < 8; i += 1) {
      assert.deepEqual(await ask(), [200, "n2"]);
    }
    assert.equal(seen.length, 16);
  });

  it("takes another node when the preferred one is gone, and says so", async () => {
    await open();
    answers.set("n1", replay("prefer_instance=n9;elsewhere=true"));
    assert.deepEqual(await ask(), [200, "n2"]);
    assert.equal(seen[1]?.headers["fly-preferred-instance-unavailable"], "n9");
  });

  it("lets a client name the node", async () => {
    await open();
    assert.deepEqual(await ask("/", { headers: { "fly-force-instance-id": "n2" } }), [200, "n2"]);
    assert.deepEqual(await ask("/", { headers: { "fly-prefer-instance-id": "n2" } }), [200, "n2"]);
    assert.deepEqual(await ask("/", { headers: { "fly-force-instance-id": "n9" } }), [502, ""]);
  });

  it("goes to another node when nobody listens at the first", async () => {
    await open({ choose: () => nodes[2] });
    await addAbsent("n3");
    assert.deepEqual(await ask("/", { method: "POST", body: "b" }), [200, "n1"]);
    assert.equal(seen.length, 1);
  });

  it("passes several cookies, the status and a body's end on", async () => {
    await open();
    answers.set("n1", (_request, response) => {
      response.setHeader("Set-Cookie", ["a=1", "b=2"]);
      response.writeHead(201, "Made", { "Content-Length": "4" });
      response.end("made");
    });
    const response = await fetch(edge.url);
    assert.deepEqual([response.status, await response.text()], [201, "made"]);
    assert.deepEqual(response.headers.getSetCookie(), ["a=1", "b=2"]);
  });
});

describe("freePort()", () => {
  it("gives nobody a port that it has given away", async () => {
    const ports = new Set<number>();
    for (let count = 0; count < 300; count += 1) ports.add(await freePort());
    assert.equal(ports.size, 300);
  });

  it("gives none at which LiteFS is looked for unless another one is named", async () => {
    assert.ok((await freePort()) > 20_202);
  });

  // What strips types for Node 20 does so in the first thread only.
  const skip = process.version.startsWith("v20.");
  it("gives no thread what it has given another one", { skip }, async () => {
    const script = new URL("ports-thread.ts", import.meta.url);
    const given = await Promise.all(
      Array.from({ length: 3 }, async () => {
        const thread = new Worker(script);
        const [ports] = (await once(thread, "message")) as [number[]]; // The script sends nothing else.
        return { thread, ports };
      }),
    );
    await Promise.all(given.map(({ thread }) => thread.terminate()));
    assert.equal(new Set(given.flatMap(({ ports }) => ports)).size, 450);
  });
});

describe("parseReplay()", () => {
  it("reads every field", () => {
    const replay = parseReplay(
      'region="iad, eu";instance=a;prefer_instance=b;app=c;state=d;elsewhere=true;timeout=10s;fallback=prefer_self',
    );
    assert.deepEqual(replay, {
      regions: ["iad", "eu"],
      instance: "a",
      preferInstance: "b",
      app: "c",
      state: "d",
      elsewhere: true,
      timeout: 10_000,
      fallback: "prefer_self",
      path: undefined,
      deleteHeaders: [],
      setHeaders: [],
    });
  });

  it("refuses unknown fields", () => {
    assert.equal(parseReplay("instance=a;color=red"), undefined);
    assert.equal(parseReplay(""), undefined);
    assert.equal(parseReplayBody("["), undefined);
  });
});

describe("createProxy() on the cluster", () => {
  const options = { clients: 4, rounds: 4, duration: Infinity };

  it("has promises to keep that naive routing breaks", async () => {
    const naive = await createCluster({
      lag: 3_600_000,
      edge: { choose: (method, nodes) => nodes[method === "GET" ? 1 : 0] },
    });
    const without = await checkSessions({ ...options, urls: [naive.url] });
    await naive.close();
    assert.deepEqual([without.reads, without.errors, without.stale], [112, 0, 64]);
  });

  for (const [title, edge] of [
    ["with an edge", {}],
    ["without an edge", false],
  ] as const) {
    it(`keeps them ${title}`, async () => {
      const cluster = await createCluster({ lag: 30, front: openProxy, edge });
      const through = await checkSessions({ ...options, urls: cluster.urls() });
      assert.deepEqual(
        through.examples.filter((example) => !example.includes("was read")),
        [],
      );
      assert.deepEqual([through.reads, through.errors, through.stale], [112, 0, 0]);
      assert.equal((cluster.edge?.replays() ?? 0) > 0, edge !== false);
      await cluster.close();
    });
  }

  it("sends what an edge cannot replay straight to the primary", async () => {
    const cluster = await createCluster({ front: openProxy });
    const response = await fetch(`${cluster.url}/kv/large`, {
      method: "PUT",
      body: "x".repeat(3 << 20),
      headers: { "fly-force-instance-id": "n2" },
    });
    assert.deepEqual([response.status, response.headers.get("x-node")], [200, "n1"]);
    assert.equal(await response.text(), "Written\n");
    assert.equal(cluster.edge?.replays(), 0);
    await cluster.close();
  });
});

interface Lines {
  next(): Promise<string>;
}

function linesOf(response: Response): Lines {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  return {
    async next() {
      for (;;) {
        const cut = rest.indexOf("\n");
        if (cut >= 0) {
          const line = rest.slice(0, cut);
          rest = rest.slice(cut + 1);
          return line;
        }
        const chunk = await reader?.read();
        assert.ok(chunk?.done === false, "the stream has ended");
        rest += chunk.value;
      }
    },
  };
}
