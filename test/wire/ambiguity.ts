import assert from "node:assert/strict";
import { eventually, type Peer } from "../http1-wire.ts";
import { type Case, DATE, isWhole, statusOf } from "./kit.ts";

/** What a client must not be able to say: what could be read in two ways, by two that stand one behind the other. */
const BAD_REQUESTS: [string, string][] = [
  ["two Host lines", "GET / HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\n\r\n"],
  ["two different Host lines", "GET / HTTP/1.1\r\nHost: HOST\r\nhost: other.test\r\n\r\n"],
  ["no Host", "GET /nohost HTTP/1.1\r\nX-Case: HOST\r\n\r\n"],
  ["a Host with a path", "GET / HTTP/1.1\r\nHost: HOST/a\r\n\r\n"],
  ["a Host with a user", "GET / HTTP/1.1\r\nHost: me@HOST\r\n\r\n"],
  ["a Host with a query", "GET / HTTP/1.1\r\nHost: HOST?a\r\n\r\n"],
  ["a Host with a blank", "GET / HTTP/1.1\r\nHost: HOST a\r\n\r\n"],
  ["a Host with a list", "GET / HTTP/1.1\r\nHost: HOST, a\r\n\r\n"],
  ["a Host with a port that is none", "GET / HTTP/1.1\r\nHost: HOST:a\r\n\r\n"],
  [
    "length and chunks",
    "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n",
  ],
  [
    "chunks and length",
    "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\nContent-Length: 40\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n",
  ],
  [
    "two lengths",
    "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
  ],
  [
    "two equal lengths",
    "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
  ],
  ["a list of lengths", "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 2, 2\r\n\r\nab"],
  ["a signed length", "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: +2\r\n\r\nab"],
  ["a negative length", "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: -2\r\n\r\nab"],
  ["a hexadecimal length", "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0x2\r\n\r\nab"],
  ["an empty length", "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length:\r\n\r\nab"],
  ["a length with a blank", "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 1 0\r\n\r\nab"],
  [
    "a length beyond counting",
    `POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: ${"9".repeat(30)}\r\n\r\nab`,
  ],
  [
    "a blank before the colon",
    "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
  ],
  ["a folded line", "GET / HTTP/1.1\r\nHost: HOST\r\nX-A: 1\r\n 2\r\n\r\n"],
  ["a line that begins with a blank", "GET / HTTP/1.1\r\n X-A: 1\r\nHost: HOST\r\n\r\n"],
  ["a line without a colon", "GET / HTTP/1.1\r\nHost: HOST\r\nX-A\r\n\r\n"],
  ["a line without a name", "GET / HTTP/1.1\r\nHost: HOST\r\n: a\r\n\r\n"],
  ["a name that is no token", "GET / HTTP/1.1\r\nHost: HOST\r\nX(A): 1\r\n\r\n"],
  ["a NUL in a value", "GET / HTTP/1.1\r\nHost: HOST\r\nX-A: 1\x002\r\n\r\n"],
  ["a bare CR in a value", "GET / HTTP/1.1\r\nHost: HOST\r\nX-A: 1\rX-B: 2\r\n\r\n"],
  ["a control byte in a value", "GET / HTTP/1.1\r\nHost: HOST\r\nX-A: 1\x012\r\n\r\n"],
  ["a DEL in a value", "GET / HTTP/1.1\r\nHost: HOST\r\nX-A: 1\x7f2\r\n\r\n"],
  ["bare LF line ends", "GET / HTTP/1.1\nHost: HOST\n\n"],
  ["one bare LF line end", "GET / HTTP/1.1\r\nHost: HOST\nX-A: 1\r\n\r\n"],
  ["a blank in the target", "GET /a b HTTP/1.1\r\nHost: HOST\r\n\r\n"],
  ["a tab in the request line", "GET\t/ HTTP/1.1\r\nHost: HOST\r\n\r\n"],
  ["two blanks in the request line", "GET  / HTTP/1.1\r\nHost: HOST\r\n\r\n"],
  ["a control byte in the target", "GET /a\x01b HTTP/1.1\r\nHost: HOST\r\n\r\n"],
  ["a fragment in the target", "GET /a#b HTTP/1.1\r\nHost: HOST\r\n\r\n"],
  ["a target without a slash", "GET a HTTP/1.1\r\nHost: HOST\r\n\r\n"],
  ["a broken escape in the path", "GET /a%zz HTTP/1.1\r\nHost: HOST\r\n\r\n"],
  ["* as the target of GET", "GET * HTTP/1.1\r\nHost: HOST\r\n\r\n"],
  ["a method that is no token", "G(T / HTTP/1.1\r\nHost: HOST\r\n\r\n"],
  ["no version", "GET /\r\nHost: HOST\r\n\r\n"],
  ["a version in lower case", "GET / http/1.1\r\nHost: HOST\r\n\r\n"],
  ["version 2.0", "GET / HTTP/2.0\r\nHost: HOST\r\n\r\n"],
  ["version 1.10", "GET / HTTP/1.10\r\nHost: HOST\r\n\r\n"],
  ["CONNECT", "CONNECT HOST:443 HTTP/1.1\r\nHost: HOST\r\n\r\n"],
  ["TRACE", "TRACE / HTTP/1.1\r\nHost: HOST\r\n\r\n"],
  [
    "a coding that is not chunked",
    "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: gzip\r\n\r\n",
  ],
  [
    "chunked that is not the last coding",
    "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
  ],
  [
    "chunked twice",
    "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
  ],
  [
    "a coding with a control byte",
    "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
  ],
  [
    "chunks of HTTP/1.0",
    "POST / HTTP/1.0\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
  ],
  [
    "a head of more than 128 KiB",
    `GET / HTTP/1.1\r\nHost: HOST\r\nX: ${"a".repeat(140_000)}\r\n\r\n`,
  ],
  ["more than 1,000 lines", `GET / HTTP/1.1\r\nHost: HOST\r\n${"X: 1\r\n".repeat(1001)}\r\n`],
  [
    "a request line of more than 128 KiB",
    `GET /${"a".repeat(140_000)} HTTP/1.1\r\nHost: HOST\r\n\r\n`,
  ],
  ["what is not HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"],
];

