import assert from "node:assert/strict";
import type { Peer } from "../http1-wire.ts";
import { errors } from "./errors.ts";
import {
  type Case,
  DATE,
  type Exchange,
  FROM_AFAR,
  isWhole,
  type Message,
  OK,
  parse,
  type Stage,
  statusOf,
  values,
} from "./kit.ts";
import { repeats } from "./repeats.ts";
import { requests } from "./requests.ts";
import { responses } from "./responses.ts";
import { streams } from "./streams.ts";
import { websockets } from "./websockets.ts";

/** Cases that say nothing of two proxies, or something else. */
const OF_ONE_PROXY: readonly RegExp[] = [
  // A replica answers them itself: no pattern of its always-forward matches.
  /OPTIONS|%0d%0a/,
  // They are told below, with what two proxies add.
  /^keeps header lines as they are/,
  /^lets nobody erase what identifies it/,
  /^continues what a trusted proxy says/,
  // They are about other proxies than the one that is dialled, or about its log.
  /on a replica|whose node does not catch up|on a path that is always forwarded/,
  /too long|in time|does not limit|nobody listens|tells the log/,
  // They take their time, and others tell as much of two proxies.
  /^tunnels no faster|^tunnels 100 /,
];

/** What holds through one proxy holds through two. */
const again: readonly Case[] = [
  ...requests,
  ...responses,
  ...repeats,
  ...streams,
  ...websockets,
  ...errors,
]
  .filter(({ name }) => !OF_ONE_PROXY.some((pattern) => pattern.test(name)))
  .map((one) => ({
    ...one,
    topic: "forwarding",
    name: FROM_AFAR + one.name,
    run: (stage) => one.run({ ...stage, ...stage.far }),
  }));

function spell(startLine: string, host: string, lines: readonly string[], body = ""): string {
  return [`${startLine} HTTP/1.1`, `Host: ${host}`, ...lines, "", body].join("\r\n");
}

const CLOSE = "Connection: close";

/** The lines that a message has beside the one about the way it came. */
function others({ lines }: Message): string[] {
  return lines.filter((line) => !/^x-forwarded-for:/i.test(line));
}

/** The same, for servers that spell and sort them in their own way. */
function sorted(message: Message): string[] {
  return others(message)
    .map((line) => line.slice(0, line.indexOf(":")).toLowerCase() + line.slice(line.indexOf(":")))
    .sort();
}

/** The lines of an answer, without when a cookie expires. */
function lasting({ lines }: Message): string[] {
  return lines.map((line) => line.replace(/Expires=[^;]*/, ""));
}

/** Sends the same once to the primary and once to a replica. */
async function compare(
  stage: Stage,
  request: string,
  response: string,
): Promise<{ near: Exchange; far: Exchange }> {
  const near = await stage.exchange(request, response);
  return { near, far: await stage.far.exchange(request, response) };
}

/** Writes that are told apart by what frames them. */
const WRITES: readonly [string, readonly string[], string][] = [
  ["without a body", [], ""],
  ["with a length", ["Content-Length: 5"], "a\0\xff\r\n"],
  ["in chunks", ["Transfer-Encoding: chunked"], "2\r\na\0\r\n3\r\n\xff\r\n\r\n0\r\n\r\n"],
];

/** Lines that say something of the client, of the way or of the proxies, with a few that say nothing to anybody here. */
const LINES: readonly string[] = [
  "x-Dup: 1",
  "Cookie: a=1",
  "X-dup: 2, 3",
  "X-Empty:",
  "X-Private: 1",
  "Connection: close, X-Private, X-Forwarded-For, Txid-Hops",
  "Keep-Alive: timeout=5",
  "Proxy-Authorization: Basic YTpi",
  "X-Forwarded-For: 203.0.113.9",
  "X-Forwarded-Proto: https",
  "Authorization: Bearer abc",
];

/** Passes on what each of two connections brings, to its end. */
function join(one: Peer, other: Peer): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    if (from.text() !== "") to.send(from.text());
    from.socket.on("data", (bytes) => to.socket.write(bytes));
    from.socket.on("end", () => to.socket.end());
    from.socket.on("close", () => to.socket.destroy());
  }
}

/** Looks at an answer that the replica's proxy gives itself. */
function lookAt(text: string, status: number, body: string): void {
  assert.equal(statusOf(text), status, text);
  assert.equal(parse(text).content, `${body}\n`);
  assert.deepEqual(values(parse(text).lines, "cache-control"), ["no-store"]);
}

