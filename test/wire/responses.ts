import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import { type Case, DATE, parse, statusOf, unchunk, values } from "./kit.ts";

const text = Buffer.from("The same words, again and again. ".repeat(20));

/** A zstd frame of one raw block (RFC 8878): Node 20 cannot make one. */
const zstd = Buffer.concat([
  Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x20, 5, (5 << 3) | 1, 0, 0]),
  Buffer.from("hello"),
]);

/** Bodies in a coding, the broken ones too: a proxy has no business with what they mean. */
const CODED: [string, string, Buffer][] = [
  ["gzip", "gzip", gzipSync(text)],
  ["br", "br", brotliCompressSync(text)],
  ["deflate", "deflate", deflateSync(text)],
  ["zstd", "zstd", zstd],
  ["gzip in br", "gzip, br", brotliCompressSync(gzipSync(text))],
  ["broken gzip", "gzip", Buffer.from("this is no gzip")],
  ["cut gzip", "gzip", gzipSync(text).subarray(0, 30)],
];

const STATUSES = [200, 201, 203, 206, 299, 300, 400, 401, 404, 418, 451, 500, 503, 599];

const REDIRECTS = [301, 302, 303, 307, 308];

function get(host: string, method = "GET"): string {
  return `${method} / HTTP/1.1\r\nHost: ${host}\r\nAccept-Encoding: gzip, br, zstd, deflate\r\nConnection: close\r\n\r\n`;
}

function answer(status: string, lines: readonly string[], body = ""): string {
  return [`HTTP/1.1 ${status}`, DATE, ...lines, "Connection: close", "", body].join("\r\n");
}

