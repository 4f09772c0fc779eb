import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { describe, it } from "node:test";
import fc from "fast-check";
import { createSession } from "../adapters/client.ts";
import { memory } from "../adapters/memory.ts";
import { createProxy } from "../src/index.ts";

const ORIGIN = "http://app.test";
const T1 = "0000000000000001";
const T2 = "0000000000000002";
const T3 = "0000000000000003";

/** Bun 1.4.5 does not cancel the stream of a request from which another one was made, whoever does that. */
const IS_BUN = "Bun" in globalThis;

/** A server whose answers come when the test says so. */
function server(): {
  fetch: (request: Request) => Promise<Response>;
  /** The tokens that each request carried. */
  carried: (string | null)[];
  /** Answers the request with this number with tokens. */
  answer(index: number, tokens?: string): Promise<void>;
} {
  const carried: (string | null)[] = [];
  const pending: ((response: Response) => void)[] = [];
  return {
    carried,
    fetch: (request) =>
      new Promise((resolve) => {
        carried.push(request.headers.get("txid"));
        pending.push(resolve);
      }),
    answer: async (index, tokens) => {
      pending[index]?.(
        new Response(null, tokens === undefined ? {} : { headers: { Txid: tokens } }),
      );
      await new Promise((resolve) => setTimeout(resolve));
    },
  };
}

