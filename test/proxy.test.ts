import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { firstValue } from "../src/headers.ts";
import { createProxy, type HeaderLines, type ProxyOptions, TransportError } from "../src/index.ts";
import { settled } from "./fake-clock.ts";
import {
  begin,
  cookie,
  elsewhere,
  header,
  here,
  minted,
  node,
  REPLAY_TO_P,
  T26,
  T27,
  T28,
  text,
  unknown,
} from "./node.ts";

describe("createProxy() with reads", () => {
  it("sends a read without a token to the target, whatever the role", async () => {
    for (const role of [here, elsewhere, unknown]) {
      const replica = node(role);
      const response = await replica.send("GET", "/a?b");
      assert.equal(response.status, 200);
      assert.equal(replica.seen[0]?.target, "/a?b");
      assert.equal(minted(response), undefined);
    }
  });

  it("sends a read on at once when the node has applied its token", async () => {
    const replica = node(elsewhere);
    assert.equal((await replica.send("GET", "/", cookie(T27))).status, 200);
    assert.equal((await replica.send("HEAD", "/", cookie(T26))).status, 200);
    assert.equal(replica.seen.length, 2);
  });

  it("holds a read until the node has applied its token", async () => {
    const replica = node(elsewhere);
    const read = begin(replica.send("GET", "/", cookie(T28)));
    await replica.clock.advance(100);
    assert.equal(replica.seen.length, 0);
    replica.state.position = T28;
    replica.state.changed();
    await settled();
    assert.equal(read.response()?.status, 200);
    assert.equal(replica.decisions.at(-1)?.waited, 100);
  });

  it("answers 504 when the node does not catch up in time", async () => {
    const replica = node(elsewhere);
    const read = begin(replica.send("GET", "/", cookie(T28)));
    await replica.clock.advance(4999);
    assert.equal(read.response(), undefined);
    await replica.clock.advance(1);
    assert.equal(read.response()?.status, 504);
    assert.equal(text(read.response()), "Proxy timeout\n");
    assert.deepEqual(header(read.response(), "retry-after"), ["1"]);
    assert.equal(replica.seen.length, 0);
  });

  it("waits for its token on a replica that has no database yet", async () => {
    const replica = node(elsewhere);
    replica.state.position = undefined;
    const read = begin(replica.send("GET", "/", cookie(T27)));
    await replica.clock.advance(10);
    assert.equal(read.response(), undefined);
    replica.state.position = T27;
    replica.state.changed();
    await settled();
    assert.equal(read.response()?.status, 200);
  });

  it("does not take an unreadable position for the first one", async () => {
    const replica = node(elsewhere);
    replica.state.broken = true;
    const read = begin(replica.send("GET", "/", cookie(T26)));
    await replica.clock.advance(5000);
    assert.equal(read.response()?.status, 504);
    assert.ok(replica.errors.length > 0);
  });

  it("lets a client go that leaves while it waits", async () => {
    const replica = node(elsewhere);
    const client = new AbortController();
    const read = begin(replica.send("GET", "/", cookie(T28), { signal: client.signal }));
    await settled();
    client.abort();
    await settled();
    assert.ok(read.response() !== undefined);
    assert.equal(replica.seen.length, 0);
    assert.equal(replica.clock.timers(), 0);
  });

  for (const token of ["x", "27", "0000000000000000", `0${T28}`, "ffffffffffffffgf", ""]) {
    it(`takes the malformed token ${JSON.stringify(token)} for none`, async () => {
      assert.equal((await node(elsewhere).send("GET", "/", cookie(token))).status, 200);
    });
  }

  it("never waits on the primary", async () => {
    const primary = node(here);
    assert.equal((await primary.send("GET", "/", cookie("ffffffffffffffff"))).status, 200);
  });

  it("stops waiting when the node becomes the primary", async () => {
    const replica = node(elsewhere);
    const read = begin(replica.send("GET", "/", cookie(T28)));
    await settled();
    replica.state.primary = here;
    replica.state.changed();
    await settled();
    assert.equal(read.response()?.status, 200);
    assert.equal(minted(read.response()), T27);
  });

  it("heals a token from a lost past on the primary", async () => {
    const primary = node(here);
    const response = await primary.send("GET", "/", cookie(T28));
    assert.equal(minted(response), T27);
    assert.deepEqual(header(response, "cache-control"), ["private"]);
  });

  it("does not heal on a response that a shared cache may store", async () => {
    const primary = node(here);
    primary.app.headers = ["Cache-Control", "public, max-age=60"];
    assert.equal(minted(await primary.send("GET", "/", cookie(T28))), undefined);
  });

  it("treats OPTIONS as a read, without a token", async () => {
    for (const role of [elsewhere, unknown]) {
      const replica = node(role, { alwaysForward: ["/auth/*"] });
      assert.equal((await replica.send("OPTIONS", "/auth/x")).status, 200);
      assert.equal(replica.seen.length, 1);
    }
    assert.equal(minted(await node(here).send("OPTIONS", "/")), undefined);
  });

  it("sends OPTIONS and TRACE on no more often than they say, and an app in its process what has come so far", async () => {
    const none = ["Max-Forwards", "0"];
    const primary = node(here, { passthrough: ["/open"] });
    assert.equal((await primary.send("OPTIONS", "/open", none)).status, 204);
    assert.equal((await primary.send("TRACE", "/open", none)).status, 405);
    assert.equal(primary.seen.length, 0);
    await primary.send("TRACE", "/open", ["Max-Forwards", "1"]);
    assert.equal(firstValue(primary.seen[0]?.headers ?? [], "max-forwards"), "0");
    const inside = node(here, { target: () => new Response("app") });
    assert.equal((await inside.send("OPTIONS", "/", none)).status, 200);
  });

  it("treats QUERY as a read", async () => {
    const replica = node(elsewhere);
    assert.equal((await replica.send("QUERY", "/")).status, 200);
  });
});

