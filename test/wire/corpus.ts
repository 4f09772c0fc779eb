import assert from "node:assert/strict";
import { eventually, type Peer } from "../http1-wire.ts";
import { type Case, DATE, isWhole, type Message, OK, parse, type Stage, values } from "./kit.ts";

/** A request as the app must get it. */
interface Seen {
  /** Its method and target. */
  readonly line: string;
  /** Its content. */
  readonly content?: string;
  /** Fields that it must not have. */
  readonly lacks?: readonly string[];
  /** Fields that it must have, with their values. */
  readonly has?: Readonly<Record<string, string>>;
}

/** What must come of bytes that parsers are known to disagree on; HOST stands for the case's host. */
interface RequestRow {
  readonly what: string;
  readonly bytes: string;
  /** The requests that the app gets, in their order. */
  readonly seen?: readonly Seen[];
  /** Whether it may as well be refused, with no request reaching the app whole. */
  readonly mayRefuse?: boolean;
}

const HEAD = "Host: HOST\r\n";

/** The request that must not be told from what stands around it. */
const SECOND = `GET /second HTTP/1.1\r\n${HEAD}\r\n`;

function get(path: string, lines = ""): string {
  return `GET ${path} HTTP/1.1\r\n${HEAD}${lines}\r\n`;
}

function post(lines: string, body: string): string {
  return `POST /first HTTP/1.1\r\n${HEAD}${lines}\r\n${body}`;
}

function chunked(chunks: string, lines = "Transfer-Encoding: chunked\r\n"): string {
  return post(lines, chunks);
}

function seen(line: string, content = "", more: Partial<Seen> = {}): Seen {
  return { line, content, ...more };
}

const FIRST = seen("POST /first", "hello");
const NEXT = seen("GET /second");