/** Chunks that break: what went before may have reached the app, an end of it must not. */
const BAD_CHUNKS: [string, string][] = [
  ["a size that is no number", "x\r\nabc\r\n0\r\n\r\n"],
  ["a size with 0x", "0x3\r\nabc\r\n0\r\n\r\n"],
  ["a signed size", "+3\r\nabc\r\n0\r\n\r\n"],
  ["a negative size", "-3\r\nabc\r\n0\r\n\r\n"],
  ["a size beyond counting", "fffffffffffffffff\r\nabc\r\n0\r\n\r\n"],
  ["a size that is too small", "2\r\nabc\r\n0\r\n\r\n"],
  ["a size that is too large", "4\r\nabc\r\n0\r\n\r\n"],
  ["a bare LF after the size", "3\nabc\r\n0\r\n\r\n"],
  ["a bare LF after the data", "3\r\nabc\n0\r\n\r\n"],
  ["a bare LF in an extension", "3;a\nb\r\nabc\r\n0\r\n\r\n"],
  ["a bare CR in an extension", "3;a\rb\r\nabc\r\n0\r\n\r\n"],
  ["an empty size", "\r\nabc\r\n0\r\n\r\n"],
  ["a trailer that frames", "3\r\nabc\r\n0\r\nContent-Length: 10\r\n\r\n"],
  ["a trailer that routes", "3\r\nabc\r\n0\r\nHost: other.test\r\n\r\n"],
];

