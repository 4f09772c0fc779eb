import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createServer, type Server as HttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import process, { versions } from "node:process";
import { after, before, describe, it } from "node:test";
import { Hono } from "hono";
import type { ListenOptions, Server } from "../adapters/listen.ts";
import { memory } from "../adapters/memory.ts";
import { serve as serveNode } from "../adapters/node.ts";
import { serve } from "../adapters/serve.ts";
import { createProxy, type Proxy } from "../src/index.ts";
import { REPLAY_TO_P } from "./node.ts";

const T1 = "0000000000000001";

type Serve = (proxy: Proxy, options: ListenOptions) => Server | Promise<Server>;

/** Every way to serve that this runtime has. */
const ways: [string, Serve][] = [
  ["serve()", serve],
  [
    'serve() with server: "native"',
    (proxy, options) => serve(proxy, { ...options, server: "native" }),
  ],
  ["serve() of @txid/proxy/node", serveNode],
];
if ("Bun" in globalThis)
  ways.push(["serve() of @txid/proxy/bun", (await import("../adapters/bun.ts")).serve]);
if ("Deno" in globalThis)
  ways.push(["serve() of @txid/proxy/deno", (await import("../adapters/deno.ts")).serve]);

const [major = 0, minor = 0] = versions.node.split(".").map(Number);
/** Whether this runtime can share a port, as far as Node is concerned. */
const canShare = major > 22 || (major === 22 && minor >= 12);

interface App {
  url: string;
  seen: {
    method: string;
    url: string;
    headers: Record<string, string | string[] | undefined>;
    body: string;
  }[];
  server: HttpServer;
}