/** Requests that are sound, however odd they look: exactly these reach the app. */
const SOUND: RequestRow[] = [
  { what: "an empty line before it", bytes: `\r\n${get("/a")}`, seen: [seen("GET /a")] },
  {
    what: "two empty lines before it",
    bytes: `\r\n\r\n${get("/a")}`,
    seen: [seen("GET /a")],
    mayRefuse: true,
  },
  {
    what: "length 0 and another request behind it",
    bytes: post("Content-Length: 0\r\n", SECOND),
    seen: [seen("POST /first"), NEXT],
  },
  {
    what: "no framing and another request behind it",
    bytes: post("", SECOND),
    seen: [seen("POST /first"), NEXT],
  },
  {
    what: "a request in its body, by length",
    bytes: post(
      `Content-Length: ${"GET /x HTTP/1.1\r\nHost: a\r\n\r\n".length}\r\n`,
      "GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    seen: [seen("POST /first", "GET /x HTTP/1.1\r\nHost: a\r\n\r\n")],
  },
  {
    what: "a request in a chunk",
    bytes: chunked("1c\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n\r\n0\r\n\r\n"),
    seen: [seen("POST /first", "GET /x HTTP/1.1\r\nHost: a\r\n\r\n")],
  },
  {
    what: "the end of chunks in a chunk",
    bytes: chunked("7\r\n0\r\n\r\nab\r\n0\r\n\r\n"),
    seen: [seen("POST /first", "0\r\n\r\nab")],
  },
  {
    what: "a body by length that begins like chunks",
    bytes: post("Content-Length: 5\r\n", `0\r\n\r\n${SECOND}`),
    seen: [seen("POST /first", "0\r\n\r\n"), NEXT],
  },
  {
    what: "chunks and another request behind them",
    bytes: chunked(`5\r\nhello\r\n0\r\n\r\n${SECOND}`),
    seen: [FIRST, NEXT],
  },
  {
    what: "CHUNKED in capitals",
    bytes: chunked("5\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: CHUNKED\r\n"),
    seen: [FIRST],
  },
  {
    what: "a tab before its coding",
    bytes: chunked("5\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding:\tchunked\r\n"),
    seen: [FIRST],
  },
  {
    what: "blanks behind its coding",
    bytes: chunked("5\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: chunked \t\r\n"),
    seen: [FIRST],
  },
  {
    what: "an empty element before its coding",
    bytes: chunked("5\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: ,chunked\r\n"),
    seen: [FIRST],
    mayRefuse: true,
  },
  {
    what: "blanks around its length",
    bytes: post("Content-Length:  \t5\t \r\n", `hello${SECOND}`),
    seen: [FIRST, NEXT],
  },
  {
    what: "a zero before its length",
    bytes: post("Content-Length: 05\r\n", `hello${SECOND}`),
    seen: [FIRST, NEXT],
    mayRefuse: true,
  },
  {
    what: "a field that is called almost like a coding",
    bytes: post("Content-Length: 5\r\nTransfer_Encoding: chunked\r\n", "hello"),
    seen: [FIRST],
    mayRefuse: true,
  },
  {
    what: "a field that is called almost like a length",
    bytes: post("Content-Length: 5\r\nContent_Length: 3\r\nX-Content-Length: 2\r\n", "hello"),
    seen: [FIRST],
    mayRefuse: true,
  },
  {
    what: "chunk sizes with zeros before them",
    bytes: chunked("0005\r\nhello\r\n000\r\n\r\n"),
    seen: [FIRST],
  },
  {
    what: "a chunk size in capitals",
    bytes: chunked("A\r\nhellohello\r\n0\r\n\r\n"),
    seen: [seen("POST /first", "hellohello")],
  },
  {
    what: "a chunk extension that looks like a size",
    bytes: chunked("5;2\r\nhello\r\n0;5\r\n\r\n"),
    seen: [FIRST],
  },
  {
    what: "a quoted chunk extension with a semicolon",
    bytes: chunked('5;a="b;c"\r\nhello\r\n0\r\n\r\n'),
    seen: [FIRST],
  },
  {
    what: "a method in lower case",
    bytes: `get /a HTTP/1.1\r\n${HEAD}\r\n`,
    seen: [seen("get /a")],
    mayRefuse: true,
  },
  {
    what: "a target of two slashes and a host",
    bytes: get("//other.test/a"),
    seen: [seen("GET //other.test/a")],
  },
  {
    what: "its host in an absolute target",
    bytes: `GET http://HOST/abs?q HTTP/1.1\r\n${HEAD}\r\n`,
    seen: [seen("GET /abs?q")],
  },
  {
    what: "a scheme in capitals in an absolute target",
    bytes: `GET HTTP://HOST/abs HTTP/1.1\r\n${HEAD}\r\n`,
    seen: [seen("GET /abs")],
    mayRefuse: true,
  },
  {
    what: "version 1.2",
    bytes: `GET /a HTTP/1.2\r\n${HEAD}\r\n`,
    seen: [seen("GET /a")],
    mayRefuse: true,
  },
  {
    what: "a Connection that names a field",
    bytes: get("/a", "X-Secret: 1\r\nConnection: x-secret\r\n"),
    seen: [seen("GET /a", "", { lacks: ["x-secret"] })],
  },
  {
    what: "a Connection that names Host",
    bytes: get("/a", "Connection: Host, close\r\n"),
    seen: [seen("GET /a", "", { has: { host: "HOST" } })],
    mayRefuse: true,
  },
  {
    what: "a Connection that names its length",
    bytes: post("Content-Length: 5\r\nConnection: Content-Length\r\n", `hello${SECOND}`),
    seen: [FIRST, NEXT],
    mayRefuse: true,
  },
  {
    what: "a Connection that names its coding",
    bytes: chunked(
      `5\r\nhello\r\n0\r\n\r\n${SECOND}`,
      "Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding\r\n",
    ),
    seen: [FIRST, NEXT],
    mayRefuse: true,
  },
  {
    what: "a Connection that names what the proxy sets",
    bytes: get("/a", "Connection: X-Forwarded-For, X-Forwarded-Proto\r\n"),
    seen: [
      seen("GET /a", "", { has: { "x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http" } }),
    ],
  },
  {
    what: "hop-by-hop fields that Connection does not name",
    bytes: get("/a", "Keep-Alive: 5\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\n"),
    seen: [seen("GET /a", "", { lacks: ["keep-alive", "proxy-connection", "te"] })],
  },
  {
    what: "a body that was announced, sent at once, and another request behind it",
    bytes: post("Content-Length: 5\r\nExpect: 100-continue\r\n", `hello${SECOND}`),
    seen: [FIRST, NEXT],
  },
  {
    what: "an upgrade that the app does not take, and another request behind it",
    bytes: get("/a", "Connection: Upgrade\r\nUpgrade: websocket\r\n") + SECOND,
    seen: [seen("GET /a"), NEXT],
  },
  {
    what: "a trailer with a name of its own",
    bytes: chunked(`5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n${SECOND}`),
    seen: [FIRST, NEXT],
  },
  {
    what: "a value of blanks",
    bytes: get("/a", "X-A:  \t \r\n"),
    seen: [seen("GET /a", "", { has: { "x-a": "" } })],
  },
  {
    what: "a value with a colon",
    bytes: get("/a", "X-A: b: c\r\n"),
    seen: [seen("GET /a", "", { has: { "x-a": "b: c" } })],
  },
  {
    what: "every character that a name may have",
    bytes: get("/a", "!#$%&'*+-.^_`|~09aZ: 1\r\n"),
    seen: [seen("GET /a", "", { has: { "!#$%&'*+-.^_`|~09az": "1" } })],
  },
];

/** Requests that no two parsers need agree on: none of them, nor what stands behind it, reaches the app whole. */
const UNSOUND: [string, string][] = [
  // The request line.
  ["a blank behind the version", `GET /a HTTP/1.1 \r\n${HEAD}\r\n`],
  ["a NUL behind the version", `GET /a HTTP/1.1\x00\r\n${HEAD}\r\n`],
  ["version 01.1", `GET /a HTTP/01.1\r\n${HEAD}\r\n`],
  ["version 1.1.1", `GET /a HTTP/1.1.1\r\n${HEAD}\r\n`],
  ["version 1", `GET /a HTTP/1\r\n${HEAD}\r\n`],
  ["version 1.", `GET /a HTTP/1.\r\n${HEAD}\r\n`],
  ["version 1.x", `GET /a HTTP/1.x\r\n${HEAD}\r\n`],
  ["version 0.9", `GET /a HTTP/0.9\r\n${HEAD}\r\n`],
  ["version 3.0", `GET /a HTTP/3.0\r\n${HEAD}\r\n`],
  ["a blank in the version", `GET /a HTTP /1.1\r\n${HEAD}\r\n`],
  ["another protocol's name", `GET /a FTP/1.1\r\n${HEAD}\r\n`],
  ["a blank before the method", ` GET /a HTTP/1.1\r\n${HEAD}\r\n`],
  ["a tab between target and version", `GET /a\tHTTP/1.1\r\n${HEAD}\r\n`],
  ["a vertical tab in the request line", `GET\x0b/a HTTP/1.1\r\n${HEAD}\r\n`],
  ["a form feed in the target", `GET /a\x0cb HTTP/1.1\r\n${HEAD}\r\n`],
  ["a bare CR in the request line", `GET /a\rb HTTP/1.1\r\n${HEAD}\r\n`],
  ["a bare CR for the first line end", `GET /a HTTP/1.1\r${HEAD}\r\n`],
  ["a DEL in the target", `GET /a\x7f HTTP/1.1\r\n${HEAD}\r\n`],
  ["a colon in the method", `GE:T /a HTTP/1.1\r\n${HEAD}\r\n`],
  ["no method", ` /a HTTP/1.1\r\n${HEAD}\r\n`],
  ["no target", `GET HTTP/1.1\r\n${HEAD}\r\n`],
  ["only a method", `GET\r\n${HEAD}\r\n`],
  ["the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
  ["a user in an absolute target", `GET http://me:pw@HOST/ HTTP/1.1\r\n${HEAD}\r\n`],
  ["an absolute target without a host", `GET http:///a HTTP/1.1\r\n${HEAD}\r\n`],
  ["an authority for a target", `GET HOST:80 HTTP/1.1\r\n${HEAD}\r\n`],
  [
    "a backslash in the host of an absolute target",
    `GET http://HOST\\@other/ HTTP/1.1\r\n${HEAD}\r\n`,
  ],
  // Host.
  ["an empty second Host", `GET / HTTP/1.1\r\n${HEAD}Host:\r\n\r\n`],
  ["a blank before the colon of Host", "GET / HTTP/1.1\r\nHost : HOST\r\n\r\n"],
  ["a blank before Host", "GET / HTTP/1.1\r\n Host: HOST\r\n\r\n"],
  ["a Host with a fragment", "GET / HTTP/1.1\r\nHost: HOST#a\r\n\r\n"],
  ["a Host with a backslash", "GET / HTTP/1.1\r\nHost: HOST\\a\r\n\r\n"],
  ["a Host with two ports", "GET / HTTP/1.1\r\nHost: HOST:80:80\r\n\r\n"],
  ["a Host with an open bracket", "GET / HTTP/1.1\r\nHost: [::1\r\nX-Case: HOST\r\n\r\n"],
  ["a Host with a tab in it", "GET / HTTP/1.1\r\nHost: HOST\ta\r\n\r\n"],
  ["a Host with a NUL", "GET / HTTP/1.1\r\nHost: HOST\x00a\r\n\r\n"],
  ["a Host with a less-than sign", "GET / HTTP/1.1\r\nHost: <HOST>\r\n\r\n"],
  ["a folded Host", "GET / HTTP/1.1\r\nHost:\r\n HOST\r\n\r\n"],
  // Names and values.
  ["a blank in a name", get("/", "X A: 1\r\n")],
  ["a tab before a colon", get("/", "X-A\t: 1\r\n")],
  ["a NUL in a name", get("/", "X\x00A: 1\r\n")],
  ["a byte beyond ASCII in a name", get("/", "X\xe9: 1\r\n")],
  ["a name in quotes", get("/", '"X-A": 1\r\n')],
  ["a pseudo-field of HTTP/2", get("/", ":path: /admin\r\n")],
  ["a line of blanks only", get("/", " \r\n")],
  ["a line that is a second request line", get("/", "GET /second HTTP/1.1\r\n")],
  ["a vertical tab in a value", get("/", "X-A: 1\x0b2\r\n")],
  ["an escape byte in a value", get("/", "X-A: \x1b[0m\r\n")],
  ["a CR before the CRLF of a line", get("/", "X-A: 1\r\r\n")],
  ["a CR alone for the empty line", `GET / HTTP/1.1\r\n${HEAD}\r\r\n`],
  ["an LF alone for the empty line", `GET / HTTP/1.1\r\n${HEAD}\n`],
  ["a smuggled line behind a bare LF", get("/", "X-A: 1\nX-B: 2\r\n")],
  // Lengths.
  ["a length with an exponent", post("Content-Length: 5e0\r\n", `hello${SECOND}`)],
  ["a length with a point", post("Content-Length: 5.0\r\n", `hello${SECOND}`)],
  ["a length with an underscore", post("Content-Length: 0_5\r\n", `hello${SECOND}`)],
  ["a length with a semicolon", post("Content-Length: 5;\r\n", `hello${SECOND}`)],
  ["a length in quotes", post('Content-Length: "5"\r\n', `hello${SECOND}`)],
  ["a length with a comma behind it", post("Content-Length: 5,\r\n", `hello${SECOND}`)],
  ["a list of two lengths", post("Content-Length: 5, 6\r\n", `hello${SECOND}`)],
  ["a length with a NUL", post("Content-Length: 5\x00\r\n", `hello${SECOND}`)],
  ["a length with a vertical tab", post("Content-Length: \x0b5\r\n", `hello${SECOND}`)],
  ["a length of a minus alone", post("Content-Length: -\r\n", `hello${SECOND}`)],
  ["a length of -1", post("Content-Length: -1\r\n", `hello${SECOND}`)],
  ["a length beyond 64 bits", post("Content-Length: 18446744073709551621\r\n", `hello${SECOND}`)],
  ["a folded length", post("Content-Length:\r\n 5\r\n", `hello${SECOND}`)],
  ["a blank before the colon of a length", post("Content-Length : 5\r\n", `hello${SECOND}`)],
  ["a length and a second, empty one", post("Content-Length: 5\r\nContent-Length:\r\n", "hello")],
  // Codings: each of them some parser takes for chunked, and some other does not.
  ...[
    "xchunked",
    "chunkedx",
    "chunk",
    '"chunked"',
    "'chunked'",
    "chunked;q=1",
    "chunked, chunked",
    "identity, chunked",
    "chunked, gzip",
    "gzip, chunked",
    "identity",
    "chunked\x0b",
    "\x00chunked",
    "chun\tked",
    "cow",
    "",
  ].map((coding): [string, string] => [
    `the coding ${JSON.stringify(coding)}`,
    chunked(`0\r\n\r\n${SECOND}`, `Transfer-Encoding: ${coding}\r\n`),
  ]),
  ...[
    "Transfer-Encoding : chunked\r\n",
    "Transfer-Encoding\t: chunked\r\n",
    " Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding:\r\n chunked\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n",
    "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n",
    "X-A: 1\nTransfer-Encoding: chunked\r\n",
    "X-A: 1\rTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding\n: chunked\r\n",
    "Transfer-Encoding\x00: chunked\r\n",
    "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
    "Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
  ].map((lines): [string, string] => [
    `the framing ${JSON.stringify(lines.slice(0, -2))}`,
    post(`Content-Length: 5\r\n${lines}`, `0\r\n\r\n${SECOND}`),
  ]),
  // Chunks.
  ...[
    "5\r\nhello0\r\n\r\n",
    "5\r\nhello\r\r\n0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "5\r\nhello\r\n0\n\r\n",
    "5\r\nhello\r\n0\r\n\n",
    "5\r\nhello\r\n-0\r\n\r\n",
    "5\r\nhello\r\n0x0\r\n\r\n",
    "5\r\nhello\r\n\r\n\r\n",
    " 5\r\nhello\r\n0\r\n\r\n",
    "5,\r\nhello\r\n0\r\n\r\n",
    "5 5\r\nhello\r\n0\r\n\r\n",
    "5\x00\r\nhello\r\n0\r\n\r\n",
    "5\rhello\r\n0\r\n\r\n",
    '5;a="\r\n"\r\nhello\r\n0\r\n\r\n',
    "5;\x00\r\nhello\r\n0\r\n\r\n",
    `5;${"a".repeat(200_000)}\r\nhello\r\n0\r\n\r\n`,
    "100000000000000005\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\r\nX-A : 1\r\n\r\n",
    "5\r\nhello\r\n0\r\nX A: 1\r\n\r\n",
    "5\r\nhello\r\n0\r\nX-A: 1\n\r\n",
    "5\r\nhello\r\n0\r\nX-A: 1\r\n 2\r\n\r\n",
    "5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    `5\r\nhello\r\n0\r\n${SECOND}`,
    `5\r\nhello\r\n0\r\nX-A: ${"a".repeat(200_000)}\r\n\r\n`,
  ].map((chunks): [string, string] => [
    `the chunks ${JSON.stringify(chunks.length > 60 ? `${chunks.slice(0, 40)}…` : chunks)}`,
    chunked(chunks + SECOND),
  ]),
  ["a sound request behind an unsound one", get("/a b") + SECOND],
];

/** What must come of an answer of the app. */
interface ResponseRow {
  readonly what: string;
  readonly bytes: string;
  readonly method?: string;
  /** The status and content that the client gets. */
  readonly got?: readonly [status: number, content: string];
  /** Whether it may as well be refused, with 502. */
  readonly mayRefuse?: boolean;
}

function ok(lines: string, body = ""): string {
  return `HTTP/1.1 200 OK\r\n${DATE}\r\n${lines}\r\n${body}`;
}

const EVIL = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";

/** Answers of which the client gets exactly one reading. */
const ANSWERS: ResponseRow[] = [
  {
    what: "no reason and no blank before it",
    bytes: `HTTP/1.1 200\r\n${DATE}\r\nContent-Length: 2\r\n\r\nok`,
    got: [200, "ok"],
    mayRefuse: true,
  },
  {
    what: "an empty reason",
    bytes: `HTTP/1.1 200 \r\n${DATE}\r\nContent-Length: 2\r\n\r\nok`,
    got: [200, "ok"],
  },
  {
    what: "a reason with bytes beyond ASCII",
    bytes: `HTTP/1.1 200 d\xe9j\xe0\r\n${DATE}\r\nContent-Length: 2\r\n\r\nok`,
    got: [200, "ok"],
  },
  {
    what: "version 1.0",
    bytes: `HTTP/1.0 200 OK\r\n${DATE}\r\nContent-Length: 2\r\n\r\nok`,
    got: [200, "ok"],
  },
  {
    what: "an empty line before it",
    bytes: `\r\n${ok("Content-Length: 2\r\n", "ok")}`,
    got: [200, "ok"],
    mayRefuse: true,
  },
  {
    what: "two equal lengths",
    bytes: ok("Content-Length: 2\r\nContent-Length: 2\r\n", "ok"),
    got: [200, "ok"],
    mayRefuse: true,
  },
  {
    what: "a zero before the length",
    bytes: ok("Content-Length: 02\r\n", "ok"),
    got: [200, "ok"],
    mayRefuse: true,
  },
  {
    what: "blanks around the length",
    bytes: ok("Content-Length:\t 2 \r\n", "ok"),
    got: [200, "ok"],
  },
  {
    what: "CHUNKED in capitals",
    bytes: ok("Transfer-Encoding: CHUNKED\r\n", "2\r\nok\r\n0\r\n\r\n"),
    got: [200, "ok"],
  },
  {
    what: "an extension on the last chunk",
    bytes: ok("Transfer-Encoding: chunked\r\n", "2\r\nok\r\n0;a=b\r\n\r\n"),
    got: [200, "ok"],
  },
  {
    what: "an answer in its body",
    bytes: ok(`Content-Length: ${EVIL.length}\r\n`, EVIL),
    got: [200, EVIL],
  },
  {
    what: "a body behind 204",
    bytes: `HTTP/1.1 204 No Content\r\n${DATE}\r\n\r\n${EVIL}`,
    got: [204, ""],
  },
  {
    what: "a body behind 304",
    bytes: `HTTP/1.1 304 Not Modified\r\n${DATE}\r\nContent-Length: 4\r\n\r\n${EVIL}`,
    got: [304, ""],
  },
  {
    what: "a body behind the answer to HEAD",
    method: "HEAD",
    bytes: ok(`Content-Length: ${EVIL.length}\r\n`, EVIL),
    got: [200, ""],
  },
  {
    what: "chunks behind the answer to HEAD",
    method: "HEAD",
    bytes: ok("Transfer-Encoding: chunked\r\n", "2\r\nok\r\n0\r\n\r\n"),
    got: [200, ""],
  },
  {
    what: "another answer behind it",
    bytes: ok("Content-Length: 2\r\n", `ok${EVIL}`),
    got: [200, "ok"],
  },
  {
    what: "another answer behind its chunks",
    bytes: ok("Transfer-Encoding: chunked\r\n", `2\r\nok\r\n0\r\n\r\n${EVIL}`),
    got: [200, "ok"],
  },
  {
    what: "50 times 102 before it",
    bytes: "HTTP/1.1 102 Processing\r\n\r\n".repeat(50) + ok("Content-Length: 2\r\n", "ok"),
    got: [200, "ok"],
    mayRefuse: true,
  },
  {
    what: "100 before it, unasked",
    bytes: `HTTP/1.1 100 Continue\r\n\r\n${ok("Content-Length: 2\r\n", "ok")}`,
    got: [200, "ok"],
  },
];

/** Answers that have no one reading: the client gets 502, or sees that the answer broke off. */
const NO_ANSWERS: [string, string][] = [
  ["two blanks in the status line", `HTTP/1.1  200 OK\r\n${DATE}\r\nContent-Length: 2\r\n\r\nok`],
  ["no blank before the reason", `HTTP/1.1 200OK\r\n${DATE}\r\nContent-Length: 2\r\n\r\nok`],
  ["a tab in the status line", `HTTP/1.1\t200 OK\r\n${DATE}\r\nContent-Length: 2\r\n\r\nok`],
  ["version 2", `HTTP/2 200\r\n${DATE}\r\nContent-Length: 2\r\n\r\nok`],
  ["version 2.0", `HTTP/2.0 200 OK\r\n${DATE}\r\nContent-Length: 2\r\n\r\nok`],
  ["a signed status", `HTTP/1.1 +200 OK\r\n${DATE}\r\nContent-Length: 2\r\n\r\nok`],
  ["a status with a zero before it", `HTTP/1.1 0200 OK\r\n${DATE}\r\nContent-Length: 2\r\n\r\nok`],
  ["status 000", `HTTP/1.1 000 X\r\n${DATE}\r\nContent-Length: 2\r\n\r\nok`],
  ["status 999", `HTTP/1.1 999 X\r\n${DATE}\r\nContent-Length: 2\r\n\r\nok`],
  ["a status of letters", `HTTP/1.1 abc X\r\n${DATE}\r\nContent-Length: 2\r\n\r\nok`],
  ["ICY for a version", `ICY 200 OK\r\n${DATE}\r\nContent-Length: 2\r\n\r\nok`],
  ["a blank before the status line", ` HTTP/1.1 200 OK\r\n${DATE}\r\nContent-Length: 2\r\n\r\nok`],
  ["a NUL in the reason", `HTTP/1.1 200 O\x00K\r\n${DATE}\r\nContent-Length: 2\r\n\r\nok`],
  ["a bare CR in the reason", `HTTP/1.1 200 O\rK\r\n${DATE}\r\nContent-Length: 2\r\n\r\nok`],
  ["a blank in a name", ok("X A: 1\r\nContent-Length: 2\r\n", "ok")],
  ["a NUL in a name", ok("X\x00A: 1\r\nContent-Length: 2\r\n", "ok")],
  ["no name", ok(": 1\r\nContent-Length: 2\r\n", "ok")],
  ["no colon", ok("X-A\r\nContent-Length: 2\r\n", "ok")],
  ["a cookie behind a bare LF", ok("X-A: 1\nSet-Cookie: a=b\r\nContent-Length: 2\r\n", "ok")],
  ["a hexadecimal length", ok("Content-Length: 0x2\r\n", "ok")],
  ["a signed length", ok("Content-Length: +2\r\n", "ok")],
  ["an empty length", ok("Content-Length:\r\n", "ok")],
  ["a length of two numbers", ok("Content-Length: 2 2\r\n", "ok")],
  ["a length with a semicolon", ok("Content-Length: 2;\r\n", "ok")],
  ["a length beyond 64 bits", ok("Content-Length: 18446744073709551618\r\n", "ok")],
  [
    "a blank before the colon of its coding",
    ok("Transfer-Encoding : chunked\r\n", "2\r\nok\r\n0\r\n\r\n"),
  ],
  [
    "chunked that is not the last coding",
    ok("Transfer-Encoding: chunked, gzip\r\n", "2\r\nok\r\n0\r\n\r\n"),
  ],
  ["chunked twice", ok("Transfer-Encoding: chunked, chunked\r\n", "2\r\nok\r\n0\r\n\r\n")],
  ["a coding in quotes", ok('Transfer-Encoding: "chunked"\r\n', "2\r\nok\r\n0\r\n\r\n")],
  [
    "chunks in HTTP/1.0",
    ok("Transfer-Encoding: chunked\r\n", "2\r\nok\r\n0\r\n\r\n").replace("1.1", "1.0"),
  ],
  ["a chunk size that is no number", ok("Transfer-Encoding: chunked\r\n", "x\r\nok\r\n0\r\n\r\n")],
  [
    "a chunk that is longer than its size",
    ok("Transfer-Encoding: chunked\r\n", "2\r\nokay\r\n0\r\n\r\n"),
  ],
  ["a bare LF behind a chunk size", ok("Transfer-Encoding: chunked\r\n", "2\nok\r\n0\r\n\r\n")],
  [
    "a trailer that frames",
    ok("Transfer-Encoding: chunked\r\n", "2\r\nok\r\n0\r\nContent-Length: 9\r\n\r\n"),
  ],
  [
    "a trailer without a colon",
    ok("Transfer-Encoding: chunked\r\n", "2\r\nok\r\n0\r\nX-A\r\n\r\n"),
  ],
  ["an end in the middle of a chunk", ok("Transfer-Encoding: chunked\r\n", "5\r\nok")],
  ["an end before its length", ok("Content-Length: 5\r\n", "ok")],
  ["more than 1,000 lines", ok(`${"X: 1\r\n".repeat(1001)}Content-Length: 2\r\n`, "ok")],
];

/** Sends bytes, has the app answer every whole request that comes, and returns what it got and what the client did. */
async function send(
  stage: Stage,
  bytes: string,
  count: number,
): Promise<{ requests: Message[]; text: string }> {
  const client = await stage.dial();
  client.send(bytes.replaceAll("HOST", stage.host));
  const requests: Peer[] = [];
  const answers = (): number => client.text().split(/HTTP\/1\.[01] (?!1)\d{3}/).length - 1;
  const look = (): boolean => {
    for (const app of stage.asking) {
      if (requests.includes(app) || !isWhole(app.text())) continue;
      requests.push(app);
      app.send(OK);
    }
    return client.isOver() || answers() >= count || requests.length > count;
  };
  await eventually(look, () => `for ${count} answers in ${JSON.stringify(client.text())}`);
  // Whatever has been taken for one more request is on its way by now.
  await new Promise((resolve) => setTimeout(resolve, 20));
  look();
  return { requests: requests.map((app) => parse(app.text())), text: client.text() };
}

/** Tells whether nothing but a refusal has come. */
function isRefused(text: string): boolean {
  return text === "" || /^HTTP\/1\.1 (?:4\d\d|501|505) /.test(text);
}

function compare(requests: readonly Message[], wanted: readonly Seen[], host: string): void {
  assert.deepEqual(
    requests.map(({ startLine, content }) => [startLine, content]),
    wanted.map(({ line, content = "" }) => [`${line} HTTP/1.1`, content]),
  );
  for (const [index, { lacks = [], has = {} }] of wanted.entries()) {
    const lines = requests[index]?.lines ?? [];
    for (const name of lacks) assert.deepEqual(values(lines, name), [], name);
    for (const [name, value] of Object.entries(has))
      assert.deepEqual(values(lines, name), [value.replaceAll("HOST", host)], name);
  }
}

/** Asks for an answer, gives it, and returns what the client got; its connection must serve the next request, or end. */
async function receive(stage: Stage, bytes: string, method: string): Promise<[number, string]> {
  const client = await stage.dial();
  client.send(`${method} /first HTTP/1.1\r\nHost: ${stage.host}\r\n\r\n`);
  const app = await stage.asked();
  app.send(bytes);
  app.socket.end();
  const isBodiless = (): boolean =>
    method === "HEAD" || /^HTTP\/1\.1 (?:204|304)/.test(last(client));
  await eventually(
    () =>
      client.isOver() || (isBodiless() ? last(client).includes("\r\n\r\n") : isWhole(last(client))),
    () => `for an answer in ${JSON.stringify(client.text())}`,
  );
  const whole = last(client);
  const status = Number(whole.slice(9, 12));
  const { content } = parse(whole);
  // A broken answer shows as one: fewer bytes than said, no last chunk, or the connection's end.
  const isBroken = !isBodiless() && !isWhole(whole);
  if (!client.isOver()) {
    client.clear();
    client.send(`GET /next HTTP/1.1\r\nHost: ${stage.host}\r\n\r\n`);
    const next = await stage.asked();
    assert.match(next.text(), /^GET \/next /);
    next.send(OK);
    assert.equal(parse(await client.until(isWhole)).content, "ok");
  }
  return [isBroken ? 0 : status, content];
}

/** What has come but for informational answers. */
function last(client: Peer): string {
  return client.text().replaceAll(/HTTP\/1\.1 1\d\d [^\r]*\r\n(?:[^\r]+\r\n)*\r\n/g, "");
}

/** What parsers of public suites are tried with: who stands in front must read it as who stands behind, or refuse it. */
export const corpus: readonly Case[] = [
  ...SOUND.map(({ what, bytes, seen: wanted = [], mayRefuse = false }): Case => ({
    topic: "corpus",
    name: `reads in one way a request with ${what}`,
    run: async (stage) => {
      const { requests, text } = await send(stage, bytes, wanted.length);
      if (mayRefuse && requests.length === 0) assert.ok(isRefused(text), text);
      else compare(requests, wanted, stage.host);
    },
  })),
  ...UNSOUND.map(([what, bytes]): Case => ({
    topic: "corpus",
    name: `lets no request through with ${what}`,
    run: async (stage) => {
      const { requests, text } = await send(stage, bytes, 1);
      assert.deepEqual(
        requests.map(({ startLine }) => startLine),
        [],
      );
      assert.ok(isRefused(text), text);
      for (const app of stage.asking) assert.ok(!app.text().includes("/second"), app.text());
    },
  })),
  ...ANSWERS.map(({ what, bytes, method = "GET", got, mayRefuse = false }): Case => ({
    topic: "corpus",
    name: `reads in one way an answer with ${what}`,
    run: async (stage) => {
      const [status, content] = await receive(stage, bytes, method);
      if (!mayRefuse || status !== 502) assert.deepEqual([status, content], got);
    },
  })),
  ...NO_ANSWERS.map(([what, bytes]): Case => ({
    topic: "corpus",
    name: `lets no answer through with ${what}`,
    run: async (stage) => {
      const [status] = await receive(stage, bytes, "GET");
      assert.ok(status === 0 || status === 502, `status ${status}`);
    },
  })),
];
