import assert from "node:assert/strict";
import { type Case, OK, parse, statusOf, type Stage, unchunk, values } from "./kit.ts";

/** The forwarding lines that the proxy adds to a request with this Host. */
function added(host: string): string[] {
  return ["X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http", `X-Forwarded-Host: ${host}`];
}

function closing(startLine: string, host: string, ...lines: string[]): string {
  return [startLine, `Host: ${host}`, ...lines, "Connection: close", "", ""].join("\r\n");
}

/** Targets that pass as they are: routing and forwarding see the same string. */
const TARGETS = [
  "/a%2Fb%3f",
  "/%2e%2e/x",
  "//a//b",
  "/a?",
  "/?",
  "/a?b?c=/../d",
  "/a/../b",
  "/a/./b/.",
  "/a\\b",
  "/a;b=1,2:@!$&'()*+~",
  '/{}|^`"<>',
  "/%00%0d%0a",
  "/caf\xe9",
  `/${"long".repeat(4000)}`,
];

const METHODS = ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "PROPFIND", "M-SEARCH"];

async function passesBody(
  stage: Stage,
  framing: string,
  body: string,
  content: string,
): Promise<string> {
  const request = `POST /b HTTP/1.1\r\nHost: ${stage.host}\r\n${framing}\r\nConnection: close\r\n\r\n`;
  const seen = await stage.exchange(request + body, OK);
  assert.equal(seen.request.content, content);
  assert.equal(seen.response.content, "ok");
  return seen.request.text;
}

