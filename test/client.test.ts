import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { createSession } from "../adapters/client.ts";
import { memory } from "../adapters/memory.ts";
import { createProxy } from "../src/index.ts";

const ORIGIN = "http://app.test";
const T1 = "0000000000000001";
const T2 = "0000000000000002";
const T3 = "0000000000000003";

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

  const refused: [string, string | string[] | undefined, RegExp][] = [
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
