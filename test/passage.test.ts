import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  type HeaderLines,
  type IncomingRequest,
  type ProxyOptions,
  type ResponseMessage,
  TransportError,
  type UpstreamRequest,
} from "../src/index.ts";
import { settled } from "./fake-clock.ts";
import {
  begin,
  cookie,
  elsewhere,
  header,
  here,
  minted,
  node,
  type Node,
  REPLAY_TO_P,
  T26,
  T27,
  T28,
  text,
  unknown,
} from "./node.ts";

const FLY: HeaderLines = ["Fly-Request-Id", "01J-ams"];

const KEYS = { keys: [{ id: "k1", secret: "0123456789abcdef" }] };

/** Nodes that send requests to each other, by their names. */
interface Network {
  /** What reached the proxy of a node, in the order in which it came. */
  arrived: { at: string; request: UpstreamRequest }[];
  /** What is wrong with the connection to a node: an error, that nothing comes until it is aborted, or that it takes long. */
  fault: (
    name: string,
    request: UpstreamRequest,
  ) => TransportError | "silence" | "no connection" | "long way" | undefined;
  add(name: string, primary: Node["state"]["primary"], options?: Partial<ProxyOptions>): Node;
}

/** Creates a network; every node's address is `http://NAME:8080`. */
function network(): Network {
  const nodes = new Map<string, Node>();

  function arriveAt(host: string, request: UpstreamRequest): Promise<ResponseMessage> {
    const next = nodes.get(host);
    if (next === undefined) return Promise.reject(new TransportError("unreachable", host));
    request.connect?.done();
    if (request.target !== "/litefs/health") self.arrived.push({ at: host, request });
    return next.proxy.handle(incoming(request));
  }

  const self: Network = {
    arrived: [],
    fault: () => undefined,
    add: (name, primary, options = {}) => {
      const one: Node = node(primary, {
        primaryUrl: (hostname) => `http://${hostname}:8080`,
        transport: (request) => {
          const host = new URL(request.origin).hostname;
          if (host === "app.test") {
            one.seen.push(request);
            return one.app.answer(request);
          }
          const fault = self.fault(host, request);
          if (fault === "no connection") return noConnection(request);
          if (fault === "long way") {
            const connecting = new Promise<void>((resolve) => {
              one.clock.setTimeout(resolve, LONG_WAY);
            });
            return Promise.race([connecting, noConnection(request)]).then(() =>
              arriveAt(host, request),
            );
          }
          if (fault === "silence") {
            request.connect?.done();
            return silence(request.signal);
          }
          if (fault !== undefined) return Promise.reject(fault);
          return arriveAt(host, request);
        },
        ...options,
      });
      nodes.set(name, one);
      return one;
    },
  };
  return self;
}

/** How long a connection takes to the other side of the world when a packet is lost, in milliseconds. */
const LONG_WAY = 1400;

function noConnection({ connect, signal }: UpstreamRequest): Promise<never> {
  return new Promise((_, reject) => {
    const end = (): void => reject(new TransportError("unreachable", "Connect timed out"));
    connect?.begin().addEventListener("abort", end);
    signal.addEventListener("abort", end);
  });
}

function silence(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(new TransportError("aborted", "aborted")));
  });
}

function incoming(request: UpstreamRequest): IncomingRequest {
  return {
    ...request,
    headers: [...request.headers],
    scheme: "http",
    clientAddress: "10.0.0.2",
    canUpgrade: request.upgrade,
    transport: undefined,
  };
}

function at(hostname: string): Node["state"]["primary"] {
  return { at: "elsewhere", hostname };
}

/** A replica and its primary, `p`. */
function pair(options: Partial<ProxyOptions> = {}): {
  net: Network;
  primary: Node;
  replica: Node;
} {
  const net = network();
  const primary = net.add("p", here, options);
  const replica = net.add("r", elsewhere, options);
  primary.state.position = T28;
  return { net, primary, replica };
}

/** Awaits an answer while time passes in steps of 50 ms. */
async function within(
  one: Node,
  ms: number,
  promise: Promise<ResponseMessage>,
): Promise<ResponseMessage> {
  const pending = begin(promise);
  for (let passed = 0; passed < ms && pending.response() === undefined; passed += 50)
    await one.clock.advance(50);
  assert.ok(pending.response() !== undefined, `no answer within ${ms} ms`);
  return promise;
}