/** What an app sees of a request. */
export const requests: Case[] = [
  ...TARGETS.map((target): Case => ({
    topic: "requests",
    name: `passes the target ${target.slice(0, 20)} byte for byte`,
    run: async (stage) => {
      const { request } = await stage.exchange(closing(`GET ${target} HTTP/1.1`, stage.host), OK);
      assert.equal(request.startLine, `GET ${target} HTTP/1.1`);
    },
  })),
  {
    topic: "requests",
    name: "passes the target * of OPTIONS",
    run: async (stage) => {
      const { request } = await stage.exchange(closing("OPTIONS * HTTP/1.1", stage.host), OK);
      assert.equal(request.startLine, "OPTIONS * HTTP/1.1");
    },
  },
  {
    topic: "requests",
    name: "brings an absolute target into origin-form, its authority into Host",
    run: async (stage) => {
      const head = closing(`GET http://${stage.host}/x?y HTTP/1.1`, "other.test");
      const { request } = await stage.exchange(head, OK);
      assert.equal(request.startLine, "GET /x?y HTTP/1.1");
      assert.deepEqual(values(request.lines, "host"), [stage.host]);
    },
  },
  ...METHODS.map((method): Case => ({
    topic: "requests",
    name: `passes the method ${method}`,
    run: async (stage) => {
      const { request } = await stage.exchange(closing(`${method} /m HTTP/1.1`, stage.host), OK);
      assert.equal(request.startLine, `${method} /m HTTP/1.1`);
    },
  })),
  ...["BREW", "get"].map((method): Case => ({
    topic: "requests",
    name: `passes the unknown method ${method}`,
    run: async (stage) => {
      const { request } = await stage.exchange(closing(`${method} /m HTTP/1.1`, stage.host), OK);
      assert.equal(request.startLine, `${method} /m HTTP/1.1`);
    },
  })),
  {
    topic: "requests",
    name: "lets no dot segment carry a write past a pattern",
    run: async (stage) => {
      const minted: [string, boolean][] = [];
      for (const target of ["/open/x", "/open/../w", "/open/%2e%2e/w", "/open/..\\w"]) {
        const client = await stage.dial();
        client.send(closing(`POST ${target} HTTP/1.1`, stage.host, "Content-Length: 0"));
        (await stage.asked()).send(OK);
        minted.push([target, (await client.over()).includes("__txid=")]);
      }
      // What matches is passed through without a cookie; what a server may resolve to another path does not match.
      assert.deepEqual(
        minted.map(([, has]) => has),
        [false, true, true, true],
      );
    },
  },
  {
    topic: "requests",
    name: "adds nothing but the forwarding lines",
    run: async (stage) => {
      const { request } = await stage.exchange(closing("GET / HTTP/1.1", stage.host), OK);
      const names = request.lines.map((line) => line.slice(0, line.indexOf(":")).toLowerCase());
      assert.deepEqual(names.sort(), [
        "host",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
      ]);
    },
  },
  {
    topic: "requests",
    name: "keeps Host with its port",
    run: async (stage) => {
      const { request } = await stage.exchange(closing("GET / HTTP/1.1", stage.host), OK);
      assert.deepEqual(values(request.lines, "host"), [stage.host]);
    },
  },
  {
    topic: "requests",
    name: "keeps header lines as they are: names, order, duplicates, empty values",
    run: async (stage) => {
      const lines = [
        "ACCEPT: */*",
        "x-Dup: 1",
        "Cookie: a=1",
        "X-dup:   2, 3 ",
        "Cookie: b=2",
        "X-Empty:",
        "Sec-Fetch-Mode: navigate",
        "Accept-Encoding: gzip;q=0.5, zstd",
        "Range: bytes=0-1",
      ];
      const { request } = await stage.exchange(closing("GET / HTTP/1.1", stage.host, ...lines), OK);
      assert.deepEqual(request.lines, [
        `Host: ${stage.host}`,
        ...lines.map((line) => line.replace(/: *(.*?) *$/, ": $1")),
        ...added(stage.host),
      ]);
    },
  },
  {
    topic: "requests",
    name: "keeps header values: latin-1, Cookie, Authorization, Range, Accept-Encoding",
    run: async (stage) => {
      const sent: Record<string, string> = {
        "x-latin": "caf\xe9 \xff",
        cookie: "a=1; b=2",
        authorization: "Basic YTpi",
        range: "bytes=0-1",
        "accept-encoding": "gzip;q=0.5, zstd",
        "sec-fetch-mode": "navigate",
        origin: "null",
        via: "1.1 somebody",
      };
      const lines = Object.entries(sent).map(([name, value]) => `${name}: ${value}`);
      const { request } = await stage.exchange(closing("GET / HTTP/1.1", stage.host, ...lines), OK);
      for (const [name, value] of Object.entries(sent))
        assert.deepEqual(values(request.lines, name), [value]);
    },
  },
  {
    topic: "requests",
    name: "removes from the trailers of a request what ends at the connection",
    run: async (stage) => {
      const lines = ["Connection: X-Private", "X-Private: 1", "Txid-Hops: 1", "X-Sum: 42"];
      const trailers = `3\r\nabc\r\n0\r\n${lines.join("\r\n")}\r\n\r\n`;
      const chunked = "Transfer-Encoding: chunked";
      const head = closing("POST / HTTP/1.1", stage.host, chunked);
      const { request } = await stage.exchange(head + trailers, OK);
      assert.equal(request.content, "abc");
      assert.equal(unchunk(request.rest).trailers, "X-Sum: 42\r\n\r\n");
    },
  },
  {
    topic: "requests",
    name: "lets OPTIONS go no further than Max-Forwards says",
    run: async (stage) => {
      const ask = (count: string, method = "OPTIONS"): string =>
        closing(`${method} /x HTTP/1.1`, stage.host, `Max-Forwards: ${count}`);
      for (const [request, count] of [
        [ask("3"), "2"],
        [ask("many"), "many"],
        [ask("0", "GET"), "0"],
      ] as const) {
        const seen = await stage.exchange(request, OK);
        assert.deepEqual(values(seen.request.lines, "max-forwards"), [count]);
      }
      const client = await stage.dial();
      client.send(ask("0"));
      const response = parse(await client.over());
      assert.equal(response.startLine, "HTTP/1.1 204 No Content");
      assert.equal(values(response.lines, "allow").length, 1);
      assert.equal(stage.asking.length, 3);
    },
  },
  {
    topic: "requests",
    name: "removes hop-by-hop lines and those that Connection names",
    run: async (stage) => {
      const head = [
        "GET / HTTP/1.1",
        `Host: ${stage.host}`,
        "Connection: close, X-Private",
        "X-Private: 1",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authorization: Basic YTpi",
        "TE: gzip",
        "X-Public: 1",
      ];
      const { request } = await stage.exchange(`${head.join("\r\n")}\r\n\r\n`, OK);
      assert.deepEqual(values(request.lines, "x-public"), ["1"]);
      for (const name of [
        "connection",
        "x-private",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "te",
      ])
        assert.deepEqual(values(request.lines, name), [], name);
    },
  },
  {
    topic: "requests",
    name: "passes TE: trailers on, as an option of the connection",
    run: async (stage) => {
      const { request } = await stage.exchange(
        closing("GET / HTTP/1.1", stage.host, "TE: trailers, gzip"),
        OK,
      );
      assert.deepEqual(values(request.lines, "te"), ["trailers"]);
      assert.deepEqual(values(request.lines, "connection"), ["TE"]);
    },
  },
  {
    topic: "requests",
    name: "lets nobody erase what identifies it by calling it hop-by-hop",
    run: async (stage) => {
      const head = [
        "GET / HTTP/1.1",
        `Host: ${stage.host}`,
        "Cookie: a=1",
        "Connection: close, Cookie, Host, X-Forwarded-For",
      ];
      const { request } = await stage.exchange(`${head.join("\r\n")}\r\n\r\n`, OK);
      assert.deepEqual(values(request.lines, "cookie"), ["a=1"]);
      assert.deepEqual(values(request.lines, "host"), [stage.host]);
      assert.deepEqual(values(request.lines, "x-forwarded-for"), ["127.0.0.1"]);
    },
  },
  {
    topic: "requests",
    name: "continues what a trusted proxy says of the client",
    run: async (stage) => {
      const { request } = await stage.exchange(
        closing(
          "GET / HTTP/1.1",
          stage.host,
          "X-Forwarded-For: 203.0.113.9",
          "X-Forwarded-Proto: https",
          "X-Forwarded-Host: shop.test",
        ),
        OK,
      );
      assert.deepEqual(values(request.lines, "x-forwarded-for"), ["203.0.113.9, 127.0.0.1"]);
      assert.deepEqual(values(request.lines, "x-forwarded-proto"), ["https"]);
      assert.deepEqual(values(request.lines, "x-forwarded-host"), ["shop.test"]);
    },
  },
  {
    topic: "requests",
    name: "passes a body with its length",
    run: async (stage) => {
      const text = await passesBody(stage, "Content-Length: 5", "a\0\xff\r\n", "a\0\xff\r\n");
      assert.deepEqual(values(parse(text).lines, "content-length"), ["5"]);
      assert.deepEqual(values(parse(text).lines, "transfer-encoding"), []);
    },
  },
  {
    topic: "requests",
    name: "passes a body in chunks, whatever their sizes and extensions",
    run: async (stage) => {
      const text = await passesBody(
        stage,
        "Transfer-Encoding: chunked",
        "1;x=1\r\na\r\n0003 ;y\r\nbcd\r\n0\r\n\r\n",
        "abcd",
      );
      assert.deepEqual(values(parse(text).lines, "transfer-encoding"), ["chunked"]);
    },
  },
  {
    topic: "requests",
    name: "says of a POST without a body that it has none",
    run: async (stage) => {
      const { request } = await stage.exchange(closing("POST /b HTTP/1.1", stage.host), OK);
      assert.deepEqual(values(request.lines, "content-length"), ["0"]);
      assert.deepEqual(values(request.lines, "transfer-encoding"), []);
    },
  },
  {
    topic: "requests",
    name: "passes the body of a GET",
    run: async (stage) => {
      const { request } = await stage.exchange(
        `${closing("GET /b HTTP/1.1", stage.host, "Content-Length: 3")}abc`,
        OK,
      );
      assert.equal(request.content, "abc");
      assert.deepEqual(values(request.lines, "content-length"), ["3"]);
    },
  },
  {
    topic: "requests",
    name: "passes the trailers of a request",
    run: async (stage) => {
      const text = await passesBody(
        stage,
        "Trailer: X-Sum\r\nTransfer-Encoding: chunked",
        "3\r\nabc\r\n0\r\nX-Sum: 42\r\n\r\n",
        "abc",
      );
      assert.equal(unchunk(parse(text).rest).trailers, "X-Sum: 42\r\n\r\n");
    },
  },
  {
    topic: "requests",
    name: "answers pipelined requests in their order",
    run: async (stage) => {
      const client = await stage.dial();
      const post = `POST /2 HTTP/1.1\r\nHost: ${stage.host}\r\nContent-Length: 3\r\n\r\nabc`;
      client.send(
        `GET /1 HTTP/1.1\r\nHost: ${stage.host}\r\n\r\n${post}${closing("GET /3 HTTP/1.1", stage.host)}`,
      );
      for (const path of ["/1", "/2", "/3"]) {
        const app = await stage.asked();
        assert.match(app.text(), new RegExp(`^[A-Z]+ ${path} `));
        app.send(OK.replace("ok", path));
      }
      assert.deepEqual(
        [...(await client.over()).matchAll(/\r\n\r\n(\/\d)/g)].map((found) => found[1]),
        ["/1", "/2", "/3"],
      );
    },
  },
  {
    topic: "requests",
    name: "passes a head of 100 KiB",
    run: async (stage) => {
      const value = "v".repeat(100 * 1024);
      const { request } = await stage.exchange(
        closing("GET / HTTP/1.1", stage.host, `X-Large: ${value}`),
        OK,
      );
      assert.deepEqual(values(request.lines, "x-large"), [value]);
    },
  },
  {
    topic: "requests",
    name: "passes 900 header lines",
    run: async (stage) => {
      const lines = Array.from({ length: 900 }, (_, index) => `X-Line-${index}: ${index}`);
      const { request } = await stage.exchange(closing("GET / HTTP/1.1", stage.host, ...lines), OK);
      assert.deepEqual(values(request.lines, "x-line-899"), ["899"]);
    },
  },
  {
    topic: "requests",
    name: "passes a head that comes byte by byte",
    run: async (stage) => {
      const client = await stage.dial();
      for (const byte of closing("GET /slow HTTP/1.1", stage.host)) {
        client.send(byte);
        await new Promise((resolve) => setImmediate(resolve));
      }
      const app = await stage.asked();
      assert.match(app.text(), /^GET \/slow HTTP/);
      app.send(OK);
      assert.equal(parse(await client.over()).rest, "ok");
    },
  },
  {
    topic: "requests",
    name: "serves an HTTP/1.0 client",
    run: async (stage) => {
      const client = await stage.dial();
      client.send(`GET /old HTTP/1.0\r\nHost: ${stage.host}\r\n\r\n`);
      const app = await stage.asked();
      assert.match(app.text(), /^GET \/old HTTP\/1\.1\r\n/);
      app.send(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
      );
      const answer = await client.over();
      assert.equal(statusOf(answer), 200);
      assert.equal(parse(answer).rest, "abc");
    },
  },
  {
    topic: "requests",
    name: "serves an HTTP/1.0 client that names no host",
    alone: true,
    run: async (stage) => {
      const client = await stage.dial();
      client.send("GET /nameless HTTP/1.0\r\n\r\n");
      const app = await stage.asked();
      assert.match(app.text(), /^GET \/nameless HTTP\/1\.1\r\n/);
      assert.match(app.text(), /\r\nHost: 127\.0\.0\.1/i);
      app.send(OK);
      assert.equal(statusOf(await client.over()), 200);
    },
  },
];
