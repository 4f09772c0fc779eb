import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createJar } from "../cluster/jar.ts";
import { checkSessions, hasKept, sessionTable } from "../cluster/session.ts";
import type { SessionRequest } from "../cluster/session.ts";

const here = new URL("http://127.0.0.1:8080/kv/a");

describe("createJar()", () => {
  it("sends a cookie back until it expires", () => {
    let now = Date.parse("2026-01-01T00:00:00Z");
    const jar = createJar(() => now);
    jar.take(
      ["__txid=000000000000000a; Path=/; Expires=Thu, 01 Jan 2026 00:05:00 GMT; HttpOnly"],
      here,
    );
    assert.equal(jar.header(here), "__txid=000000000000000a");
    now += 300_000;
    assert.equal(jar.header(here), undefined);
  });

  it("prefers Max-Age to Expires", () => {
    let now = 0;
    const jar = createJar(() => now);
    jar.take(["a=1; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=10"], here);
    assert.equal(jar.header(here), "a=1");
    now = 10_000;
    assert.equal(jar.header(here), undefined);
  });

  it("lets the last one of a name win, a lower or an expired one too", () => {
    const jar = createJar();
    jar.take(["a=2; Path=/", "a=1; Path=/"], here);
    assert.equal(jar.header(here), "a=1");
    jar.take(["a=; Path=/; Max-Age=0"], here);
    assert.equal(jar.header(here), undefined);
  });

  it("keeps cookies of different paths apart, the longer path first", () => {
    const jar = createJar();
    jar.take(["a=root; Path=/", "a=kv; Path=/kv", "b=other; Path=/k", "c=default"], here);
    assert.equal(jar.header(here), "a=kv; c=default; a=root");
    assert.equal(jar.header(new URL("http://127.0.0.1:8080/")), "a=root");
  });

  it("shares cookies between the ports of a host and not between hosts", () => {
    const jar = createJar();
    jar.take(["a=1; Path=/", "b=1; Path=/; Domain=example.com"], here);
    assert.equal(jar.header(new URL("http://127.0.0.1:9999/")), "a=1");
    assert.equal(jar.header(new URL("http://localhost:8080/")), undefined);
  });

  it("takes and sends secure cookies by https only", () => {
    const jar = createJar();
    jar.take(["a=1; Path=/; Secure"], here);
    assert.equal(jar.header(new URL("https://127.0.0.1/")), undefined);
    jar.take(["a=1; Path=/; Secure"], new URL("https://127.0.0.1/"));
    assert.equal(jar.header(new URL("https://127.0.0.1/")), "a=1");
    assert.equal(jar.header(here), undefined);
  });

  it("ignores lines that are no cookie", () => {
    const jar = createJar();
    jar.take(["", "=1", "word", "a=1; Path=/"], here);
    assert.equal(jar.header(here), "a=1");
  });
});

/** An app in memory; `read` decides what a GET sees of the history of a key. */
function history(read: (values: readonly string[], request: SessionRequest) => string | undefined) {
  const notes = new Map<string, string[]>();
  return async (url: string, request: SessionRequest): Promise<Response> => {
    const key = new URL(url).pathname;
    const values = notes.get(key) ?? [];
    notes.set(key, values);
    const headers = { "x-node": "n1", "x-runtime": "test" };
    if (request.body !== undefined) {
      values.push(request.body);
      return new Response("Written\n", { headers });
    }
    const value = read(values, request);
    return new Response(value ?? "No such note\n", {
      status: value === undefined ? 404 : 200,
      headers,
    });
  };
}

