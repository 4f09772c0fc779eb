import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { describe, it } from "node:test";
import fc from "fast-check";
import { createBodyDecoder } from "../adapters/http1/body.ts";
import { DEFAULT_LIMITS, type Limits } from "../adapters/http1/limits.ts";
import {
  createJoiner,
  type Framing,
  headEnd,
  isFieldValue,
  isToken,
  parseRequestHead,
  parseResponseHead,
  parseTrailers,
  ProtocolError,
} from "../adapters/http1/parse.ts";

/** Throws with this status. */
function status(expected: number): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof ProtocolError, String(error));
    assert.equal(error.status, expected, error.message);
    return true;
  };
}

/** The head as a connection reads it: its end is looked for, then the text is parsed. */
function readRequest(
  text: string,
  limits: Limits = DEFAULT_LIMITS,
): ReturnType<typeof parseRequestHead> {
  const bytes = Buffer.from(text, "latin1");
  const end = headEnd(bytes, 0, limits);
  assert.notEqual(end, -1, "the head is not whole");
  return parseRequestHead(bytes.toString("latin1", 0, end - 4), limits);
}

function readResponse(text: string, method = "GET"): ReturnType<typeof parseResponseHead> {
  const bytes = Buffer.from(text, "latin1");
  return parseResponseHead(
    bytes.toString("latin1", 0, headEnd(bytes, 0, DEFAULT_LIMITS) - 4),
    method,
    DEFAULT_LIMITS,
  );
}

const HOST = "Host: a.test\r\n";

