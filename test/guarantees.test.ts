import assert from "node:assert/strict";
import process from "node:process";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { HeaderLines, IncomingRequest, ProxyOptions, ResponseMessage } from "../src/index.ts";
import { fakeClock, settled } from "./fake-clock.ts";
import { eventually } from "./http1-wire.ts";
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
  unknown,
} from "./node.ts";

const FLY: HeaderLines = ["Fly-Request-Id", "01"];
const HUGE = "ffffffffffffffff";

/** What a client has seen, as its second cookie says it. */
function seenCookie(token: string): HeaderLines {
  return ["Cookie", `__txid_seen=${token}`];
}

/** The value of the second cookie that a response sets; empty: it takes it away. */
function mintedSeen(response: ResponseMessage | undefined): string | undefined {
  for (const line of header(response, "set-cookie")) {
    const value = /^__txid_seen=([^;]*);/.exec(line)?.[1];
    if (value !== undefined) return value;
  }
  return undefined;
}

/** Sends a request and lets time pass until it is answered. */
async function answered(
  one: Node,
  method: string,
  target: string,
  headers: HeaderLines = [],
  more: Partial<IncomingRequest> = {},
): Promise<ResponseMessage> {
  const pending = one.send(method, target, headers, more);
  await one.clock.advance(10_000);
  return pending;
}

describe("createProxy() with reads that are remembered", () => {
  it("gives a client that carries a token what it has seen now", async () => {
    const one = node(elsewhere);
    const response = await one.send("GET", "/", cookie(T26));
    assert.equal(mintedSeen(response), T27);
    assert.equal(minted(response), undefined);
  });

  it("gives a stranger nothing, unless all reads are remembered", async () => {
    assert.equal(mintedSeen(await node(elsewhere).send("GET", "/")), undefined);
    assert.equal(mintedSeen(await node(elsewhere, { reads: "all" }).send("GET", "/")), T27);
  });

  it("remembers no read when that is off", async () => {
    const response = await node(elsewhere, { reads: "off" }).send("GET", "/", cookie(T26));
    assert.deepEqual(header(response, "set-cookie"), []);
  });

  it("reads the position after the app has answered", async () => {
    const one = node(elsewhere);
    one.app.answer = () => {
      one.state.position = T28;
      return Promise.resolve({ status: 200, statusText: "", headers: [], body: null });
    };
    assert.equal(mintedSeen(await one.send("GET", "/", cookie(T26))), T28);
  });

  it("never lets a slow read lower what a write has given", async () => {
    const one = node(elsewhere);
    const response = await one.send("GET", "/", seenCookie(T26));
    assert.deepEqual(
      header(response, "set-cookie").map((line) => line.split("=")[0]),
      ["__txid_seen"],
    );
  });

  it("says the history beside the position, in the second cookie alone", async () => {
    const one = node(here);
    one.state.histories = { [T27]: "a7" };
    const response = await one.send("POST", "/");
    assert.equal(minted(response), T27);
    assert.equal(mintedSeen(response), `${T27}/a7`);
  });

  it("lets no lower token out than came in, whatever comes in", async () => {
    const positions = fc
      .integer({ min: 1, max: 0x60 })
      .map((n) => n.toString(16).padStart(16, "0"));
    await fc.assert(
      fc.asyncProperty(
        positions,
        fc.array(positions, { maxLength: 3 }),
        fc.boolean(),
        async (position, tokens, byHeader) => {
          const one = node(elsewhere, { waitTimeout: 5, primaryReads: "never", plausibleGap: 0 });
          one.state.position = position;
          const headers = byHeader
            ? ["Txid", tokens.join(", ")]
            : ["Cookie", tokens.map((token) => `__txid_seen=${token}`).join("; ")];
          const response = await answered(one, "GET", "/", headers);
          const out = byHeader ? header(response, "txid")[0] : mintedSeen(response);
          for (const token of tokens) assert.ok(out === undefined || out >= token);
        },
      ),
    );
  });
});

