import assert from "node:assert/strict";
import type { Buffer } from "node:buffer";
import { connect, type Socket } from "node:net";
import { afterEach, describe, it } from "node:test";
import {
  createHttp1Client,
  type Http1Client,
  type Http1ClientOptions,
} from "../adapters/http1/client.ts";
import { createChannel } from "../adapters/http1/channel.ts";
import { openSocket } from "../adapters/http1/connect.ts";
import { DEFAULT_LIMITS } from "../adapters/http1/limits.ts";
import {
  createUpstreamConnection,
  type UpstreamConnection,
} from "../adapters/http1/upstream-connection.ts";
import { systemClock } from "../src/clock.ts";
import type { UpstreamRequest } from "../src/index.ts";
import { fakeClock, settled } from "./fake-clock.ts";
import { fakeSocket } from "./fake-socket.ts";
import { answering, eventually, listen, type Origin, type Peer, standStill } from "./http1-wire.ts";
import { fails, transportContract } from "./transport-contract.ts";

// Nothing that a test waits for may come from the pool's own clock.
transportContract("createHttp1Client()", () => createHttp1Client({ keepAliveTimeout: 60_000 }));

function dial({ origin }: Origin): Promise<Socket> {
  const { hostname: host, port } = new URL(origin);
  return new Promise((resolve) => {
    const socket = connect({ host, port: Number(port) }, () => resolve(socket));
  });
}

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

function carry(socket: Socket): UpstreamConnection {
  return createUpstreamConnection(socket, {
    limits: DEFAULT_LIMITS,
    headTimeout: 0,
    clock: systemClock,
    onIdle: () => {},
    onClose: () => {},
  });
}

/** A body that never comes, and what it is asked. */
function silentBody(): { asked: string[]; body: AsyncIterable<Uint8Array> } {
  const asked: string[] = [];
  const body = {
    [Symbol.asyncIterator]: () => ({
      next: () => {
        asked.push("next");
        return new Promise<never>(() => {});
      },
      return: () => {
        asked.push("return");
        return Promise.resolve({ done: true as const, value: undefined });
      },
    }),
  };
  return { asked, body };
}