describe("createSession()", () => {
  it("asks for tokens with the first request and carries what it was told with the next", async () => {
    const { fetch, carried, answer } = server();
    const session = createSession({ origin: ORIGIN, fetch });
    void session(`${ORIGIN}/a`);
    await answer(0, `${T1}/c1, users=${T2}`);
    void session(`${ORIGIN}/b`);
    assert.deepEqual(carried, ["0", `${T1}/c1, users=${T2}`]);
  });

  it("keeps the greatest, in whatever order answers come", async () => {
    const { fetch, carried, answer } = server();
    const session = createSession({ origin: ORIGIN, fetch });
    for (let count = 0; count < 3; count++) void session(`${ORIGIN}/`);
    await answer(2, `${T3}, users=${T1}`);
    await answer(0, T1);
    await answer(1, `users=${T2}`);
    void session(`${ORIGIN}/`);
    assert.equal(carried.at(-1), `${T3}, users=${T2}`);
  });

  it("takes a lower token instead of the one that a lost past has left", async () => {
    const { fetch, carried, answer } = server();
    const session = createSession({ origin: ORIGIN, fetch });
    void session(`${ORIGIN}/`);
    await answer(0, T3);
    void session(`${ORIGIN}/`);
    await answer(1, `${T1}/new;reset`);
    void session(`${ORIGIN}/`);
    assert.equal(carried.at(-1), `${T1}/new`);
  });

  it("keeps the tokens of a database of which nothing is said, as when it cannot be read", async () => {
    const { fetch, carried, answer } = server();
    const session = createSession({ origin: ORIGIN, fetch });
    void session(`${ORIGIN}/`);
    await answer(0, `${T3}, users=${T2}`);
    void session(`${ORIGIN}/`);
    await answer(1, `${T1}/new;reset`);
    void session(`${ORIGIN}/`);
    assert.equal(carried.at(-1), `${T1}/new, users=${T2}`);
    await answer(2, "0;reset, users=0;reset");
    void session(`${ORIGIN}/`);
    assert.equal(carried.at(-1), "0");
  });

  it("keeps what other answers have brought while a lost past was taken back", async () => {
    const { fetch, carried, answer } = server();
    const session = createSession({ origin: ORIGIN, fetch });
    void session(`${ORIGIN}/`);
    await answer(0, T3);
    for (let count = 0; count < 4; count++) void session(`${ORIGIN}/`);
    await answer(1, `${T1}/new;reset`);
    // A write that was on its way meanwhile.
    await answer(2, `${T2}/new`);
    // Two reads that were, too: each of them takes back what it carried, and no more.
    await answer(3, `${T1}/new;reset`);
    await answer(4, "0;reset");
    void session(`${ORIGIN}/`);
    assert.equal(carried.at(-1), `${T1}/new, ${T2}/new`);
    await answer(5, `${T3}/new`);
    void session(`${ORIGIN}/`);
    assert.equal(carried.at(-1), `${T3}/new`);
  });

  it("begins anew when all tokens are taken back", async () => {
    const { fetch, carried, answer } = server();
    const session = createSession({ origin: ORIGIN, fetch });
    void session(`${ORIGIN}/`);
    await answer(0, T3);
    void session(`${ORIGIN}/`);
    await answer(1, "0;reset");
    void session(`${ORIGIN}/`);
    assert.equal(carried.at(-1), "0");
  });

  it("tells other origins nothing and believes nothing they say", async () => {
    const { fetch, carried, answer } = server();
    const session = createSession({ origin: [ORIGIN, "http://b.test:81"], fetch });
    void session(`${ORIGIN}/`);
    await answer(0, T3);
    void session("http://other.test/");
    await answer(1, T1);
    void session("http://b.test:81/");
    void session(`${ORIGIN}/`);
    assert.deepEqual(carried, ["0", null, "0", T3]);
  });

  it("keeps what it has seen where it is told to", async () => {
    const kept = new Map([[ORIGIN, T1]]);
    const { fetch, carried, answer } = server();
    const session = createSession({ origin: ORIGIN, fetch, store: kept });
    void session(`${ORIGIN}/`);
    await answer(0, T2);
    assert.deepEqual(carried, [T1]);
    assert.deepEqual([...kept], [[ORIGIN, T2]]);
  });

  it("takes a request, its method, its body and its headers as fetch does", async () => {
    const session = createSession({
      origin: ORIGIN,
      fetch: async (request) =>
        new Response(`${request.method} ${request.headers.get("x-a")} ${await request.text()}`),
    });
    const init = { method: "POST", body: "body", headers: { "x-a": "1" } };
    for (const input of [`${ORIGIN}/a`, new URL(`${ORIGIN}/a`)])
      assert.equal(await (await session(input, init)).text(), "POST 1 body");
    const response = await session(new Request(`${ORIGIN}/a`, init));
    assert.equal(await response.text(), "POST 1 body");
  });

  it("goes on without a store that throws, and without what is no token in it", async () => {
    const { fetch, carried, answer } = server();
    const full = (): never => {
      throw new Error("QuotaExceededError");
    };
    const session = createSession({ origin: ORIGIN, fetch, store: { get: full, set: full } });
    const first = session(`${ORIGIN}/`);
    await answer(0, T2);
    assert.equal((await first).status, 200);
    void session(`${ORIGIN}/`);
    const kept = { get: () => `${T1}/\u4e2d, \u4e2d=${T1}, ${T2}`, set: () => {} };
    void createSession({ origin: ORIGIN, fetch, store: kept })(`${ORIGIN}/`);
    await new Promise((resolve) => setTimeout(resolve));
    assert.deepEqual(carried, ["0", T2, T2]);
  });

  it("never throws at what a server says, and sends only tokens", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.stringMatching(/^[\x20-\x7e]{0,40}$/), { maxLength: 5 }),
        async (values) => {
          const carried: string[] = [];
          let index = 0;
          const session = createSession({
            origin: ORIGIN,
            fetch: (request) => {
              carried.push(request.headers.get("txid") ?? "");
              return Promise.resolve(
                new Response(null, { headers: { Txid: values[index++] ?? "" } }),
              );
            },
          });
          for (let count = 0; count <= values.length; count++) await session(`${ORIGIN}/`);
          for (const text of carried)
            assert.ok(text === "0" || /[0-9a-f]{16}/i.test(text), JSON.stringify(text));
        },
      ),
      { numRuns: 200 },
    );
  });

  it("reads its writes and never an older state, through a proxy", async () => {
    const storage = memory({ position: T1 });
    const proxy = createProxy({
      storage,
      target: (request) => {
        if (request.method === "POST") storage.advance();
        return new Response(storage.position());
      },
    });
    const session = createSession({ origin: ORIGIN, fetch: (request) => proxy.fetch(request) });
    const write = await session(`${ORIGIN}/`, { method: "POST" });
    assert.equal(write.headers.get("txid"), T2);
    assert.equal(write.headers.get("set-cookie"), null);
    storage.setPosition(T1);
    storage.setPrimary({ at: "elsewhere", hostname: "p" });
    const read = session(`${ORIGIN}/`);
    await new Promise((resolve) => setTimeout(resolve, 5));
    storage.setPosition(T3);
    assert.equal(await (await read).text(), T3);
    proxy.close();
  });

  it("takes an origin however it is written", async () => {
    for (const origin of ["HTTP://App.test", "http://app.test:80", "http://app.test/"]) {
      const { fetch, carried } = server();
      void createSession({ origin, fetch })(`${ORIGIN}/`);
      await new Promise((resolve) => setTimeout(resolve));
      assert.deepEqual(carried, ["0"]);
    }
  });

  const refused: [string, string | string[] | undefined, RegExp][] = [
    ["a name and a password", "http://a:b@app.test", /scheme, host and port alone/],
    ["no origin outside a page", undefined, /`origin` must be the app's/],
    ["a path", "http://app.test/a", /scheme, host and port alone, received "http:\/\/app.test\/a"/],
    ["another scheme", ["ftp://app.test"], /received "ftp:\/\/app.test"/],
    ["no URL", "app.test", /received "app.test"/],
  ];
  for (const [what, origin, message] of refused) {
    it(`refuses ${what}`, () => {
      assert.throws(() => createSession({ origin }), { name: "TypeError", message });
    });
  }
});