/** What an app must not be able to say. */
const BAD_RESPONSES: [string, string][] = [
  ["garbage", "garbage\r\n\r\n"],
  ["another protocol", "SSH-2.0-OpenSSH_9\r\n\r\n"],
  ["a version in lower case", "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"],
  ["a status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"],
  ["a status of four digits", "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"],
  ["status 600", "HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n"],
  ["status 099", "HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n"],
  [
    "length and chunks",
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
  ],
  ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc"],
  ["a list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc"],
  ["a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nabc"],
  ["a folded line", "HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\nContent-Length: 0\r\n\r\n"],
  ["a blank before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\nabc"],
  ["a NUL in a value", "HTTP/1.1 200 OK\r\nX-A: 1\x002\r\nContent-Length: 0\r\n\r\n"],
  ["a bare CR in a value", "HTTP/1.1 200 OK\r\nX-A: 1\rX-B: 2\r\nContent-Length: 0\r\n\r\n"],
  ["bare LF line ends", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"],
  ["a coding that is not chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc"],
  ["an upgrade that nobody asked for", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"],
  ["a head without end", `HTTP/1.1 200 OK\r\nX: ${"a".repeat(140_000)}`],
];

/** Waits for an answer, for the end of the connection, or for what must not be; returns what the client got. */
async function refusal(client: Peer, happened: () => boolean): Promise<string> {
  await eventually(
    () => client.isOver() || isWhole(client.text()) || happened(),
    () => `for a refusal in ${JSON.stringify(client.text())}`,
  );
  return client.text();
}

/** That nobody can smuggle a message past the proxy. */
export const ambiguity: Case[] = [
  ...BAD_REQUESTS.map(([what, request]): Case => ({
    topic: "ambiguity",
    name: `refuses a request with ${what}`,
    run: async (stage) => {
      const client = await stage.dial();
      client.send(request.replaceAll("HOST", stage.host));
      const text = await refusal(client, () => stage.asking.length > 0);
      assert.ok(text === "" || /^HTTP\/1\.1 (?:4\d\d|50[15]) /.test(text), text.slice(0, 200));
      assert.ok(text.split("HTTP/1.1 ").length <= 2, "more than one answer");
      assert.deepEqual(
        stage.asking.map((peer) => peer.text()),
        [],
      );
    },
  })),
  ...BAD_CHUNKS.map(([what, chunks]): Case => ({
    topic: "ambiguity",
    name: `never ends a request with ${what}`,
    run: async (stage) => {
      const client = await stage.dial();
      client.send(
        `POST / HTTP/1.1\r\nHost: ${stage.host}\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}`,
      );
      client.send(`GET /smuggled HTTP/1.1\r\nHost: ${stage.host}\r\n\r\n`);
      const isEnded = (): boolean =>
        stage.asking.some((app) => app.text().endsWith("\r\n0\r\n\r\n"));
      const text = await refusal(client, isEnded);
      assert.ok(text === "" || /^HTTP\/1\.1 4\d\d /.test(text), text.slice(0, 200));
      for (const app of stage.asking) {
        await app.until(() => app.isOver() || isEnded());
        assert.ok(!app.text().includes("smuggled"));
      }
      assert.ok(!isEnded(), "the app took the request for whole");
    },
  })),
  ...BAD_RESPONSES.map(([what, response]): Case => ({
    topic: "ambiguity",
    name: `refuses an answer with ${what}`,
    run: async (stage) => {
      const client = await stage.dial();
      client.send(`GET / HTTP/1.1\r\nHost: ${stage.host}\r\nConnection: close\r\n\r\n`);
      (await stage.asked()).send(response);
      const text = await client.over();
      assert.equal(statusOf(text), 502);
      assert.ok(text.length < 400, text);
    },
  })),
  ...[
    "Content-Length: 3\r\n\r\nabc",
    "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
  ].map((body, index): Case => ({
    topic: "ambiguity",
    name: `gives nobody what an app sends after ${index === 0 ? "the length" : "the last chunk"}`,
    alone: true,
    run: async (stage) => {
      const client = await stage.dial();
      const request = `GET / HTTP/1.1\r\nHost: ${stage.host}\r\n\r\n`;
      client.send(request);
      const app = await stage.asked();
      app.send(
        `HTTP/1.1 200 OK\r\n${DATE}\r\n${body}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil`,
      );
      await client.until("abc");
      client.send(request.replace("GET /", "GET /next"));
      const next = await stage.asked();
      assert.notEqual(next, app);
      next.send(`HTTP/1.1 200 OK\r\n${DATE}\r\nContent-Length: 4\r\nConnection: close\r\n\r\ngood`);
      assert.ok(!(await client.until("good")).includes("evil"));
    },
  })),
];