/** The ways in which the primary's proxy fails when it has a write. */
const DEATHS: readonly [string, (primary: Peer) => void][] = [
  ["closes", (primary) => primary.socket.end()],
  ["resets", (primary) => primary.socket.resetAndDestroy()],
  ["breaks off inside the head", (primary) => void primary.socket.end("HTTP/1.1 200 O")],
  ["sends garbage", (primary) => primary.send("\x00\x01garbage\r\n\r\n")],
];

/** What a client may say that is none of its business. */
const FORGED: readonly string[] = [
  "Txid-Hops: 0",
  "Txid-Hops: 1",
  "Txid-Hops: 2",
  "Txid-Hops: 99",
  "Txid-Hops: -1",
  "Txid-Hops: 2/9999999999/k1/AAAA",
  "Fly-Replay-Src: instance=evil;t=1;state=txid:0",
  "Fly-Replay-Src: instance=evil;t=1;state=txid:2",
  "Fly-Replay-Failed: instance=evil;reason=timeout",
  "Fly-Client-IP: 203.0.113.9",
  "Fly-Request-Id: 01J-ams",
];

/** What a client may say to the node, which has no keys, without coming to harm. */
const HARMLESS = FORGED.filter((line) => !/: (?:2|99)$|Hops: 2|state=txid:2|Client|-Id/.test(line));