describe("createProxy() with writes", () => {
  it("sends a write to the target on the primary and mints its position", async () => {
    for (const method of ["POST", "PUT", "PATCH", "DELETE", "PROPFIND", "CUSTOM", "get"]) {
      const primary = node(here);
      const response = await primary.send(method, "/");
      assert.equal(primary.seen[0]?.method, method);
      assert.equal(minted(response), T27);
    }
  });

  it("mints whatever the status", async () => {
    for (const status of [200, 204, 301, 304, 404, 500]) {
      const primary = node(here);
      primary.app.status = status;
      assert.equal(minted(await primary.send("POST", "/")), T27);
    }
  });

  it("reads the position after the app has answered", async () => {
    const primary = node(here);
    primary.app.answer = () => {
      primary.state.position = T28;
      return Promise.resolve({ status: 200, statusText: "", headers: [], body: null });
    };
    assert.equal(minted(await primary.send("POST", "/")), T28);
  });

  it("prefers commit() where the storage has one", async () => {
    const storage = {
      position: () => T26,
      primary: () => here,
      commit: () => Promise.resolve(T28),
    };
    assert.equal(minted(await node(here, { storage }).send("POST", "/")), T28);
  });

  it("mints for a read what seen() returns where the storage has one", async () => {
    const storage = {
      position: () => T26,
      primary: () => here,
      commit: () => T28,
      seen: () => Promise.resolve(T27),
    };
    const one = node(here, { storage });
    assert.deepEqual(header(await one.send("GET", "/", ["Txid", "0"]), "txid"), [T27]);
    assert.deepEqual(header(await one.send("POST", "/", ["Txid", "0"]), "txid"), [T28]);
  });

  it("mints nothing without a database", async () => {
    const primary = node(here);
    primary.state.position = undefined;
    assert.deepEqual(header(await primary.send("POST", "/"), "set-cookie"), []);
  });

  it("gives the app's answer to a write even if the position cannot be read", async () => {
    const primary = node(here);
    primary.app.answer = () => {
      primary.state.broken = true;
      return Promise.resolve({ status: 201, statusText: "", headers: [], body: null });
    };
    assert.equal((await primary.send("POST", "/")).status, 201);
    assert.equal(primary.errors.length, 1);
  });

  it("mints on a GET that always-forward takes to the primary", async () => {
    const primary = node(here, { alwaysForward: ["/auth/*"] });
    assert.equal(minted(await primary.send("GET", "/auth/callback?code=1")), T27);
    assert.equal(minted(await primary.send("HEAD", "/auth/callback")), T27);
    assert.equal(minted(await primary.send("GET", "/other")), undefined);
  });

  it("always-forward finds a path that is written another way", async () => {
    for (const path of [
      "/auth/x",
      "/%61uth/x",
      "/b/../auth/x",
      "/b/%2e%2e/auth/x",
      "/b/..\\auth/x",
    ]) {
      const replica = node(elsewhere, { alwaysForward: ["/auth/*"] });
      assert.equal((await replica.send("GET", path)).status, 409, path);
    }
  });

  it("answers a write on a replica with fly-replay, 409 and a reason", async () => {
    const replica = node(elsewhere);
    const response = await replica.send("POST", "/");
    assert.equal(response.status, 409);
    assert.deepEqual(header(response, "fly-replay"), [REPLAY_TO_P]);
    assert.match(text(response), /not the primary/);
    assert.equal(replica.seen.length, 0);
    assert.equal(minted(response), undefined);
  });

  it("holds a write while nobody knows a primary, and then knows where it goes", async () => {
    for (const [next, status] of [
      [here, 200],
      [elsewhere, 409],
    ] as const) {
      const lost = node(unknown);
      const write = begin(lost.send("POST", "/"));
      await lost.clock.advance(1000);
      assert.equal(write.response(), undefined);
      assert.equal(lost.seen.length, 0);
      lost.state.primary = next;
      lost.state.changed();
      await settled();
      assert.equal(write.response()?.status, status);
    }
  });

  it("answers 503 when no primary turns up", async () => {
    const lost = node(unknown);
    const write = begin(lost.send("POST", "/"));
    await lost.clock.advance(5000);
    assert.equal(write.response()?.status, 503);
    assert.equal(text(write.response()), "Proxy error: no primary available\n");
    assert.deepEqual(header(write.response(), "retry-after"), ["1"]);
    assert.equal(lost.seen.length, 0);
  });

  it("answers 503 at once when it must not wait for a primary", async () => {
    assert.equal(
      (await node(unknown, { primaryRedirectTimeout: 0 }).send("POST", "/")).status,
      503,
    );
  });

  it("a storage that fails makes the role unknown", async () => {
    const broken = node(here, { primaryRedirectTimeout: 0 });
    broken.state.broken = true;
    assert.equal((await broken.send("POST", "/")).status, 503);
    assert.equal(broken.seen.length, 0);
  });

  it("makes the cookie Secure and SameSite when the request came by https", async () => {
    const plain = header(await node(here).send("POST", "/"), "set-cookie")[0];
    assert.doesNotMatch(plain ?? "", /Secure|SameSite/);
    const forwarded = await node(here).send("POST", "/", ["X-Forwarded-Proto", "https"]);
    assert.match(header(forwarded, "set-cookie")[0] ?? "", /; Secure; SameSite=Lax$/);
    const direct = await node(here).send("POST", "/", [], { scheme: "https" });
    assert.match(header(direct, "set-cookie")[0] ?? "", /; Secure; SameSite=Lax$/);
    const never = await node(here, { secureCookie: false }).send("POST", "/", [
      "X-Forwarded-Proto",
      "https",
    ]);
    assert.doesNotMatch(header(never, "set-cookie")[0] ?? "", /Secure/);
  });

  it("an app's own cookie of that name does not override the token", async () => {
    const primary = node(here);
    primary.app.headers = [
      "Set-Cookie",
      "a=1",
      "Set-Cookie",
      "__txid=0; Path=/",
      "Set-Cookie",
      "b=2",
    ];
    const lines = header(await primary.send("POST", "/"), "set-cookie");
    assert.deepEqual(lines.slice(0, 2), ["a=1", "b=2"]);
    assert.match(lines[2] ?? "", new RegExp(`^__txid=${T27};`));
    assert.equal(lines.length, 3);
  });

  it("a response that a shared cache may store carries no token", async () => {
    const primary = node(here, { alwaysForward: ["/auth/*"] });
    primary.app.headers = ["Cache-Control", "public, max-age=60"];
    assert.deepEqual(header(await primary.send("GET", "/auth/x"), "set-cookie"), []);
    assert.equal(minted(await primary.send("POST", "/")), T27);
  });

  it("passes the app's own fly-replay on", async () => {
    const replica = node(elsewhere);
    replica.app.headers = ["fly-replay", "region=ams"];
    replica.app.status = 307;
    assert.deepEqual(header(await replica.send("GET", "/"), "fly-replay"), ["region=ams"]);
  });
});