describe("createProxy() with direct forwarding", () => {
  it("runs a write on the primary and passes its answer and its token on unchanged", async () => {
    const { primary, replica } = pair();
    primary.app.headers = ["X-App", "primary", "Set-Cookie", "a=1"];
    const response = await replica.send("POST", "/", cookie(T26));
    assert.equal(response.status, 200);
    assert.deepEqual(header(response, "x-app"), ["primary"]);
    assert.equal(minted(response), T28);
    assert.equal(header(response, "set-cookie").length, 2);
    assert.equal(primary.seen.length, 1);
    assert.equal(replica.seen.length, 0);
    assert.deepEqual(
      replica.decisions.map(({ outcome }) => outcome),
      ["forward"],
    );
  });

  it("tells the primary's proxy who the client is, and the app nothing of itself", async () => {
    const { net, primary, replica } = pair();
    await replica.send("POST", "/a?b", ["X-Forwarded-For", "203.0.113.9", "Txid-Hops", "0"]);
    const [forwarded] = net.arrived;
    assert.equal(forwarded?.request.target, "/a?b");
    assert.deepEqual(
      header({ ...NOTHING, headers: forwarded?.request.headers ?? [] }, "txid-hops"),
      ["1"],
    );
    const [seen] = primary.seen;
    const value = (name: string): string[] =>
      header({ ...NOTHING, headers: seen?.headers ?? [] }, name);
    assert.deepEqual(value("x-forwarded-for"), ["203.0.113.9, 10.0.0.1, 10.0.0.2"]);
    assert.deepEqual(value("host"), ["example.test"]);
    assert.deepEqual(value("txid-hops"), []);
  });

  it("waits with the answer to a write until this node has caught up, if it is to hold it", async () => {
    const { replica } = pair({ hold: 1000 });
    const pending = begin(replica.send("POST", "/"));
    await replica.clock.advance(500);
    assert.equal(pending.response(), undefined);
    replica.state.position = T28;
    replica.state.changed();
    await settled();
    assert.equal(pending.response()?.status, 200);
  });

  it("holds it no longer than it is told to", async () => {
    const { replica } = pair({ hold: 1000 });
    const pending = begin(replica.send("POST", "/"));
    await replica.clock.advance(999);
    assert.equal(pending.response(), undefined);
    await replica.clock.advance(1);
    assert.equal(pending.response()?.status, 200);
  });

  it("reads from the primary on the other side of the world what it cannot serve in time", async () => {
    const { net, primary, replica } = pair();
    net.fault = () => "long way";
    const response = await within(replica, 8000, replica.send("GET", "/", cookie(T28)));
    assert.equal(response.status, 200);
    assert.equal(primary.seen.length, 1);
  });

  it("reads from the primary what it cannot serve in time", async () => {
    const { primary, replica } = pair();
    const response = await within(replica, 6000, replica.send("GET", "/", cookie(T28)));
    assert.equal(response.status, 200);
    assert.equal(primary.seen.length, 1);
    assert.equal(replica.seen.length, 0);
  });

  it("reads there at once what is of another history", async () => {
    const { primary, replica } = pair();
    replica.state.histories = { [T26]: "a6", [T27]: "a7" };
    primary.state.histories = { [T26]: "b6", [T28]: "b8" };
    const response = await replica.send("GET", "/", ["Cookie", `__txid_seen=${T26}/b6`]);
    assert.equal(response.status, 200);
    assert.equal(primary.seen.length, 1);
  });

  it("goes on down the ladder when the primary cannot be reached", async () => {
    for (const [stale, status] of [
      [["/"], 200],
      [[], 504],
    ] as const) {
      const { net, replica } = pair({ stale });
      net.fault = () => new TransportError("refused", "down");
      const response = await within(replica, 5100, replica.send("GET", "/", cookie(T28)));
      assert.equal(response.status, status);
    }
  });

  it("shows nobody a lost history when the primary cannot be reached", async () => {
    const { net, replica } = pair();
    replica.state.histories = { [T26]: "a6", [T27]: "a7" };
    net.fault = () => new TransportError("refused", "down");
    const response = await replica.send("GET", "/", ["Cookie", `__txid_seen=${T26}/b6`]);
    assert.equal(response.status, 504);
    assert.equal(replica.seen.length, 0);
  });

  it("shows nobody a lost history when the edge could not reach the primary", async () => {
    const { replica } = pair({ primaryUrl: undefined });
    replica.state.histories = { [T26]: "a6", [T27]: "a7" };
    const lines = [...FLY, "Fly-Replay-Failed", "instance=p;reason=timeout"];
    const response = await replica.send("GET", "/", [...lines, "Cookie", `__txid_seen=${T26}/b6`]);
    assert.equal(response.status, 504);
    assert.equal(replica.seen.length, 0);
  });

  it("does not where it may not", async () => {
    const { primary, replica } = pair({ primaryReads: "never" });
    const response = await within(replica, 6000, replica.send("GET", "/", cookie(T28)));
    assert.equal(response.status, 504);
    assert.equal(primary.seen.length, 0);
  });

  it("takes a read to the primary that found that it must write", async () => {
    const { primary, replica } = pair();
    replica.app.headers = ["Txid-App", "primary"];
    primary.app.headers = ["X-App", "primary"];
    const response = await replica.send("GET", "/");
    assert.deepEqual(header(response, "x-app"), ["primary"]);
    assert.equal(primary.seen.length, 1);
  });
});

