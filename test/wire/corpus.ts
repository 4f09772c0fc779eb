import assert from "node:assert/strict";
import { eventually, type Peer } from "../http1-wire.ts";
import { type Case, DATE, type Stage, values } from "./kit.ts";

/** Bytes from a client, and what the app must see of them. `HOST` stands for the name of the case. */
interface Asking {
  readonly what: string;
  readonly bytes: string;
  /** What is sent behind the bytes, once they have been sent alone: some servers see only one of the two. */
  readonly behind?: string;
  /** The requests that the app sees, in their order. */
  readonly sees: readonly Seen[];
  /** What becomes of what stands behind them; by default the connection stays, and the next request is served. */
  readonly next?: "refused" | "closed";
  /** The rules allow to refuse it too. */
  readonly orRefused?: boolean;
  /** The app may see the begin of a request, and never its end. */
  readonly unfinished?: boolean;
  /** The client ends its side behind the bytes. */
  readonly ends?: boolean;
}

/** A request as the app sees it. */
interface Seen {
  /** Method and target. */
  readonly start: string;
  /** By default there is no body. */
  readonly framing?: "none" | "length" | "chunks";
  readonly content?: string;
  /** The values that lines with a name have, in lower case; none: there is no such line in the head. */
  readonly lines?: Readonly<Record<string, readonly string[]>>;
}

/** Bytes from the app, and what the client must see of them. */
interface Answering {
  readonly what: string;
  readonly bytes: string;
  readonly method?: string;
  /** What the client gets; undefined: 502. */
  readonly gets?: Got;
  /** The rules allow to refuse it too. */
  readonly orRefused?: boolean;
  /** The client may get the begin of the answer, and never its end. */
  readonly unfinished?: boolean;
  /** The app ends its side behind the bytes. */
  readonly ends?: boolean;
}

/** An answer as the client sees it. */
interface Got {
  readonly status: number;
  readonly content?: string;
  /** The values that lines with a name have, in lower case; none: there is no such line. */
  readonly lines?: Readonly<Record<string, readonly string[]>>;
}

/** A message that was read without any tolerance. */
interface Strict {
  readonly start: string;
  readonly lines: readonly string[];
  readonly framing: "none" | "length" | "chunks" | "close";
  readonly content: string;
  /** Where the next message begins. */
  readonly end: number;
}

/** Reads the message that begins at an index; undefined: it is not whole, or not exactly a message. */
function readStrictly(text: string, from: number, method: string | undefined): Strict | undefined {
  const headEnd = text.indexOf("\r\n\r\n", from);
  if (headEnd === -1) return undefined;
  const [start = "", ...lines] = text.slice(from, headEnd).split("\r\n");
  const begin = headEnd + 4;
  const lengths = values(lines, "content-length");
  const codings = values(lines, "transfer-encoding");
  assert.ok(lengths.length + codings.length < 2, `framed more than once: ${start}`);
  const status = Number(/^HTTP\/1\.[01] (\d{3}) /.exec(start)?.[1] ?? 0);
  const bodiless = method === "HEAD" || (status >= 100 && status < 200) || status === 204;
  if (bodiless || status === 304) return { start, lines, framing: "none", content: "", end: begin };
  if (codings.length > 0) {
    assert.deepEqual(codings, ["chunked"]);
    return readChunks(text, begin, start, lines);
  }
  if (lengths.length > 0) {
    assert.match(lengths[0] ?? "", /^\d+$/);
    const end = begin + Number(lengths[0]);
    const content = text.slice(begin, end);
    return text.length < end ? undefined : { start, lines, framing: "length", content, end };
  }
  if (status === 0) return { start, lines, framing: "none", content: "", end: begin };
  return { start, lines, framing: "close", content: text.slice(begin), end: text.length };
}

function readChunks(
  text: string,
  begin: number,
  start: string,
  lines: readonly string[],
): Strict | undefined {
  let content = "";
  for (let at = begin; ;) {
    const size = /^([0-9a-f]+)\r\n/i.exec(text.slice(at, at + 20));
    if (size === null) return undefined;
    const length = Number.parseInt(size[1] ?? "", 16);
    at += size[0].length;
    if (length === 0) {
      if (text.startsWith("\r\n", at))
        return { start, lines, framing: "chunks", content, end: at + 2 };
      const end = text.indexOf("\r\n\r\n", at);
      return end === -1 ? undefined : { start, lines, framing: "chunks", content, end: end + 4 };
    }
    content += text.slice(at, at + length);
    at += length + 2;
    if (text.slice(at - 2, at) !== "\r\n") return undefined;
  }
}

/** Reads the final answers of a connection, to requests with these methods. */
function readAnswers(text: string, methods: readonly string[]): Strict[] {
  const answers: Strict[] = [];
  for (let at = 0; at < text.length;) {
    const answer = readStrictly(text, at, methods[answers.length]);
    if (answer === undefined) return answers;
    if (!/^HTTP\/1\.1 1\d\d /.test(answer.start)) answers.push(answer);
    at = answer.end;
  }
  return answers;
}

/** What an app saw on a connection: one request and nothing behind it, or undefined when it is not whole. */
function readRequest(peer: Peer): Strict | undefined {
  const text = peer.text();
  const request = readStrictly(text, 0, undefined);
  if (request !== undefined)
    assert.equal(text.slice(request.end), "", "something stands behind the request");
  return request;
}

function methodAndTarget(start: string): string {
  return start.replace(/ HTTP\/1\.1$/, "");
}

/** Answers each request that is whole with the start of what was read. */
function createAnswerer(stage: Stage): () => void {
  const answered = new Set<Peer>();
  return () => {
    for (const peer of stage.asking) {
      const request = answered.has(peer) ? undefined : readRequest(peer);
      if (request === undefined) continue;
      answered.add(peer);
      const content = methodAndTarget(request.start);
      const head = `HTTP/1.1 200 OK\r\n${DATE}\r\nContent-Length: ${content.length}`;
      const body = content.startsWith("HEAD ") ? "" : content;
      peer.send(`${head}\r\nConnection: close\r\n\r\n${body}`);
      peer.socket.end();
    }
  };
}

function get(target: string): string {
  return `GET ${target} HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n`;
}

/** What stands behind the bytes of a row shows where the proxy takes its last message to end. */
const NEXT = get("/next");

/** What is asked on another connection then: the proxy lives, and gives it its own answer. */
const AFTER = get("/after");

/** Holds a row against the proxy: what the app saw, and what the client got for it. */
async function ask(stage: Stage, row: Asking): Promise<void> {
  const earlier = stage.asking.length;
  const answer = createAnswerer(stage);
  const named = (text: string): string => text.replaceAll("HOST", stage.host);
  const methods = [...row.sees.map(({ start }) => start.split(" ")[0] ?? ""), "GET", "GET"];
  const client = await stage.dial();
  const waitFor = (check: () => boolean): Promise<void> =>
    eventually(
      () => {
        answer();
        return check();
      },
      () => `in ${row.what}: ${JSON.stringify(client.text().slice(-1000))}`,
    );
  client.send(named(row.bytes));
  if (row.ends === true) {
    // A proxy that lets go of the app when its client leaves must not owe it to that alone that the app saw nothing whole.
    await waitFor(() => client.text() !== "" || client.isOver() || stage.asking.length > earlier);
    client.socket.end();
  }
  const due = Math.max(1, row.sees.length) + (row.next === "refused" ? 1 : 0);
  await waitFor(() => client.isOver() || readAnswers(client.text(), methods).length >= due);
  if (!client.isOver() && row.ends !== true) {
    client.send(named(NEXT));
    await waitFor(() => client.isOver());
  }
  const other = await stage.dial();
  other.send(named(AFTER));
  await waitFor(() => other.isOver());
  assert.deepEqual(
    readAnswers(other.text(), ["GET"]).map(({ content }) => content),
    ["GET /after"],
  );
  // The proxy breaks off what it has begun and cannot end; what stays open could still become whole.
  const asking = stage.asking.slice(earlier);
  for (const app of asking) {
    const mustBreak = row.unfinished === true || readRequest(app) === undefined;
    if (mustBreak) await waitFor(() => app.isOver());
  }
  check(stage.host, asking, row, readAnswers(client.text(), methods));
}