describe("createProxy() with passthrough", () => {
  it("sends everything on at once, on any node, without a token", async () => {
    for (const role of [here, elsewhere, unknown]) {
      const any = node(role, { passthrough: ["/assets/*"] });
      for (const method of ["GET", "POST"]) {
        const response = await any.send(method, "/assets/a.png", cookie(T28));
        assert.equal(response.status, 200);
        assert.equal(minted(response), undefined);
      }
    }
  });

  it("comes before the health check, as with LiteFS", async () => {
    const hidden = node(here, { passthrough: ["*"] });
    await hidden.send("GET", "/litefs/health");
    assert.equal(hidden.seen.length, 1);
  });

  it("is not reached by a path that leads elsewhere", async () => {
    const replica = node(elsewhere, { passthrough: ["/assets/*"] });
    for (const path of [
      "/assets/../write",
      "/assets/%2e%2e/write",
      "/assets/..\\write",
      "/assets/..%5cwrite",
    ]) {
      assert.equal((await replica.send("POST", path)).status, 409, path);
    }
    assert.equal(replica.seen.length, 0);
  });
});

describe("createProxy() with bad requests", () => {
  it("refuses a path with a broken escape", async () => {
    const any = node(here);
    assert.equal((await any.send("GET", "/%zz")).status, 400);
    assert.equal(any.seen.length, 0);
  });

  it("refuses TRACE and CONNECT", async () => {
    const any = node(here);
    for (const method of ["TRACE", "CONNECT"])
      assert.equal((await any.send(method, "/")).status, 405);
    assert.equal(any.seen.length, 0);
  });

  it("refuses CONNECT whatever passes through, for what it names is no path", async () => {
    const any = node(here, { passthrough: ["*"] });
    assert.equal((await any.send("CONNECT", "example.test:443")).status, 405);
    assert.equal(any.seen.length, 0);
  });

  it("tells nothing of the inside when the target fails", async () => {
    const failures = [
      ["reset", 502],
      ["malformed", 502],
      ["unreachable", 502],
      ["timeout", 504],
      ["request", 400],
    ] as const;
    for (const [failure, status] of failures) {
      const any = node(here);
      any.app.answer = () =>
        Promise.reject(new TransportError(failure, "dial tcp 127.0.0.1:8081: secret"));
      const response = await any.send("GET", "/");
      assert.equal(response.status, status);
      assert.doesNotMatch(text(response) + response.headers.join(), /127|secret/);
      assert.equal(any.errors.length, 1);
    }
  });

  it("tells nothing of the inside when anything else fails", async () => {
    const any = node(here);
    any.app.answer = () => Promise.reject(new Error("secret"));
    const response = await any.send("GET", "/");
    assert.equal(response.status, 500);
    assert.doesNotMatch(text(response), /secret/);
  });
});

