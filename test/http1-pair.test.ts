import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { connect } from "node:net";
import { afterEach, beforeEach, describe, it } from "node:test";
import fc from "fast-check";
import { memory } from "../adapters/memory.ts";
import { serve } from "../adapters/serve.ts";
import type { Server } from "../adapters/listen.ts";
import { createProxy } from "../src/index.ts";
import { dial, eventually, listen, type Origin, type Peer, pieces } from "./http1-wire.ts";

/** Values and names that survive a hop: no framing, nothing of one connection only, nothing that the proxy sets. */
const token = fc.string({
  unit: fc.constantFrom(..."!#$%&'*+.^_`|~09azAZ".split("")),
  minLength: 1,
  maxLength: 12,
});
const field = fc.tuple(
  token.map((name) => `Q-${name}`),
  fc
    .string({ unit: fc.constantFrom(...'\t !"09az,;=()\x80\xe9\xff'.split("")), maxLength: 30 })
    .map((value) => value.replace(/^[\t ]+|[\t ]+$/g, "")),
);
const content = fc
  .string({ unit: "binary", maxLength: 3000 })
  .map((text) => Buffer.from(text).toString("latin1"));
const target = fc
  .string({
    unit: fc.constantFrom(..."/az09-._~!$&'()*+,;=:@?\"<>[]{}|^`\\\xe9\xff".split("")),
    maxLength: 30,
  })
  .map((text) => `/${text}`);

type Framing = "length" | "chunked" | "none";

interface Message {
  readonly fields: readonly (readonly [string, string])[];
  readonly body: string;
  readonly framing: Framing;
  readonly cuts: readonly number[];
}

const message: fc.Arbitrary<Message> = fc.record({
  fields: fc.array(field, { maxLength: 8 }),
  body: content,
  framing: fc.constantFrom("length", "chunked", "none"),
  cuts: fc.array(fc.nat(4000), { maxLength: 6 }),
});

function lines(fields: Message["fields"]): string {
  return fields.map(([name, value]) => `${name}: ${value}\r\n`).join("");
}

/** Spells a message and cuts it to pieces. */
function spell(startLine: string, one: Message): string[] {
  let text = `${startLine}\r\n${lines(one.fields)}`;
  if (one.framing === "length") text += `Content-Length: ${one.body.length}\r\n\r\n${one.body}`;
  else if (one.framing === "none")
    text += startLine.startsWith("HTTP") ? "Content-Length: 0\r\n\r\n" : "\r\n";
  else {
    text += "Transfer-Encoding: chunked\r\n\r\n";
    const size = 700;
    for (let at = 0; at < one.body.length; at += size) {
      const chunk = one.body.slice(at, at + size);
      text += `${chunk.length.toString(16)};x\r\n${chunk}\r\n`;
    }
    text += "0\r\n\r\n";
  }
  const points = [0, ...one.cuts.map((cut) => cut % text.length), text.length].toSorted(
    (a, b) => a - b,
  );
  return points.slice(1).map((point, index) => text.slice(points[index], point));
}

/** Takes the first whole message out of a text: a second reader, plainer than the engine's. */
function read(
  text: string,
): { startLine: string; fields: [string, string][]; body: string; rest: string } | undefined {
  const end = text.indexOf("\r\n\r\n");
  if (end === -1) return undefined;
  const [startLine = "", ...rows] = text.slice(0, end).split("\r\n");
  const fields = rows.map((row): [string, string] => {
    const colon = row.indexOf(": ");
    return [row.slice(0, colon), row.slice(colon + 2)];
  });
  const get = (name: string): string | undefined =>
    fields.find(([key]) => key.toLowerCase() === name)?.[1];
  let rest = text.slice(end + 4);
  if (get("transfer-encoding") === undefined) {
    const length = Number(get("content-length") ?? 0);
    if (rest.length < length) return undefined;
    return { startLine, fields, body: rest.slice(0, length), rest: rest.slice(length) };
  }
  let body = "";
  for (;;) {
    const lineEnd = rest.indexOf("\r\n");
    if (lineEnd === -1) return undefined;
    const size = Number.parseInt(rest.slice(0, lineEnd), 16);
    if (rest.length < lineEnd + 4 + size) return undefined;
    body += rest.slice(lineEnd + 2, lineEnd + 2 + size);
    rest = rest.slice(lineEnd + 4 + size);
    if (size === 0) return { startLine, fields, body, rest };
  }
}