describe("parseRequestHead()", () => {
  const refused: [string, string, number][] = [
    ["a bare LF after the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400],
    ["a bare LF in a field", "GET / HTTP/1.1\r\nHost: a\r\nA: b\nC: d\r\n\r\n", 400],
    ["a bare CR in a field", "GET / HTTP/1.1\r\nHost: a\r\nA: b\rC: d\r\n\r\n", 400],
    ["a bare CR in the request line", "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", 400],
    ["a folded line", "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n", 400],
    ["a folded first line", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400],
    ["a blank before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400],
    ["a tab before the colon", "GET / HTTP/1.1\r\nHost: a\r\nA\t: b\r\n\r\n", 400],
    ["an empty name", "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400],
    ["a line without a colon", "GET / HTTP/1.1\r\nHost: a\r\nA\r\n\r\n", 400],
    ["a name that is no token", "GET / HTTP/1.1\r\nHost: a\r\nA(b): c\r\n\r\n", 400],
    ["a name beyond ASCII", "GET / HTTP/1.1\r\nHost: a\r\nA\xe9: c\r\n\r\n", 400],
    ["NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nA: b\0c\r\n\r\n", 400],
    ["DEL in a value", "GET / HTTP/1.1\r\nHost: a\r\nA: b\x7f\r\n\r\n", 400],
    ["a control byte in a value", "GET / HTTP/1.1\r\nHost: a\r\nA: b\x0bc\r\n\r\n", 400],
    ["a blank in the target", `GET /a b HTTP/1.1\r\n${HOST}\r\n`, 400],
    ["a tab in the target", `GET /a\tb HTTP/1.1\r\n${HOST}\r\n`, 400],
    ["two blanks after the method", `GET  / HTTP/1.1\r\n${HOST}\r\n`, 400],
    ["a blank after the version", `GET / HTTP/1.1 \r\n${HOST}\r\n`, 400],
    ["a fragment", `GET /a#b HTTP/1.1\r\n${HOST}\r\n`, 400],
    ["a relative target", `GET a HTTP/1.1\r\n${HOST}\r\n`, 400],
    ["* with GET", `GET * HTTP/1.1\r\n${HOST}\r\n`, 400],
    ["another scheme", `GET ftp://a/ HTTP/1.1\r\n${HOST}\r\n`, 400],
    ["user information in the target", `GET http://u@a/ HTTP/1.1\r\n${HOST}\r\n`, 400],
    ["CONNECT to a path", `CONNECT a/b HTTP/1.1\r\n${HOST}\r\n`, 400],
    ["a method that is no token", `G(T / HTTP/1.1\r\n${HOST}\r\n`, 400],
    ["no method", ` / HTTP/1.1\r\n${HOST}\r\n`, 400],
    ["HTTP/0.9", "GET /\r\n\r\n", 400],
    ["HTTP/1.2", `GET / HTTP/1.2\r\n${HOST}\r\n`, 505],
    ["HTTP/2.0", `GET / HTTP/2.0\r\n${HOST}\r\n`, 505],
    ["a version in lower case", `GET / http/1.1\r\n${HOST}\r\n`, 400],
    ["no Host", "GET / HTTP/1.1\r\nA: b\r\n\r\n", 400],
    ["two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400],
    ["two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nhost: a\r\n\r\n", 400],
    ["a Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400],
    ["a Host with a user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400],
    ["a Host with a blank", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400],
    ["a Host with a port that is none", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400],
    ["a Host with an open bracket", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400],
    ["a Host with something after the bracket", "GET / HTTP/1.1\r\nHost: [::1]a\r\n\r\n", 400],
    ["a Host with two brackets", "GET / HTTP/1.1\r\nHost: [[::1]\r\n\r\n", 400],
    [
      "both lengths and chunks",
      `POST / HTTP/1.1\r\n${HOST}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`,
      400,
    ],
    [
      "two lengths",
      `POST / HTTP/1.1\r\n${HOST}Content-Length: 1\r\nContent-Length: 2\r\n\r\n`,
      400,
    ],
    ["a list of lengths", `POST / HTTP/1.1\r\n${HOST}Content-Length: 1, 1\r\n\r\n`, 400],
    ["a length with a sign", `POST / HTTP/1.1\r\n${HOST}Content-Length: +1\r\n\r\n`, 400],
    ["a negative length", `POST / HTTP/1.1\r\n${HOST}Content-Length: -1\r\n\r\n`, 400],
    ["a hexadecimal length", `POST / HTTP/1.1\r\n${HOST}Content-Length: 0x1\r\n\r\n`, 400],
    ["an empty length", `POST / HTTP/1.1\r\n${HOST}Content-Length:\r\n\r\n`, 400],
    [
      "a length beyond 2^53",
      `POST / HTTP/1.1\r\n${HOST}Content-Length: 9007199254740993\r\n\r\n`,
      400,
    ],
    ["chunks in HTTP/1.0", `POST / HTTP/1.0\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`, 400],
    [
      "gzip as transfer coding",
      `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: gzip, chunked\r\n\r\n`,
      501,
    ],
    [
      "chunked twice",
      `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`,
      501,
    ],
    [
      "chunked after an odd blank",
      `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: \x0bchunked\r\n\r\n`,
      400,
    ],
    [
      "an unknown transfer coding",
      `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: xchunked\r\n\r\n`,
      501,
    ],
  ];
  for (const [name, text, expected] of refused) {
    it(`refuses ${name} with ${expected}`, () => {
      assert.throws(() => readRequest(text), status(expected));
    });
  }

  it("keeps names, values, order and duplicates as they came", () => {
    const head = readRequest(
      "GET /a?b=%zz;'\" HTTP/1.1\r\nhOsT: a.test:80\r\nX: \t 1 \t\r\nx:\r\nX:caf\xe9\tb\r\n\r\n",
    );
    assert.equal(head.method, "GET");
    assert.equal(head.target, "/a?b=%zz;'\"");
    assert.deepEqual(head.headers, ["hOsT", "a.test:80", "X", "1", "x", "", "X", "caf\xe9\tb"]);
    assert.deepEqual(head.framing, { kind: "none" });
  });

  const hosts = ["a", "a.test:8080", "[::1]", "[::1]:80", "127.0.0.1", "a_b-c.d", ""];
  for (const host of hosts) {
    it(`takes the Host ${JSON.stringify(host)}`, () => {
      assert.deepEqual(readRequest(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`).headers, [
        "Host",
        host,
      ]);
    });
  }

  const forms: [string, string, string, string][] = [
    ["GET", "http://b.test/c?d", "/c?d", "b.test"],
    ["GET", "HTTP://b.test:81", "/", "b.test:81"],
    ["GET", "http://b.test?d", "/?d", "b.test"],
    ["OPTIONS", "http://b.test", "*", "b.test"],
    ["OPTIONS", "*", "*", "a.test"],
    ["GET", "//b.test/c", "//b.test/c", "a.test"],
    ["CONNECT", "b.test:443", "b.test:443", "a.test"],
  ];
  for (const [method, target, expected, host] of forms) {
    it(`reads ${method} ${target} as ${expected} at ${host}`, () => {
      const head = readRequest(`${method} ${target} HTTP/1.1\r\n${HOST}\r\n`);
      assert.equal(head.target, expected);
      assert.deepEqual(head.headers, ["Host", host]);
    });
  }

  const kept: [string, boolean][] = [
    ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", true],
    ["GET / HTTP/1.1\r\nHost: a\r\nConnection: a, Close\r\n\r\n", false],
    ["GET / HTTP/1.1\r\nHost: a\r\nConnection: a\r\nConnection: close\r\n\r\n", false],
    ["CONNECT a:443 HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", false],
    ["GET / HTTP/1.0\r\n\r\n", false],
    ["GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true],
    ["GET / HTTP/1.0\r\nConnection: Keep-Alive, close\r\n\r\n", false],
  ];
  for (const [text, expected] of kept) {
    it(`${expected ? "keeps" : "closes"} after ${JSON.stringify(text)}`, () => {
      assert.equal(readRequest(text).keepAlive, expected);
    });
  }

  it("takes an upgrade only from HTTP/1.1 without a body", () => {
    const upgrade = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n";
    assert.equal(readRequest(`GET / HTTP/1.1\r\n${HOST}${upgrade}\r\n`).upgrade, true);
    assert.equal(readRequest(`GET / HTTP/1.0\r\n${HOST}${upgrade}\r\n`).upgrade, false);
    assert.equal(readRequest(`GET / HTTP/1.1\r\n${HOST}Upgrade: websocket\r\n\r\n`).upgrade, false);
    assert.equal(
      readRequest(`POST / HTTP/1.1\r\n${HOST}${upgrade}Content-Length: 1\r\n\r\n`).upgrade,
      false,
    );
  });

  it("bounds the number of fields", () => {
    const limits = { ...DEFAULT_LIMITS, fields: 3 };
    assert.equal(
      readRequest(`GET / HTTP/1.1\r\n${HOST}a: b\r\na: b\r\n\r\n`, limits).headers.length,
      6,
    );
    assert.throws(
      () => readRequest(`GET / HTTP/1.1\r\n${HOST}a: b\r\na: b\r\na: b\r\n\r\n`, limits),
      status(431),
    );
  });
});

describe("parseResponseHead()", () => {
  const refused: [string, string][] = [
    ["another protocol", "HTTP/2 200 OK\r\n\r\n"],
    ["a version in lower case", "http/1.1 200 OK\r\n\r\n"],
    ["a status of two digits", "HTTP/1.1 20 OK\r\n\r\n"],
    ["a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n"],
    ["a status beyond 599", "HTTP/1.1 600 OK\r\n\r\n"],
    ["a status below 100", "HTTP/1.1 099 OK\r\n\r\n"],
    ["two blanks before the status", "HTTP/1.1  200 OK\r\n\r\n"],
    ["NUL in the reason", "HTTP/1.1 200 O\0K\r\n\r\n"],
    ["a bare CR in the reason", "HTTP/1.1 200 O\rK\r\n\r\n"],
    [
      "lengths and chunks",
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
    ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"],
    ["a bad length even with 304", "HTTP/1.1 304 OK\r\nContent-Length: x\r\n\r\n"],
    ["a folded line", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"],
    ["an unknown coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"],
    ["chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"],
  ];
  for (const [name, text] of refused) {
    it(`refuses ${name}`, () => {
      assert.throws(() => readResponse(text), ProtocolError);
    });
  }

  const framings: [string, string, Framing["kind"], boolean][] = [
    ["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "GET", "length", true],
    ["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "GET", "none", true],
    ["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD", "none", true],
    ["HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", "GET", "chunked", true],
    ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HEAD", "none", true],
    ["HTTP/1.1 204 No Content\r\n\r\n", "GET", "none", true],
    ["HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "GET", "none", true],
    ["HTTP/1.1 205 Reset\r\n\r\n", "GET", "close", false],
    ["HTTP/1.1 200\r\n\r\n", "GET", "close", false],
    ["HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", "GET", "length", false],
    [
      "HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n",
      "GET",
      "length",
      true,
    ],
    ["HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n", "GET", "length", false],
  ];
  for (const [text, method, kind, keepAlive] of framings) {
    it(`reads the answer to ${method} ${JSON.stringify(text)} as ${kind}`, () => {
      const head = readResponse(text, method);
      assert.equal(head.framing.kind, kind);
      assert.equal(head.keepAlive, keepAlive);
    });
  }

  it("keeps the reason phrase", () => {
    assert.equal(readResponse("HTTP/1.1 200 All caf\xe9  \r\n\r\n").statusText, "All caf\xe9  ");
    assert.equal(readResponse("HTTP/1.1 200 \r\n\r\n").statusText, "");
  });
});

describe("headEnd()", () => {
  it("refuses a bare LF before the head is whole", () => {
    assert.throws(() => headEnd(Buffer.from("GET / HTTP/1.1\n"), 0, DEFAULT_LIMITS), status(400));
    assert.throws(() => headEnd(Buffer.from("\n"), 0, DEFAULT_LIMITS), status(400));
  });

  it("refuses a head beyond the limit, whole or not", () => {
    const limits = { ...DEFAULT_LIMITS, headBytes: 100 };
    const head = `GET / HTTP/1.1\r\n${HOST}`;
    const fits = `${head}a: ${"b".repeat(100 - head.length - 7)}\r\n\r\n`;
    assert.equal(headEnd(Buffer.from(fits), 0, limits), 100);
    assert.throws(
      () => headEnd(Buffer.from(`${fits.slice(0, -4)}c\r\n\r\n`), 0, limits),
      status(431),
    );
    assert.throws(() => headEnd(Buffer.from(head + "a".repeat(100)), 0, limits), status(431));
    assert.throws(() => headEnd(Buffer.from("a".repeat(101)), 0, limits), status(414));
    assert.throws(() => headEnd(Buffer.from(`${"a".repeat(101)}\r\n\r\n`), 0, limits), status(414));
    assert.equal(headEnd(Buffer.from("a".repeat(100)), 0, limits), -1);
  });

  it("finds the end at every split", () => {
    const bytes = Buffer.from(`GET / HTTP/1.1\r\n${HOST}\r\nrest`);
    for (let split = 0; split <= bytes.length; split++) {
      const first = headEnd(bytes.subarray(0, split), 0, DEFAULT_LIMITS);
      const end = first === -1 ? headEnd(bytes, split, DEFAULT_LIMITS) : first;
      assert.equal(end, bytes.length - 4, `split at ${split}`);
    }
  });
});

describe("createJoiner()", () => {
  it("joins any pieces, and never touches bytes that it has given out", () => {
    const pieces = fc.array(fc.tuple(fc.uint8Array({ maxLength: 40 }), fc.nat(60)), {
      maxLength: 40,
    });
    fc.assert(
      fc.property(pieces, (steps) => {
        const join = createJoiner();
        let held: Buffer = Buffer.alloc(0);
        let expected: Buffer = Buffer.alloc(0);
        const given: [Buffer, string][] = [];
        for (const [piece, taken] of steps) {
          held = join(held, Buffer.from(piece));
          expected = Buffer.concat([expected, piece]);
          assert.equal(held.toString("hex"), expected.toString("hex"));
          given.push([
            held.subarray(0, taken),
            held.toString("hex", 0, Math.min(taken, held.length)),
          ]);
          held = held.subarray(taken);
          expected = expected.subarray(taken);
        }
        for (const [bytes, hex] of given) assert.equal(bytes.toString("hex"), hex);
      }),
    );
  });

  it("copies little when bytes come one by one", () => {
    const join = createJoiner();
    const rooms = new Set<unknown>();
    let held: Buffer = Buffer.alloc(0);
    const byte = Buffer.from("a");
    for (let count = 0; count < DEFAULT_LIMITS.headBytes; count++) {
      held = join(held, byte);
      rooms.add(held.buffer);
    }
    assert.equal(held.length, DEFAULT_LIMITS.headBytes);
    assert.ok(rooms.size < 40, `${rooms.size} rooms`);
  });
});

/** Decodes a body that comes in these pieces, and what is left over. */
function decode(
  framing: Framing,
  pieces: Buffer[],
): { body: string; rest: string; done: boolean; trailers: string[] } {
  const decoder = createBodyDecoder(framing, DEFAULT_LIMITS);
  let body = "";
  let rest = "";
  for (const piece of pieces) {
    const used = decoder.isDone()
      ? 0
      : decoder.decode(piece, (data) => (body += data.toString("latin1")));
    rest += piece.toString("latin1", used);
  }
  return { body, rest, done: decoder.isDone(), trailers: decoder.trailers() };
}

function splitAt(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const points = [0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].toSorted(
    (a, b) => a - b,
  );
  return points.slice(1).map((point, index) => bytes.subarray(points[index], point));
}

describe("createBodyDecoder()", () => {
  const chunked = Buffer.from(
    '5\r\nhello\r\n0000006;a=b;c="d"\r\n world\r\nA \t; x\r\n0123456789\r\n0\r\nX: 1\r\nY: \xe9\r\n\r\nGET /',
    "latin1",
  );
  const expected = {
    body: "hello world0123456789",
    rest: "GET /",
    done: true,
    trailers: ["X", "1", "Y", "\xe9"],
  };

  it("decodes chunks at every split", () => {
    for (let split = 0; split <= chunked.length; split++) {
      assert.deepEqual(
        decode({ kind: "chunked" }, splitAt(chunked, [split])),
        expected,
        `split at ${split}`,
      );
    }
  });

  it("decodes chunks byte by byte", () => {
    assert.deepEqual(decode({ kind: "chunked" }, splitAt(chunked, [...chunked.keys()])), expected);
  });

  it("decodes any chunks over any splits", () => {
    const chunk = fc.string({ unit: "binary-ascii", minLength: 1, maxLength: 300 });
    fc.assert(
      fc.property(
        fc.array(chunk),
        fc.array(fc.nat(5000)),
        fc.constantFrom("", "POST", "\r\n\r\n"),
        (chunks, cuts, rest) => {
          const wire = chunks.map((text) => `${text.length.toString(16)}\r\n${text}\r\n`).join("");
          const bytes = Buffer.from(`${wire}0\r\n\r\n${rest}`, "latin1");
          const result = decode({ kind: "chunked" }, splitAt(bytes, cuts));
          assert.deepEqual(result, { body: chunks.join(""), rest, done: true, trailers: [] });
        },
      ),
    );
  });

  it("hands on in one piece what came in one, however many chunks it was, and what came before a mistake", () => {
    const given: string[] = [];
    const decoder = createBodyDecoder({ kind: "chunked" }, DEFAULT_LIMITS);
    decoder.decode(Buffer.from("1\r\na\r\n".repeat(1000)), (piece) => given.push(String(piece)));
    assert.deepEqual(given, ["a".repeat(1000)]);
    assert.throws(
      () =>
        decoder.decode(Buffer.from("1\r\nb\r\n1\r\nc\r\nx\r\n"), (piece) =>
          given.push(String(piece)),
        ),
      ProtocolError,
    );
    assert.deepEqual(given.slice(1), ["bc"]);
  });

  it("takes as many bytes as the length says, over any splits", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1 }), fc.array(fc.nat(200)), (data, cuts) => {
        const bytes = Buffer.concat([data, Buffer.from("rest")]);
        const result = decode({ kind: "length", length: data.length }, splitAt(bytes, cuts));
        assert.deepEqual(result, {
          body: Buffer.from(data).toString("latin1"),
          rest: "rest",
          done: true,
          trailers: [],
        });
      }),
    );
  });

  const broken: [string, string][] = [
    ["no digits", "\r\n"],
    ["a sign", "+5\r\nhello\r\n"],
    ["0x", "0x5\r\nhello\r\n"],
    ["a blank before the size", " 5\r\nhello\r\n"],
    ["a blank after the size", "5 \r\nhello\r\n"],
    ["a bare LF after the size", "5\nhello\r\n"],
    ["a bare CR after the size", "5\rhello\r\n"],
    ["an LF in an extension", "5;a\nhello\r\n"],
    ["a bare CR in an extension", "5;a\rb\r\nhello\r\n"],
    ["a control byte in an extension", "5;a\0\r\nhello\r\n"],
    ["a size beyond a double", "fffffffffffffff\r\n"],
    ["a size that is too small", "4\r\nhello"],
    ["a CR too many behind the data", "5\r\nhello\r\r\n0\r\n\r\n"],
    ["a bare LF after the data", "5\r\nhello\n0\r\n\r\n"],
    ["a bare CR after the data", "5\r\nhello\r0\r\n\r\n"],
    ["two CRs after the data", "5\r\nhello\r\r\n0\r\n\r\n"],
    ["bytes before the line end of the data", "5\r\nhello\rGET / HTTP/1.1\r\n0\r\n\r\n"],
    ["an endless extension", `5;${"a".repeat(DEFAULT_LIMITS.trailerBytes)}`],
    ["endless trailers", `0\r\n${"a: b\r\n".repeat(DEFAULT_LIMITS.trailerBytes)}`],
    ["a folded trailer", "0\r\nA: b\r\n c\r\n\r\n"],
    ["a length in the trailers", "0\r\nContent-Length: 1\r\n\r\n"],
    ["a coding in the trailers", "0\r\nTransfer-Encoding: chunked\r\n\r\n"],
    ["a Host in the trailers", "0\r\nHost: a\r\n\r\n"],
    ["a bare LF after the last chunk", "0\r\n\n"],
  ];
  for (const [name, text] of broken) {
    it(`refuses ${name}`, () => {
      const bytes = Buffer.from(text, "latin1");
      assert.throws(() => decode({ kind: "chunked" }, [bytes]), ProtocolError);
      assert.throws(
        () => decode({ kind: "chunked" }, splitAt(bytes, [...bytes.keys()])),
        ProtocolError,
      );
    });
  }

  it("may end without an end only where the connection ends the body", () => {
    assert.equal(createBodyDecoder({ kind: "close" }, DEFAULT_LIMITS).mayEnd(), true);
    assert.equal(createBodyDecoder({ kind: "chunked" }, DEFAULT_LIMITS).mayEnd(), false);
    assert.equal(createBodyDecoder({ kind: "length", length: 1 }, DEFAULT_LIMITS).mayEnd(), false);
  });
});

const token = fc.string({
  unit: fc.constantFrom(..."!#$%&'*+-.^_`|~09azAZ".split("")),
  minLength: 1,
  maxLength: 20,
});
const value = fc
  .string({ unit: fc.constantFrom(...'\t !"09az,;=\x80\xe9\xff'.split("")), maxLength: 40 })
  .map((text) => text.replace(/^[\t ]+|[\t ]+$/g, ""));

describe("isToken() and isFieldValue()", () => {
  it("know the grammar", () => {
    for (let code = 0; code < 256; code++) {
      const char = String.fromCharCode(code);
      assert.equal(isToken(char), /^[!#$%&'*+.^_`|~0-9a-zA-Z-]$/.test(char), `token ${code}`);
      // oxlint-disable-next-line no-control-regex -- the control bytes are what it is about
      assert.equal(isFieldValue(char), /^[\t\x20-\x7e\x80-\xff]$/.test(char), `value ${code}`);
    }
    assert.equal(isToken(""), false);
    assert.equal(isToken("\u0161"), false);
    assert.equal(isFieldValue("\u0161"), false);
  });

  it("agree with the parser: what passes them is read back as it was", () => {
    const lines = fc.array(fc.tuple(token, value), { maxLength: 20 });
    fc.assert(
      fc.property(lines, (fields) => {
        const known = fields.filter(
          ([name]) => !/^(host|content-length|transfer-encoding)$/i.test(name),
        );
        const text = known.map(([name, content]) => `${name}: ${content}`).join("\r\n");
        assert.deepEqual(parseTrailers(text, DEFAULT_LIMITS), known.flat());
        assert.ok(known.every(([name, content]) => isToken(name) && isFieldValue(content)));
      }),
    );
  });

  it("let no garbage through but as an error of the protocol", () => {
    const garbage = fc.string({
      unit: fc.constantFrom(..."\r\n :\0GETHTTP/1.ost\xff".split("")),
      maxLength: 60,
    });
    fc.assert(
      fc.property(garbage, (text) => {
        try {
          readRequest(`${text}\r\n\r\n`);
        } catch (error) {
          assert.ok(error instanceof ProtocolError, String(error));
        }
      }),
      { numRuns: 500 },
    );
  });
});
