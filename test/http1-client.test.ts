import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createHttp1Client } from "../adapters/http1/client.ts";
import type { UpstreamRequest } from "../src/index.ts";
import { answering, eventually, listen } from "./http1-wire.ts";
import { fails, transportContract } from "./transport-contract.ts";

// Nothing that a test waits for may come from the pool's own clock.
transportContract("createHttp1Client()", () => createHttp1Client({ keepAliveTimeout: 60_000 }));

function get(origin: string): UpstreamRequest {
  return {
    method: "GET",
    target: "/",
    headers: ["Host", "a.test"],
    body: null,
    signal: new AbortController().signal,
    origin,
    upgrade: false,
  };
}

describe("createHttp1Client()", () => {
  it("gives up on a head that does not come in time", async () => {
    const origin = await listen(() => {});
    const client = createHttp1Client({ headTimeout: 20 });
    await assert.rejects(client(get(origin.origin)), fails("timeout"));
    await origin.peers[0]?.over();
    client.close();
    await origin.close();
  });

  it("speaks TLS to an https origin, and nothing else when that fails", async () => {
    const origin = await listen((peer) => {
      peer.socket.once("data", () => peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    });
    const client = createHttp1Client();
    await assert.rejects(client(get(`https://127.0.0.1:${origin.port}`)), fails("unreachable"));
    const text = await origin.peers[0]?.over();
    assert.equal(text?.charCodeAt(0), 0x16, text);
    assert.ok(!text?.includes("HTTP/1.1"));
    assert.equal(origin.peers.length, 1);
    client.close();
    await origin.close();
  });

  it("puts no time limit on a silent body", async () => {
    const origin = await listen(answering(() => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na"));
    const client = createHttp1Client({ headTimeout: 20 });
    const { body } = await client(get(origin.origin));
    await new Promise((resolve) => setTimeout(resolve, 60));
    assert.equal(origin.peers[0]?.isOver(), false);
    assert.ok(body !== null);
    client.close();
    await origin.close();
  });

  it("closes a connection that has been idle for too long", async () => {
    const origin = await listen(answering(() => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    const client = createHttp1Client({ keepAliveTimeout: 10 });
    await client(get(origin.origin));
    await origin.peers[0]?.over();
    await client(get(origin.origin));
    assert.equal(origin.peers.length, 2);
    client.close();
    await origin.close();
  });

  it("keeps no more idle connections than it may, and none once closed", async () => {
    const origin = await listen(answering(() => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    const client = createHttp1Client({ maxIdle: 2 });
    await Promise.all(Array.from({ length: 5 }, () => client(get(origin.origin))));
    const open = (): number => origin.peers.filter((peer) => !peer.isOver()).length;
    await eventually(
      () => open() === 2,
      () => `for 2 connections, there are ${open()}`,
    );
    client.close();
    await eventually(
      () => open() === 0,
      () => `for no connection, there are ${open()}`,
    );
    await client(get(origin.origin));
    await eventually(
      () => open() === 0,
      () => `for no connection, there are ${open()}`,
    );
    await origin.close();
  });
});