/** What a server was asked. */
interface Asked {
  readonly url: string;
  readonly method: string;
  readonly headers: Headers;
  readonly body: string;
}

/** Follows redirects with a session: what leads elsewhere is in `answers`, by path, and all else is answered by 200. */
function redirecting(answers: Readonly<Record<string, () => Response>>): {
  readonly session: ReturnType<typeof createSession>;
  readonly asked: Asked[];
} {
  const asked: Asked[] = [];
  const session = createSession({
    origin: ORIGIN,
    fetch: async (request) => {
      const { url, method, headers } = request;
      asked.push({ url, method, headers: new Headers(headers), body: await request.text() });
      return answers[new URL(url).pathname]?.() ?? new Response("ok");
    },
  });
  return { session, asked };
}

function leading(status: number, location: string, headers: HeadersInit = {}): () => Response {
  return () =>
    new Response(null, {
      status,
      headers: { Location: location, ...Object.fromEntries(new Headers(headers)) },
    });
}

describe("createSession() with redirects", () => {
  it("carries what the redirect of a write has brought to the page where that leads", async () => {
    const { session, asked } = redirecting({ "/items": leading(303, "/list?a=1#b", { Txid: T2 }) });
    const response = await session(`${ORIGIN}/items`, { method: "POST", body: "item" });
    assert.equal(await response.text(), "ok");
    assert.equal(response.redirected, true);
    assert.deepEqual(
      asked.map(({ method, url, body, headers }) => [method, url, body, headers.get("txid")]),
      [
        ["POST", `${ORIGIN}/items`, "item", "0"],
        ["GET", `${ORIGIN}/list?a=1#b`, "", T2],
      ],
    );
    assert.equal(asked[1]?.headers.get("content-type"), null);
  });

  it("tells nothing to another origin where a redirect leads, and believes nothing that it says", async () => {
    const { session, asked } = redirecting({
      "/out": leading(302, "http://other.test/x"),
      "/x": () => new Response(null, { headers: { Txid: "f".repeat(16) } }),
    });
    await session(`${ORIGIN}/out`, { headers: { Authorization: "secret", "X-A": "1" } });
    const headers = asked[1]?.headers;
    assert.deepEqual(
      ["txid", "authorization", "x-a"].map((name) => headers?.get(name)),
      [null, null, "1"],
    );
    await session(`${ORIGIN}/`);
    assert.equal(asked[2]?.headers.get("txid"), "0");
  });

  it("believes no other origin where whoever makes the requests has followed a redirect", async () => {
    const carried: (string | null)[] = [];
    const session = createSession({
      origin: ORIGIN,
      fetch: async (request) => {
        carried.push(request.headers.get("txid"));
        const response = new Response(null, { headers: { Txid: T3 } });
        return Object.defineProperty(response, "url", { value: "http://other.test/" });
      },
    });
    await session(`${ORIGIN}/`);
    await session(`${ORIGIN}/`);
    assert.deepEqual(carried, ["0", "0"]);
  });

  const rewritten: [number, string, string][] = [
    [301, "POST", "GET"],
    [302, "POST", "GET"],
    [303, "PUT", "GET"],
    [303, "HEAD", "HEAD"],
    [301, "PUT", "PUT"],
    [307, "POST", "POST"],
    [308, "POST", "POST"],
  ];
  for (const [status, before, after] of rewritten) {
    it(`follows ${status} of a ${before} with a ${after}`, async () => {
      const { session, asked } = redirecting({ "/": leading(status, "/next") });
      const body = before === "HEAD" ? null : "body";
      await session(`${ORIGIN}/`, { method: before, body });
      assert.equal(asked[1]?.method, after);
      assert.equal(asked[1]?.body, after === before && body !== null ? "body" : "");
    });
  }

  it("sends a body again as it was given: bytes, forms, and one within a request", async () => {
    const { session, asked } = redirecting({ "/": leading(307, "/2"), "/2": leading(308, "/3") });
    const form = new FormData();
    form.append("name", "value");
    await session(`${ORIGIN}/`, { method: "POST", body: new TextEncoder().encode("bytes") });
    await session(new Request(`${ORIGIN}/`, { method: "POST", body: "within" }));
    await session(`${ORIGIN}/`, { method: "POST", body: form });
    assert.deepEqual(
      asked.slice(0, 6).map(({ body }) => body),
      ["bytes", "bytes", "bytes", "within", "within", "within"],
    );
    for (const { body, headers } of asked.slice(6)) {
      const boundary = /boundary=(.*)$/.exec(headers.get("content-type") ?? "")?.[1] ?? "none";
      assert.ok(body.startsWith(`--${boundary}`), body);
    }
  });

  it("leaves a body its length on the wire, without which it could not be replayed", async () => {
    const lengths: (string | undefined)[] = [];
    const app = createServer((request, response) => {
      lengths.push(request.headers["content-length"]);
      request.resume().on("end", () => {
        response.writeHead(request.url === "/" ? 308 : 200, { Location: "/2" }).end();
      });
    }).listen(0, "127.0.0.1");
    await once(app, "listening");
    const address = app.address();
    assert.ok(typeof address === "object" && address !== null);
    const origin = `http://127.0.0.1:${address.port}`;
    const session = createSession({ origin });
    const init = { method: "POST", body: "four" };
    assert.equal((await session(`${origin}/`, init)).status, 200);
    assert.equal((await session(new Request(`${origin}/`, init))).status, 200);
    assert.deepEqual(lengths, ["4", "4", "4", "4"]);
    app.close();
    app.closeAllConnections();
  });

  it("does not send a stream again, as fetch does not", async () => {
    const { session, asked } = redirecting({ "/": leading(307, "/2") });
    const init: RequestInit & { duplex: "half" } = {
      method: "POST",
      body: new Blob(["streamed"]).stream(),
      duplex: "half",
    };
    await assert.rejects(session(`${ORIGIN}/`, init), TypeError);
    assert.equal(asked.length, 1);
  });

  it("refuses to go round for ever, and to follow what leads nowhere", async () => {
    const { session, asked } = redirecting({
      "/round": leading(302, "/round"),
      "/mail": leading(302, "mailto:a@b.test"),
    });
    await assert.rejects(session(`${ORIGIN}/round`), { name: "TypeError", message: /too many/ });
    assert.equal(asked.length, 21);
    await assert.rejects(session(`${ORIGIN}/mail`), { name: "TypeError", message: /mailto:a@b/ });
  });

  it("keeps of a body within a request what can be sent again, and no more", async () => {
    const { session, asked } = redirecting({ "/": leading(307, "/2") });
    let ended = false;
    const endless = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new Uint8Array(2 ** 16)),
      cancel: () => {
        ended = true;
      },
    });
    const init: RequestInit & { duplex: "half" } = {
      method: "POST",
      body: endless,
      duplex: "half",
    };
    let count = 0;
    const upload = createSession({
      origin: ORIGIN,
      fetch: async ({ body }) => {
        const reader = body?.getReader();
        for (; count < 64; count++) await reader?.read();
        void reader?.cancel();
        return leading(307, "/2")();
      },
    });
    await assert.rejects(upload(new Request(`${ORIGIN}/`, init)), /cannot be sent again/);
    assert.equal(count, 64);
    assert.ok(ended || IS_BUN, "the stream goes on");
    await session(new Request(`${ORIGIN}/`, { method: "POST", body: "x".repeat(2 ** 20) }));
    assert.equal(asked[1]?.body.length, 2 ** 20);
  });

  it("lets go of a body within a request when that is answered", async () => {
    let ended = false;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(new Uint8Array(4)),
      cancel: () => {
        ended = true;
      },
    });
    const init: RequestInit & { duplex: "half" } = { method: "POST", body, duplex: "half" };
    const session = createSession({
      origin: ORIGIN,
      fetch: async (request) => {
        void request.body?.cancel();
        return new Response("early");
      },
    });
    const response = await session(new Request(`${ORIGIN}/`, init));
    assert.equal(await response.text(), "early");
    await new Promise((resolve) => setTimeout(resolve));
    assert.ok(ended || IS_BUN, "nobody tells the stream");
  });

  it("reads a location that is not in ASCII as browsers do", async () => {
    const bytes = String.fromCharCode(...new TextEncoder().encode("/\u00fc/\u65e5"));
    const { session, asked } = redirecting({
      "/utf-8": leading(302, bytes),
      "/latin-1": leading(302, "/\u00fc"),
    });
    await session(`${ORIGIN}/utf-8`);
    await session(`${ORIGIN}/latin-1`);
    assert.deepEqual(
      [asked[1]?.url, asked[3]?.url],
      [`${ORIGIN}/%C3%BC/%E6%97%A5`, `${ORIGIN}/%C3%BC`],
    );
  });

  it("takes a request for its options, as fetch does", async () => {
    const { session, asked } = redirecting({ "/": leading(308, "/2") });
    const put = new Request(`${ORIGIN}/else`, { method: "DELETE", headers: { "X-A": "1" } });
    await session(`${ORIGIN}/`, put);
    assert.deepEqual(
      asked.map(({ url, method, headers }) => [url, method, headers.get("x-a")]),
      [
        [`${ORIGIN}/`, "DELETE", "1"],
        [`${ORIGIN}/2`, "DELETE", "1"],
      ],
    );
  });

  it("gives the runtime's fetch the signal itself: what follows it is lost in Node with the request", async (context) => {
    const signals: unknown[] = [];
    const { fetch } = globalThis;
    const replaced = async (request: Request, init?: RequestInit): Promise<Response> => {
      signals.push(init?.signal);
      return new URL(request.url).pathname === "/" ? leading(302, "/2")() : new Response();
    };
    Object.assign(globalThis, { fetch: replaced });
    context.after(() => Object.assign(globalThis, { fetch }));
    const { signal } = new AbortController();
    const session = createSession({ origin: ORIGIN });
    await session(`${ORIGIN}/`, { signal });
    const given = new Request(`${ORIGIN}/`, { signal });
    await session(given);
    await session(given, { signal: null });
    assert.ok(signals.slice(0, 2).every((one) => one === signal));
    assert.ok(signals.slice(2, 4).every((one) => one === given.signal));
    assert.deepEqual(signals.slice(4), [null, null]);
  });

  it("gives out what is no redirect, and what it was told not to follow", async () => {
    const { session } = redirecting({
      "/": leading(302, "/next"),
      "/without": () => new Response(null, { status: 302 }),
      "/same": leading(304, "/next"),
    });
    assert.equal((await session(`${ORIGIN}/`, { redirect: "manual" })).status, 302);
    const manual = new Request(`${ORIGIN}/`, { redirect: "manual" });
    assert.equal((await session(manual)).status, 302);
    assert.equal((await session(`${ORIGIN}/without`)).status, 302);
    assert.equal((await session(`${ORIGIN}/same`)).redirected, false);
  });

  it("ends with its signal, also after a redirect", async () => {
    const leaving = new AbortController();
    const session = createSession({
      origin: ORIGIN,
      fetch: async (request) => {
        if (request.url.endsWith("/next")) leaving.abort();
        request.signal.throwIfAborted();
        return leading(302, "/next")();
      },
    });
    await assert.rejects(session(`${ORIGIN}/`, { signal: leaving.signal }), { name: "AbortError" });
  });

  it("leaves redirects to a browser, which shows them to nobody", async () => {
    const known = Object.getOwnPropertyDescriptor(globalThis, "navigator");
    const userAgent = "Mozilla/5.0";
    Object.defineProperty(globalThis, "navigator", { value: { userAgent }, configurable: true });
    try {
      const modes: string[] = [];
      const session = createSession({
        origin: ORIGIN,
        fetch: async (request) => {
          modes.push(request.redirect);
          return new Response();
        },
      });
      await session(`${ORIGIN}/`);
      assert.deepEqual(modes, ["follow"]);
    } finally {
      if (known === undefined) Reflect.deleteProperty(globalThis, "navigator");
      else Object.defineProperty(globalThis, "navigator", known);
    }
  });
});