describe("createProxy() with clients that use the header", () => {
  it("answers with the header instead of cookies, from the first request on", async () => {
    const one = node(here);
    const first = await one.send("GET", "/", ["Txid", "0"]);
    assert.deepEqual(header(first, "txid"), [T27]);
    assert.deepEqual(header(await one.send("POST", "/", ["Txid", T26]), "txid"), [T27]);
    assert.deepEqual(header(first, "set-cookie"), []);
  });

  it("waits for the greatest of all tokens, wherever they stand", async () => {
    const one = node(elsewhere);
    const both = begin(one.send("GET", "/", ["Txid", `${T26}, ${T28}`, ...cookie(T27)]));
    await settled();
    assert.equal(one.seen.length, 0);
    one.state.position = T28;
    one.state.changed();
    await settled();
    assert.deepEqual(header(both.response(), "txid"), [T28]);
  });

  it("says that a token is replaced by a lower one", async () => {
    const one = node(here);
    assert.deepEqual(header(await one.send("GET", "/", ["Txid", T28]), "txid"), [`${T27};reset`]);
  });

  it("ignores what stands behind a token, and members that are none", async () => {
    const one = node(elsewhere);
    const response = await one.send("GET", "/", ["Txid", `${T27};reset, , =, other=${T28}, x`]);
    assert.deepEqual(header(response, "txid"), [T27]);
  });

  it("lets pages of other origins use it where the app lets them in", async () => {
    const one = node(here);
    one.app.headers = ["Access-Control-Allow-Origin", "*"];
    const ask = ["Origin", "https://page.test"];
    const response = await one.send("GET", "/", [...ask, "Txid", "0"]);
    assert.deepEqual(header(response, "access-control-expose-headers"), ["Txid"]);
    const preflight = await one.send("OPTIONS", "/", [
      ...ask,
      "Access-Control-Request-Headers",
      "content-type, txid",
    ]);
    assert.deepEqual(header(preflight, "access-control-allow-headers"), ["Txid"]);
    one.app.headers = [];
    const foreign = await one.send("GET", "/", [...ask, "Txid", "0"]);
    assert.deepEqual(header(foreign, "access-control-expose-headers"), []);
  });
});

describe("createProxy() with a browser that sends the header and cookies", () => {
  it("takes a token of a lost past out of the cookies as well, so that it asks the primary once", async () => {
    const one = node(here);
    const both = ["Txid", T26, ...cookie(T28)];
    const healed = await one.send("GET", "/", both);
    assert.deepEqual(header(healed, "txid"), [`${T27};reset`]);
    assert.equal(minted(healed), T27);
    assert.equal(mintedSeen(healed), T27);
    const strict = await node(here, { foreignTokens: "error" }).send("GET", "/", both);
    assert.equal(mintedSeen(strict), "");
    const plain = await one.send("GET", "/", ["Txid", T28]);
    assert.deepEqual(header(plain, "set-cookie"), []);
  });

  it("gives it both, for the page that it loads next comes without the header", async () => {
    const one = node(here);
    const page: HeaderLines = ["Sec-Fetch-Site", "same-origin"];
    for (const known of [cookie(T26), page]) {
      const written = await one.send("POST", "/", ["Txid", T26, ...known]);
      assert.deepEqual(header(written, "txid"), [T27]);
      assert.equal(minted(written), T27);
      const read = await one.send("GET", "/", ["Txid", T26, ...known]);
      assert.equal(mintedSeen(read), T27);
      assert.equal(minted(read), undefined);
    }
    const foreign = await one.send("POST", "/", ["Txid", T26, "Sec-Fetch-Site", "cross-site"]);
    assert.deepEqual(header(foreign, "set-cookie"), []);
  });

  it("puts the token of a redirect into a cookie too: the browser follows it with the header as it was", async () => {
    const one = node(here);
    const answer = { status: 303, statusText: "", headers: ["Location", "/items"], body: null };
    one.app.answer = () => Promise.resolve(answer);
    const response = await one.send("POST", "/items", ["Txid", T26]);
    assert.deepEqual(header(response, "txid"), [T27]);
    assert.equal(minted(response), T27);
    one.app.answer = () => Promise.resolve({ ...answer, headers: [] });
    const stays = await one.send("POST", "/items", ["Txid", T26]);
    assert.deepEqual(header(stays, "set-cookie"), []);
  });
});

