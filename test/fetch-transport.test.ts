import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fetchTransport, TransportError, type UpstreamRequest } from "../src/index.ts";

const encoder = new TextEncoder();

function get(more: Partial<UpstreamRequest> = {}): UpstreamRequest {
  return {
    method: "GET",
    target: "/a?b",
    headers: ["Host", "example.test", "Accept", "a"],
    body: null,
    signal: new AbortController().signal,
    origin: "http://app.test:8081",
    upgrade: false,
    ...more,
  };
}

async function* chunks(...parts: string[]): AsyncIterable<Uint8Array> {
  for (const part of parts) yield encoder.encode(part);
}

/** The runtime that the test runs on, as fetch's quirks are told apart. */
const runtime = globalThis.navigator?.userAgent.split("/")[0];

describe("fetchTransport()", () => {
  it("passes the request on and follows no redirect", async () => {
    const transport = fetchTransport((url, init) => {
      assert.equal(url, "http://app.test:8081/a?b");
      assert.equal(init.method, "GET");
      assert.equal(init.redirect, "manual");
      assert.equal(init.body, null);
      return Promise.resolve(new Response("moved", { status: 302, headers: { Location: "/b" } }));
    });
    const response = await transport(get());
    assert.equal(response.status, 302);
    assert.deepEqual(response.headers.slice(-2), ["location", "/b"]);
  });

  it("sends cookies that came in several lines as one list", async () => {
    const transport = fetchTransport((_, init) => {
      assert.equal(new Headers(init.headers).get("cookie"), "a=1; b=2, 3");
      return Promise.resolve(new Response());
    });
    await transport(get({ headers: ["Host", "a", "Cookie", "a=1", "cookie", "b=2, 3"] }));
  });

  it("streams the body and leaves out what fetch takes into its own hands", async () => {
    const transport = fetchTransport(async (_, init) => {
      const names = (init.headers as [string, string][]).map(([name]) => name);
      assert.deepEqual(names, ["Host"]);
      return new Response(await new Response(init.body ?? null).text());
    });
    const headers = [
      "Host",
      "x",
      "Expect",
      "100-continue",
      "Connection",
      "Upgrade",
      "Upgrade",
      "websocket",
    ];
    const response = await transport(get({ method: "POST", body: chunks("a", "b"), headers }));
    assert.equal(await response.source?.text(), "ab");
  });

  const failures: [string, unknown, string][] = [
    [
      "Node",
      Object.assign(new TypeError("fetch failed"), { cause: { code: "ECONNREFUSED" } }),
      "refused",
    ],
    [
      "Bun",
      Object.assign(new Error("Unable to connect"), { code: "ConnectionRefused" }),
      "refused",
    ],
    [
      "Deno",
      new TypeError("fetch failed", {
        cause: new Error("tcp connect error: Connection refused (os error 111)"),
      }),
      "refused",
    ],
    [
      "Node",
      Object.assign(new TypeError("fetch failed"), { cause: { code: "ENOTFOUND" } }),
      "unreachable",
    ],
    [
      "Node",
      Object.assign(new TypeError("fetch failed"), { cause: { code: "UND_ERR_SOCKET" } }),
      "reset",
    ],
    ["any", "a string", "reset"],
  ];
  for (const [name, error, failure] of failures) {
    it(`reads an error of ${name} as ${failure}`, async () => {
      const transport = fetchTransport(() => Promise.reject(error));
      await assert.rejects(transport(get()), (thrown) => {
        assert.ok(thrown instanceof TransportError);
        assert.equal(thrown.failure, failure);
        return true;
      });
    });
  }

  it("does not call a request unsent whose body was read", async () => {
    for (const code of ["ECONNREFUSED", "ENOTFOUND"]) {
      const transport = fetchTransport(async (_, init) => {
        await new Response(init.body ?? null).text();
        throw Object.assign(new Error("failed"), { code });
      });
      await assert.rejects(transport(get({ method: "POST", body: chunks("a") })), {
        failure: "reset",
      });
    }
  });

  it("says aborted when the client is gone", async () => {
    const transport = fetchTransport(() => Promise.reject(new DOMException("gone", "AbortError")));
    await assert.rejects(transport(get({ signal: AbortSignal.abort() })), { failure: "aborted" });
  });

  it("does not call a body compressed that the runtime's fetch has decoded", async () => {
    const headers = { "Content-Encoding": "gzip", "Content-Length": "9", ETag: '"a"' };
    const transport = fetchTransport(() => Promise.resolve(new Response("plain", { headers })));
    const response = await transport(get());
    const names = response.headers.filter((_, index) => index % 2 === 0);
    assert.equal(names.includes("content-encoding"), runtime === "Bun");
    if (runtime !== "Bun") assert.equal(response.headers.at(-1), 'W/"a"');
    const head = await transport(get({ method: "HEAD" }));
    assert.ok(head.headers.includes("content-encoding"));
  });
});