function check(
  host: string,
  asking: readonly Peer[],
  row: Asking,
  answers: readonly Strict[],
): void {
  const whole = asking.map(readRequest).filter((request) => request !== undefined);
  if (row.unfinished !== true && row.orRefused !== true)
    assert.equal(whole.length, asking.length, "cut requests");
  const starts = whole.map(({ start }) => methodAndTarget(start));
  const asked = whole.filter((_, index) => !/^GET \/(?:next|after)$/.test(starts[index] ?? ""));
  const isRefused = row.sees.length === 0 || (row.orRefused === true && asked.length === 0);
  const sees = isRefused ? [] : row.sees;
  assert.deepEqual(
    asked.map(({ start }) => start),
    sees.map(({ start }) => `${start} HTTP/1.1`),
  );
  for (const [index, { framing = "none", content = "", lines = {} }] of sees.entries()) {
    const request = asked[index];
    assert.ok(request !== undefined);
    // A request that could have a body says so when it has none.
    const isEmpty = request.framing === "length" && request.content === "";
    assert.equal(isEmpty && framing === "none" ? "none" : request.framing, framing);
    assert.equal(request.content, content);
    for (const [name, expected] of Object.entries(lines))
      assert.deepEqual(
        values(request.lines, name),
        expected.map((value) => value.replaceAll("HOST", host)),
        name,
      );
  }
  const own = answers.slice(0, sees.length);
  assert.deepEqual(
    own.map((one) => [one.start.slice(9, 12), one.content]),
    sees.map(({ start }) => ["200", start.startsWith("HEAD ") ? "" : start]),
  );
  const isNextServed = starts.includes("GET /next");
  const rest = answers.slice(sees.length);
  if (isNextServed) assert.equal(rest.pop()?.content, "GET /next");
  if (isRefused || row.next === "refused") {
    assert.ok(rest.length <= 1, "more than one refusal");
    for (const { start } of rest) assert.match(start, /^HTTP\/1\.[01] (?:4\d\d|50[15]) /);
  } else {
    assert.deepEqual(rest, []);
    if (row.orRefused !== true)
      assert.equal(isNextServed, row.next !== "closed", "the next request");
  }
}

/** Holds a row against the proxy: what the client got, and that the next request gets its own answer. */
async function tell(stage: Stage, row: Answering): Promise<void> {
  const { method = "GET" } = row;
  const client = await stage.dial();
  client.send(`${method} / HTTP/1.1\r\nHost: ${stage.host}\r\n\r\n`);
  const app = await stage.asked();
  app.send(row.bytes);
  if (row.ends === true) app.socket.end();
  await eventually(
    () => client.isOver() || readAnswers(client.text(), [method]).length > 0,
    () => `for an answer in ${JSON.stringify(client.text().slice(-1000))}`,
  );
  let next = client;
  if (client.isOver()) next = await stage.dial();
  next.send(get("/next").replaceAll("HOST", stage.host));
  const nextApp = await stage.asked();
  nextApp.send(`HTTP/1.1 200 OK\r\n${DATE}\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnext`);
  await next.over();
  assert.equal(stage.asking.length, 2);
  const answers = readAnswers(client.text(), [method, "GET"]);
  if (next === client) assert.equal(answers.pop()?.content, "next");
  else assert.equal(readAnswers(next.text(), ["GET"])[0]?.content, "next");
  assert.ok(!client.text().includes("evil") && !next.text().includes("evil"));
  const [answer] = answers;
  const isRefused = answer?.start.startsWith("HTTP/1.1 502 ") === true;
  if (row.unfinished === true) {
    assert.ok(isRefused || answer === undefined, "the client takes it for whole");
    return;
  }
  assert.equal(answers.length, 1);
  const { gets } = row;
  if (gets === undefined || (row.orRefused === true && isRefused)) {
    assert.ok(isRefused, answer?.start);
    return;
  }
  assert.equal(answer?.start.slice(9, 12), String(gets.status));
  assert.equal(answer?.content, gets.content ?? "");
  for (const [name, expected] of Object.entries(gets.lines ?? {}))
    assert.deepEqual(values(answer?.lines ?? [], name), expected, name);
}

/** A request that nobody may see. */
const EVIL = "GET /evil HTTP/1.1\r\nHost: HOST\r\n\r\n";

function refused(what: string, bytes: string): Asking {
  return { what, bytes, behind: EVIL, sees: [] };
}

function request(start: string, lines: readonly string[], body = ""): string {
  return [`${start} HTTP/1.1`, "Host: HOST", ...lines, "", body].join("\r\n");
}

function post(lines: readonly string[], body = ""): string {
  return request("POST /", lines, body);
}

const CHUNKED = "Transfer-Encoding: chunked";
const CHUNKS = "3\r\nabc\r\n0\r\n\r\n";