describe("createProxy() with caches", () => {
  const cases: [string, HeaderLines, boolean][] = [
    ["nothing is said", [], true],
    ["no-store", ["Cache-Control", "no-store"], true],
    ["private", ["Cache-Control", "private, max-age=60"], true],
    ["no-cache", ["Cache-Control", "no-cache"], true],
    ["max-age=0", ["Cache-Control", "max-age=0"], true],
    ["public, max-age=0", ["Cache-Control", "public, max-age=0"], true],
    ["public", ["Cache-Control", "public"], false],
    ["max-age", ["Cache-Control", "max-age=60"], false],
    ["s-maxage", ["Cache-Control", "s-maxage=60, max-age=0"], false],
    ["Expires ahead", ["Expires", "Fri, 01 Jan 2100 00:00:00 GMT"], false],
  ];
  for (const [name, lines, hasToken] of cases) {
    it(`${hasToken ? "gives a token" : "gives no token"} when the app says ${name}`, async () => {
      const one = node(elsewhere);
      one.app.headers = [...lines];
      const response = await one.send("GET", "/", cookie(T26));
      assert.equal(mintedSeen(response) !== undefined, hasToken);
      const control = header(response, "cache-control").join();
      if (hasToken) assert.match(control, /private|no-store/);
      else assert.equal(control, lines[0] === "Cache-Control" ? lines[1] : "");
    });
  }
});

describe("createProxy() with a node that is behind", () => {
  it("reads from the primary when the wait was in vain and Fly Proxy can take it there", async () => {
    const one = node(elsewhere);
    const response = await answered(one, "GET", "/", [...cookie(T28), ...FLY]);
    assert.equal(response.status, 409);
    assert.deepEqual(header(response, "fly-replay"), [REPLAY_TO_P]);
  });

  it("does so at once where the wait is hopeless", async () => {
    const one = node(elsewhere, { maxLag: 100 });
    one.state.lag = 101;
    const response = begin(one.send("GET", "/", [...cookie(T28), ...FLY]));
    await settled();
    assert.equal(response.response()?.status, 409);
  });

  it("takes no position for fresh that was read before the clock stepped back", async () => {
    const clock = fakeClock();
    let back = 0;
    const one = node(elsewhere, { clock: { ...clock, now: () => clock.now() - back } });
    await one.send("GET", "/", cookie(T27));
    back = 60_000;
    one.state.position = T26;
    const behind = begin(one.send("GET", "/", cookie(T27)));
    await settled();
    assert.equal(behind.response(), undefined);
    await clock.advance(10_000);
  });

  for (const [name, headers, options] of [
    ["did not come through Fly Proxy", [], {}],
    ["has been replayed twice", [...FLY, "Fly-Replay-Src", "instance=x;state=txid:2"], {}],
    ["could not be replayed", [...FLY, "Fly-Replay-Failed", "instance=x"], {}],
    ["may not go there", FLY, { primaryReads: "never" }],
    ["finds the allowance used up", FLY, { primaryReadRate: 0 }],
  ] as [string, HeaderLines, Partial<ProxyOptions>][]) {
    it(`answers 504 to a read that ${name}`, async () => {
      const response = await answered(node(elsewhere, options), "GET", "/", [
        ...cookie(T28),
        ...headers,
      ]);
      assert.equal(response.status, 504);
      assert.deepEqual(header(response, "retry-after"), ["1"]);
    });
  }

  it("does not send a read there whose body cannot be replayed", async () => {
    const body = (async function* () {
      yield new Uint8Array(1);
    })();
    const response = await answered(node(elsewhere), "QUERY", "/", [...cookie(T28), ...FLY], {
      body,
    });
    assert.equal(response.status, 504);
  });

  it("sends reads there at the allowed rate", async () => {
    const one = node(elsewhere, { waitTimeout: 0, primaryReadRate: 2 });
    const statuses: number[] = [];
    for (let count = 0; count < 4; count++)
      statuses.push((await answered(one, "GET", "/", [...cookie(T28), ...FLY])).status);
    // Ten seconds pass with each.
    assert.deepEqual(statuses, [409, 409, 409, 409]);
    const burst = [0, 1, 2, 3].map(() => begin(one.send("GET", "/", [...cookie(T28), ...FLY])));
    await one.clock.advance(1);
    assert.deepEqual(
      burst.map((each) => each.response()?.status),
      [409, 409, 504, 504],
    );
  });

  it("answers from here where the path may be stale, and gives no token", async () => {
    const one = node(elsewhere, { stale: ["/stale/*"] });
    const response = await answered(one, "GET", "/stale/a", cookie(T28));
    assert.equal(response.status, 200);
    assert.deepEqual(header(response, "set-cookie"), []);
    assert.equal((await answered(one, "GET", "/stale/../a", cookie(T28))).status, 504);
  });

  it("tells the client what it did, on demand", async () => {
    const one = node(elsewhere, { serverTiming: true });
    const waiting = begin(one.send("GET", "/", cookie(T28)));
    await one.clock.advance(30);
    one.state.position = T28;
    one.state.changed();
    await settled();
    assert.deepEqual(header(waiting.response(), "server-timing"), [
      'txid;desc="caught up after waiting";dur=30',
    ]);
  });
});