/** What a replica passes on to the primary's proxy. */
export const far: readonly Case[] = [
  ...WRITES.map(([how, framing, body]): Case => ({
    topic: "forwarding",
    name: `sends on a write ${how} as the primary's own clients do, with both proxies among the addresses`,
    run: async (stage) => {
      const request = spell("PUT /a%2Fb/../c?d", stage.host, [...LINES, ...framing], body);
      const both = await compare(stage, request, OK);
      assert.equal(both.far.request.startLine, both.near.request.startLine);
      assert.equal(both.far.request.content, both.near.request.content);
      assert.deepEqual(sorted(both.far.request), sorted(both.near.request));
      assert.deepEqual(values(both.near.request.lines, "x-forwarded-for"), [
        "203.0.113.9, 127.0.0.1",
      ]);
      assert.deepEqual(values(both.far.request.lines, "x-forwarded-for"), [
        "203.0.113.9, 127.0.0.1, 127.0.0.1",
      ]);
    },
  })),
  {
    topic: "forwarding",
    name: `${FROM_AFAR}keeps header lines as they are: names, order, duplicates, empty values`,
    run: async (stage) => {
      const both = await compare(stage, spell("PUT /", stage.host, LINES), OK);
      assert.deepEqual(others(both.far.request), others(both.near.request));
    },
  },
  {
    topic: "forwarding",
    name: "sends on a write of a client that nobody speaks for, its address first",
    run: async (stage) => {
      const { request } = await stage.far.exchange(spell("POST /", stage.host, [CLOSE]), OK);
      assert.deepEqual(values(request.lines, "x-forwarded-for"), ["127.0.0.1, 127.0.0.1"]);
      assert.deepEqual(values(request.lines, "x-forwarded-host"), [stage.host]);
      assert.deepEqual(values(request.lines, "x-forwarded-proto"), ["http"]);
      assert.deepEqual(values(request.lines, "txid-hops"), []);
    },
  },
  {
    topic: "forwarding",
    name: "passes the answer to a write as the primary gives it, with one token",
    run: async (stage) => {
      const answer = [
        "HTTP/1.1 201 Created",
        DATE,
        "x-Low: 1",
        "Set-Cookie: a=1",
        "Set-Cookie: __txid=the-app-s-own",
        "Set-Cookie: b=2, c",
        "Txid-Hops: 1",
        "Txid-App: wrote",
        "Location: /1",
        "Content-Length: 4",
        CLOSE,
        "",
        "body",
      ].join("\r\n");
      const both = await compare(stage, spell("POST /", stage.host, [CLOSE]), answer);
      assert.equal(both.far.response.startLine, both.near.response.startLine);
      assert.equal(both.far.response.content, "body");
      assert.deepEqual(lasting(both.far.response), lasting(both.near.response));
      const cookies = values(both.far.response.lines, "set-cookie");
      assert.deepEqual(
        cookies.map((cookie) => cookie.split(";")[0]),
        [
          "a=1",
          "b=2, c",
          "__txid=000000000000000a",
          "__txid_seen=000000000000000a/0000000000000000",
        ],
      );
      for (const name of ["txid-hops", "txid-app"])
        assert.deepEqual(values(both.far.response.lines, name), [], name);
    },
  },
  {
    topic: "forwarding",
    name: "passes the token of a client that takes it by header, once",
    run: async (stage) => {
      const request = spell("POST /", stage.host, ["Txid: 0000000000000001", CLOSE]);
      const { response } = await stage.far.exchange(request, OK);
      assert.deepEqual(values(response.lines, "txid"), ["000000000000000a/0000000000000000"]);
      assert.deepEqual(values(response.lines, "set-cookie"), []);
    },
  },
  {
    topic: "forwarding",
    name: "sends on many writes on one connection, each once",
    alone: true,
    run: async (stage) => {
      const client = await stage.outpost.dial();
      let app: Peer | undefined;
      for (let index = 0; index < 50; index++) {
        client.send(spell(`POST /${index}`, stage.host, ["Content-Length: 3"], "abc"));
        if (index === 0) join(await stage.outpost.asked(), await stage.dial());
        app ??= await stage.asked();
        await app.until(isWhole);
        assert.equal(parse(app.text()).startLine, `POST /${index} HTTP/1.1`);
        assert.equal(parse(app.text()).content, "abc");
        app.clear();
        app.send(`HTTP/1.1 200 OK\r\n${DATE}\r\nContent-Length: 2\r\n\r\nok`);
        await client.until(isWhole);
        assert.equal(statusOf(client.text()), 200);
        client.clear();
      }
      assert.equal(stage.outpost.asking.length, 1);
      assert.equal(stage.asking.length, 1);
      assert.equal(app?.text(), "");
    },
  },
  {
    topic: "forwarding",
    name: "sends on a write on a new connection when the primary has closed the idle one",
    alone: true,
    run: async (stage) => {
      const client = await stage.outpost.dial();
      client.send(spell("POST /1", stage.host, ["Content-Length: 0"]));
      const used = await stage.outpost.asked();
      used.send(`HTTP/1.1 200 OK\r\n${DATE}\r\nContent-Length: 2\r\n\r\nok`);
      await client.until(isWhole);
      used.clear();
      used.socket.end();
      await used.over();
      client.clear();
      client.send(spell("POST /2", stage.host, ["Content-Length: 3"], "abc"));
      const primary = await stage.outpost.asked();
      await primary.until(isWhole);
      assert.equal(parse(primary.text()).content, "abc");
      primary.send(OK);
      await client.until(isWhole);
      assert.equal(statusOf(client.text()), 200);
      assert.equal(used.text(), "");
    },
  },
  ...DEATHS.flatMap(([how, die]): Case[] =>
    [false, true].map((isUsed) => ({
      topic: "forwarding",
      name: `sends on a write once when the primary ${how} on a ${isUsed ? "used" : "new"} connection, and the next one`,
      alone: isUsed,
      run: async (stage) => {
        const client = await stage.outpost.dial();
        let used: Peer | undefined;
        if (isUsed) {
          client.send(spell("POST /warm", stage.host, ["Content-Length: 0"]));
          used = await stage.outpost.asked();
          used.send(`HTTP/1.1 200 OK\r\n${DATE}\r\nContent-Length: 2\r\n\r\nok`);
          await client.until(isWhole);
          client.clear();
          used.clear();
        }
        client.send(spell("POST /w", stage.host, ["Content-Length: 3"], "abc"));
        const primary = used ?? (await stage.outpost.asked());
        await primary.until((text) => text.endsWith("abc"));
        die(primary);
        lookAt(await client.until(isWhole), 502, "Proxy error: primary unavailable");
        client.clear();
        client.send(spell("POST /next", stage.host, ["Content-Length: 0"]));
        const next = await stage.outpost.asked();
        assert.match(next.text(), /^POST \/next /);
        next.send(OK);
        await client.until(isWhole);
        assert.equal(statusOf(client.text()), 200);
        assert.equal(stage.outpost.asking.length, 2);
      },
    })),
  ),
  {
    topic: "forwarding",
    name: "passes the primary's word that its app does not listen",
    alone: true,
    run: async (stage) => {
      const client = await stage.outpost.dial();
      client.send(spell("POST /", stage.host, [CLOSE, "Content-Length: 3"], "abc"));
      join(await stage.outpost.asked(), await stage.dialLonely());
      lookAt(await client.over(), 502, "Proxy error: target unavailable");
      assert.equal(stage.outpost.asking.length, 1);
    },
  },
  {
    topic: "forwarding",
    name: "holds a write while the primary's proxy does not listen, and sends it once",
    alone: true,
    run: async (stage) => {
      // The case listens at the other loopback address alone.
      stage.outpost.follow("::1");
      try {
        const client = await stage.outpost.dial();
        client.send(spell("POST /held", stage.host, ["Content-Length: 3"], "abc"));
        await new Promise((resolve) => setTimeout(resolve, 500));
        assert.equal(client.text(), "");
        stage.outpost.follow("127.0.0.1");
        const primary = await stage.outpost.asked();
        await primary.until(isWhole);
        assert.equal(parse(primary.text()).content, "abc");
        primary.send(OK);
        await client.until(isWhole);
        assert.equal(statusOf(client.text()), 200);
        assert.equal(stage.outpost.asking.length, 1);
      } finally {
        stage.outpost.follow("127.0.0.1");
      }
    },
  },
  {
    topic: "forwarding",
    name: "reads from the primary what a replica cannot serve in time",
    run: async (stage) => {
      // No pattern makes a write of this method.
      const request = spell("OPTIONS /read", stage.host, [CLOSE, "Txid: 000000000000000b"]);
      const { response } = await stage.far.exchange(request, OK);
      assert.equal(statusOf(response.text), 200);
      assert.deepEqual(values(response.lines, "txid"), ["000000000000000a/0000000000000000;reset"]);
    },
  },
  ...FORGED.map((line): Case => ({
    topic: "forwarding",
    name: `counts on from what a client says, with a count of its own, and ends what has gone round: ${line}`,
    run: async (stage) => {
      const client = await stage.outpost.dial();
      client.send(spell("POST /w", stage.host, [line, CLOSE, "Content-Length: 3"], "abc"));
      const claimed = Number(/(?:Hops: |txid:)(\d+)/.exec(line)?.[1] ?? 0);
      if (claimed >= 2) {
        lookAt(await client.over(), 503, "Proxy error: the primary is moving");
        assert.equal(stage.outpost.asking.length, 0);
        return;
      }
      const primary = await stage.outpost.asked();
      await primary.until(isWhole);
      const { lines } = parse(primary.text());
      const counts = values(lines, "txid-hops");
      assert.equal(counts.length, 1);
      // What Fly Proxy has replayed has been sent on before, as far as anybody can tell.
      const before = Math.max(claimed, /Src/.test(line) ? 1 : 0);
      assert.match(counts[0] ?? "", new RegExp(`^${before + 1}/\\d+/k1/`));
      primary.send(OK);
      assert.equal(statusOf(await client.over()), 200);
      assert.equal(stage.outpost.asking.length, 1);
    },
  })),
  ...HARMLESS.map((line): Case => ({
    topic: "forwarding",
    name: `sends on a write to the app, without keys too, although its client says ${line}`,
    run: async (stage) => {
      const { request, response } = await stage.far.exchange(
        spell("POST /w", stage.host, [line, CLOSE, "Content-Length: 3"], "abc"),
        OK,
      );
      assert.equal(request.content, "abc");
      assert.deepEqual(values(request.lines, "txid-hops"), []);
      assert.equal(statusOf(response.text), 200);
      assert.deepEqual(values(response.lines, "fly-replay"), []);
    },
  })),
  ...["Txid-Hops: 2", "Fly-Replay-Src: instance=evil;t=1;state=txid:2"].map((line): Case => ({
    topic: "forwarding",
    name: `refuses, without keys, who says that it has gone round: ${line}`,
    run: async (stage) => {
      const client = await stage.far.dial();
      client.send(spell("POST /w", stage.host, [line, CLOSE, "Content-Length: 0"]));
      lookAt(await client.over(), 503, "Proxy error: the primary is moving");
      assert.equal(stage.asking.length, 0);
    },
  })),
  ...["Fly-Client-IP: 203.0.113.9", "Fly-Request-Id: 01J-ams"].map((line): Case => ({
    topic: "forwarding",
    name: `leaves the way to who says that it is Fly Proxy: ${line}`,
    run: async (stage) => {
      const client = await stage.far.dial();
      client.send(spell("POST /w", stage.host, [line, CLOSE, "Content-Length: 0"]));
      const response = parse(await client.over());
      assert.equal(statusOf(response.text), 409);
      assert.match(values(response.lines, "fly-replay")[0] ?? "", /^instance=127\.0\.0\.1;/);
      assert.equal(stage.asking.length, 0);
    },
  })),
  ...["Txid-Hops: 0", "Fly-Replay-Src: instance=evil;state=txid:0"].map((line): Case => ({
    topic: "forwarding",
    name: `ends what goes round, although its client says ${line}`,
    alone: true,
    run: async (stage) => {
      const client = await stage.outpost.dial();
      client.send(spell("POST /w", stage.host, [line, CLOSE, "Content-Length: 3"], "abc"));
      const hops = line.startsWith("Txid") ? 2 : 1;
      for (let hop = 0; hop < hops; hop++)
        join(await stage.outpost.asked(), await stage.outpost.dial());
      lookAt(await client.over(), 503, "Proxy error: the primary is moving");
      assert.equal(stage.outpost.asking.length, hops);
    },
  })),
  ...again,
];