describe("createProxy() with a target that does not listen yet", () => {
  it("holds the request and sends it once the target listens", async () => {
    const any = node(here);
    let tries = 0;
    any.app.answer = () => {
      tries++;
      if (tries < 4) return Promise.reject(new TransportError("refused", ""));
      return Promise.resolve({ status: 200, statusText: "", headers: [], body: null });
    };
    const write = begin(any.send("POST", "/"));
    await any.clock.advance(299);
    assert.equal(write.response(), undefined);
    await any.clock.advance(1);
    assert.equal(write.response()?.status, 200);
    assert.equal(tries, 4);
  });

  it("does not send a held write to a node that is no longer the primary", async () => {
    const any = node(here);
    any.app.answer = () => Promise.reject(new TransportError("refused", ""));
    const write = begin(any.send("POST", "/"));
    await any.clock.advance(250);
    any.state.primary = elsewhere;
    const tries = any.seen.length;
    any.app.answer = () =>
      Promise.resolve({ status: 200, statusText: "", headers: [], body: null });
    await any.clock.advance(100);
    assert.equal(write.response()?.status, 409);
    assert.equal(minted(write.response()), undefined);
    assert.equal(any.seen.length, tries);
  });

  it("makes a held read wait for its token when the node is no longer the primary", async () => {
    const any = node(here);
    any.app.answer = () => Promise.reject(new TransportError("refused", ""));
    const read = begin(any.send("GET", "/", cookie(T28)));
    await any.clock.advance(250);
    any.state.primary = elsewhere;
    any.app.answer = () =>
      Promise.resolve({ status: 200, statusText: "", headers: [], body: null });
    await any.clock.advance(1000);
    assert.equal(read.response(), undefined);
    any.state.position = T28;
    any.state.changed();
    await settled();
    assert.equal(read.response()?.status, 200);
  });

  it("gives up after targetConnectTimeout with 502", async () => {
    const any = node(here);
    any.app.answer = () => Promise.reject(new TransportError("refused", ""));
    const read = begin(any.send("GET", "/"));
    await any.clock.advance(29_900);
    assert.equal(read.response(), undefined);
    await any.clock.advance(200);
    assert.equal(read.response()?.status, 502);
  });

  it("tells once that the target does not listen, and once that it does again", async () => {
    const told: boolean[] = [];
    const any = node(here, { onTarget: (isListening) => told.push(isListening) });
    const { answer } = any.app;
    await any.send("GET", "/");
    assert.deepEqual(told, []);
    for (let outage = 0; outage < 2; outage++) {
      any.app.answer = () => Promise.reject(new TransportError("refused", ""));
      const reads = [begin(any.send("GET", "/")), begin(any.send("POST", "/"))];
      await any.clock.advance(1000);
      assert.deepEqual(told.splice(0), [false]);
      any.app.answer = answer;
      await any.clock.advance(200);
      assert.deepEqual(
        reads.map((read) => read.response()?.status),
        [200, 200],
      );
      assert.deepEqual(told.splice(0), [true]);
    }
    any.app.answer = () => Promise.reject(new TransportError("timeout", ""));
    await any.send("GET", "/");
    assert.deepEqual(told, []);
  });

  it("stops trying when the client leaves", async () => {
    const any = node(here);
    any.app.answer = () => Promise.reject(new TransportError("refused", ""));
    const client = new AbortController();
    void any.send("GET", "/", [], { signal: client.signal });
    await any.clock.advance(250);
    const tries = any.seen.length;
    client.abort();
    await any.clock.advance(1000);
    assert.ok(any.seen.length <= tries + 1);
    assert.equal(any.clock.timers(), 0);
  });
});