describe("createProxy() with many who wait", () => {
  function from(address: string): Partial<IncomingRequest> {
    return { clientAddress: address };
  }

  it("gives a client so many seats and no more, and a seat that is left to the next", async () => {
    const one = node(elsewhere, { maxWaitersPerClient: 2 });
    const controller = new AbortController();
    const { signal } = controller;
    const first = begin(one.send("GET", "/", cookie(T28), { ...from("203.0.113.1"), signal }));
    const second = begin(one.send("GET", "/", cookie(T28), from("203.0.113.1")));
    const third = begin(one.send("GET", "/", cookie(T28), from("203.0.113.1")));
    const other = begin(one.send("GET", "/", cookie(T28), from("203.0.113.2")));
    await settled();
    assert.equal(third.response()?.status, 503);
    assert.deepEqual(header(third.response(), "retry-after"), ["1"]);
    controller.abort();
    await settled();
    const fourth = begin(one.send("GET", "/", cookie(T28), from("203.0.113.1")));
    await settled();
    for (const each of [second, fourth, other]) assert.equal(each.response(), undefined);
    assert.equal(first.response()?.status, 503);
  });

  it("counts the addresses of one IPv6 network as one client", async () => {
    const one = node(elsewhere, { maxWaitersPerClient: 1 });
    void one.send("GET", "/", cookie(T28), from("2001:db8:1:2::1"));
    const same = begin(one.send("GET", "/", cookie(T28), from("2001:db8:1:2:ffff::9")));
    const other = begin(one.send("GET", "/", cookie(T28), from("2001:db8:1:3::1")));
    await settled();
    assert.equal(same.response()?.status, 503);
    assert.equal(other.response(), undefined);
  });

  it("looks behind trusted proxies, and into the header that names the client", async () => {
    const one = node(elsewhere, { maxWaitersPerClient: 1 });
    const behind = (address: string): HeaderLines => [...cookie(T28), "X-Forwarded-For", address];
    void one.send("GET", "/", behind("203.0.113.1"));
    const other = begin(one.send("GET", "/", behind("203.0.113.2")));
    // Who is not trusted may say what it likes.
    const liar = begin(one.send("GET", "/", behind("203.0.113.9, 203.0.113.1")));
    await settled();
    assert.equal(other.response(), undefined);
    assert.equal(liar.response()?.status, 503);
    const named = node(elsewhere, { maxWaitersPerClient: 1, clientHeader: "X-Client" });
    void named.send("GET", "/", [...cookie(T28), "X-Client", "203.0.113.1"]);
    const same = begin(named.send("GET", "/", [...cookie(T28), "X-Client", "203.0.113.1"]));
    await settled();
    assert.equal(same.response()?.status, 503);
  });

  it("has a limit for all together", async () => {
    const one = node(elsewhere, { maxWaiters: 2 });
    for (const last of [1, 2]) void one.send("GET", "/", cookie(T28), from(`203.0.113.${last}`));
    const third = begin(one.send("GET", "/", cookie(T28), from("203.0.113.3")));
    await settled();
    assert.equal(third.response()?.status, 503);
  });

  it("lets those who have waited go on a few at a time, in the order in which they came", async () => {
    const one = node(elsewhere, { wakeLimit: 2 });
    const leave: (() => void)[] = [];
    one.app.answer = () =>
      new Promise((resolve) => {
        leave.push(() => resolve({ status: 200, statusText: "", headers: [], body: null }));
      });
    for (let count = 0; count < 5; count++) void one.send("GET", `/${count}`, cookie(T28));
    await settled();
    one.state.position = T28;
    one.state.changed();
    await settled();
    assert.deepEqual(
      one.seen.map(({ target }) => target),
      ["/0", "/1"],
    );
    leave[1]?.();
    await settled();
    assert.equal(one.seen.at(-1)?.target, "/2");
    // A slow one holds its place for so long.
    await one.clock.advance(1000);
    assert.deepEqual(
      one.seen.map(({ target }) => target),
      ["/0", "/1", "/2", "/3", "/4"],
    );
  });

  it("does not wait for a position that nobody can have come to", async () => {
    const one = node(elsewhere, { plausibleGap: 1000 });
    const response = begin(one.send("GET", "/", cookie(HUGE)));
    await settled();
    assert.equal(response.response()?.status, 200);
    assert.equal(minted(response.response()), T27);
    const near = begin(one.send("GET", "/", cookie("0000000000000400")));
    await settled();
    assert.equal(near.response(), undefined);
  });
});