/** What a client sees of a response. */
export const responses: Case[] = [
  ...STATUSES.map((status): Case => ({
    topic: "responses",
    name: `passes status ${status}`,
    run: async (stage) => {
      const { response } = await stage.exchange(
        get(stage.host),
        answer(`${status} X`, ["Content-Length: 4"], "body"),
      );
      assert.equal(statusOf(response.text), status);
      assert.equal(response.content, "body");
      assert.deepEqual(values(response.lines, "content-length"), ["4"]);
    },
  })),
  {
    topic: "responses",
    name: "passes the app's own reason phrase",
    run: async (stage) => {
      const { response } = await stage.exchange(
        get(stage.host),
        answer("299 My Own Reason", ["Content-Length: 0"]),
      );
      assert.equal(response.startLine, "HTTP/1.1 299 My Own Reason");
    },
  },
  ...REDIRECTS.map((status): Case => ({
    topic: "responses",
    name: `leaves a redirect ${status} and its Location to the client`,
    run: async (stage) => {
      const { response } = await stage.exchange(
        get(stage.host),
        answer(
          `${status} Go`,
          ["Location: /landed/../x?y=%2f#f", "Set-Cookie: a=1", "Content-Length: 2"],
          "go",
        ),
      );
      assert.equal(statusOf(response.text), status);
      assert.deepEqual(values(response.lines, "location"), ["/landed/../x?y=%2f#f"]);
      assert.deepEqual(values(response.lines, "set-cookie"), ["a=1"]);
      assert.equal(response.content, "go");
      assert.equal(stage.asking.length, 1);
    },
  })),
  {
    topic: "responses",
    name: "passes 204 without a length",
    run: async (stage) => {
      const { response } = await stage.exchange(
        get(stage.host),
        answer("204 No Content", ['ETag: "a"', "Content-Length: 0"]),
      );
      assert.equal(statusOf(response.text), 204);
      assert.deepEqual(values(response.lines, "etag"), ['"a"']);
      assert.deepEqual(values(response.lines, "content-length"), []);
      assert.equal(response.rest, "");
    },
  },
  {
    topic: "responses",
    name: "passes 205 with the length that it has",
    run: async (stage) => {
      const { response } = await stage.exchange(
        get(stage.host),
        answer("205 Reset Content", ["Content-Length: 0"]),
      );
      assert.equal(statusOf(response.text), 205);
      assert.deepEqual(values(response.lines, "content-length"), ["0"]);
      assert.equal(response.rest, "");
    },
  },
  {
    topic: "responses",
    name: "passes 304 with ETag and length, and no body",
    run: async (stage) => {
      const { response } = await stage.exchange(
        get(stage.host),
        answer("304 Not Modified", ['ETag: W/"a"', "Content-Length: 1000", "Vary: Accept"]),
      );
      assert.equal(statusOf(response.text), 304);
      assert.deepEqual(values(response.lines, "etag"), ['W/"a"']);
      assert.deepEqual(values(response.lines, "vary"), ["Accept"]);
      assert.deepEqual(values(response.lines, "content-length"), ["1000"]);
      assert.equal(response.rest, "");
    },
  },
  {
    topic: "responses",
    name: "passes the answer to HEAD with its length",
    run: async (stage) => {
      const { response } = await stage.exchange(
        get(stage.host, "HEAD"),
        answer("200 OK", ["Content-Length: 1000", "Content-Encoding: gzip", "Content-Type: a/b"]),
      );
      assert.deepEqual(values(response.lines, "content-length"), ["1000"]);
      assert.deepEqual(values(response.lines, "content-encoding"), ["gzip"]);
      assert.equal(response.rest, "");
    },
  },
  {
    topic: "responses",
    name: "invents no length for the answer to HEAD of a body in chunks",
    run: async (stage) => {
      const { response } = await stage.exchange(
        get(stage.host, "HEAD"),
        answer("200 OK", ["Transfer-Encoding: chunked"]),
      );
      assert.equal(statusOf(response.text), 200);
      assert.deepEqual(values(response.lines, "content-length"), []);
      assert.equal(response.rest, "");
    },
  },
  {
    topic: "responses",
    name: "keeps the header lines of an answer as they are: names, order, duplicates",
    run: async (stage) => {
      const lines = ["x-Low: 1", "Vary: A", "X-UP: 2", "vary: B", "Server: mine", "X-Empty: "];
      const { response } = await stage.exchange(
        get(stage.host),
        answer("200 OK", [...lines, "Content-Length: 0"]),
      );
      assert.deepEqual(response.lines, [DATE, ...lines, "Content-Length: 0", "Connection: close"]);
    },
  },
  {
    topic: "responses",
    name: "keeps every Set-Cookie apart, in order",
    run: async (stage) => {
      const cookies = ["a=1; Expires=Thu, 01 Jan 2099 00:00:00 GMT", "b=2, c", "a=3; HttpOnly"];
      const { response } = await stage.exchange(
        get(stage.host),
        answer("200 OK", [
          ...cookies.map((cookie) => `Set-Cookie: ${cookie}`),
          "Content-Length: 0",
        ]),
      );
      assert.deepEqual(values(response.lines, "set-cookie"), cookies);
    },
  },
  {
    topic: "responses",
    name: "keeps latin-1 values",
    run: async (stage) => {
      const { response } = await stage.exchange(
        get(stage.host),
        answer("200 OK", ["X-Latin: caf\xe9 \xff", "Content-Length: 0"]),
      );
      assert.deepEqual(values(response.lines, "x-latin"), ["caf\xe9 \xff"]);
    },
  },
  {
    topic: "responses",
    name: "invents no header line",
    run: async (stage) => {
      const { response } = await stage.exchange(
        get(stage.host),
        answer("200 OK", ["Content-Length: 4"], "body"),
      );
      const names = response.lines.map((line) => line.slice(0, line.indexOf(":")).toLowerCase());
      assert.deepEqual(names.filter((name) => name !== "connection").sort(), [
        "content-length",
        "date",
      ]);
    },
  },
  {
    topic: "responses",
    name: "removes hop-by-hop lines of an answer and those that Connection names",
    run: async (stage) => {
      const { response } = await stage.exchange(
        get(stage.host),
        [
          "HTTP/1.1 200 OK",
          "Connection: close, X-Private",
          "X-Private: 1",
          "Keep-Alive: timeout=5",
          "Proxy-Connection: close",
          "X-Public: 1",
          "Content-Length: 0",
          "",
          "",
        ].join("\r\n"),
      );
      assert.deepEqual(values(response.lines, "x-public"), ["1"]);
      for (const name of ["x-private", "keep-alive", "proxy-connection"])
        assert.deepEqual(values(response.lines, name), [], name);
    },
  },
  ...CODED.flatMap(([name, coding, body]): Case[] =>
    [true, false].map((chunked) => ({
      topic: "responses",
      name: `passes ${name} as the same bytes${chunked ? ", in chunks" : ""}`,
      run: async (stage) => {
        const bytes = body.toString("latin1");
        const lines = [`Content-Encoding: ${coding}`, 'ETag: "e"', "Content-Type: text/plain"];
        const framed = chunked
          ? answer(
              "200 OK",
              [...lines, "Transfer-Encoding: chunked"],
              `${bytes.length.toString(16)}\r\n${bytes}\r\n0\r\n\r\n`,
            )
          : answer("200 OK", [...lines, `Content-Length: ${bytes.length}`], bytes);
        const { response } = await stage.exchange(get(stage.host), framed);
        assert.deepEqual(values(response.lines, "content-encoding"), [coding]);
        assert.deepEqual(values(response.lines, "etag"), ['"e"']);
        assert.equal(response.content, bytes);
        if (!chunked)
          assert.deepEqual(values(response.lines, "content-length"), [String(bytes.length)]);
      },
    })),
  ),
  {
    topic: "responses",
    name: "keeps an answer in chunks that comes at once in chunks",
    run: async (stage) => {
      const { response } = await stage.exchange(
        get(stage.host),
        answer("200 OK", ["Transfer-Encoding: chunked"], "3\r\nabc\r\n0\r\n\r\n"),
      );
      assert.equal(response.content, "abc");
      assert.deepEqual(values(response.lines, "transfer-encoding"), ["chunked"]);
      assert.deepEqual(values(response.lines, "content-length"), []);
    },
  },
  {
    topic: "responses",
    name: "keeps the length of a body that comes in pieces",
    run: async (stage) => {
      const client = await stage.dial();
      client.send(get(stage.host));
      const app = await stage.asked();
      app.send(answer("200 OK", ["Content-Length: 6"], "abc"));
      // The second half waits for the first to arrive where it can, and for the head where it cannot.
      await client.until((all) => all.includes("\r\n\r\nabc") || all.includes("3\r\nabc"));
      app.send("def");
      const response = parse(await client.over());
      assert.deepEqual(values(response.lines, "content-length"), ["6"]);
      assert.equal(response.rest, "abcdef");
    },
  },
  {
    topic: "responses",
    name: "passes a body that ends with the connection",
    run: async (stage) => {
      const { response } = await stage.exchange(
        get(stage.host),
        answer("200 OK", ["Content-Type: text/plain"], "until the end"),
      );
      assert.equal(response.content, "until the end");
    },
  },
  {
    topic: "responses",
    name: "passes the answer of an HTTP/1.0 app",
    run: async (stage) => {
      const { response } = await stage.exchange(
        get(stage.host),
        "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nold",
      );
      assert.match(response.startLine, /^HTTP\/1\.1 200/);
      assert.equal(response.content, "old");
    },
  },
  {
    topic: "responses",
    name: "passes an answer's head of 100 KiB",
    run: async (stage) => {
      const value = "v".repeat(100 * 1024);
      const { response } = await stage.exchange(
        get(stage.host),
        answer("200 OK", [`X-Large: ${value}`, "Content-Length: 0"]),
      );
      assert.deepEqual(values(response.lines, "x-large"), [value]);
    },
  },
  {
    topic: "responses",
    name: "passes 900 header lines of an answer",
    run: async (stage) => {
      const lines = Array.from({ length: 900 }, (_, index) => `X-Line-${index}: ${index}`);
      const { response } = await stage.exchange(
        get(stage.host),
        answer("200 OK", [...lines, "Content-Length: 0"]),
      );
      assert.deepEqual(values(response.lines, "x-line-899"), ["899"]);
    },
  },
  ...[102, 103].map((status): Case => ({
    topic: "responses",
    name: `passes an informational ${status} before the answer`,
    run: async (stage) => {
      const client = await stage.dial();
      client.send(get(stage.host));
      const app = await stage.asked();
      app.send(`HTTP/1.1 ${status} Early\r\nLink: </a.css>; rel=preload\r\n\r\n`);
      await client.until(`HTTP/1.1 ${status}`);
      assert.match(client.text(), /Link: <\/a\.css>; rel=preload\r\n\r\n$/);
      app.send(answer("200 OK", ["Content-Length: 2"], "ok"));
      assert.match(await client.over(), /HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nok$/);
    },
  })),
  {
    topic: "responses",
    name: "passes an informational answer without what ends at the connection",
    run: async (stage) => {
      const client = await stage.dial();
      client.send(get(stage.host));
      const app = await stage.asked();
      const own = ["Connection: close, X-Private", "X-Private: 1", "Keep-Alive: timeout=5"];
      const framing = ["Content-Length: 5", "Txid-App: wrote"];
      const early = ["HTTP/1.1 103 Early Hints", ...own, "Link: </a>", ...framing, "", ""];
      app.send(early.join("\r\n"));
      await client.until("\r\n\r\n");
      assert.equal(client.text(), "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
      app.send(answer("200 OK", ["Content-Length: 2"], "ok"));
      assert.match(await client.over(), /HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nok$/);
    },
  },
  {
    topic: "responses",
    name: "removes from the trailers of an answer what ends at the connection",
    run: async (stage) => {
      const client = await stage.dial();
      client.send(get(stage.host));
      const app = await stage.asked();
      const lines = ["Connection: X-Private", "X-Private: 1", "Txid-App: wrote", "X-Sum: 42"];
      const head = answer("200 OK", ["Transfer-Encoding: chunked"]);
      app.send(`${head}3\r\nabc\r\n0\r\n${lines.join("\r\n")}\r\n\r\n`);
      const response = parse(await client.over());
      assert.equal(response.content, "abc");
      assert.equal(unchunk(response.rest).trailers, "X-Sum: 42\r\n\r\n");
    },
  },
  ...[true, false].map((atOnce): Case => ({
    topic: "responses",
    name: `passes the trailers of an answer that comes ${atOnce ? "at once" : "in pieces"}`,
    run: async (stage) => {
      const client = await stage.dial();
      client.send(get(stage.host));
      const app = await stage.asked();
      const head = answer("200 OK", ["Trailer: X-Sum", "Transfer-Encoding: chunked"]);
      const tail = "0\r\nX-Sum: 42\r\n\r\n";
      if (atOnce) app.send(`${head}3\r\nabc\r\n${tail}`);
      else {
        app.send(`${head}3\r\nabc\r\n`);
        await client.until("abc");
        app.send(tail);
      }
      const response = parse(await client.over());
      assert.equal(response.content, "abc");
      assert.deepEqual(values(response.lines, "trailer"), ["X-Sum"]);
      assert.equal(unchunk(response.rest).trailers, "X-Sum: 42\r\n\r\n");
    },
  })),
  {
    topic: "responses",
    name: "keeps a client's connection for the next request",
    run: async (stage) => {
      const client = await stage.dial();
      for (let index = 0; index < 5; index++) {
        client.send(`GET /${index} HTTP/1.1\r\nHost: ${stage.host}\r\n\r\n`);
        (await stage.asked()).send(answer("200 OK", ["Content-Length: 3"], `n=${index}`));
        await client.until(`n=${index}`);
      }
      assert.equal(client.isOver(), false);
    },
  },
];