/** Start lines that are none. */
const BAD_START_LINES: [string, string][] = [
  ["version 0.9", "GET / HTTP/0.9"],
  ["version 3.0", "GET / HTTP/3.0"],
  ["version 1", "GET / HTTP/1"],
  ["version 1.", "GET / HTTP/1."],
  ["version .1", "GET / HTTP/.1"],
  ["version 11", "GET / HTTP/11"],
  ["version 1.1.1", "GET / HTTP/1.1.1"],
  ["version 01.1", "GET / HTTP/01.1"],
  ["version 1.01", "GET / HTTP/1.01"],
  ["version +1.1", "GET / HTTP/+1.1"],
  ["version 1,1", "GET / HTTP/1,1"],
  ["version 1.1a", "GET / HTTP/1.1a"],
  ["version 1.1 and a NUL", "GET / HTTP/1.1\0"],
  ["a blank behind the version", "GET / HTTP/1.1 "],
  ["a tab behind the version", "GET / HTTP/1.1\t"],
  ["a blank inside the version", "GET / HTTP/ 1.1"],
  ["HTTPS as the protocol", "GET / HTTPS/1.1"],
  ["HTTP in mixed case", "GET / Http/1.1"],
  ["the protocol of another family", "DESCRIBE / RTSP/1.0"],
  ["a blank before the method", " GET / HTTP/1.1"],
  ["a tab before the method", "\tGET / HTTP/1.1"],
  ["no method", "/ HTTP/1.1"],
  ["no target", "GET HTTP/1.1"],
  ["a method and blanks", "GET   HTTP/1.1"],
  ["nothing but blanks", "   "],
  ["a vertical tab for a blank", "GET\v/ HTTP/1.1"],
  ["a form feed for a blank", "GET /\fHTTP/1.1"],
  ["a no-break space for a blank", "GET\xa0/ HTTP/1.1"],
  ["a NUL in the method", "GE\0T / HTTP/1.1"],
  ["a colon behind the method", "GET: / HTTP/1.1"],
  ["a method in quotes", '"GET" / HTTP/1.1'],
  ["a list of methods", "GET,POST / HTTP/1.1"],
  ["a method beyond ASCII", "G\xcbT / HTTP/1.1"],
  ["a byte order mark", "\xef\xbb\xbfGET / HTTP/1.1"],
  ["a NUL in the target", "GET /a\0b HTTP/1.1"],
  ["a tab in the target", "GET /a\tb HTTP/1.1"],
  ["a DEL in the target", "GET /a\x7fb HTTP/1.1"],
  ["a bare CR in the target", "GET /a\rb HTTP/1.1"],
  ["a second target", "GET / / HTTP/1.1"],
  ["a second version", "GET / HTTP/1.1 HTTP/1.1"],
  ["a field in its place", "Host: HOST"],
  ["an answer in its place", "HTTP/1.1 200 OK"],
  ["the line that tells a proxy's client", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2"],
  ["the preface of HTTP/2", "PRI * HTTP/2.0"],
  ["a target that begins with a backslash", "GET \\a HTTP/1.1"],
  ["a target that begins with a query", "GET ?a HTTP/1.1"],
  ["a target that begins with @", "GET @evil.test/ HTTP/1.1"],
  ["a target that is a port", "GET :80/ HTTP/1.1"],
  ["a target that is a host", "GET HOST/ HTTP/1.1"],
  ["a target that is a host and a port", "GET HOST:80 HTTP/1.1"],
  ["* as the target of POST", "POST * HTTP/1.1"],
  ["two * as the target", "OPTIONS ** HTTP/1.1"],
  ["a query behind *", "OPTIONS *?a HTTP/1.1"],
];

/** Absolute targets that name no host to ask over HTTP. */
const BAD_ABSOLUTE: [string, string][] = [
  ["one slash", "GET http:/a HTTP/1.1"],
  ["no host", "GET http:///a HTTP/1.1"],
  ["a query and no host", "GET http://?a HTTP/1.1"],
  ["nothing behind the scheme", "GET http:// HTTP/1.1"],
  ["ftp as the scheme", "GET ftp://HOST/ HTTP/1.1"],
  ["file as the scheme", "GET file:///etc/passwd HTTP/1.1"],
  ["a user before the host", "GET http://me@HOST/ HTTP/1.1"],
  ["another host before @", "GET http://evil.test:80@HOST/ HTTP/1.1"],
  ["a backslash behind the host", "GET http://HOST\\@evil.test/ HTTP/1.1"],
  ["a port that is none", "GET http://HOST:a/ HTTP/1.1"],
  ["half an IPv6 address", "GET http://[::1/ HTTP/1.1"],
  ["an IPv6 address and more", "GET http://[::1]evil.test/ HTTP/1.1"],
  ["a fragment behind the host", "GET http://HOST#a HTTP/1.1"],
];

/** Host lines that nobody may believe. */
const BAD_HOSTS: [string, string][] = [
  ["two ports", "Host: HOST:80:81"],
  ["a negative port", "Host: HOST:-1"],
  ["a signed port", "Host: HOST:+80"],
  ["a hexadecimal port", "Host: HOST:0x50"],
  ["a blank before the port", "Host: HOST: 80"],
  ["half an IPv6 address", "Host: [::1"],
  ["an IPv6 address without brackets", "Host: ::1"],
  ["an IPv6 address and more", "Host: [::1]evil.test"],
  ["a backslash", "Host: HOST\\evil.test"],
  ["a fragment", "Host: HOST#evil.test"],
  ["a scheme", "Host: http://HOST/"],
  ["quotes", 'Host: "HOST"'],
  ["angle brackets", "Host: <HOST>"],
  ["a tab", "Host: HOST\tevil.test"],
  ["a NUL", "Host: HOST\0.evil.test"],
  ["bytes beyond ASCII", "Host: caf\xe9.test"],
  ["a blank before its colon", "Host : HOST"],
  ["a tab before its colon", "Host\t: HOST"],
  ["a second part on the next line", "Host: HOST\r\n\tevil.test"],
  ["its value on the next line", "Host:\r\n HOST"],
  ["a second that is empty", "Host: HOST\r\nHost:"],
  ["an empty one before it", "Host:\r\nHost: HOST"],
  ["a second far behind", `Host: HOST\r\n${"X: 1\r\n".repeat(50)}Host: HOST`],
];

/** Requests for a tunnel, which the proxy does not make: who asks may have sent on as if it had. */
const TUNNELS: [string, string][] = [
  ["a path", "CONNECT / HTTP/1.1"],
  ["a scheme", "CONNECT http://HOST/ HTTP/1.1"],
  ["a host", "CONNECT HOST HTTP/1.1"],
  ["a host and a port", "CONNECT HOST:443 HTTP/1.1"],
];

/** Field lines that are none, or more than one. */
const BAD_FIELDS: [string, string][] = [
  ...'"/;<=>?@[\\]{},\t\0\v\x7f\xe9'
    .split("")
    .map((byte): [string, string] => [`byte ${byte.charCodeAt(0)} in a name`, `X${byte}A: 1`]),
  ["a name of HTTP/2", ":path: /evil"],
  ["a blank in a name", "X A: 1"],
  ["a vertical tab in a value", "X-A: 1\v2"],
  ["a backspace in a value", "X-A: 1\b2"],
  ["an escape in a value", "X-A: 1\x1b2"],
  ["a CR at the end of a value", "X-A: 1\r"],
  ["a CR before a value", "X-A:\r1"],
  ["a CR before a name", "\rX-A: 1"],
  ["an LF before a CR", "X-A: 1\n\rX-B: 2"],
  ["a line folded by a tab", "X-A: 1\r\n\t2"],
  ["a line folded into nothing", "X-A: 1\r\n "],
  ["a value on the next line", "X-A:\r\n 1"],
  ["a folded line that looks like a field", "X-A: 1\r\n Content-Length: 5"],
  ["an empty line of one LF", "X-A: 1\n\nX-B: 2"],
  ["an empty line of one CR", "X-A: 1\r\n\rX-B: 2"],
];

/** Lengths that some read as a number and others do not. */
const BAD_LENGTHS = [
  "3;",
  "3.0",
  "3e0",
  "3_0",
  "3,",
  ",3",
  "'3'",
  '"3"',
  "3a",
  "a3",
  "0b11",
  "0o3",
  "+0",
  "-0",
  "--3",
  "3-",
  "3 abc",
  "NaN",
  "Infinity",
  "18446744073709551619",
  "\xb3",
  "\xd9\xa3",
  "3\0",
  "3\v",
  "\f3",
  "\xa03",
];

/** Lines that speak of a length or a coding in a way that two may read in two ways; what follows is a body in chunks. */
const BAD_FRAMINGS: [string, string][] = [
  ["no length and one", "Content-Length: 0\r\nContent-Length: 3"],
  ["an empty length and one", "Content-Length:\r\nContent-Length: 3"],
  ["a length with a blank before the colon", "Content-Length : 3"],
  ["a length with a tab before the colon", "Content-Length\t: 3"],
  ["a length with a NUL in its name", "Content-Length\0: 3"],
  ["a length on the next line", "Content-Length:\r\n 3"],
  ["a length that goes on in the next line", "Content-Length: 1\r\n 4"],
  ["a length behind a bare CR", "X-A: 1\rContent-Length: 3"],
  ["a length behind a bare LF", "X-A: 1\nContent-Length: 3"],
  ["coding xchunked", "Transfer-Encoding: xchunked"],
  ["coding chunkedx", "Transfer-Encoding: chunkedx"],
  ["coding chunk", "Transfer-Encoding: chunk"],
  ["coding x chunked", "Transfer-Encoding: x chunked"],
  ["coding chunked with a parameter", "Transfer-Encoding: chunked;q=1"],
  ["coding chunked in quotes", 'Transfer-Encoding: "chunked"'],
  ["coding chunked in single quotes", "Transfer-Encoding: 'chunked'"],
  ["coding identity", "Transfer-Encoding: identity"],
  ["coding identity, chunked", "Transfer-Encoding: identity, chunked"],
  ["coding gzip, chunked", "Transfer-Encoding: gzip, chunked"],
  ["coding chunked, gzip", "Transfer-Encoding: chunked, gzip"],
  ["coding chunked, chunked", "Transfer-Encoding: chunked, chunked"],
  ["coding chunked, x", "Transfer-Encoding: chunked, x"],
  ["an empty coding", "Transfer-Encoding:"],
  ["chunked and another coding", "Transfer-Encoding: chunked\r\nTransfer-encoding: x"],
  ["another coding and chunked", "Transfer-Encoding: x\r\nTransfer-encoding: chunked"],
  ["chunked and identity", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"],
  ["a coding before a NUL", "Transfer-Encoding: chunked\0"],
  ["a coding behind a form feed", "Transfer-Encoding: \fchunked"],
  ["a coding behind a no-break space", "Transfer-Encoding: \xa0chunked"],
  ["a coding before a next-line byte", "Transfer-Encoding: chunked\x85"],
  ["a coding before a vertical tab", "Transfer-Encoding: chunked\v"],
  ["a coding with a letter that only lower case makes K", "Transfer-Encoding: chun\xe2\x84\xaaed"],
  ["a coding with a tab before the colon", "Transfer-Encoding\t: chunked"],
  ["a coding with a NUL before its name", "\0Transfer-Encoding: chunked"],
  ["a coding with a blank in its name", "Transfer Encoding: chunked"],
  ["a coding on the next line", "Transfer-Encoding:\r\n chunked"],
  ["a coding that goes on in the next line", "Transfer-Encoding: chunked\r\n , x"],
  ["a name that goes on in the next line", "Transfer-\r\n Encoding: chunked"],
  ["a colon on the next line", "Transfer-Encoding\r\n: chunked"],
  ["a coding behind a bare LF", "X-A: 1\nTransfer-Encoding: chunked"],
  ["a coding behind a bare CR", "X-A: 1\rTransfer-Encoding: chunked"],
  ["a length and xchunked", "Content-Length: 4\r\nTransfer-Encoding: xchunked"],
  ["a length and identity", "Content-Length: 4\r\nTransfer-Encoding: identity"],
  ["a length and an empty coding", "Content-Length: 4\r\nTransfer-Encoding:"],
  ["a length and a folded coding", "Content-Length: 4\r\nTransfer-Encoding:\r\n chunked"],
  [
    "a length and a coding behind a bare LF",
    "Content-Length: 4\r\nX: 1\nTransfer-Encoding: chunked",
  ],
  ["a length of 0 and chunks", "Content-Length: 0\r\nTransfer-Encoding: chunked"],
  [
    "chunks that Connection names, and a length",
    "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\nContent-Length: 4",
  ],
  [
    "a length that Connection names, and chunks",
    "Connection: Content-Length\r\nContent-Length: 4\r\nTransfer-Encoding: chunked",
  ],
];

/** Heads that are no head, whatever their lines are. */
const BAD_HEADS: [string, string][] = [
  ["HTTP/0.9: a line and nothing else", "GET /\r\n\r\n"],
  ["a bare CR behind the request line", "GET / HTTP/1.1\rHost: HOST\r\n\r\n"],
  ["two CRs behind the request line", "GET / HTTP/1.1\r\r\nHost: HOST\r\n\r\n"],
  ["a blank line behind the request line", "GET / HTTP/1.1\r\n \r\nHost: HOST\r\n\r\n"],
  ["an LF for the last line end", "GET / HTTP/1.1\r\nHost: HOST\n\r\n"],
  ["an LF for the empty line", "GET / HTTP/1.1\r\nHost: HOST\r\n\n"],
  ["two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: HOST\r\nHost: HOST\r\n\r\n"],
  [
    "chunks and a length in HTTP/1.0",
    "POST / HTTP/1.0\r\nHost: HOST\r\nConnection: keep-alive\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
  ],
];

/** Chunks that break, whoever sends them: an end of them must reach nobody. */
const BAD_CHUNKS: [string, string][] = [
  ["a blank before the size", " 3\r\nabc\r\n0\r\n\r\n"],
  ["a tab before the size", "\t3\r\nabc\r\n0\r\n\r\n"],
  ["a size and a word", "3 abc\r\nabc\r\n0\r\n\r\n"],
  ["a size and a comma", "3,\r\nabc\r\n0\r\n\r\n"],
  ["a size and a letter that is no digit", "3g\r\nabc\r\n0\r\n\r\n"],
  ["a size and a NUL", "3\0\r\nabc\r\n0\r\n\r\n"],
  ["a size and a no-break space", "3\xa0\r\nabc\r\n0\r\n\r\n"],
  ["a size and a vertical tab", "3\v\r\nabc\r\n0\r\n\r\n"],
  ["a size with an underscore", "0_3\r\nabc\r\n0\r\n\r\n"],
  ["a size with a point", "3.0\r\nabc\r\n0\r\n\r\n"],
  ["a size with h", "3h\r\nabc\r\n0\r\n\r\n"],
  ["a size in quotes", '"3"\r\nabc\r\n0\r\n\r\n'],
  ["a size in digits beyond ASCII", "\xef\xbc\x93\r\nabc\r\n0\r\n\r\n"],
  ["a size that wraps at 64 bits", "10000000000000003\r\nabc\r\n0\r\n\r\n"],
  ["an extension with a NUL", "3;a\0\r\nabc\r\n0\r\n\r\n"],
  ["an extension with a DEL", "3;a\x7f\r\nabc\r\n0\r\n\r\n"],
  ["an extension with an LF and a request", "3;\nabc\r\n0\r\n\r\n"],
  ["a CR for the line end of the size", "3\rabc\r\n0\r\n\r\n"],
  ["two CRs behind the size", "3\r\r\nabc\r\n0\r\n\r\n"],
  ["an LF and a CR behind the size", "3\n\rabc\r\n0\r\n\r\n"],
  ["two CRs behind the data", "3\r\nabc\r\r\n0\r\n\r\n"],
  ["a CR for the line end of the data", "3\r\nabc\r0\r\n\r\n"],
  ["two LFs behind the data", "3\r\nabc\n\n0\r\n\r\n"],
  ["any two bytes behind the data", "3\r\nabcxx0\r\n\r\n"],
  ["two blanks behind the data", "3\r\nabc  0\r\n\r\n"],
  ["nothing behind the data", "3\r\nabc0\r\n\r\n"],
  ["an empty line between the chunks", "3\r\nabc\r\n\r\n0\r\n\r\n"],
  ["an LF before the size", "\n3\r\nabc\r\n0\r\n\r\n"],
  ["a last size with a sign", "3\r\nabc\r\n-0\r\n\r\n"],
  ["a last size with 0x", "3\r\nabc\r\n0x0\r\n\r\n"],
  ["an LF behind the last size", "3\r\nabc\r\n0\n\r\n"],
  ["an LF for the empty line", "3\r\nabc\r\n0\r\n\n"],
  ["two LFs at the end", "3\r\nabc\r\n0\n\n"],
  ["two CRs at the end", "3\r\nabc\r\n0\r\r\n\r\n"],
  ["a CR and a letter at the end", "3\r\nabc\r\n0\r\n\rX\r\n\r\n"],
];

/** Trailers that break, or that would frame or route. */
const BAD_TRAILERS: [string, string][] = [
  ["a coding", "Transfer-Encoding: chunked"],
  ["a coding in another case", "transfer-ENCODING: x"],
  ["a request line", "GET /evil HTTP/1.1\r\nHost: HOST"],
  ["no colon", "X-A"],
  ["no name", ": 1"],
  ["a blank before the colon", "X-A : 1"],
  ["a folded line", "X-A: 1\r\n 2"],
  ["a folded first line", " X-A: 1"],
  ["a NUL", "X-A: 1\x002"],
  ["a bare CR", "X-A: 1\rX-B: 2"],
  ["a bare LF", "X-A: 1\nX-B: 2"],
  ["a name that is no token", "X(A): 1"],
];

/** Sizes that may be refused, or waited for, and that nobody may take for less. */
const HUGE_CHUNKS: [string, string][] = [
  ["a size of 2^32 + 3", "100000003\r\nabc\r\n0\r\n\r\n"],
  ["a size of nearly 2^52", "fffffffffffff\r\nabc\r\n0\r\n\r\n"],
  ["a size of 2^53 + 1", "20000000000001\r\nabc\r\n0\r\n\r\n"],
  ["a size of 2^63 + 3", "8000000000000003\r\nabc\r\n0\r\n\r\n"],
  ["a size of 2^64 - 3", "fffffffffffffffd\r\nabc\r\n0\r\n\r\n"],
  ["a size of 2^31 + 3", "80000003\r\nabc\r\n0\r\n\r\n"],
];

/** What never becomes whole: its client leaves. */
const CUT_OFF: readonly Asking[] = [
  ...["100", "4294967299", "9223372036854775811"].map((length): Asking => ({
    what: `a length of ${length} and 20 bytes`,
    bytes: post([`Content-Length: ${length}`], EVIL.slice(0, 20)),
    sees: [],
    unfinished: true,
    ends: true,
  })),
  ...[
    ...HUGE_CHUNKS,
    ["no last one", "3\r\nabc\r\n"],
    ["no empty line at the end", "3\r\nabc\r\n0\r\n"],
    ["half an empty line at the end", "3\r\nabc\r\n0\r\n\r"],
    ["no empty line behind the trailers", "3\r\nabc\r\n0\r\nX-A: 1\r\n"],
    ["a size and no line end", "3"],
  ].map(([what = "", body]): Asking => ({
    what: `chunks with ${what}`,
    bytes: post([CHUNKED], body),
    sees: [],
    unfinished: true,
    ends: true,
  })),
];

/** What a body may be, of 22 bytes. */
const INNER = "GET /evil HTTP/1.1\r\n\r\n";

const ABC: Seen = { start: "POST /", framing: "length", content: "abc" };
const ABC_IN_CHUNKS: Seen = { start: "POST /", framing: "chunks", content: "abc" };
const EMPTY: Seen = { start: "POST /" };
const GET: Seen = { start: "GET /" };

/** What is exactly one request, or two, with a framing that nobody can mistake. */
const GOOD: readonly Asking[] = [
  { what: "an empty line before it", bytes: `\r\n${request("GET /", [])}`, sees: [GET] },
  {
    what: "three empty lines before it",
    bytes: `\r\n\r\n\r\n${request("GET /", [])}`,
    sees: [GET],
    orRefused: true,
  },
  { what: "an LF before it", bytes: `\n${request("GET /", [])}`, sees: [GET], orRefused: true },
  {
    what: "version 1.2",
    bytes: "GET / HTTP/1.2\r\nHost: HOST\r\n\r\n",
    sees: [GET],
    orRefused: true,
  },
  {
    what: "a Host without a value",
    bytes: "GET / HTTP/1.1\r\nHost:\r\n\r\n",
    sees: [GET],
    orRefused: true,
  },
  {
    what: "a Host without a value and a URL in the query",
    bytes: "GET /a?b=http://evil.test/c HTTP/1.1\r\nHost:\r\n\r\n",
    sees: [{ start: "GET /a?b=http://evil.test/c" }],
    orRefused: true,
  },
  {
    what: "a Host with an empty port",
    bytes: "GET / HTTP/1.1\r\nHost: HOST:\r\n\r\n",
    sees: [GET],
    orRefused: true,
  },
  {
    what: "a Host with a list and no blank",
    bytes: "GET / HTTP/1.1\r\nHost: HOST,evil.test\r\n\r\n",
    sees: [{ ...GET, lines: { host: ["HOST,evil.test"] } }],
    orRefused: true,
  },
  {
    what: "an absolute target in upper case",
    bytes: request("GET HTTP://HOST/x", []),
    sees: [{ start: "GET /x", lines: { host: ["HOST"] } }],
  },
  {
    what: "an absolute target without a path",
    bytes: request("GET http://HOST", []),
    sees: [{ start: "GET /", lines: { host: ["HOST"] } }],
  },
  {
    what: "an absolute target with a query and no path",
    bytes: request("GET http://HOST?a=/", []),
    sees: [{ start: "GET /?a=/", lines: { host: ["HOST"] } }],
  },
  {
    what: "an absolute target that names https",
    bytes: request("GET https://HOST/x", []),
    sees: [{ start: "GET /x", lines: { host: ["HOST"] } }],
    orRefused: true,
  },
  {
    what: "an absolute target whose Host names another",
    bytes: "GET http://HOST/x HTTP/1.1\r\nHost: evil.test\r\n\r\n",
    sees: [{ start: "GET /x", lines: { host: ["HOST"], "x-forwarded-host": ["HOST"] } }],
  },
  {
    what: "a URL in the path",
    bytes: request("GET /http://evil.test/", []),
    sees: [{ start: "GET /http://evil.test/", lines: { host: ["HOST"] } }],
  },
  {
    what: "a host behind two slashes",
    bytes: request("GET //evil.test/x", []),
    sees: [{ start: "GET //evil.test/x", lines: { host: ["HOST"] } }],
  },
  {
    what: "line ends in the target, escaped",
    bytes: request("GET /%0d%0aHost:%20evil.test%0d%0a%0d%0aGET%20/evil", []),
    sees: [
      {
        start: "GET /%0d%0aHost:%20evil.test%0d%0a%0d%0aGET%20/evil",
        lines: { host: ["HOST"] },
      },
    ],
  },
  {
    what: "characters in a value that become line ends when they lose a byte",
    bytes: request("GET /", ["X-A: \xe5\x98\x8d\xe5\x98\x8aX-Evil: 1"]),
    sees: [{ ...GET, lines: { "x-a": ["\xe5\x98\x8d\xe5\x98\x8aX-Evil: 1"], "x-evil": [] } }],
  },
  {
    what: "names that an object has by itself",
    bytes: request("GET /", ["__proto__: 1", "constructor: 2", "toString: 3"]),
    sees: [{ ...GET, lines: { __proto: [], constructor: ["2"], tostring: ["3"] } }],
  },
  { what: "a length behind a tab", bytes: post(["Content-Length:\t3"], "abc"), sees: [ABC] },
  { what: "a length before blanks", bytes: post(["Content-Length: 3 \t "], "abc"), sees: [ABC] },
  { what: "a length without a blank", bytes: post(["Content-Length:3"], "abc"), sees: [ABC] },
  { what: "a length in another case", bytes: post(["cOnTeNt-LeNgTh: 3"], "abc"), sees: [ABC] },
  {
    what: "a length with zeros before it",
    bytes: post(["Content-Length: 0003"], "abc"),
    sees: [ABC],
    orRefused: true,
  },
  { what: "a length of 0", bytes: post(["Content-Length: 0"]), sees: [EMPTY] },
  { what: "a GET with a length of 0", bytes: request("GET /", ["Content-Length: 0"]), sees: [GET] },
  {
    what: "a HEAD with a length of 0",
    bytes: request("HEAD /", ["Content-Length: 0"]),
    sees: [{ start: "HEAD /" }],
  },
  {
    what: "a length that Connection names",
    bytes: post(["Connection: Content-Length", "Content-Length: 3"], "abc"),
    sees: [ABC],
  },
  {
    what: "chunks that Connection names",
    bytes: post(["Connection: Transfer-Encoding", CHUNKED], CHUNKS),
    sees: [ABC_IN_CHUNKS],
  },
  {
    what: "an empty coding and chunked",
    bytes: post(["Transfer-Encoding:", CHUNKED], CHUNKS),
    sees: [ABC_IN_CHUNKS],
    orRefused: true,
  },
  {
    what: "TE: chunked and a length",
    bytes: post(["TE: chunked", "Content-Length: 3"], "abc"),
    sees: [{ ...ABC, lines: { te: [] } }],
  },
  ...["Content_Length: 30", "X-Content-Length: 30", "Content-Length-: 30", "Length: 30"].map(
    (line): Asking => ({ what: `${line} and no length`, bytes: post([line]), sees: [EMPTY] }),
  ),
  ...[
    "Transfer_Encoding: chunked",
    "X-Transfer-Encoding: chunked",
    "Transfer-Encodin: chunked",
  ].map((line): Asking => ({
    what: `${line} and a length`,
    bytes: post([line, "Content-Length: 5"], "0\r\n\r\n"),
    sees: [{ start: "POST /", framing: "length", content: "0\r\n\r\n" }],
  })),
  ...[
    "Transfer-Encoding: CHUNKED",
    "transfer-encoding:Chunked",
    "Transfer-Encoding: \t chunked \t",
  ].map((line): Asking => ({
    what: `a coding spelled ${JSON.stringify(line.slice(18))}`,
    bytes: post([line], CHUNKS),
    sees: [ABC_IN_CHUNKS],
  })),
  ...(
    [
      ["a size in capitals", "A\r\nabcdefghij\r\n0\r\n\r\n", "abcdefghij"],
      ["sizes with zeros before them", "003\r\nabc\r\n000\r\n\r\n", "abc"],
      ["an extension in quotes", '3;a="b;c"\r\nabc\r\n0;d\r\n\r\n', "abc"],
      ["no content", "0\r\n\r\n", ""],
      ["a line end as content", "2\r\n\r\n\r\n0\r\n\r\n", "\r\n"],
      ["a last chunk as content", "5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n"],
    ] as const
  ).map(([what, body, content]): Asking => ({
    what: `chunks with ${what}`,
    bytes: post([CHUNKED], body),
    sees: [{ start: "POST /", framing: "chunks", content }],
  })),
  ...(
    [
      ["a size of 16 digits", "0000000000000003\r\nabc\r\n0\r\n\r\n"],
      ["a size of 300 digits", `${"0".repeat(299)}3\r\nabc\r\n0\r\n\r\n`],
      ["a blank behind the size", "3 \r\nabc\r\n0\r\n\r\n"],
      ["a tab behind the size", "3\t\r\nabc\r\n0\r\n\r\n"],
      ["an empty extension", "3;\r\nabc\r\n0\r\n\r\n"],
      ["an extension with a quote that does not end", '3;a="\r\nabc\r\n0\r\n\r\n'],
      ["an extension of 20 KiB", `3;${"a".repeat(20_000)}\r\nabc\r\n0\r\n\r\n`],
      ["trailers of 20 KiB", `3\r\nabc\r\n0\r\nX-A: ${"a".repeat(20_000)}\r\n\r\n`],
    ] as const
  ).map(([what, body]): Asking => ({
    what: `chunks with ${what}`,
    bytes: post([CHUNKED], body),
    sees: [ABC_IN_CHUNKS],
    orRefused: true,
  })),
  ...["X-Forwarded-For: 6.6.6.6", "Cookie: evil=1", "Authorization: evil", "X-A: 1"].map(
    (line): Asking => ({
      what: `the trailer ${line}, which is no header line`,
      bytes: post([CHUNKED], `3\r\nabc\r\n0\r\n${line}\r\n\r\n`),
      sees: [
        {
          ...ABC_IN_CHUNKS,
          lines: { "x-forwarded-for": ["127.0.0.1"], cookie: [], authorization: [], "x-a": [] },
        },
      ],
      orRefused: true,
    }),
  ),
  {
    what: "a request as its content",
    bytes: post(["Content-Length: 22"], INNER),
    sees: [{ start: "POST /", framing: "length", content: INNER }],
  },
  {
    what: "a request as the content of a chunk",
    bytes: post([CHUNKED], "18\r\nGET /evil HTTP/1.1\r\n\r\n12\r\n0\r\n\r\n"),
    sees: [{ start: "POST /", framing: "chunks", content: "GET /evil HTTP/1.1\r\n\r\n12" }],
  },
  {
    what: "a DELETE with a request as its content",
    bytes: request("DELETE /", ["Content-Length: 22"], INNER),
    sees: [{ start: "DELETE /", framing: "length", content: INNER }],
  },
  {
    what: "a GET with a request as its content",
    bytes: request("GET /", ["Content-Length: 22"], INNER),
    sees: [{ start: "GET /", framing: "length", content: INNER }],
  },
  {
    what: "an OPTIONS with a request as its content",
    bytes: request("OPTIONS /", [CHUNKED], "16\r\nGET /evil HTTP/1.1\r\n\r\n\r\n0\r\n\r\n"),
    sees: [{ start: "OPTIONS /", framing: "chunks", content: INNER }],
  },
  {
    what: "Connection: close and a request behind it",
    bytes: request("GET /", ["Connection: close"]) + EVIL,
    sees: [GET],
    next: "closed",
  },
  {
    what: "Connection: keep-alive, CLOSE and a request behind it",
    bytes: request("GET /", ["Connection: keep-alive", "Connection: ,, CLOSE"]) + EVIL,
    sees: [GET],
    next: "closed",
  },
  {
    what: "HTTP/1.0 and a request behind it",
    bytes: `GET / HTTP/1.0\r\nHost: HOST\r\n\r\n${EVIL}`,
    sees: [GET],
    next: "closed",
  },
  {
    what: "a POST of HTTP/1.0 without a length, and what it sends then",
    bytes: `POST / HTTP/1.0\r\nHost: HOST\r\n\r\n${EVIL}`,
    sees: [EMPTY],
    next: "closed",
  },
  {
    what: "HTTP/1.0 that keeps the connection, with a length",
    bytes:
      "POST / HTTP/1.0\r\nHost: HOST\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
    sees: [ABC],
  },
  {
    what: "more than its length, which is no request",
    bytes: post(["Content-Length: 3"], "abc(x\r\n\r\n"),
    sees: [ABC],
    next: "refused",
  },
  {
    what: "more than its last chunk, which is no request",
    bytes: post([CHUNKED], `0\r\n\r\n${CHUNKS}`),
    sees: [{ start: "POST /", framing: "chunks" }],
    next: "refused",
  },
  {
    what: "a body that nothing announces",
    bytes: post([], "(abc)\r\n\r\n"),
    sees: [EMPTY],
    next: "refused",
  },
  {
    what: "a length of 0, and one behind it",
    bytes: post(["Content-Length: 0"]) + request("GET /2", []),
    sees: [EMPTY, { start: "GET /2" }],
  },
  {
    what: "no length, and one behind it",
    bytes: post([]) + request("GET /2", []),
    sees: [EMPTY, { start: "GET /2" }],
  },
  {
    what: "chunks, and one behind them",
    bytes: post([CHUNKED], CHUNKS) + request("GET /2", []),
    sees: [ABC_IN_CHUNKS, { start: "GET /2" }],
  },
  {
    what: "a HEAD with a length, and one behind it",
    bytes: request("HEAD /", ["Content-Length: 0"]) + request("GET /2", []),
    sees: [{ start: "HEAD /" }, { start: "GET /2" }],
  },
  {
    what: "a line end too many behind its content, and one behind that",
    bytes: `${post(["Content-Length: 3"], "abc")}\r\n${request("GET /2", [])}`,
    sees: [ABC, { start: "GET /2" }],
  },
  {
    what: "Connection that names what proxies vouch for",
    bytes: request("GET /", [
      "Connection: X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, Forwarded, Fly-Client-IP",
      "Forwarded: for=192.0.2.1",
      "Fly-Client-IP: 192.0.2.1",
    ]),
    sees: [
      {
        ...GET,
        lines: {
          "x-forwarded-for": ["127.0.0.1"],
          "x-forwarded-proto": ["http"],
          "x-forwarded-host": ["HOST"],
          forwarded: ["for=192.0.2.1"],
          "fly-client-ip": ["192.0.2.1"],
        },
      },
    ],
  },
  {
    what: "Connection in several lines, in any case",
    bytes: request("GET /", ["Connection: x-A", "X-a: 1", "X-B: 2", "connection:,, X-b ,"]),
    sees: [{ ...GET, lines: { "x-a": [], "x-b": [], connection: [] } }],
  },
  {
    what: "an upgrade to HTTP/2",
    bytes: request("GET /", [
      "Connection: Upgrade, HTTP2-Settings",
      "Upgrade: h2c",
      "HTTP2-Settings: AAMAAABkAAQAAP__",
    ]),
    sees: [{ ...GET, lines: { "http2-settings": [] } }],
  },
  {
    what: "an upgrade that Connection does not name",
    bytes: request("GET /", ["Upgrade: websocket", "Sec-WebSocket-Version: 13"]),
    sees: [{ ...GET, lines: { upgrade: [], connection: [] } }],
  },
  {
    what: "an upgrade with a body",
    bytes: post(["Connection: Upgrade", "Upgrade: websocket", "Content-Length: 3"], "abc"),
    sees: [{ ...ABC, lines: { upgrade: [], connection: [] } }],
  },
  {
    what: "an upgrade of HTTP/1.0",
    bytes: "GET / HTTP/1.0\r\nHost: HOST\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    sees: [{ ...GET, lines: { upgrade: [], connection: [] } }],
    next: "closed",
  },
  {
    what: "an upgrade that the app does not want",
    bytes: request("GET /", [
      "Connection: Upgrade",
      "Upgrade: websocket",
      "Sec-WebSocket-Version: 777",
    ]),
    sees: [GET],
  },
  {
    what: "Expect: 100-continue and nothing to wait for",
    bytes: post(["Expect: 100-continue", "Content-Length: 0"]),
    sees: [EMPTY],
  },
  ...["x", "100-continue, 100-continue", "y 100-continue", ""].map((value): Asking => ({
    what: `Expect: ${value} and content`,
    bytes: post([`Expect: ${value}`, "Content-Length: 3"], "abc"),
    sees: [ABC],
    orRefused: true,
  })),
];

/** Every row from a client. */
const ASKED: readonly Asking[] = [
  ...BAD_START_LINES.map(([what, line]) =>
    refused(`a request line with ${what}`, `${line}\r\nHost: HOST\r\n\r\n`),
  ),
  ...TUNNELS.map(([what, line]) =>
    refused(`a CONNECT to ${what}`, `${line}\r\nHost: HOST\r\n\r\n`),
  ),
  // Where such a request ends is clear: the next one may be served.
  ...BAD_HOSTS.map(([what, line]): Asking => ({
    what: `a Host with ${what}`,
    bytes: `GET / HTTP/1.1\r\n${line}\r\n\r\n`,
    sees: [],
  })),
  ...BAD_ABSOLUTE.map(([what, line]): Asking => ({
    what: `an absolute target with ${what}`,
    bytes: `${line}\r\nHost: HOST\r\n\r\n`,
    sees: [],
  })),
  ...BAD_FIELDS.map(([what, line]) => refused(what, request("GET /", [line]))),
  ...BAD_LENGTHS.map((value) =>
    refused(`length ${JSON.stringify(value)}`, post([`Content-Length: ${value}`], "abc")),
  ),
  ...BAD_FRAMINGS.map(([what, lines]) => refused(what, post([lines], CHUNKS))),
  ...BAD_HEADS.map(([what, head]) => refused(what, head)),
  ...[...BAD_CHUNKS, ...inTrailers()].map(([what, chunks]): Asking => ({
    what: `chunks with ${what}`,
    bytes: post([CHUNKED], chunks),
    behind: EVIL,
    sees: [],
    unfinished: true,
  })),
  ...CUT_OFF,
  ...[
    ["no Host", "X-A: 1"],
    ["two Hosts", "Host: HOST\r\nHost: HOST"],
    ["a bad Host", "Host: a/b"],
  ].map(([what, line]): Asking => ({
    what: `an absolute target and ${what}`,
    bytes: `GET http://HOST/ HTTP/1.1\r\n${line}\r\n\r\n`,
    sees: [],
  })),
  ...["TRACE / HTTP/1.1", "TRACE http://HOST/ HTTP/1.1"].map((line): Asking => ({
    what: `${line} that goes no further`,
    bytes: `${line}\r\nHost: HOST\r\nMax-Forwards: 0\r\n\r\n`,
    sees: [],
  })),
  ...GOOD,
];

function inTrailers(): [string, string][] {
  return BAD_TRAILERS.map(([what, trailers]) => [
    `trailers with ${what}`,
    `3\r\nabc\r\n0\r\n${trailers}\r\n\r\n`,
  ]);
}

/** What a second answer would be: nobody has asked for it. */
const UNASKED = `HTTP/1.1 200 OK\r\n${DATE}\r\nContent-Length: 4\r\n\r\nevil`;

function answer(lines: readonly string[], body = "", status = "200 OK"): string {
  return [`HTTP/1.1 ${status}`, DATE, ...lines, "", body].join("\r\n");
}

/** Status lines that are none. */
const BAD_STATUS_LINES: [string, string][] = [
  ["version 2.0", "HTTP/2.0 200 OK"],
  ["version 1.10", "HTTP/1.10 200 OK"],
  ["no status", "HTTP/1.1"],
  ["no version", "HTTP 200 OK"],
  ["another protocol", "ICY 200 OK"],
  ["a tab before the status", "HTTP/1.1\t200 OK"],
  ["two blanks before the status", "HTTP/1.1  200 OK"],
  ["a blank before the version", " HTTP/1.1 200 OK"],
  ["status 2xx", "HTTP/1.1 2xx OK"],
  ["status -20", "HTTP/1.1 -20 OK"],
  ["status 20 and a NUL", "HTTP/1.1 20\0 OK"],
  ["status 000", "HTTP/1.1 000 OK"],
  ["status 999", "HTTP/1.1 999 OK"],
  ["no blank behind the status", "HTTP/1.1 200OK"],
  ["a point behind the status", "HTTP/1.1 200.1 OK"],
  ["a NUL in the reason", "HTTP/1.1 200 O\0K"],
  ["a bare CR in the reason", "HTTP/1.1 200 O\rK"],
  ["a bare LF in the reason", "HTTP/1.1 200 O\nK"],
  ["a control byte in the reason", "HTTP/1.1 200 O\x01K"],
  ["a request in its place", "GET / HTTP/1.1"],
  ["a second behind it", "HTTP/1.1 200 OK\r\nHTTP/1.1 200 OK"],
];

/** Lines that no answer may have. */
const BAD_ANSWER_LINES: [string, string][] = [
  ["a line without a colon", "X-A"],
  ["a line without a name", ": 1"],
  ["a blank in a name", "X A: 1"],
  ["a NUL in a name", "X\0A: 1"],
  ["a name that is no token", "X(A): 1"],
  ["a control byte in a value", "X-A: 1\x012"],
  ["a DEL in a value", "X-A: 1\x7f2"],
  ["a bare LF in a value", "X-A: 1\nSet-Cookie: evil=1"],
  ["a line folded by a tab", "X-A: 1\r\n\t2"],
  ["a line folded into nothing", "X-A: 1\r\n "],
  ["a line that begins with a blank", " X-A: 1"],
  ["two CRs at a line end", "X-A: 1\r"],
  ["an empty length", "Content-Length:"],
  ["a signed length", "Content-Length: +3"],
  ["a hexadecimal length", "Content-Length: 0x3"],
  ["a length with a blank", "Content-Length: 3 3"],
  ["a length with a point", "Content-Length: 3.0"],
  ["a length with a NUL", "Content-Length: 3\0"],
  ["a length and a word", "Content-Length: 3 bytes"],
  ["a length that wraps at 64 bits", "Content-Length: 18446744073709551619"],
  ["a length on the next line", "Content-Length:\r\n 3"],
  ["no length and one", "Content-Length: 0\r\nContent-Length: 3"],
  ["coding xchunked", "Transfer-Encoding: xchunked"],
  ["coding identity", "Transfer-Encoding: identity"],
  ["coding gzip, chunked", "Transfer-Encoding: gzip, chunked"],
  ["coding chunked, gzip", "Transfer-Encoding: chunked, gzip"],
  ["coding chunked, chunked", "Transfer-Encoding: chunked, chunked"],
  ["chunked in two lines", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"],
  ["coding chunked with a parameter", "Transfer-Encoding: chunked;a"],
  ["an empty coding", "Transfer-Encoding:"],
  ["a coding behind a vertical tab", "Transfer-Encoding: \vchunked"],
  ["a coding with a blank before the colon", "Transfer-Encoding : chunked"],
  ["a coding on the next line", "Transfer-Encoding:\r\n chunked"],
  ["chunks and an equal length", "Transfer-Encoding: chunked\r\nContent-Length: 13"],
];

/** Answers that pass, and those that may. */
const GOOD_ANSWERS: readonly Answering[] = [
  ...(
    [
      ["an empty reason", "HTTP/1.1 200 "],
      ["no reason", "HTTP/1.1 200"],
      ["a reason beyond ASCII", "HTTP/1.1 200 caf\xe9"],
      ["a reason that looks like a status line", "HTTP/1.1 200 HTTP/1.1 500 No"],
      ["HTTP/1.0", "HTTP/1.0 200 OK"],
    ] as const
  ).map(([what, line]): Answering => ({
    what,
    bytes: `${line}\r\n${DATE}\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc`,
    gets: { status: 200, content: "abc" },
  })),
  ...(
    [
      ["version 1.2", "HTTP/1.2 200 OK"],
      ["an empty line before it", "\r\nHTTP/1.1 200 OK"],
    ] as const
  ).map(([what, line]): Answering => ({
    what,
    bytes: `${line}\r\n${DATE}\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc`,
    gets: { status: 200, content: "abc" },
    orRefused: true,
  })),
  ...(
    [
      ["a length behind a tab", "Content-Length:\t3"],
      ["a length before blanks", "Content-Length: 3 \t"],
      ["a length in another case", "CONTENT-length: 3"],
      ["a length that Connection names", "Connection: Content-Length\r\nContent-Length: 3"],
    ] as const
  ).map(([what, line]): Answering => ({
    what,
    bytes: answer([line, "Connection: close"], "abc"),
    gets: { status: 200, content: "abc" },
  })),
  ...(
    [
      ["a length with zeros before it", "Content-Length: 003"],
      ["two equal lengths", "Content-Length: 3\r\nContent-Length: 3"],
    ] as const
  ).map(([what, line]): Answering => ({
    what,
    bytes: answer([line, "Connection: close"], "abc"),
    gets: { status: 200, content: "abc" },
    orRefused: true,
  })),
  ...(
    [
      ["sizes in capitals and zeros", "00A\r\nabcdefghij\r\n000\r\n\r\n", "abcdefghij"],
      ["extensions", '3;a;b="c"\r\nabc\r\n0;d\r\n\r\n', "abc"],
      ["no content", "0\r\n\r\n", ""],
      ["a last chunk as content", "5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n"],
      [
        "an answer as content",
        "13\r\nHTTP/1.1 500 No\r\n\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 500 No\r\n\r\n",
      ],
    ] as const
  ).map(([what, body, content]): Answering => ({
    what: `chunks with ${what}`,
    bytes: answer([CHUNKED, "Connection: close"], body),
    gets: { status: 200, content },
  })),
  {
    what: "a coding in capitals",
    bytes: answer(["Transfer-Encoding: CHUNKED", "Connection: close"], CHUNKS),
    gets: { status: 200, content: "abc" },
  },
  {
    what: "an answer as its content",
    bytes: answer(["Content-Length: 19", "Connection: close"], "HTTP/1.1 500 No\r\n\r\n"),
    gets: { status: 200, content: "HTTP/1.1 500 No\r\n\r\n" },
  },
  {
    what: "the end of chunks as content that ends with the connection",
    bytes: answer(["Connection: close"], "abc\r\n0\r\n\r\n"),
    ends: true,
    gets: { status: 200, content: "abc\r\n0\r\n\r\n" },
  },
  {
    what: "line ends in a Location and in a cookie, escaped",
    bytes: answer([
      "Location: /%0d%0aX-Evil:%201",
      "Set-Cookie: a=%0d%0aX-Evil: 1",
      "Content-Length: 0",
      "Connection: close",
    ]),
    gets: {
      status: 200,
      lines: {
        location: ["/%0d%0aX-Evil:%201"],
        "set-cookie": ["a=%0d%0aX-Evil: 1"],
        "x-evil": [],
      },
    },
  },
  {
    what: "characters in a value that become line ends when they lose a byte",
    bytes: answer([
      "X-A: \xe5\x98\x8d\xe5\x98\x8aX-Evil: 1",
      "Content-Length: 0",
      "Connection: close",
    ]),
    gets: { status: 200, lines: { "x-a": ["\xe5\x98\x8d\xe5\x98\x8aX-Evil: 1"], "x-evil": [] } },
  },
  {
    what: "a 100 and a 199 that nobody asked for before it",
    bytes: `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 199 X\r\nX-A: 1\r\n\r\n${answer(["Content-Length: 3", "Connection: close"], "abc")}`,
    gets: { status: 200, content: "abc" },
  },
  {
    what: "a 100 with a length before it",
    bytes: `HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n${answer(["Content-Length: 3", "Connection: close"], "abc")}`,
    gets: { status: 200, content: "abc" },
    orRefused: true,
  },
];

/** Answers with something behind them that nobody asked for: the connection must carry no other request. */
const POISONED: readonly Answering[] = [
  {
    what: "a length of 0 and another answer",
    bytes: answer(["Content-Length: 0"]) + UNASKED,
    gets: { status: 200 },
  },
  {
    what: "its length and another answer",
    bytes: answer(["Content-Length: 3"], "abc") + UNASKED,
    gets: { status: 200, content: "abc" },
  },
  {
    what: "more than its length",
    bytes: answer(["Content-Length: 3"], "abcevil"),
    gets: { status: 200, content: "abc" },
  },
  {
    what: "a line end behind its length",
    bytes: answer(["Content-Length: 3"], `abc\r\n${UNASKED}`),
    gets: { status: 200, content: "abc" },
  },
  {
    what: "trailers of two sections",
    bytes: answer([CHUNKED], `${CHUNKS}X-Evil: 1\r\n\r\n`),
    gets: { status: 200, content: "abc" },
  },
  {
    what: "204 and another answer",
    bytes: answer([], "", "204 No Content") + UNASKED,
    gets: { status: 204 },
  },
  {
    what: "204 with a length and content",
    bytes: answer(["Content-Length: 4"], "evil", "204 No Content"),
    gets: { status: 204 },
  },
  {
    what: "204 in chunks",
    bytes: answer([CHUNKED], "4\r\nevil\r\n0\r\n\r\n", "204 No Content"),
    gets: { status: 204, lines: { "transfer-encoding": [] } },
  },
  {
    what: "304 and another answer",
    bytes: answer([], "", "304 Not Modified") + UNASKED,
    gets: { status: 304 },
  },
  {
    what: "304 with a length and content",
    bytes: answer(["Content-Length: 4"], "evil", "304 Not Modified"),
    gets: { status: 304 },
  },
  {
    what: "HEAD with a length and content",
    method: "HEAD",
    bytes: answer(["Content-Length: 4"], "evil"),
    gets: { status: 200 },
  },
  {
    what: "HEAD in chunks with content",
    method: "HEAD",
    bytes: answer([CHUNKED], "4\r\nevil\r\n0\r\n\r\n"),
    gets: { status: 200 },
  },
  {
    what: "HEAD and content that nothing announces",
    method: "HEAD",
    bytes: answer([], "evil"),
    gets: { status: 200 },
  },
];

/** Every row from an app. */
const ANSWERED: readonly Answering[] = [
  ...BAD_STATUS_LINES.map(([what, line]) => ({
    what: `a status line with ${what}`,
    bytes: `${line}\r\n${DATE}\r\nContent-Length: 3\r\n\r\nabc`,
  })),
  ...BAD_ANSWER_LINES.map(([what, line]) => ({
    what,
    bytes: answer([line], CHUNKS),
  })),
  {
    what: "an LF for the last line end",
    bytes: "HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n",
  },
  { what: "an LF for the empty line", bytes: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\n" },
  { what: "chunks of HTTP/1.0", bytes: `HTTP/1.0 200 OK\r\n${CHUNKED}\r\n\r\n${CHUNKS}` },
  {
    what: "a bad length of HEAD",
    method: "HEAD",
    bytes: answer(["Content-Length: 3, 4"]),
  },
  {
    what: "a bad coding of 204",
    bytes: answer(["Transfer-Encoding: xchunked"], "", "204 No Content"),
  },
  {
    what: "101 behind 100, unasked",
    bytes:
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nevil",
  },
  {
    what: "100 with content",
    bytes: `HTTP/1.1 100 Continue\r\nContent-Length: 4\r\n\r\nevil${answer([])}`,
  },
  { what: "100 and nothing", bytes: "HTTP/1.1 100 Continue\r\n\r\n", ends: true },
  ...[...BAD_CHUNKS, ...inTrailers()].map(([what, chunks]): Answering => ({
    what: `chunks with ${what}`,
    bytes: answer([CHUNKED], chunks),
    unfinished: true,
  })),
  ...HUGE_CHUNKS.map(([what, chunks]): Answering => ({
    what: `chunks with ${what}`,
    bytes: answer([CHUNKED], chunks),
    unfinished: true,
    ends: true,
  })),
  ...GOOD_ANSWERS,
  ...POISONED,
];

const NUMBERS = ["no", "one", "two"];

/** The classes of what parsers have been caught at: bytes in, and how many messages they are for whoever is behind. */
export const corpus: readonly Case[] = [
  ...ASKED.map((row): Case => {
    const count = NUMBERS[row.sees.length] ?? "";
    const requests = row.sees.length === 2 ? "requests" : "request";
    const number = row.orRefused === true ? `${count} or no` : count;
    return {
      topic: "corpus",
      name: `takes for ${number} ${row.unfinished === true ? "whole " : ""}${requests}: ${row.what}`,
      alone: true,
      run: async (stage) => {
        const { behind, ...first } = row;
        if (behind === undefined) return ask(stage, row);
        await ask(stage, { ...first, ends: row.unfinished === true });
        await ask(stage, { ...first, bytes: row.bytes + behind });
      },
    };
  }),
  ...ANSWERED.map((row): Case => {
    const count = row.gets === undefined ? "no" : "one";
    const number = row.orRefused === true ? `${count} or no` : count;
    return {
      topic: "corpus",
      name: `takes for ${number} ${row.unfinished === true ? "whole " : ""}answer: ${row.what}`,
      alone: true,
      run: (stage) => tell(stage, row),
    };
  }),
];