describe("createProxy() with histories", () => {
  function replica(options: Partial<ProxyOptions> = {}): Node {
    const one = node(elsewhere, options);
    one.state.histories = { [T26]: "a6", [T27]: "a7" };
    return one;
  }

  it("serves a token of its own history, and one whose history it does not remember", async () => {
    for (const token of [`${T26}/a6`, "0000000000000025/b5", T26]) {
      assert.equal((await replica().send("GET", "/", seenCookie(token))).status, 200);
    }
  });

  it("takes a history that is gone for behind, and one that is forgotten for its own", async () => {
    let position = T28;
    const storage = {
      position: () => position,
      primary: () => elsewhere,
      historyAt: (): string | undefined => {
        // A snapshot comes in between.
        position = T26;
        return undefined;
      },
    };
    const response = await answered(node(elsewhere, { storage }), "GET", "/", [
      ...seenCookie(`${T27}/a7`),
      ...FLY,
    ]);
    assert.equal(response.status, 409);
  });

  for (const token of [`${T26}/b6`, `${T27}/b7`]) {
    it(`does not take ${token} for caught up with: the primary is asked`, async () => {
      const response = await replica().send("GET", "/", [...seenCookie(token), ...FLY]);
      assert.deepEqual(header(response, "fly-replay"), [REPLAY_TO_P]);
    });
  }

  it("asks the primary for a header client that holds tokens of two histories", async () => {
    const headers = ["Txid", `${T27}/a7, ${T26}/b6`, ...FLY];
    assert.equal((await replica().send("GET", "/", headers)).status, 409);
  });

  it("follows the primary where it cannot be asked, and replaces the token", async () => {
    const response = await replica().send("GET", "/", seenCookie(`${T26}/b6`));
    assert.equal(response.status, 200);
    assert.equal(mintedSeen(response), `${T27}/a7`);
    assert.equal(minted(response), T27);
  });

  it("answers 504 where it may have lost its way: cut off, behind, or taken for the primary", async () => {
    const lost = node(unknown);
    lost.state.histories = { [T26]: "a6", [T27]: "a7" };
    const token = seenCookie(`${T26}/b6`);
    assert.equal((await answered(lost, "GET", "/", token)).status, 504);
    const late = replica({ maxLag: 100 });
    late.state.lag = 200;
    assert.equal((await answered(late, "GET", "/", token)).status, 504);
    const behind = ["Cookie", `__txid=${T28}; __txid_seen=${T26}/b6`];
    assert.equal((await answered(replica(), "GET", "/", behind)).status, 504);
    const replayed = [...token, "Fly-Replay-Src", "instance=x"];
    assert.equal((await answered(replica(), "GET", "/", replayed)).status, 504);
  });

  it("answers 504 although the primary's name comes up while it asks: its history has yet to", async () => {
    let asked = 0;
    const storage = {
      position: () => T27,
      primary: () => (asked++ < 2 ? unknown : elsewhere),
      historyAt: () => "a",
    };
    const one = node(elsewhere, { storage });
    assert.equal((await one.send("GET", "/", [...seenCookie(`${T26}/b`), ...FLY])).status, 504);
  });

  it("does not count it, or says so, where the operator wants that", async () => {
    const ignoring = await replica({ foreignTokens: "ignore" }).send("GET", "/", [
      ...seenCookie(`${T26}/b6`),
      ...FLY,
    ]);
    assert.equal(ignoring.status, 200);
    const refusing = await replica({ foreignTokens: "error" }).send("GET", "/", [
      ...seenCookie(`${T26}/b6`),
      ...FLY,
    ]);
    assert.equal(refusing.status, 412);
    assert.equal(mintedSeen(refusing), "");
    assert.deepEqual(header(refusing, "set-cookie").length, 2);
  });

  it("heals on the primary, whatever is ahead or of another history", async () => {
    for (const token of [`${T28}/b8`, `${T26}/b6`]) {
      const one = node(here);
      one.state.histories = { [T26]: "a6", [T27]: "a7" };
      const response = await one.send("GET", "/", seenCookie(token));
      assert.equal(response.status, 200);
      assert.equal(mintedSeen(response), `${T27}/a7`);
    }
    const refusing = node(here, { foreignTokens: "error" });
    assert.equal((await refusing.send("GET", "/", cookie(T28))).status, 412);
  });
});

