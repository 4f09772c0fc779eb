import assert from "node:assert/strict";
import type { Server as HttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { type HttpBindings, serve } from "@hono/node-server";
import { type Context, Hono, type MiddlewareHandler } from "hono";
import { consistency as wrapper, txidOf } from "../adapters/fetch.ts";
import { consistency, type ConsistencyOptions } from "../adapters/hono.ts";
import { memory, type MemoryStorage } from "../adapters/memory.ts";
import { until } from "./until.ts";

/** The parts of the runtimes' servers that are used here. */
declare const Bun: {
  serve(options: {
    port: number;
    hostname: string;
    fetch(request: Request, server: BunServer): Promise<Response | void>;
    websocket: unknown;
  }): BunServer;
};
interface BunServer {
  readonly port?: number;
  requestIP(request: Request): { address: string } | null;
  stop(closeActiveConnections: boolean): Promise<void>;
}
declare const Deno: {
  serve(
    options: { port: number; hostname: string; onListen(): void },
    handler: (request: Request, info: DenoInfo) => Promise<Response>,
  ): { readonly addr: { readonly port: number }; shutdown(): Promise<void> };
};
interface DenoInfo {
  readonly remoteAddr: { readonly hostname: string };
}

interface Running {
  readonly url: string;
  close(): Promise<void>;
}

/** What each runtime's server gives beside a request. */
type Beside = BunServer | DenoInfo | HttpBindings;

function addressOf(request: Request, beside: Beside): string | undefined {
  if ("requestIP" in beside) return beside.requestIP(request)?.address;
  if ("remoteAddr" in beside) return beside.remoteAddr.hostname;
  return beside.incoming.socket.remoteAddress;
}

type Handler = (request: Request, beside: Beside) => Promise<Response>;
type Env = { Bindings: Beside };

/** Serves a handler as an app on this runtime would. */
async function listen(fetch: Handler): Promise<Running> {
  const at = { port: 0, hostname: "127.0.0.1" };
  if ("Bun" in globalThis) {
    const { websocket } = await import("hono/bun");
    const server = Bun.serve({ ...at, fetch, websocket });
    return { url: `http://127.0.0.1:${server.port}`, close: () => server.stop(true) };
  }
  if ("Deno" in globalThis) {
    const server = Deno.serve({ ...at, onListen: () => {} }, fetch);
    return { url: `http://127.0.0.1:${server.addr.port}`, close: () => server.shutdown() };
  }
  return new Promise((resolve) => {
    // Without other options the server is one for HTTP/1.1.
    const server = serve({ ...at, fetch: (request, env) => fetch(request, env as HttpBindings) });
    server.once("listening", () => {
      // A server that listens on a port has an address of this form.
      const { port } = server.address() as AddressInfo;
      const close = async (): Promise<void> => {
        (server as HttpServer).closeAllConnections();
        await new Promise((closed) => server.close(closed));
      };
      resolve({ url: `http://127.0.0.1:${port}`, close });
    });
  });
}

const ways: Readonly<
  Record<string, (options: ConsistencyOptions, app: Hono<Env>) => [Handler, () => void]>
> = {
  "consistency() of @txid/proxy/hono": (options, app) => {
    const outer = new Hono<Env>();
    const clientAddress = (c: Context<Env>): string | undefined => addressOf(c.req.raw, c.env);
    const txid = consistency({ ...options, clientAddress });
    outer.use(txid);
    outer.route("/", app);
    return [async (request, beside) => outer.fetch(request, beside), txid.close];
  },
  "consistency() of @txid/proxy/fetch": (options, app) => {
    const clientAddress = (request: Request, beside: Beside): string | undefined =>
      addressOf(request, beside);
    const consistent = wrapper({ ...options, clientAddress });
    return [consistent(async (request, beside) => app.fetch(request, beside)), consistent.close];
  },
};

/** What makes a WebSocket of a request; on Node it takes a package beside the server. */
const upgrade = await upgradeOf();

async function upgradeOf(): Promise<MiddlewareHandler | undefined> {
  if ("Bun" in globalThis) {
    const { upgradeWebSocket } = await import("hono/bun");
    return upgradeWebSocket(() => ({
      onMessage: (event, socket) => socket.send(`echo ${String(event.data)}`),
    }));
  }
  if ("Deno" in globalThis) {
    const { upgradeWebSocket } = await import("hono/deno");
    return upgradeWebSocket(() => ({
      onMessage: (event, socket) => socket.send(`echo ${String(event.data)}`),
    }));
  }
  return undefined;
}

const TEXT = "a text that is worth the while ".repeat(20);

for (const [name, way] of Object.entries(ways)) {
  describe(`${name}, served on this runtime`, { timeout: 60_000 }, () => {
    const first = memory({ position: "0000000000000001" });
    const second = memory({
      primary: { at: "elsewhere", hostname: "p" },
      position: "0000000000000001",
    });
    const gone: string[] = [];
    const closing: (() => Promise<void>)[] = [];
    let primary = "";
    let replica = "";

    async function start(storage: MemoryStorage): Promise<string> {
      const app = new Hono<Env>();
      app.get("/text", () => new Response("text"));
      app.post("/text", () => new Response("text"));
      app.put("/echo", async (c) => {
        const body = await c.req.text();
        storage.advance();
        c.header("App-Forwarded-For", c.req.header("X-Forwarded-For") ?? "none");
        return c.text(`${txidOf(c.req.raw)?.role} ${body.length} ${body.slice(0, 5)}`, 201);
      });
      app.get("/gzip", (c) => {
        if (txidOf(c.req.raw)?.role !== "primary")
          return txidOf(c.req.raw)?.primary() ?? c.text("");
        return c.body(gzipSync(TEXT), 200, { "Content-Encoding": "gzip", ETag: '"strong"' });
      });
      app.get("/stream", (c) =>
        c.body(
          new ReadableStream({
            start: (controller) => controller.enqueue(new TextEncoder().encode("first")),
            cancel: () => void gone.push(c.req.query("client") ?? ""),
          }),
        ),
      );
      if (upgrade !== undefined) app.get("/socket", upgrade);
      const [handler, close] = way({ storage, primaryUrl: () => primary }, app);
      const { url, close: stop } = await listen(handler);
      closing.push(async () => {
        close();
        await stop();
      });
      return url;
    }

    before(async () => {
      primary = await start(first);
      replica = await start(second);
    });
    after(async () => {
      for (const close of closing.reverse()) await close();
    });

    it("takes a write from the replica to the primary, and reads it here once it is there", async () => {
      const body = "hello ".repeat(50_000);
      const written = await fetch(`${replica}/echo`, { method: "PUT", body });
      assert.equal(written.status, 201);
      assert.equal(await written.text(), `primary ${body.length} hello`);
      assert.equal(written.headers.get("app-forwarded-for"), "127.0.0.1");
      const [line = ""] = written.headers.getSetCookie();
      assert.match(line, new RegExp(`^__txid=${first.position()};`));
      const headers = { Cookie: line.split(";")[0] ?? "" };
      const read = fetch(`${replica}/text`, { headers });
      setTimeout(() => second.setPosition(first.position()), 20);
      assert.equal(await (await read).text(), "text");
    });

    it("passes on the bytes of the primary's answer", async () => {
      const response = await fetch(`${replica}/gzip`);
      assert.equal(await response.text(), TEXT);
      // A client that had decoded the body on the way could not vouch for the bytes.
      assert.equal(response.headers.get("etag"), '"strong"');
    });

    it("keeps the type that the runtime gives to text, with a token and without one", async () => {
      for (const method of ["GET", "POST"]) {
        const response = await fetch(`${primary}/text`, { method });
        assert.match(response.headers.get("content-type") ?? "", /^text\/plain/i);
        assert.equal(response.headers.getSetCookie().length, method === "POST" ? 1 : 0);
        assert.equal(await response.text(), "text");
      }
    });

    it("passes first bytes on at once, and tells the handler when the client leaves", async () => {
      for (const [client, cookie] of [
        ["stranger", ""],
        ["known", "__txid=0000000000000001"],
      ]) {
        const leave = new AbortController();
        const response = await fetch(`${primary}/stream?client=${client}`, {
          headers: { Cookie: cookie ?? "" },
          signal: leave.signal,
        });
        const first = await response.body?.getReader().read();
        assert.equal(new TextDecoder().decode(first?.value), "first");
        leave.abort();
        await until("the handler is told", () => gone.includes(client ?? ""));
      }
    });

    if (upgrade === undefined) return;
    it("lets WebSockets through", async () => {
      const socket = new WebSocket(`${primary.replace("http", "ws")}/socket`);
      const message = await new Promise((resolve, reject) => {
        socket.onopen = () => socket.send("hello");
        socket.onmessage = (event) => resolve(event.data);
        socket.onerror = () => reject(new Error("No WebSocket"));
      });
      assert.equal(message, "echo hello");
      const closed = new Promise((resolve) => {
        socket.onclose = resolve;
      });
      socket.close();
      await closed;
    });
  });
}