describe("checkSessions()", () => {
  const common = { urls: ["http://127.0.0.1:1"], clients: 2, rounds: 3, duration: Infinity };

  it("counts nothing against an app that keeps its word", async () => {
    const report = await checkSessions({ ...common, fetch: history((values) => values.at(-1)) });
    const { reads, writes, stale, back, errors } = report;
    assert.deepEqual(
      { reads, writes, stale, back, errors },
      { reads: 42, writes: 6, stale: 0, back: 0, errors: 0 },
    );
    assert.deepEqual([...report.runtimes.keys()], ["test"]);
  });

  it("makes three rounds in whatever time, for a check that was stopped has seen nothing", async () => {
    const fetch = history((values) => values.at(-1));
    const report = await checkSessions({ ...common, rounds: Infinity, duration: 0, fetch });
    assert.deepEqual([report.reads, report.writes], [42, 6]);
  });

  it("counts reads that do not show the client's own write", async () => {
    const report = await checkSessions({
      ...common,
      otherReads: 0,
      fetch: history((values) => values.at(-2)),
    });
    assert.equal(report.stale, 24);
    assert.equal(report.back, 0);
    assert.match(report.examples[0] ?? "", /GET \S+ from n1: 0 after 1 was written/);
  });

  it("counts reads that go back in time", async () => {
    let turn = 0;
    const fetch = history((values) => {
      turn += 1;
      return turn % 2 === 1 ? values.at(-1) : undefined;
    });
    const report = await checkSessions({ ...common, clients: 1, otherReads: 0, fetch });
    assert.equal(report.back, 6);
    assert.equal(report.stale, 6);
  });

  it("counts answers that are no answer, and does not take a failed write for one", async () => {
    const report = await checkSessions({
      ...common,
      clients: 1,
      otherReads: 0,
      fetch: async (_url, request) => {
        if (request.method === "PUT") {
          return new Response("Proxy timeout\n", { status: 504 });
        }
        throw new Error("gone");
      },
    });
    assert.equal(report.errors, 15);
    assert.equal(report.stale + report.back + report.reads + report.writes, 0);
  });

  it("carries each client's cookies", async () => {
    const sent = new Set<string | undefined>();
    let minted = 0;
    await checkSessions({
      ...common,
      clients: 1,
      otherReads: 0,
      fetch: async (_url, request) => {
        sent.add(request.headers["cookie"]);
        minted += 1;
        return new Response("3", { headers: { "set-cookie": `t=${minted}; Path=/` } });
      },
    });
    assert.deepEqual(
      [...sent],
      [undefined, ...Array.from({ length: 14 }, (_, index) => `t=${index + 1}`)],
    );
  });

  it("takes a client's cookies to every entrance of a site", async () => {
    const urls = ["http://127.0.0.1:1", "http://127.0.0.2:1"];
    const withoutCookie = async (site: string | undefined): Promise<number> => {
      const bare: string[] = [];
      await checkSessions({
        urls,
        site,
        clients: 1,
        rounds: 30,
        duration: Infinity,
        otherReads: 0,
        fetch: async (url, request) => {
          if (request.headers["cookie"] === undefined) bare.push(new URL(url).host);
          return new Response("30", { headers: { "set-cookie": "t=1; Path=/" } });
        },
      });
      return bare.length;
    };
    assert.equal(await withoutCookie("http://app.example"), 1);
    assert.equal(await withoutCookie(undefined), 2);
  });
});

describe("hasKept()", () => {
  const good = {
    reads: 1,
    writes: 1,
    stale: 0,
    back: 0,
    errors: 0,
    runtimes: new Map(),
    examples: [],
  };

  it("asks for fresh reads that do not go back in time, and for answers", () => {
    assert.equal(hasKept(good), true);
    assert.equal(hasKept({ ...good, stale: 1 }), false);
    assert.equal(hasKept({ ...good, errors: 1 }), false);
    assert.equal(hasKept({ ...good, back: 1 }), false);
  });

  it("takes no silence for success", () => {
    assert.equal(hasKept({ ...good, reads: 0 }), false);
    assert.equal(hasKept({ ...good, writes: 0 }), false);
  });
});

describe("sessionTable()", () => {
  it("aligns the counts of every runtime under the total", () => {
    const counts = { reads: 12, writes: 3, stale: 1, back: 0, errors: 0 };
    const report = { ...counts, runtimes: new Map([["bun 1", counts]]), examples: [] };
    assert.equal(
      sessionTable([["through the proxy", report]]),
      [
        "                   reads  writes  stale after own write  back in time  errors\n",
        "through the proxy     12       3                      1             0       0\n",
        "  bun 1               12       3                      1             0       0\n",
      ].join(""),
    );
  });
});