describe("createProxy() on a node that is taken to another history", () => {
  it("tells who had all of the old one, for the app may have shown the new one", async () => {
    const one = node(elsewhere);
    one.state.histories = { [T27]: "a7" };
    one.app.answer = () => {
      one.state.position = T26;
      one.state.histories = { [T26]: "b6" };
      return Promise.resolve({ status: 200, statusText: "", headers: [], body: null });
    };
    const response = await one.send("GET", "/", ["Txid", `${T27}/a7`]);
    assert.deepEqual(header(response, "txid"), [`${T26}/b6;reset`]);
  });

  it("tells who has waited for it as well", async () => {
    const one = node(elsewhere);
    const waiting = begin(one.send("GET", "/", ["Txid", T28]));
    await settled();
    one.app.answer = () => {
      one.state.position = T26;
      return Promise.resolve({ status: 200, statusText: "", headers: [], body: null });
    };
    one.state.position = T28;
    one.state.changed();
    await settled();
    assert.deepEqual(header(waiting.response(), "txid"), [`${T26};reset`]);
  });

  it("mints no position without its history while the one replaces the other", async () => {
    let position = T27;
    const one = node(here, {
      storage: {
        position: () => position,
        primary: () => here,
        historyAt: (at) => {
          const history = { [T26]: "b6" }[at];
          position = T26;
          return history;
        },
      },
    });
    assert.equal(mintedSeen(await one.send("POST", "/")), `${T26}/b6`);
  });
});

describe("createProxy() with a primary that comes or goes", () => {
  it("gives the token of a write although the lease is gone when the app has answered", async () => {
    const one = node(here);
    one.app.answer = () => {
      one.state.primary = elsewhere;
      return Promise.resolve({ status: 200, statusText: "", headers: [], body: null });
    };
    assert.equal(minted(await one.send("POST", "/", cookie(T28))), T27);
  });

  it("refuses no token that it has got while it became the primary", async () => {
    const one = node(elsewhere, { foreignTokens: "error" });
    const waiting = begin(one.send("GET", "/", cookie(T28)));
    await settled();
    one.state.position = T28;
    one.state.primary = here;
    one.state.changed();
    await settled();
    assert.equal(waiting.response()?.status, 200);
    // The position was read a moment before it came.
    const late = node(here, { foreignTokens: "error" });
    let asked = 0;
    const storage = { position: () => (asked++ === 0 ? T27 : T28), primary: () => here };
    const racing = node(here, { foreignTokens: "error", storage });
    assert.equal((await racing.send("GET", "/", cookie(T28))).status, 200);
    assert.equal((await late.send("GET", "/", cookie(T28))).status, 412);
  });
});