describe("createProxy() with the health check", () => {
  it("answers as LiteFS does", async () => {
    const replica = node(elsewhere);
    const response = await replica.send("GET", "/litefs/health?x");
    assert.equal(response.status, 200);
    assert.equal(text(response), "OK\n");
    assert.equal(replica.seen.length, 0);
  });

  it("reads the path decoded and minds nothing but the whole of it", async () => {
    const replica = node(elsewhere);
    assert.equal(text(await replica.send("GET", "/litefs/%68ealth")), "OK\n");
    await replica.send("GET", "/litefs/health/");
    assert.equal(replica.seen.length, 1);
    assert.equal((await replica.send("POST", "/litefs/health")).status, 409);
  });

  it("fails when the lag is beyond max-lag", async () => {
    const replica = node(elsewhere, { maxLag: 2000 });
    replica.state.lag = 2000;
    assert.equal((await replica.send("GET", "/litefs/health")).status, 200);
    replica.state.lag = 2001;
    const response = await replica.send("GET", "/litefs/health");
    assert.equal(response.status, 503);
    assert.equal(text(response), "Replication lag exceeded\n");
    assert.equal((await node(elsewhere, { maxLag: 0 }).send("GET", "/litefs/health")).status, 200);
  });

  it("fails before the first synchronisation and where no cluster is seen", async () => {
    const replica = node(elsewhere);
    replica.state.lag = Infinity;
    assert.equal(text(await replica.send("GET", "/litefs/health")), "Replica not ready\n");
    const lost = node(unknown);
    lost.state.lag = undefined;
    assert.equal(text(await lost.send("GET", "/litefs/health")), "No primary known\n");
    lost.state.broken = true;
    assert.equal(text(await lost.send("GET", "/litefs/health")), "Storage unavailable\n");
  });

  it("answers HEAD without a body, on the path that is asked for", async () => {
    const any = node(here, { healthPath: "/up" });
    const response = await any.send("HEAD", "/up");
    assert.equal(response.status, 200);
    assert.equal(response.body, null);
  });

  it("tells role, position and lag on demand", async () => {
    const replica = node(elsewhere, { healthDetail: true });
    replica.state.lag = 7;
    const facts: unknown = JSON.parse(text(await replica.send("GET", "/litefs/health")));
    assert.deepEqual(facts, {
      healthy: true,
      text: "OK",
      primary: elsewhere,
      position: T27,
      lag: 7,
    });
  });

  it("asks the target on demand", async () => {
    const any = node(here, { healthTarget: "/ready" });
    assert.equal((await any.send("GET", "/litefs/health")).status, 200);
    assert.equal(any.seen[0]?.target, "/ready");
    any.app.status = 500;
    assert.equal(text(await any.send("GET", "/litefs/health")), "Target unhealthy\n");
    any.app.answer = () => Promise.reject(new TransportError("refused", ""));
    assert.equal(text(await any.send("GET", "/litefs/health")), "Target unavailable\n");
  });

  it("fails first when the node drains, while requests are still answered", async () => {
    const any = node(here);
    any.proxy.drain();
    assert.equal(text(await any.send("GET", "/litefs/health")), "Shutting down\n");
    assert.equal((await any.send("POST", "/")).status, 200);
  });

  it("close() sends those away who wait", async () => {
    const replica = node(elsewhere);
    const read = begin(replica.send("GET", "/", cookie(T28)));
    await settled();
    replica.proxy.close();
    await settled();
    assert.equal(read.response()?.status, 503);
  });
});