async function startApp(): Promise<App> {
  const seen: App["seen"] = [];
  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8");
    request.on("data", (chunk: string) => (body += chunk));
    request.on("end", () => {
      seen.push({
        method: request.method ?? "",
        url: request.url ?? "",
        headers: request.headers,
        body,
      });
      response.setHeader("Set-Cookie", ["a=1", "b=2"]);
      response.end(`saw ${request.method} ${request.url} ${body}`);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen, server };
}

/** Sends a request and breaks the connection while this process stands still, so that it lets nobody in meanwhile. */
function hitAndRun(port: number, request: string): void {
  const script = `import("node:net").then(({ connect }) => {
    const socket = connect(${port}, "127.0.0.1", () =>
      socket.write(${JSON.stringify(request)}, () => setTimeout(() => socket.resetAndDestroy(), 50)));
  })`;
  const flags = "Deno" in globalThis ? ["eval", script] : ["-e", script];
  const { status, stderr } = spawnSync(process.execPath, flags, { encoding: "utf8" });
  assert.equal(status, 0, stderr);
}

for (const [name, serveProxy] of ways) {
  describe(name, () => {
    let app: App;
    let server: Server;
    const storage = memory({ position: T1 });

    before(async () => {
      app = await startApp();
      server = await serveProxy(createProxy({ target: app.url, storage }), {
        port: 0,
        hostname: "127.0.0.1",
      });
    });
    after(async () => {
      await server.close({ timeout: 100 });
      app.server.closeAllConnections();
      app.server.close();
    });

    it("carries a read", async () => {
      const response = await fetch(`${server.url}/a%2Fb?c=d`);
      assert.equal(await response.text(), "saw GET /a%2Fb?c=d ");
      assert.deepEqual(response.headers.getSetCookie(), ["a=1", "b=2"]);
      assert.equal(app.seen.at(-1)?.headers["x-forwarded-for"], "127.0.0.1");
      assert.equal(app.seen.at(-1)?.headers["host"], new URL(server.url).host);
    });

    it("carries a write and mints", async () => {
      const response = await fetch(`${server.url}/w`, { method: "POST", body: "hello" });
      assert.equal(await response.text(), "saw POST /w hello");
      assert.match(response.headers.getSetCookie().join(), new RegExp(`a=1,b=2,__txid=${T1};`));
    });

    it("believes nothing of a client that has left before it was let in", async () => {
      // Connections to the app are kept, so that a request gets there before it is known that its client has left.
      await Promise.all(
        [fetch(server.url), fetch(server.url)].map(async (one) => (await one).text()),
      );
      const [before, { port }] = [app.seen.length, server];
      const request =
        "POST /left HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\nContent-Length: 0\r\n\r\n";
      hitAndRun(port, request);
      await (await fetch(`${server.url}/after`)).text();
      const left = app.seen.slice(before).filter(({ url }) => url === "/left");
      for (const { headers } of left)
        assert.doesNotMatch(String(headers["x-forwarded-for"]), /192/);
    });

    it("carries a large body both ways", async () => {
      const body = "0123456789".repeat(100_000);
      const response = await fetch(`${server.url}/w`, { method: "PUT", body });
      assert.equal((await response.text()).length, "saw PUT /w ".length + body.length);
    });

    it("answers with the proxy's own words", async () => {
      storage.setPrimary({ at: "elsewhere", hostname: "p" });
      const response = await fetch(`${server.url}/w`, { method: "POST", body: "hello" });
      assert.equal(response.status, 409);
      assert.equal(response.headers.get("fly-replay"), REPLAY_TO_P);
      assert.match(await response.text(), /not the primary/);
      storage.setPrimary({ at: "here" });
    });

    it("closes the target's connection when the client leaves", async () => {
      const slow = createServer(() => {});
      await new Promise<void>((resolve) => slow.listen(0, "127.0.0.1", resolve));
      const arrived = new Promise<void>((resolve) => {
        slow.once("request", (request) => {
          request.socket.once("close", () => resolve());
          client.abort();
        });
      });
      const client = new AbortController();
      const target = `http://127.0.0.1:${(slow.address() as AddressInfo).port}`;
      const other = await serveProxy(createProxy({ target, storage }), {
        port: 0,
        hostname: "127.0.0.1",
      });
      await assert.rejects(fetch(other.url, { signal: client.signal }));
      await arrived;
      await other.close({ timeout: 0 });
      slow.closeAllConnections();
      slow.close();
    });

    // Deno ends the process unless it was started with --unstable-net, and Bun's node:http does not share.
    const skip = "Deno" in globalThis || ("Bun" in globalThis && serveProxy === serveNode);
    it("shares its port where it is told to, or says that it cannot", { skip }, async () => {
      const proxy = createProxy({ target: app.url, storage });
      const options = { port: 0, hostname: "127.0.0.1", reusePort: true };
      if (!canShare) {
        await assert.rejects(
          async () => serveProxy(proxy, options),
          /`reusePort` needs Node 22\.12 or newer/,
        );
        return;
      }
      const first = await serveProxy(proxy, options);
      const second = await serveProxy(proxy, { ...options, port: first.port });
      await first.close();
      assert.equal((await fetch(second.url)).status, 200);
      await second.close();
    });

    it("refuses what is no proxy at once", async () => {
      const app = { fetch: () => new Response("app"), handle: () => new Response("app") };
      for (const given of [app, app.fetch, undefined, null]) {
        await assert.rejects(
          // Plain JavaScript does not look at types.
          async () => serveProxy(given as unknown as Proxy, { port: 0, hostname: "127.0.0.1" }),
          /^TypeError: Cannot serve: expected what createProxy\(\) returns; for an app: serve\(createProxy\(\{ target: app\.fetch, storage \}\)\)$/,
        );
      }
    });

    it("refuses to listen where somebody listens", async () => {
      const { port } = server;
      const proxy = createProxy({ target: app.url, storage });
      await assert.rejects(async () => {
        await serveProxy(proxy, { port, hostname: "127.0.0.1" });
      });
    });
  });
}

describe("proxy.fetch", () => {
  const storage = memory({ position: T1 });
  const proxy = createProxy({
    target: (request) => new Response(`app ${new URL(request.url).pathname}`),
    storage,
  });

  it("is a handler for app.all() and app.mount() of Hono", async () => {
    const app = new Hono();
    app.all("/api/*", (context) => proxy.fetch(context.req.raw));
    app.mount("/mounted", proxy.fetch);
    assert.equal(await (await app.request("/api/x")).text(), "app /api/x");
    const written = await app.request("/api/x", { method: "POST", body: "b" });
    assert.match(written.headers.get("set-cookie") ?? "", /^__txid=/);
    assert.equal(await (await app.request("/mounted/y")).text(), "app /y");
  });

  it("takes a Hono app for its target", async () => {
    const app = new Hono().post("/kv/:key", async (context) =>
      context.text(await context.req.text(), 201),
    );
    const inside = createProxy({ target: app.fetch, storage });
    const response = await inside.fetch(
      new Request("http://x/kv/a", { method: "POST", body: "value" }),
    );
    assert.equal(response.status, 201);
    assert.equal(await response.text(), "value");
    assert.match(response.headers.get("set-cookie") ?? "", /^__txid=/);
  });

  it("takes what stands behind the host for the query where there is no path", async () => {
    const seen: string[] = [];
    const outside = createProxy({
      target: "http://app.test",
      storage,
      transport: (request) => {
        seen.push(request.target);
        return Promise.resolve({ status: 200, statusText: "", headers: [], body: null });
      },
    });
    for (const url of ["http://x?a=/b", "http://x?a", "http://x/c?d=/e", "http://x/f/?g"]) {
      const request = new Request("http://x/");
      // A server that makes its own requests need not normalise what it was asked for; Deno.serve does not.
      Object.defineProperty(request, "url", { value: url });
      await outside.fetch(request);
    }
    assert.deepEqual(seen, ["/?a=/b", "/?a", "/c?d=/e", "/f/?g"]);
  });

  it("takes no URL in a query for the one that was asked for", async () => {
    const request = new Request("http://x/");
    // Bun.serve gives the bare target where the Host header makes no URL.
    Object.defineProperty(request, "url", { value: "/a?b=http://c/d" });
    assert.equal((await proxy.fetch(request)).status, 400);
  });

  it("can be spread into what a runtime exports by default", () => {
    assert.equal(typeof { port: 8080, ...proxy }.fetch, "function");
  });
});