describe("createProxy() with clusters and signatures", () => {
  const keys = [
    { id: "k1", secret: "0123456789abcdef0123456789abcdef" },
    { id: "k2", secret: "fedcba9876543210fedcba9876543210" },
  ] as const;

  /** Gets a token that a proxy with these options mints. */
  async function tokenOf(options: Partial<ProxyOptions>, position = T28): Promise<string> {
    const one = node(here, options);
    one.state.position = position;
    return header(await one.send("POST", "/", ["Txid", "0"]), "txid")[0] ?? "";
  }

  async function statusOf(
    options: Partial<ProxyOptions>,
    token: string,
    later = 0,
  ): Promise<number> {
    const one = node(elsewhere, { waitTimeout: 0, ...options });
    await one.clock.advance(later);
    const pending = begin(one.send("GET", "/", ["Txid", token]));
    // Signatures are looked at outside the clock's time.
    await eventually(
      () => {
        void one.clock.advance(0);
        return pending.response() !== undefined;
      },
      () => "for an answer",
    );
    return pending.response()?.status ?? 0;
  }

  it("waits for what it has signed itself, and for nothing else", async () => {
    const signing = { keys: [keys[0]] };
    const token = await tokenOf({ signing });
    assert.equal(await statusOf({ signing }, token), 504);
    const forgeries = [
      T28,
      HUGE,
      token.replace(T28, HUGE),
      `${token.slice(0, -3)}AAA`,
      await tokenOf({ signing: { keys: [keys[1]] } }),
      await tokenOf({ signing: { keys: [{ ...keys[1], id: "k1" }] } }),
    ];
    for (const forged of forgeries) assert.equal(await statusOf({ signing }, forged), 200, forged);
  });

  it("needs no proof of what it has anyway", async () => {
    assert.equal(await statusOf({ signing: { keys: [keys[0]] } }, T26), 200);
  });

  it("believes every key while they are replaced", async () => {
    const token = await tokenOf({ signing: { keys: [keys[0]] } });
    assert.equal(await statusOf({ signing: { keys: [keys[1], keys[0]] } }, token), 504);
    assert.equal(await statusOf({ signing: { keys: [keys[1]] } }, token), 200);
  });

  it("takes a signed token that is too old, or from the future, for foreign", async () => {
    const signing = { keys: [keys[0]] };
    const token = await tokenOf({ signing });
    const strict = { signing, foreignTokens: "error" } as const;
    assert.equal(await statusOf(strict, token, 359_000), 504);
    assert.equal(await statusOf(strict, token, 361_000), 412);
    const later = node(here, { signing });
    later.state.position = T28;
    await later.clock.advance(61_000);
    const ahead = header(await later.send("POST", "/", ["Txid", "0"]), "txid")[0] ?? "";
    assert.equal(await statusOf(strict, ahead), 412);
  });

  it("binds a token to its database", async () => {
    const signing = { keys: [keys[0]] };
    const storage = { position: () => T27, primary: () => elsewhere };
    const token = await tokenOf({ signing });
    const swapped = await statusOf({ signing, databases: { users: storage } }, `users=${token}`);
    assert.equal(swapped, 200);
  });

  it("takes the token of another cluster for foreign", async () => {
    const token = await tokenOf({ cluster: "blue" });
    assert.equal(await statusOf({ cluster: "green", foreignTokens: "error" }, token), 412);
    assert.equal(await statusOf({ cluster: "blue", foreignTokens: "error" }, token), 504);
  });
});

describe("createProxy() with several databases", () => {
  it("waits for one of them though the token of another does not count", async () => {
    const users = { position: () => T26, primary: () => elsewhere };
    const one = node(elsewhere, { databases: { users }, foreignTokens: "ignore", cluster: "blue" });
    const response = await answered(one, "GET", "/", ["Txid", `${T28}//green, users=${T27}`]);
    assert.equal(response.status, 504);
    const met = await answered(one, "GET", "/", ["Txid", `${T28}//green, users=${T26}`]);
    assert.equal(met.status, 200);
    assert.deepEqual(header(met, "txid"), [`${T27}//blue;reset, users=${T26}//blue;reset`]);
  });

  it("waits for each of them, and tells of each", async () => {
    let position = T26;
    const users = { position: () => position, primary: () => elsewhere };
    const one = node(elsewhere, { databases: { users } });
    const waiting = begin(one.send("GET", "/", ["Cookie", `__txid=${T27}; __txid_users=${T27}`]));
    await one.clock.advance(50);
    assert.equal(waiting.response(), undefined);
    position = T28;
    await one.clock.advance(5);
    assert.deepEqual(
      header(waiting.response(), "set-cookie").map((line) => line.split(";")[0]),
      [`__txid_seen=${T27}`, `__txid_seen_users=${T28}`],
    );
    const byHeader = await one.send("GET", "/", ["Txid", "0"]);
    assert.deepEqual(header(byHeader, "txid"), [`${T27}, users=${T28}`]);
  });

  it("lets a read wait on a replica whatever the others' storages say of the primary", async () => {
    let asked = 0;
    const users = {
      // Found in the end, so that who asks on and on does not do so for ever.
      position: () => (++asked < 1000 ? T26 : T28),
      primary: () => here,
    };
    const one = node(elsewhere, { databases: { users } });
    const waiting = begin(one.send("GET", "/", ["Cookie", `__txid_users=${T27}`]));
    await one.clock.advance(50);
    assert.equal(waiting.response(), undefined);
    assert.ok(asked < 100, `asked ${asked} times`);
  });

  it("leaves no rejection to nobody when they fail at once, each in its own way", async () => {
    const users = {
      position: () => {
        throw new Error("users are unreadable");
      },
      primary: () => elsewhere,
    };
    const storage = {
      position: () => Promise.reject(new Error("unreadable")),
      primary: () => elsewhere,
    };
    const one = node(elsewhere, { storage, databases: { users } });
    const lost: unknown[] = [];
    const take = (reason: unknown): void => void lost.push(reason);
    process.on("unhandledRejection", take);
    const tokens = ["Cookie", `__txid=${T27}; __txid_users=${T27}`];
    assert.equal((await answered(one, "GET", "/", tokens)).status, 504);
    // Runtimes tell of what rejects for nobody at the end of the turn.
    await new Promise((resolve) => setTimeout(resolve));
    process.off("unhandledRejection", take);
    assert.deepEqual(lost, []);
  });

  it("tells of each when one of them is taken to another history meanwhile", async () => {
    let position = T27;
    const users = { position: () => position, primary: () => elsewhere };
    const one = node(elsewhere, { databases: { users } });
    one.app.answer = () => {
      position = T26;
      one.state.position = T28;
      return Promise.resolve({ status: 200, statusText: "", headers: [], body: null });
    };
    const response = await one.send("GET", "/", ["Txid", `${T27}, users=${T27}`]);
    assert.deepEqual(header(response, "txid"), [`${T28};reset, users=${T26};reset`]);
  });
});