describe("createProxy() with what the target sees", () => {
  it("keeps method, target, Host and headers and removes what ends at a connection", async () => {
    const any = node(here);
    const lines = [
      "accept",
      "a",
      "Accept",
      "b",
      "Connection",
      "keep-alive, X-Hop",
      "X-Hop",
      "1",
      "TE",
      "gzip",
    ];
    await any.send("GET", "//a/%2F?b?c", [
      ...lines,
      "Keep-Alive",
      "5",
      "Proxy-Authorization",
      "x",
      "X-Caf\u00e9",
      "caf\u00e9",
    ]);
    assert.deepEqual(any.seen[0]?.headers.slice(0, 8), [
      "Host",
      "example.test",
      "accept",
      "a",
      "Accept",
      "b",
      "X-Caf\u00e9",
      "caf\u00e9",
    ]);
    assert.equal(any.seen[0]?.target, "//a/%2F?b?c");
    assert.equal(any.seen[0]?.origin, "http://app.test:8081");
  });

  it("passes on an upgrade and the wish for trailers, as fields of the next connection", async () => {
    const any = node(here);
    const lines = ["Connection", "upgrade, TE", "Upgrade", "websocket", "TE", "gzip, trailers"];
    await any.send("GET", "/", lines, { canUpgrade: true });
    const expected = ["Upgrade", "websocket", "TE", "trailers", "Connection", "Upgrade, TE"];
    assert.deepEqual(any.seen[0]?.headers.slice(2, 8), expected);
    assert.equal(any.seen[0]?.upgrade, true);
    await any.send("GET", "/", lines, { canUpgrade: false });
    assert.deepEqual(any.seen[1]?.headers.slice(2, 6), ["TE", "trailers", "Connection", "TE"]);
    assert.equal(any.seen[1]?.upgrade, false);
  });

  it("does not let Connection take away what others vouch for", async () => {
    const any = node(here);
    await any.send("GET", "/", [
      "Connection",
      "Host, X-Forwarded-For, Fly-Client-IP",
      "X-Forwarded-For",
      "1.1.1.1",
      "Fly-Client-IP",
      "1.1.1.1",
    ]);
    const names = any.seen[0]?.headers.filter((_, index) => index % 2 === 0) ?? [];
    assert.ok(
      names.includes("Host") &&
        names.includes("Fly-Client-IP") &&
        names.includes("X-Forwarded-For"),
    );
  });

  it("names the target's host where an HTTP/1.0 client names none", async () => {
    const any = node(here);
    await any.send("GET", "/", [], { headers: ["Accept", "*/*"] });
    const headers = any.seen[0]?.headers ?? [];
    assert.deepEqual(headers.slice(0, 4), ["Host", "app.test:8081", "Accept", "*/*"]);
    assert.ok(!headers.includes("X-Forwarded-Host"));
  });

  const forwardedCases: [string, string, HeaderLines, HeaderLines][] = [
    [
      "says who came and how",
      "10.0.0.1",
      [],
      [
        "X-Forwarded-For",
        "10.0.0.1",
        "X-Forwarded-Proto",
        "http",
        "X-Forwarded-Host",
        "example.test",
      ],
    ],
    [
      "continues what a trusted proxy says",
      "10.0.0.1",
      [
        "X-Forwarded-For",
        "203.0.113.7",
        "X-Forwarded-Proto",
        "https",
        "X-Forwarded-Host",
        "a.test",
      ],
      [
        "X-Forwarded-Proto",
        "https",
        "X-Forwarded-Host",
        "a.test",
        "X-Forwarded-For",
        "203.0.113.7, 10.0.0.1",
      ],
    ],
    [
      "replaces what anybody else says",
      "203.0.113.9",
      [
        "X-Forwarded-For",
        "10.0.0.2",
        "X-Forwarded-Proto",
        "https",
        "Forwarded",
        "for=x",
        "X-Forwarded-Port",
        "1",
      ],
      [
        "X-Forwarded-For",
        "203.0.113.9",
        "X-Forwarded-Proto",
        "http",
        "X-Forwarded-Host",
        "example.test",
      ],
    ],
  ];
  for (const [name, clientAddress, sent, expected] of forwardedCases) {
    it(name, async () => {
      const any = node(here);
      await any.send("GET", "/", sent, { clientAddress });
      assert.deepEqual(any.seen[0]?.headers.slice(2), expected);
    });
  }

  it("removes what ends at the target's connection from the answer", async () => {
    const any = node(here);
    any.app.headers = [
      "Keep-Alive",
      "timeout=5",
      "Connection",
      "close, X-Hop",
      "X-Hop",
      "1",
      "X-End",
      "1",
    ];
    assert.deepEqual((await any.send("GET", "/")).headers, ["X-End", "1"]);
  });
});