const NOTHING: ResponseMessage = { status: 200, statusText: "", headers: [], body: null };

describe("createProxy() with a primary that moves", () => {
  it("costs one hop when a node has an old idea of it", async () => {
    const net = network();
    const primary = net.add("c", here);
    net.add("b", at("c"));
    const replica = net.add("a", at("b"));
    const response = await replica.send("POST", "/");
    assert.equal(response.status, 200);
    assert.equal(primary.seen.length, 1);
    assert.deepEqual(
      net.arrived.map((one) => one.at),
      ["b", "c"],
    );
  });

  it("ends with 503 when nodes send a request round", async () => {
    const net = network();
    const a = net.add("a", at("b"));
    const b = net.add("b", at("a"));
    const response = await a.send("POST", "/");
    assert.equal(response.status, 503);
    assert.deepEqual(header(response, "retry-after"), ["1"]);
    assert.deepEqual(
      net.arrived.map((one) => one.at),
      ["b", "a"],
    );
    assert.equal(a.seen.length + b.seen.length, 0);
  });

  it("ends with 504 when they send a read round", async () => {
    const net = network();
    const a = net.add("a", at("b"));
    const b = net.add("b", at("a"));
    const pending = begin(a.send("GET", "/", cookie(T28)));
    for (let step = 0; step < 400 && pending.response() === undefined; step++) {
      await a.clock.advance(50);
      await b.clock.advance(50);
    }
    assert.equal(pending.response()?.status, 504);
    assert.deepEqual(
      net.arrived.map((one) => one.at),
      ["b", "a"],
    );
  });

  it("counts what an edge has replayed, too", async () => {
    const { replica } = pair();
    const once = await replica.send("POST", "/", [
      ...FLY,
      "Fly-Replay-Src",
      "instance=x;t=1;state=txid:1",
    ]);
    assert.deepEqual(header(once, "fly-replay"), [REPLAY_TO_P.replace("txid:1", "txid:2")]);
    const twice = await replica.send("POST", "/", [
      ...FLY,
      "Fly-Replay-Src",
      "instance=x;state=txid:2",
    ]);
    assert.equal(twice.status, 503);
    assert.deepEqual(header(twice, "retry-after"), ["1"]);
    const others = await replica.send("POST", "/", [
      ...FLY,
      "Fly-Replay-Src",
      "instance=x;state=theirs",
    ]);
    assert.deepEqual(header(others, "fly-replay"), [REPLAY_TO_P.replace("txid:1", "txid:2")]);
  });

  it("lets a read wait that an app has replayed here for reasons of its own", async () => {
    for (const [state, isWaiting] of [
      ["", true],
      [";state=theirs", true],
      [";state=txid:1", false],
    ] as const) {
      const { primary, replica } = pair();
      const source = ["Fly-Replay-Src", `instance=router;region=ams;t=1${state}`];
      const pending = begin(replica.send("GET", "/", [...cookie(T28), ...source]));
      await replica.clock.advance(100);
      assert.equal(pending.response() === undefined, isWaiting, state);
      assert.equal(primary.seen.length, isWaiting ? 0 : 1);
      replica.state.position = T28;
      replica.state.changed();
      await settled();
      assert.equal(pending.response()?.status, 200);
    }
  });

  it("holds a write while the primary's proxy does not listen, and sends it once", async () => {
    const { net, primary, replica } = pair();
    let isDown = true;
    net.fault = () => (isDown ? new TransportError("refused", "down") : undefined);
    const pending = begin(replica.send("POST", "/"));
    await replica.clock.advance(2000);
    assert.equal(pending.response(), undefined);
    isDown = false;
    await replica.clock.advance(500);
    assert.equal(pending.response()?.status, 200);
    assert.equal(primary.seen.length, 1);
  });

  it("answers 503 when it does not listen for too long", async () => {
    for (const failure of ["refused", "unreachable"] as const) {
      const { net, replica } = pair();
      net.fault = () => new TransportError(failure, "down");
      const response = await within(replica, 5100, replica.send("POST", "/"));
      assert.equal(response.status, 503);
      assert.deepEqual(header(response, "retry-after"), ["1"]);
      assert.equal(replica.seen.length, 0);
    }
  });

  it("sends it to whoever takes over meanwhile, or runs it here", async () => {
    const { net, replica } = pair();
    const next = net.add("n", here);
    net.fault = (name) => (name === "p" ? new TransportError("refused", "down") : undefined);
    const first = begin(replica.send("POST", "/"));
    await replica.clock.advance(1000);
    replica.state.primary = at("n");
    await replica.clock.advance(100);
    assert.equal(first.response()?.status, 200);
    assert.equal(next.seen.length, 1);
    replica.state.primary = elsewhere;
    const second = begin(replica.send("POST", "/"));
    await replica.clock.advance(1000);
    replica.state.primary = here;
    await replica.clock.advance(100);
    assert.equal(second.response()?.status, 200);
    assert.equal(replica.seen.length, 1);
  });

  it("never sends a write again that may have arrived", async () => {
    for (const [failure, status] of [
      ["reset", 502],
      ["malformed", 502],
      ["timeout", 504],
    ] as const) {
      const { net, replica } = pair();
      let sent = 0;
      net.fault = () => {
        sent++;
        return new TransportError(failure, "secret detail");
      };
      const response = await replica.send("POST", "/");
      assert.equal(response.status, status);
      assert.doesNotMatch(text(response), /secret/);
      assert.equal(sent, 1);
    }
  });

  it("lets nothing that writes be repeated on its way, whatever its method", async () => {
    const { net, primary, replica } = pair({ alwaysForward: ["/callback"] });
    await replica.send("POST", "/");
    await replica.send("GET", "/callback");
    await within(replica, 6000, replica.send("GET", "/", cookie(T28)));
    assert.deepEqual(
      net.arrived.map(({ request }) => request.once),
      [true, true, false],
    );
    assert.deepEqual(
      primary.seen.map(({ once }) => once),
      [true, true, false],
    );
    replica.app.headers = ["Txid-App", "primary"];
    await replica.send("GET", "/");
    assert.equal(net.arrived[3]?.request.once, true, "the app has found that it writes");
    assert.equal(primary.seen[3]?.once, false, "the primary's own app has yet to find out");
  });

  it("lets who is not the primary any more answer what it has, or has sent on", async () => {
    const { net, primary, replica } = pair();
    let finish: () => void = () => {};
    primary.app.answer = () =>
      new Promise((resolve) => {
        finish = () => resolve({ ...NOTHING, headers: [] });
      });
    const pending = begin(replica.send("POST", "/"));
    await settled();
    replica.state.primary = at("q");
    await replica.clock.advance(30_000);
    assert.equal(pending.response(), undefined);
    finish();
    await settled();
    assert.equal(pending.response()?.status, 200);
    assert.equal(net.arrived.length, 1);
  });

  it("goes to whoever takes over when the old primary takes no connection", async () => {
    const net = network();
    const replica = net.add("r", at("p"));
    const next = net.add("q", here);
    net.fault = (name) => (name === "p" ? "no connection" : undefined);
    const pending = begin(replica.send("POST", "/"));
    await replica.clock.advance(500);
    replica.state.primary = at("q");
    await replica.clock.advance(1500);
    assert.equal(pending.response()?.status, 200);
    assert.equal(next.seen.length, 1);
  });

  it("ends the attempt to connect when a write has been held for long enough", async () => {
    const { net, replica } = pair();
    net.fault = () => "no connection";
    const pending = begin(replica.send("POST", "/"));
    await replica.clock.advance(4900);
    assert.equal(pending.response(), undefined);
    await replica.clock.advance(200);
    assert.equal(pending.response()?.status, 503);
  });

  it("holds a write for no longer in all, whatever it waits for", async () => {
    const { net, replica } = pair();
    net.fault = () => new TransportError("refused", "down");
    replica.state.primary = unknown;
    const pending = begin(replica.send("POST", "/"));
    await replica.clock.advance(4000);
    replica.state.primary = at("p");
    replica.state.changed();
    await replica.clock.advance(1100);
    assert.equal(pending.response()?.status, 503);
  });

  it("sends who is held away when it closes", async () => {
    const { net, replica } = pair();
    net.fault = () => new TransportError("refused", "down");
    const pending = begin(replica.send("POST", "/"));
    await replica.clock.advance(500);
    replica.proxy.close();
    await replica.clock.advance(200);
    assert.equal(pending.response()?.status, 503);
  });

  it("takes a replay by LiteFS's own proxy, which no edge will see, for what it is", async () => {
    const { primary, replica } = pair();
    primary.app.headers = ["Fly-Replay", "instance=q"];
    assert.equal((await replica.send("POST", "/")).status, 503);
    assert.equal((await pair().replica.send("POST", "/")).status, 200);
  });

  it("tells no client who the primary is", async () => {
    const { replica } = pair({ primaryUrl: undefined, forward: "direct", serverTiming: true });
    replica.state.primary = at("10.9.8.7");
    const { headers } = await replica.send("POST", "/");
    assert.ok(headers.includes("Server-Timing"));
    assert.ok(!headers.join("\n").includes("10.9.8.7"));
  });

  it("gives up on a primary that has vanished without a word", async () => {
    const { net, replica } = pair();
    let signal: AbortSignal | undefined;
    net.fault = (_, request) => {
      signal = request.signal;
      return "silence";
    };
    const pending = begin(replica.send("POST", "/"));
    await replica.clock.advance(60_000);
    assert.equal(pending.response(), undefined, "a slow app is no reason to give up");
    replica.state.primary = unknown;
    await replica.clock.advance(4900);
    assert.equal(pending.response(), undefined);
    await replica.clock.advance(1100);
    assert.equal(pending.response()?.status, 504);
    assert.equal(signal?.aborted, true);
    await replica.clock.advance(2000);
    assert.equal(replica.clock.timers(), 0, "nobody looks when nobody waits");
  });

  it("goes on waiting when a primary is named for a moment only", async () => {
    const { primary, replica } = pair();
    replica.state.primary = unknown;
    const pending = begin(replica.send("POST", "/"));
    await replica.clock.advance(1000);
    // A replica of LiteFS that connects again names the primary before it finds out that nobody is there.
    const answers = [elsewhere];
    Object.defineProperty(replica.state, "primary", {
      configurable: true,
      get: () => answers.shift() ?? unknown,
    });
    replica.state.changed();
    await replica.clock.advance(500);
    assert.deepEqual(answers, []);
    assert.equal(pending.response(), undefined);
    Object.defineProperty(replica.state, "primary", { value: elsewhere });
    replica.state.changed();
    await replica.clock.advance(100);
    assert.equal(pending.response()?.status, 200);
    assert.equal(primary.seen.length, 1);
  });

  it("waits for a primary as long as nobody knows one", async () => {
    const { primary, replica } = pair();
    replica.state.primary = unknown;
    const pending = begin(replica.send("POST", "/"));
    await replica.clock.advance(1000);
    replica.state.primary = elsewhere;
    replica.state.changed();
    await replica.clock.advance(100);
    assert.equal(pending.response()?.status, 200);
    assert.equal(primary.seen.length, 1);
  });
});