describe("createProxy() with the app's word", () => {
  it("mints although the method is safe, and does not although it is not", async () => {
    const one = node(here);
    one.app.headers = ["Txid-App", "wrote"];
    const wrote = await one.send("GET", "/");
    assert.equal(minted(wrote), T27);
    assert.deepEqual(header(wrote, "txid-app"), []);
    one.app.headers = ["TXID-App", "Unchanged"];
    const unchanged = await one.send("POST", "/");
    assert.deepEqual(header(unchanged, "set-cookie"), []);
    assert.deepEqual(header(unchanged, "txid-app"), []);
  });

  it("runs a read on the primary that found that it must write", async () => {
    const one = node(elsewhere);
    one.app.headers = ["Txid-App", "primary", "X-Secret", "1"];
    const response = await one.send("GET", "/");
    assert.deepEqual(header(response, "fly-replay"), [REPLAY_TO_P]);
    assert.deepEqual(header(response, "x-secret"), []);
    one.state.primary = here;
    const there = await one.send("GET", "/");
    assert.equal(there.status, 200);
    assert.deepEqual(header(there, "txid-app"), []);
  });

  it("never lets the word out, on whatever path", async () => {
    const one = node(elsewhere, { passthrough: ["/open"], stale: ["/stale"] });
    one.app.headers = ["Txid-App", "wrote"];
    const answers = [
      await one.send("GET", "/open"),
      await answered(one, "GET", "/stale", cookie(T28)),
      await one.send("GET", "/"),
    ];
    for (const each of answers) assert.deepEqual(header(each, "txid-app"), []);
  });
});

describe("createProxy() with whatever clients send for tokens", () => {
  it("answers, and gives nothing that was not its own", async () => {
    const pieces = fc.constantFrom(
      "__txid",
      "__txid_seen",
      "=",
      ";",
      ",",
      " ",
      '"',
      "/",
      T26,
      T28,
      HUGE,
      "0",
      "reset",
      "%00",
      "\xff",
      "users=",
      "-",
      "x".repeat(400),
    );
    const value = fc.array(pieces, { maxLength: 12 }).map((all) => all.join(""));
    await fc.assert(
      fc.asyncProperty(value, value, async (cookies, tokens) => {
        const one = node(elsewhere, { waitTimeout: 1 });
        const response = await answered(one, "GET", "/", ["Cookie", cookies, "Txid", tokens]);
        assert.ok([200, 504].includes(response.status));
        for (const line of header(response, "txid"))
          assert.match(line, /^0000000000000027(?:;reset)?$/);
      }),
    );
  });
});