describe("createProxy() with what the client sees", () => {
  it("gets no length with 204", async () => {
    const any = node(here);
    any.app.status = 204;
    any.app.headers = ["Content-Length", "0", "X-End", "1"];
    assert.deepEqual((await any.send("GET", "/")).headers, ["X-End", "1"]);
  });
});

describe("createProxy() with a fetch handler for a target", () => {
  it("gives an app in this process its cookies as one list, whatever lines they came in", async () => {
    const given: (string | null)[] = [];
    const one = node(here, {
      target: (request) => {
        given.push(request.headers.get("cookie"));
        return new Response();
      },
    });
    await one.send("GET", "/", ["Cookie", "a=1", "X-A", "1", "cookie", "b=2"]);
    assert.deepEqual(given, ["a=1; b=2"]);
  });

  it("hands the app the very request and the client the very response", async () => {
    const seen: Request[] = [];
    const answered: Response[] = [];
    const proxy = createProxy({
      target: (request) => {
        seen.push(request);
        answered.push(new Response("hello"));
        return answered[0] ?? assert.fail();
      },
      storage: { position: () => T27, primary: () => here },
    });
    const request = new Request("http://app.test/a");
    assert.equal(await proxy.fetch(request), answered[0]);
    assert.equal(seen[0], request);
  });

  it("mints on the app's response", async () => {
    const proxy = createProxy({
      target: async (request) =>
        new Response(`${await request.text()}!`, { headers: { "Set-Cookie": "a=1" } }),
      storage: { position: () => T27, primary: () => here },
    });
    const response = await proxy.fetch(
      new Request("http://app.test/a", { method: "POST", body: "hello" }),
    );
    assert.equal(await response.text(), "hello!");
    assert.deepEqual(
      response.headers.getSetCookie().map((line) => line.split(";")[0]),
      ["a=1", `__txid=${T27}`],
    );
  });

  it("ignores what a framework passes as a second argument", async () => {
    const proxy = createProxy({
      target: () => new Response("ok"),
      storage: { position: () => T27, primary: () => here },
    });
    for (const info of [{}, { clientAddress: "1.1.1.1", transport: "x" }, null, 7, () => {}]) {
      assert.equal((await proxy.fetch(new Request("http://app.test/"), info)).status, 200);
    }
  });

  it("shows the app the path that was judged, whatever Host says", async () => {
    for (const host of ["", "a:99999", "a%zz", "x/y"]) {
      let seen = "";
      const app = (request: Request): Response => {
        seen = new URL(request.url).pathname;
        return new Response("ok");
      };
      const any = node(here, { target: app });
      await any.proxy.handle({
        method: "GET",
        target: "/x/af/write",
        headers: ["Host", host],
        body: null,
        signal: new AbortController().signal,
        scheme: "http",
        clientAddress: "10.0.0.1",
        canUpgrade: false,
        transport: undefined,
      });
      assert.equal(seen, "/x/af/write", host);
    }
  });

  it("takes from the app's answer what belongs to a connection", async () => {
    const headers = {
      "Transfer-Encoding": "chunked",
      Connection: "x-hop",
      "X-Hop": "1",
      "X-End": "1",
    };
    const any = node(here, { target: () => new Response("ok", { headers }) });
    const names = (await any.send("GET", "/")).headers.filter((_, index) => index % 2 === 0);
    assert.deepEqual(
      names.filter((name) => name !== "content-type"),
      ["x-end"],
    );
  });

  it("answers 500 to an error response and to one that was used", async () => {
    const used = new Response("once");
    await used.text();
    for (const response of [Response.error(), used]) {
      const proxy = createProxy({
        target: () => response,
        storage: { position: () => T27, primary: () => here },
      });
      for (const method of ["GET", "POST"]) {
        assert.equal((await proxy.fetch(new Request("http://app.test/", { method }))).status, 500);
      }
    }
  });

  it("answers 500 when the app throws", async () => {
    const proxy = createProxy({
      target: () => {
        throw new Error("secret");
      },
      storage: { position: () => T27, primary: () => here },
    });
    const response = await proxy.fetch(new Request("http://app.test/"));
    assert.equal(response.status, 500);
    assert.doesNotMatch(await response.text(), /secret/);
  });
});