describe("createHttp1Client()", () => {
  const ends: (() => unknown)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0)) await end();
  });

  async function start(onPeer: (peer: Peer) => void): Promise<Origin> {
    const origin = await listen(onPeer);
    ends.push(() => origin.close());
    return origin;
  }

  function create(options: Http1ClientOptions): Http1Client {
    const client = createHttp1Client(options);
    ends.push(() => client.close());
    return client;
  }

  it("gives up on a head that does not come in time", async () => {
    const origin = await start(() => {});
    const client = create({ headTimeout: 20 });
    await assert.rejects(client(get(origin.origin)), fails("timeout"));
    await origin.peers[0]?.over();
  });

  it("takes an answer that came in time although it looks late itself", async () => {
    const headTimeout = 500;
    const origin = await start((peer) => {
      function answer(): void {
        peer.send("HTTP/1.1 204 No Content\r\n\r\n");
        // The answer is in the system's hands, and the timers of a loop that is late come before it.
        standStill(2 * headTimeout);
      }
      void peer.until("\r\n\r\n").then(() => setImmediate(answer));
    });
    const client = create({ headTimeout });
    assert.equal((await client(get(origin.origin))).status, 204);
  });

  it("ends the attempt to connect when it is told so, and nothing after it", async () => {
    const origin = await start(answering(() => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    const client = create({});
    const attempt = new AbortController();
    let done = 0;
    const connect = { begin: () => attempt.signal, done: () => void done++ };
    // Nobody shakes hands there.
    const silent = await start(() => {});
    const secure = { ...get(silent.origin.replace("http:", "https:")), connect };
    const failing = assert.rejects(client(secure), fails("unreachable"));
    await eventually(
      () => silent.peers.length === 1,
      () => "for the connection",
    );
    attempt.abort();
    await failing;
    assert.equal(done, 0);
    await assert.rejects(client({ ...get(origin.origin), connect }), fails("unreachable"));
    const late = new AbortController();
    const request = {
      ...get(origin.origin),
      connect: { begin: () => late.signal, done: () => late.abort() },
    };
    assert.equal((await client(request)).status, 200);
  });

  it("does not blame the body for a connection that breaks while a piece is on its way", async () => {
    const origin = await start(() => {});
    const socket = await dial(origin);
    const connection = carry(socket);
    async function* pieces(): AsyncGenerator<Uint8Array> {
      yield new Uint8Array(3);
      // As the system breaks it: what listens to the socket hears of it later.
      socket.destroy(new Error("reset"));
      yield new Uint8Array(3);
    }
    const request = { ...get(origin.origin), method: "POST", body: pieces() };
    await assert.rejects(connection.send(request), fails("reset"));
  });

  it("lets go of a body that was asked for in one piece with the answer", async () => {
    const { socket, say, take } = fakeSocket(16_384);
    const { asked, body } = silentBody();
    const headers = ["Host", "a.test", "Expect", "100-continue"];
    const answer = carry(socket).send({ ...get("http://a.test"), method: "POST", headers, body });
    take();
    say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n");
    assert.equal((await answer).status, 204);
    await settled();
    assert.deepEqual(asked, ["return"]);
  });

  it("asks a body that it has let go of for nothing more", async () => {
    const fake = fakeSocket(16);
    const asked: string[] = [];
    const body = {
      [Symbol.asyncIterator]: () => ({
        next: () => {
          asked.push("next");
          return Promise.resolve({ done: false as const, value: new Uint8Array(32) });
        },
        return: () => {
          asked.push("return");
          return Promise.resolve({ done: true as const, value: undefined });
        },
      }),
    };
    const answer = carry(fake.socket).send({ ...get("http://a.test"), method: "POST", body });
    await settled();
    fake.break(new Error("reset"));
    fake.tell();
    await assert.rejects(answer, fails("reset"));
    await settled();
    assert.deepEqual(asked.slice(0, 2), ["next", "return"]);
    assert.ok(!asked.slice(1).includes("next"), asked.join());
  });

  it("takes no connection for open whose write has failed, before that is told", async () => {
    const { socket, say, refuse } = fakeSocket(16_384);
    const connection = carry(socket);
    const answer = connection.send({
      ...get("http://a.test"),
      method: "POST",
      body: new Uint8Array(3),
    });
    say("HTTP/1.1 204 No Content\r\n\r\n");
    await answer;
    assert.ok(connection.isOpen());
    refuse();
    assert.ok(!socket.destroyed);
    assert.ok(!connection.isOpen());
    connection.destroy();
  });

  it("does not connect for a request that is aborted by then", { timeout: 10_000 }, async () => {
    // Nobody shakes hands there.
    const origin = await start(() => {});
    const secure = origin.origin.replace("http:", "https:");
    await assert.rejects(openSocket(secure, AbortSignal.abort(), 0), fails("aborted"));
  });

  it("gives the reader of a body that has failed no say in the connection", async () => {
    const { socket } = fakeSocket(16_384);
    const nothing = (): void => {};
    const failed = createChannel(socket, nothing, nothing);
    failed.push(new Uint8Array(65_536));
    failed.fail(new Error("Nobody reads"));
    const next = createChannel(socket, nothing, nothing);
    next.push(new Uint8Array(65_536));
    assert.ok(socket.isPaused());
    const reader = failed.body[Symbol.asyncIterator]();
    await reader.next();
    await assert.rejects(Promise.resolve(reader.next()), /Nobody reads/);
    assert.ok(socket.isPaused());
  });

  it("gives up on an upstream that stops taking the body", { timeout: 20_000 }, async () => {
    const origin = await start((peer) => void peer.socket.once("data", () => peer.socket.pause()));
    const client = create({ headTimeout: 50 });
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) yield new Uint8Array(65_536);
    }
    for (const body of [endless(), new Uint8Array(64 * 1024 * 1024)]) {
      const request = { ...get(origin.origin), method: "POST", body };
      await assert.rejects(client(request), fails("timeout"));
    }
  });

  it("does not count the time of a body that is slow to come", async () => {
    const origin = await start((peer) => {
      void peer.until("0\r\n\r\n").then(() => peer.send("HTTP/1.1 204 No Content\r\n\r\n"));
    });
    const clock = fakeClock();
    const client = create({ headTimeout: 200, clock });
    async function* slow(): AsyncGenerator<Uint8Array> {
      yield new Uint8Array(2);
      await clock.advance(500);
      yield new Uint8Array(2);
    }
    const response = await client({ ...get(origin.origin), method: "POST", body: slow() });
    assert.equal(response.status, 204);
  });

  it("gives an upstream that takes the body slowly its time", { timeout: 60_000 }, async () => {
    const rounds = 8;
    const clock = fakeClock();
    let sent = 0;
    let sentAtRest = 0;
    // Once the body is stuck again, less time passes than the upstream has, and more in all rounds.
    async function rest({ socket }: Peer): Promise<void> {
      socket.pause();
      await eventually(
        () => clock.timers() > 0 && sent > sentAtRest,
        () => `for the body to be stuck after ${sent} pieces`,
      );
      sentAtRest = sent;
      await clock.advance(500);
      socket.resume();
    }
    const origin = await start((peer) => {
      let taken = 0;
      let rests = 0;
      peer.socket.removeAllListeners("data");
      peer.socket.on("data", (bytes: Buffer) => {
        taken += bytes.length;
        if (taken < (rests + 1) * 8 * 1024 * 1024 || rests === rounds) return;
        if (++rests === rounds) peer.send("HTTP/1.1 204 No Content\r\n\r\n");
        else void rest(peer);
      });
    });
    const client = create({ headTimeout: 600, clock });
    async function* large(): AsyncGenerator<Uint8Array> {
      for (; ; sent++) yield new Uint8Array(65_536);
    }
    const response = await client({ ...get(origin.origin), method: "POST", body: large() });
    assert.equal(response.status, 204);
    assert.ok(sentAtRest > 0);
  });

  it("speaks TLS to an https origin, and nothing else when that fails", async () => {
    const origin = await start((peer) => {
      peer.socket.once("data", () => peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    });
    const client = create({});
    await assert.rejects(client(get(`https://127.0.0.1:${origin.port}`)), fails("unreachable"));
    const text = await origin.peers[0]?.over();
    assert.equal(text?.charCodeAt(0), 0x16, text);
    assert.ok(!text?.includes("HTTP/1.1"));
    assert.equal(origin.peers.length, 1);
  });

  it("puts no time limit on a silent body", async () => {
    const origin = await start(answering(() => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na"));
    const clock = fakeClock();
    const client = create({ headTimeout: 20, clock });
    const { body } = await client(get(origin.origin));
    await clock.advance(60);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(origin.peers[0]?.isOver(), false);
    assert.ok(body !== null);
  });

  it("closes a connection that has been idle for too long", async () => {
    const origin = await start(answering(() => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    const client = create({ keepAliveTimeout: 10 });
    await client(get(origin.origin));
    await origin.peers[0]?.over();
    await client(get(origin.origin));
    assert.equal(origin.peers.length, 2);
  });

  it("uses no connection for ever, so that a name may come to lead elsewhere", async () => {
    const origin = await start(answering(() => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    const client = create({ maxAge: 30 });
    const end = Date.now() + 5000;
    // It is never idle for long.
    while (origin.peers.length < 2 && Date.now() < end) {
      await client(get(origin.origin));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    assert.equal(origin.peers.length, 2);
    await origin.peers[0]?.over();
    const longer = create({});
    for (let sent = 0; sent < 3; sent++) await longer(get(origin.origin));
    assert.equal(origin.peers.length, 3);
  });

  it("keeps no more idle connections than it may, and none once closed", async () => {
    const origin = await start(answering(() => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    const client = create({ maxIdle: 2 });
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
  });
});