function ofTest(fields: [string, string][]): [string, string][] {
  return fields.filter(([name]) => name.startsWith("Q-"));
}

describe("createHttp1Server() and createHttp1Client(), joined as a proxy", () => {
  let origin: Origin;
  let onPeer: (peer: Peer) => void = () => {};
  let server: Server;
  const rejections: unknown[] = [];
  const note = (error: unknown): unknown => rejections.push(error);

  beforeEach(async () => {
    process.on("unhandledRejection", note);
    process.on("uncaughtException", note);
    origin = await listen((peer) => onPeer(peer));
    const proxy = createProxy({ target: origin.origin, storage: memory(), onError: () => {} });
    server = await serve(proxy, { port: 0, hostname: "127.0.0.1" });
  });
  afterEach(async () => {
    await server.close();
    await origin.close();
    process.off("unhandledRejection", note);
    process.off("uncaughtException", note);
    assert.deepEqual(rejections, []);
  });

  it("passes any message on, in any pieces, in both directions", { timeout: 60_000 }, async () => {
    let answer: Message | undefined;
    const received: NonNullable<ReturnType<typeof read>>[] = [];
    let status = "";
    onPeer = (peer) => {
      peer.socket.on("data", () => {
        const whole = read(peer.text());
        if (whole === undefined || answer === undefined) return;
        received.push(whole);
        peer.clear();
        for (const piece of spell(`HTTP/1.1 ${status}`, answer)) peer.send(piece);
      });
    };
    let client = await dial(server.port);
    const statuses = fc.constantFrom("200 OK", "404 ", "299 caf\xe9", "503 a  b");
    await fc.assert(
      fc.asyncProperty(
        message,
        message,
        target,
        statuses,
        fc.constantFrom("GET", "POST", "PUT", "x!"),
        async (request, response, path, line, method) => {
          if (client.isOver()) client = await dial(server.port);
          answer = response;
          status = line;
          received.length = 0;
          client.clear();
          const [first = "", ...more] = spell(
            `${method} ${path} HTTP/1.1\r\nHost: a.test`,
            request,
          );
          client.send(first);
          for (const piece of more) {
            await new Promise((resolve) => setImmediate(resolve));
            client.send(piece);
          }
          await client.until((text) => read(text) !== undefined);
          const got = read(client.text());
          assert.ok(got !== undefined);
          if (got.startLine.startsWith("HTTP/1.1 400")) {
            // A path that cannot be decoded is refused before it reaches anybody.
            assert.equal(received.length, 0);
            return;
          }
          assert.equal(received.length, 1);
          const [asked] = received;
          assert.ok(asked !== undefined);
          assert.equal(asked.startLine, `${method} ${path} HTTP/1.1`);
          assert.deepEqual(ofTest(asked.fields), request.fields);
          assert.equal(asked.body, request.framing === "none" ? "" : request.body);
          assert.equal(asked.rest, "");
          assert.equal(got.startLine, `HTTP/1.1 ${line}`);
          assert.deepEqual(ofTest(got.fields), response.fields);
          assert.equal(got.body, response.framing === "none" ? "" : response.body);
          assert.equal(got.rest, "");
        },
      ),
      { numRuns: 150 },
    );
    client.socket.destroy();
    assert.deepEqual(rejections, []);
  });

  const bit = fc.constantFrom(
    "GET /mine HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\n",
    "Content-Length: 3\r\n",
    "Content-Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "\r\n",
    "\n",
    "\r",
    "0\r\n\r\n",
    "3\r\nabc\r\n",
    "ffffffff\r\n",
    "\0",
    "\xff",
    " ",
    ":",
    "Host: b\r\n",
    "Expect: 100-continue\r\n",
    "Connection: close\r\n",
    "Connection: Upgrade\r\nUpgrade: x\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 100 \r\n\r\n",
    "HTTP/1.1 101 \r\n\r\n",
    "HTTP/1.0 200 \r\n",
    "abc",
  );
  const garbage = fc.array(bit, { minLength: 1, maxLength: 12 });
  const leave = fc.constantFrom("end", "destroy", "stay");

  it(
    "survives garbage from the client, and stays whole for everybody else",
    { timeout: 60_000 },
    async () => {
      onPeer = (peer) => {
        peer.socket.on("data", () => {
          const whole = read(peer.text());
          if (whole === undefined) return;
          peer.clear();
          peer.send(
            `HTTP/1.1 200 OK\r\nContent-Length: ${whole.startLine.length}\r\n\r\n${whole.startLine}`,
          );
        });
      };
      let count = 0;
      await fc.assert(
        fc.asyncProperty(garbage, leave, async (bits, way) => {
          const hostile = await dial(server.port);
          for (const one of bits) hostile.send(one);
          if (way !== "stay") hostile.socket[way]();
          const path = `/honest/${count++}`;
          const expected = `GET ${path} HTTP/1.1`;
          const honest = await dial(server.port);
          honest.send(`${expected}\r\nHost: a\r\nConnection: close\r\n\r\n`);
          const text = await honest.over();
          assert.equal(read(text)?.body, expected);
          assert.equal(read(text)?.rest, "");
          assert.ok(!hostile.text().includes("/honest/"), hostile.text());
          honest.socket.destroy();
          hostile.socket.destroy();
        }),
        { numRuns: 150 },
      );
      assert.deepEqual(rejections, []);
    },
  );

  it(
    "survives garbage from the upstream, and gives nobody another one's answer",
    { timeout: 60_000 },
    async () => {
      let seen = 0;
      let bits: string[] = [];
      let way = "stay";
      let secret = "";
      onPeer = (peer) => {
        peer.socket.on("data", () => {
          const whole = read(peer.text());
          if (whole === undefined) return;
          peer.clear();
          if (whole.startLine.startsWith("GET /honest")) {
            peer.send(
              `HTTP/1.1 200 OK\r\nContent-Length: ${whole.startLine.length}\r\n\r\n${whole.startLine}`,
            );
            return;
          }
          for (const one of bits) peer.send(one);
          // Counted once it is out: bytes that come behind the next request only are its answer to any client.
          peer.socket.write(secret, () => seen++);
          if (way === "end") peer.socket.end();
          if (way === "destroy") peer.socket.destroy();
        });
      };
      let count = 0;
      await fc.assert(
        fc.asyncProperty(garbage, leave, fc.boolean(), async (some, how, withStatus) => {
          bits = withStatus ? ["HTTP/1.1 200 OK\r\n", ...some] : some;
          way = how;
          const number = count++;
          const before = seen;
          secret = `secret-${number}`;
          const victim = await dial(server.port);
          victim.send(`GET /hostile HTTP/1.1\r\nHost: a\r\n\r\n`);
          await eventually(
            () => seen > before,
            () => "for the request to arrive",
          );
          const expected = `GET /honest/${number} HTTP/1.1`;
          const honest = await dial(server.port);
          honest.send(`${expected}\r\nHost: a\r\nConnection: close\r\n\r\n`);
          const text = await honest.over();
          assert.equal(read(text)?.body, expected, text);
          assert.ok(!text.includes("secret"), text);
          victim.socket.destroy();
          honest.socket.destroy();
        }),
        { numRuns: 150 },
      );
      assert.deepEqual(rejections, []);
    },
  );

  it("closes the upstream's connection when the client leaves, in every phase", async () => {
    const phases: [string, string][] = [
      ["", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"],
      ["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"],
      ["", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\na"],
      [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\na",
      ],
    ];
    for (const [part, request] of phases) {
      for (const way of ["end", "destroy"] as const) {
        let upstream: Peer | undefined;
        onPeer = (peer) => {
          peer.socket.once("data", () => {
            upstream = peer;
            if (part !== "") peer.send(part);
          });
        };
        for (const peer of origin.peers) peer.socket.destroy();
        await eventually(
          () => origin.peers.every((peer) => peer.isOver()),
          () => "for the connections of before",
        );
        const client = await dial(server.port);
        client.send(request);
        await eventually(
          () => upstream !== undefined,
          () => "for the request",
        );
        if (part !== "") await client.until("\r\n\r\n");
        client.socket[way]();
        await upstream?.over();
      }
    }
  });

  it("breaks the client's connection off when the upstream's body is cut", async () => {
    for (const head of ["Content-Length: 9\r\n", "Transfer-Encoding: chunked\r\n"]) {
      onPeer = (peer) => {
        peer.socket.once("data", () => {
          peer.socket.write(`HTTP/1.1 200 OK\r\n${head}\r\n3\r\nabc\r\n`, () => peer.socket.end());
        });
      };
      for (const peer of origin.peers) peer.socket.destroy();
      const client = await dial(server.port);
      client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
      const text = await client.over();
      assert.ok(text.includes("abc") && !text.includes("\r\n0\r\n"), text);
    }
  });

  it("passes chunks and trailers on that came in one piece with the head", async () => {
    const chunked =
      "Trailer: Q-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nQ-Sum: 42\r\n\r\n";
    let seen = "";
    onPeer = (peer) => {
      peer.socket.on("data", () => {
        if (!peer.text().endsWith("Q-Sum: 42\r\n\r\n")) return;
        seen = peer.text();
        peer.send(`HTTP/1.1 200 OK\r\n${chunked}`);
      });
    };
    const client = await dial(server.port);
    client.send(`POST / HTTP/1.1\r\nHost: x\r\n${chunked}`);
    const end = "\r\n0\r\nQ-Sum: 42\r\n\r\n";
    await eventually(() => client.text().endsWith(end), client.text);
    assert.match(client.text(), /\r\nTransfer-Encoding: chunked\r\n/);
    assert.match(seen, /\r\n0\r\nQ-Sum: 42\r\n\r\n$/);
  });

  it("carries a tunnel through, with its half-closed state", async () => {
    onPeer = (peer) => {
      peer.socket.once("data", () =>
        peer.send("HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhello"),
      );
    };
    const client = await dial(server.port);
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nearly");
    const text = await client.until("hello");
    assert.ok(text.startsWith("HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: x\r\n"), text);
    const upstream = origin.peers.at(-1);
    await upstream?.until("early");
    client.socket.end("last words");
    assert.ok((await upstream?.over())?.endsWith("last words"));
    upstream?.socket.end("and mine");
    assert.ok((await client.over()).endsWith("and mine"));
  });

  it("answers 413 to an upload that the upstream cuts short", { timeout: 120_000 }, async () => {
    for (let round = 0; round < 30; round++) {
      onPeer = (peer) => {
        peer.socket.once("data", () => {
          peer.socket.end(
            "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig",
          );
        });
      };
      const client = connect({ port: server.port, host: "127.0.0.1" });
      let text = "";
      let over = false;
      client.on("data", (bytes: Buffer) => (text += bytes.toString("latin1")));
      client.on("error", () => (over = true));
      client.on("close", () => (over = true));
      client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n");
      for await (const piece of pieces(...Array.from({ length: 8 }, () => "x".repeat(1_000_000))))
        client.write(piece);
      await eventually(
        () => over || text.endsWith("big"),
        () => "for the answer",
      );
      assert.ok(text.startsWith("HTTP/1.1 413 "), text);
      client.destroy();
    }
  });
});