describe("createProxy() with bad options", () => {
  const storage = { position: () => T27, primary: () => here };
  const cases: [string, ProxyOptions, RegExp][] = [
    [
      "a target that is no URL",
      { target: "localhost:8081", storage },
      /`target` must be an http\(s\) URL/,
    ],
    ["a target of another scheme", { target: "ftp://x", storage }, /received "ftp:\/\/x"/],
    ["a target with a path", { target: "http://x/y", storage }, /scheme, host and port alone/],
    [
      "no storage",
      { target: "http://x", storage: undefined as never },
      /`storage` must have position\(\) and primary\(\)/,
    ],
    [
      "a negative time-out",
      { target: "http://x", storage, waitTimeout: -1 },
      /`waitTimeout` must be 0 or more/,
    ],
    [
      "a time-out that is no number",
      { target: "http://x", storage, maxLag: "10s" as never },
      /`maxLag` must be a number/,
    ],
    [
      "globs that are no list",
      { target: "http://x", storage, passthrough: "*" as never },
      /`passthrough` must be a list/,
    ],
    [
      "a health path without a slash",
      { target: "http://x", storage, healthPath: "up" },
      /`healthPath` must be a path/,
    ],
    [
      "a proxy that is no address",
      { target: "http://x", storage, trustedProxies: ["fly"] },
      /`trustedProxies`: "fly"/,
    ],
    ...["seen", "seen_users"].map((name): [string, ProxyOptions, RegExp] => [
      `a database ${name}, whose cookie would be that of another one`,
      { target: "http://x", storage, databases: { [name]: storage } },
      /`databases` must have other names than "seen" and "seen_…", received "seen/,
    ]),
    [
      "an odd secureCookie",
      { target: "http://x", storage, secureCookie: "yes" as never },
      /`secureCookie` must be one of/,
    ],
    [
      "a cookie that never expires",
      { target: "http://x", storage, cookieExpiry: Infinity },
      /`cookieExpiry` must be finite, received Infinity/,
    ],
    [
      "a client header that is no field",
      { target: "http://x", storage, clientHeader: "Client IP" },
      /`clientHeader` must be the name of a header field, received "Client IP"/,
    ],
    [
      "a database whose name no token can carry",
      { target: "http://x", storage, databases: { "a b": storage } },
      /`databases.a b` must be a word of up to 64 letters/,
    ],
  ];
  for (const [name, options, message] of cases) {
    it(`refuses ${name}`, () => assert.throws(() => createProxy(options), message));
  }
});

describe("createProxy() with options that there are not", () => {
  const refused: readonly (readonly [object, string])[] = [
    [{ waitTimout: 3 }, "`waitTimout` is not an option, did you mean `waitTimeout`"],
    [{ wait_timeout: 3 }, "`wait_timeout` is not an option, did you mean `waitTimeout`"],
    [{ zzzzzz: undefined }, "`zzzzzz` is not an option"],
    [
      { replay: { regoin: "iad" } },
      "`replay.regoin` is not an option, did you mean `replay.region`",
    ],
    [
      { target: "localhost:8081" },
      '`target` must be an http(s) URL or a function, received "localhost:8081", write "http://localhost:8081"',
    ],
  ];
  for (const [options, message] of refused) {
    it(`refuses ${JSON.stringify(options)}`, () => {
      assert.throws(() => node(here, options), {
        name: "TypeError",
        message: `Cannot create proxy: ${message}`,
      });
    });
  }

  it("takes undefined for an option that is left out", () => {
    node(here, { waitTimeout: undefined, replay: { region: undefined } });
  });
});