describe("createProxy() with a primary that is down for many", () => {
  it("lets one request in a quarter of a second try for all", async () => {
    const { net, replica } = pair();
    let tried = 0;
    net.fault = () => {
      tried++;
      return new TransportError("refused", "down");
    };
    const pending = Array.from({ length: 50 }, () => begin(replica.send("POST", "/")));
    await replica.clock.advance(1000);
    const before = tried;
    await replica.clock.advance(3000);
    assert.ok(tried - before <= 12, `${tried - before} tries`);
    assert.ok(tried - before >= 8, `${tried - before} tries`);
    await replica.clock.advance(2000);
    assert.deepEqual(new Set(pending.map((one) => one.response()?.status)), new Set([503]));
  });

  it("asks once for all of them who the primary is", async () => {
    const { net, replica } = pair();
    net.fault = () => new TransportError("refused", "down");
    for (let sent = 0; sent < 50; sent++) void replica.send("POST", "/");
    await replica.clock.advance(1000);
    let asked = 0;
    Object.defineProperty(replica.state, "primary", {
      get: () => {
        asked++;
        return elsewhere;
      },
    });
    await replica.clock.advance(2000);
    assert.ok(asked <= 2 * 20, `asked ${asked} times`);
  });

  it("takes all as soon as it is up again", async () => {
    const { net, primary, replica } = pair();
    net.fault = () => new TransportError("refused", "down");
    const pending = Array.from({ length: 50 }, () => begin(replica.send("POST", "/")));
    await replica.clock.advance(2000);
    net.fault = () => undefined;
    await replica.clock.advance(500);
    assert.deepEqual(new Set(pending.map((one) => one.response()?.status)), new Set([200]));
    assert.equal(primary.seen.length, 50);
  });

  it("no longer knows it to be down when nobody has tried for a while", async () => {
    const { net, primary, replica } = pair({ primaryRedirectTimeout: 0 });
    net.fault = () => new TransportError("refused", "down");
    for (let tried = 0; tried < 8; tried++) await replica.send("POST", "/");
    await replica.clock.advance(600);
    net.fault = () => undefined;
    const answers = await Promise.all([replica.send("POST", "/"), replica.send("POST", "/")]);
    assert.deepEqual(
      answers.map(({ status }) => status),
      [200, 200],
    );
    assert.equal(primary.seen.length, 2);
  });

  it("lets the others follow when the one that tries for all is taken, before it is answered", async () => {
    const { net, primary, replica } = pair();
    net.fault = () => new TransportError("refused", "down");
    const pending = Array.from({ length: 20 }, () => begin(replica.send("POST", "/")));
    await replica.clock.advance(2000);
    net.fault = () => undefined;
    primary.app.answer = () => new Promise(() => {});
    await replica.clock.advance(1000);
    assert.equal(primary.seen.length, pending.length);
  });

  it("holds no more than there are places to wait", async () => {
    const { net, replica } = pair({ maxWaiters: 2 });
    net.fault = () => new TransportError("refused", "down");
    const pending = Array.from({ length: 5 }, () => begin(replica.send("POST", "/")));
    await replica.clock.advance(50);
    const statuses = pending.map((one) => one.response()?.status);
    assert.deepEqual(statuses, [undefined, undefined, 503, 503, 503]);
    await replica.clock.advance(6000);
    const later = begin(replica.send("POST", "/"));
    await replica.clock.advance(50);
    assert.equal(later.response(), undefined);
  });

  it("gives back what it has taken, and leaves room for others", async () => {
    const few = pair({ maxForwards: 1 });
    for (let sent = 0; sent < 3; sent++)
      assert.equal((await few.replica.send("POST", "/")).status, 200);
    const { net, replica } = pair({ maxWaitersPerClient: 1 });
    net.fault = () => "silence";
    void replica.send("POST", "/");
    await settled();
    assert.equal((await replica.send("POST", "/")).status, 503);
    net.fault = () => undefined;
    const other = { clientAddress: "203.0.113.9" };
    assert.equal((await replica.send("POST", "/", [], other)).status, 200);
  });

  it("takes no more than it may", async () => {
    const { net, replica } = pair({ maxForwards: 2 });
    net.fault = () => "silence";
    const first = [begin(replica.send("POST", "/")), begin(replica.send("POST", "/"))];
    const third = await replica.send("POST", "/");
    assert.equal(third.status, 503);
    assert.deepEqual(header(third, "retry-after"), ["1"]);
    assert.deepEqual(
      first.map((one) => one.response()),
      [undefined, undefined],
    );
  });
});

describe("createProxy() with counts that clients make up", () => {
  it("ends what claims to have gone round, whoever says so, and nothing else", async () => {
    for (const clientAddress of ["203.0.113.9", "10.0.0.1"]) {
      for (const [value, status] of [
        ["2", 503],
        ["99/1/k1/x", 503],
        ["1", 200],
        ["-1", 200],
        ["x", 200],
        ["2x", 200],
      ] as const) {
        const { primary, replica } = pair();
        const response = await replica.send("POST", "/", ["Txid-Hops", value], { clientAddress });
        assert.equal(response.status, status, value);
        assert.equal(primary.seen.length, status === 200 ? 1 : 0);
      }
    }
  });

  it("ends a request that nodes send round although they do not believe each other", async () => {
    for (const [one, other] of [
      [{ trustedProxies: ["192.0.2.0/24"] }, { trustedProxies: ["192.0.2.0/24"] }],
      [{ signing: KEYS }, {}],
    ]) {
      const net = network();
      const a = net.add("a", at("b"), one);
      net.add("b", at("a"), other);
      assert.equal((await a.send("POST", "/")).status, 503);
      assert.equal(net.arrived.length, 2);
    }
  });

  it("takes with keys for another node's what is signed, for the same request, and for a while", async () => {
    const { net, replica } = pair({ signing: KEYS });
    await replica.send("POST", "/");
    const [first] = net.arrived;
    const signed =
      header({ ...NOTHING, headers: first?.request.headers ?? [] }, "txid-hops")[0] ?? "";
    assert.match(signed, /^1\/\d+\/k1\/[\w-]{43}$/);
    // Where there is no other way, another node gets no replay, which it would hand to its client.
    const ask = async (
      method: string,
      target: string,
      value: string,
      later = 0,
    ): Promise<number> => {
      const one = pair({ signing: KEYS, primaryUrl: undefined }).replica;
      await one.clock.advance(later);
      return (await one.send(method, target, ["Txid-Hops", value])).status;
    };
    assert.equal(await ask("POST", "/", signed), 503);
    assert.equal(await ask("POST", "/", "1"), 409);
    assert.equal(await ask("POST", "/", signed.replace(/^1/, "0")), 409);
    assert.equal(await ask("POST", "/other", signed), 409);
    assert.equal(await ask("PUT", "/", signed), 409);
    assert.equal(await ask("POST", "/", signed, 121_000), 409);
    assert.equal(await ask("POST", "/", signed.slice(0, -1)), 409);
  });

  it("signs what an edge carries, too", async () => {
    const { replica } = pair({ signing: KEYS });
    const [line = ""] = header(await replica.send("POST", "/", FLY), "fly-replay");
    assert.match(line, /;state=txid:1\/\d+\/k1\/[\w-]{43}$/);
  });

  it("takes nobody's word but a trusted proxy's that a request came through Fly Proxy", async () => {
    for (const [clientAddress, status] of [
      ["10.0.0.1", 409],
      [undefined, 409],
      ["203.0.113.9", 200],
    ] as const) {
      const { replica } = pair();
      const response = await replica.send("POST", "/", FLY, { clientAddress });
      assert.equal(response.status, status);
      assert.equal(header(response, "fly-replay").length, status === 409 ? 1 : 0);
      const read = replica.send("GET", "/", [...FLY, ...cookie(T28)], { clientAddress });
      assert.equal((await within(replica, 6000, read)).status, status);
    }
    // Nor does it bring a client what LiteFS's own proxy says to an edge that is not there.
    const { primary, replica } = pair();
    primary.app.headers = ["Fly-Replay", "instance=q"];
    const forged = { clientAddress: "203.0.113.9" };
    assert.equal((await replica.send("POST", "/", FLY, forged)).status, 503);
  });

  it("sends nothing anywhere but to the storage's primary", async () => {
    const { net, replica } = pair();
    const forged: HeaderLines = [
      "Fly-Replay-Src",
      "instance=evil",
      "Fly-Prefer-Instance-Id",
      "evil",
      "X-Forwarded-Host",
      "evil",
      "Fly-Replay-Failed",
      "instance=evil",
    ];
    await replica.send("POST", "http://evil/", forged);
    assert.deepEqual(
      net.arrived.map((one) => one.at),
      ["p"],
    );
  });

  it("takes an address that is none for no way there, and says so to the operator", async () => {
    for (const primaryUrl of [
      () => "not a URL",
      () => "http://p:8080/path",
      () => {
        throw new Error("no idea");
      },
    ]) {
      const { replica } = pair({ primaryUrl, forward: "direct" });
      const response = await replica.send("POST", "/");
      assert.equal(response.status, 503);
      assert.doesNotMatch(text(response), /idea|URL/);
      assert.ok(replica.errors.length > 0);
    }
  });
});

describe("createProxy() with what fly-replay says", () => {
  const asked = async (options: Partial<ProxyOptions>): Promise<ResponseMessage> => {
    return pair({ forward: "replay", ...options }).replica.send("POST", "/", FLY);
  };

  for (const [options, expected] of [
    [{}, REPLAY_TO_P],
    [{ by: "prefer_instance" }, `prefer_${REPLAY_TO_P}`],
    [{ by: "region", region: "iad" }, "region=iad;timeout=5000ms;fallback=force_self;state=txid:1"],
    [
      { region: "iad,ord", timeout: 0, fallback: "off" },
      'instance=p;region="iad,ord";state=txid:1',
    ],
    [
      { timeout: 10.2, fallback: "prefer_self" },
      "instance=p;timeout=11ms;fallback=prefer_self;state=txid:1",
    ],
  ] as const) {
    it(`says ${expected}`, async () => {
      const response = await asked({ replay: options });
      assert.equal(response.status, 409);
      assert.deepEqual(header(response, "fly-replay"), [expected]);
    });
  }

  it("says it in the body when headers must travel", async () => {
    const response = await asked({ replay: { headers: { "X-Key": "1" } } });
    assert.equal(response.status, 409);
    assert.deepEqual(header(response, "fly-replay"), []);
    assert.deepEqual(header(response, "content-type"), ["application/vnd.fly.replay+json"]);
    assert.deepEqual(JSON.parse(text(response)), {
      instance: "p",
      timeout: "5000ms",
      fallback: "force_self",
      state: "txid:1",
      transform: { set_headers: [{ name: "X-Key", value: "1" }] },
    });
  });

  it("never says it to what comes back from a replay that failed", async () => {
    const failed: HeaderLines = [...FLY, "Fly-Replay-Failed", "instance=p;reason=timeout"];
    const { primary, replica } = pair();
    assert.equal((await replica.send("POST", "/", failed)).status, 200);
    assert.equal(primary.seen.length, 1);
    for (const forward of ["auto", "replay"] as const) {
      const lonely = pair({ forward, primaryUrl: undefined }).replica;
      for (const lines of [failed, failed.slice(2)]) {
        const response = await lonely.send("POST", "/", lines);
        assert.equal(response.status, 503);
        assert.deepEqual(header(response, "retry-after"), ["1"]);
        assert.deepEqual(header(response, "fly-replay"), []);
      }
    }
  });

  for (const [options, message] of [
    [{ by: "name" }, /`replay\.by` must be one of "instance", .* received "name"$/],
    [{ by: "region" }, /replay\.region/],
    [{ region: "iad;instance=x" }, /replay\.region/],
    [{ fallback: "self" }, /`replay\.fallback` must be one of "force_self", .* received "self"$/],
    [{ timeout: -1 }, /`replay\.timeout` must be 0 or more milliseconds, received -1/],
    [{ timeout: Number.NaN }, /replay\.timeout/],
    [{ headers: { "X-A\n": "1" } }, /replay\.headers/],
    [{ headers: { "X-A": "1\r\n" } }, /replay\.headers/],
  ] as [object, RegExp][]) {
    it(`refuses ${JSON.stringify(options)}`, () => {
      assert.throws(() => node(elsewhere, { replay: options }), message);
    });
  }
});
