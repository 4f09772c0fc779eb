import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { DEFAULT_LIMITS } from "../adapters/http1/limits.ts";
import { serveConnection, type ServerContext } from "../adapters/http1/server-connection.ts";
import { createTunnel } from "../adapters/http1/tunnel.ts";
import type { HeaderLines, IncomingRequest, ResponseMessage } from "../src/index.ts";
import { settled } from "./fake-clock.ts";
import { type FakeSocket, fakeSocket } from "./fake-socket.ts";
import {
  chaos,
  content,
  cut,
  listeners,
  readChunks,
  readLength,
  source,
  type SourceLog,
  sourceLog,
  turn,
} from "./http1-chaos.ts";

/** What may happen at any moment. */
type Act =
  /** The client sends the next piece of its requests, or all that is left of them. */
  | "say"
  | "say all"
  /** The client takes what was written last, or all that is written. */
  | "take"
  | "take all"
  /** The client ends its side. */
  | "end"
  /** The system breaks the connection, with an error or without; the server is told later. */
  | "break"
  | "close"
  /** The server is told what has become of the connection. */
  | "tell"
  /** The handler answers, reads on, or hands on more of its answer. */
  | "answer"
  | "read"
  | "pull"
  /** The time for what the connection does is up. */
  | "expire"
  /** The server closes, or cuts its connections off. */
  | "drain"
  | "destroy";

/** An act, and how many turns of the promises pass before it; at most 4, and 5 stands for a turn of the loop. */
type Step = readonly [turns: number, act: Act];

/** A request of the client, and what the handler makes of it. */
interface Visit {
  readonly method: "GET" | "HEAD" | "POST";
  readonly minor: 0 | 1;
  readonly keep: boolean;
  readonly framing: "length" | "chunked" | "malformed";
  /** Whether the body comes apart from the head. */
  readonly isApart: boolean;
  readonly size: number;
  readonly expects: boolean;
  /** When the handler answers: as a function, in a later turn, or when it is let. */
  readonly when: "at once" | "soon" | "held";
  readonly throws: boolean;
  /** How many pieces of the request's body are read, before the answer or beside it. */
  readonly reads: number;
  readonly readsFirst: boolean;
  readonly answer: {
    readonly body: "none" | "whole" | "stream";
    readonly hasLength: boolean;
    readonly sizes: readonly number[];
    readonly flaw: "none" | "throws" | "short" | "long" | "unspeakable";
    readonly isHeld: boolean;
  };
  /** What happens while the answer's body is asked for a piece. */
  readonly trap: readonly Act[];
}

interface Scenario {
  readonly highWaterMark: number;
  readonly visits: readonly Visit[];
  readonly cuts: readonly number[];
  readonly steps: readonly Step[];
}

const act: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.constantFrom<Act[]>("say", "say all", "take", "answer", "read", "pull"),
  },
  { weight: 2, arbitrary: fc.constantFrom<Act[]>("take all", "tell") },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Act[]>("end", "end", "break", "close", "expire", "drain", "destroy"),
  },
);
const size = fc.constantFrom(1, 7, 70_000);
const visit: fc.Arbitrary<Visit> = fc.record({
  method: fc.constantFrom("GET", "POST", "POST", "HEAD"),
  minor: fc.constantFrom(1, 1, 1, 0),
  keep: fc.constantFrom(true, true, true, false),
  framing: fc.constantFrom(
    "length",
    "length",
    "length",
    "chunked",
    "chunked",
    "chunked",
    "malformed",
  ),
  isApart: fc.boolean(),
  size,
  expects: fc.boolean(),
  when: fc.constantFrom("at once", "soon", "held"),
  throws: fc.nat(9).map((number) => number === 9),
  reads: fc.constantFrom(0, 1, 99, 99),
  readsFirst: fc.boolean(),
  answer: fc.record({
    body: fc.constantFrom("none", "whole", "stream", "stream"),
    hasLength: fc.boolean(),
    sizes: fc.array(size, { minLength: 1, maxLength: 3 }),
    flaw: fc.oneof(
      { weight: 3, arbitrary: fc.constant("none" as const) },
      { weight: 1, arbitrary: fc.constantFrom("throws", "short", "long", "unspeakable") },
    ),
    isHeld: fc.boolean(),
  }),
  trap: fc.oneof(
    { weight: 4, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: fc.array(act, { minLength: 1, maxLength: 3 }) },
  ),
});
const scenario: fc.Arbitrary<Scenario> = fc.record({
  highWaterMark: fc.constantFrom(16, 16_384),
  visits: fc.array(visit, { minLength: 1, maxLength: 4 }),
  cuts: fc.array(fc.nat(400), { maxLength: 6 }),
  steps: fc.array(fc.tuple(fc.nat(5), act), { maxLength: 20 }),
});

/** What ends a connection before its time. */
const CUTS: readonly Act[] = ["end", "break", "close", "destroy", "expire"];

/** How a connection is served as a rule. */
const CONTEXT: ServerContext = {
  handler: () => ({ status: 204, statusText: "", headers: [], body: null }),
  limits: DEFAULT_LIMITS,
  transport: undefined,
  readHeaderTimeout: 0,
  readTimeout: 0,
  writeTimeout: 0,
  idleTimeout: 0,
  onError: () => {},
  isDraining: () => false,
};

function isMalformed({ framing, method, minor }: Visit): boolean {
  return framing === "malformed" && method === "POST" && minor === 1;
}

function total({ answer }: Visit): number {
  return answer.sizes.reduce((sum, one) => sum + one, 0);
}

function spell(index: number, one: Visit): readonly [head: string, body: string] {
  const { method, minor, keep, framing, size: length, expects } = one;
  let text = `${method} /${index} HTTP/1.${minor}\r\nHost: a.test\r\n`;
  if (!keep) text += "Connection: close\r\n";
  else if (minor === 0) text += "Connection: keep-alive\r\n";
  if (method !== "POST") return [`${text}\r\n`, ""];
  if (expects) text += "Expect: 100-continue\r\n";
  const body = content(index, length);
  if (framing === "length" || minor === 0)
    return [`${text}Content-Length: ${length}\r\n\r\n`, body];
  const end = framing === "malformed" ? "x" : "0";
  return [
    `${text}Transfer-Encoding: chunked\r\n\r\n`,
    `${length.toString(16)}\r\n${body}\r\n${end}\r\n\r\n`,
  ];
}

/** What is known of a request once the handler has it. */
interface Call {
  readonly one: Visit;
  readonly signal: AbortSignal;
  body: string;
  /** How the request's body has ended, for its reader. */
  end: "" | "whole" | "broken";
  hasAnswered: boolean;
  /** Whether the answer's body is a stream, and whether anything of it can go out. */
  streams: boolean;
  isWanted: boolean;
  /** What has happened to the answer's body. */
  readonly log: SourceLog;
}

/** An answer as the client finds it. */
interface Seen {
  readonly status: number;
  readonly id: number | undefined;
  readonly body: string;
  /** Whether it is all there; one that ends with the connection never is. */
  readonly isWhole: boolean;
  readonly isOpenEnded: boolean;
  readonly closes: boolean;
}

/** Reads the answers as the client does; a reader that knows nothing of the engine. */
function read(text: string, visits: readonly Visit[]): Seen[] {
  const all: Seen[] = [];
  for (let rest = text; rest !== "";) {
    const end = rest.indexOf("\r\n\r\n");
    if (end === -1) {
      assert.match(rest, /^(?:H|HT|HTT|HTTP.*)$/s);
      all.push({
        status: 0,
        id: undefined,
        body: "",
        isWhole: false,
        isOpenEnded: false,
        closes: false,
      });
      break;
    }
    const head = rest.slice(0, end);
    rest = rest.slice(end + 4);
    const status = Number(
      /^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1] ?? assert.fail(`No answer: ${head.slice(0, 200)}`),
    );
    if (status < 200) continue;
    const method = visits[all.length]?.method;
    const idText = /\r\nId: (\d+)/.exec(head)?.[1];
    const lengthText = /\r\nContent-Length: (\d+)/.exec(head)?.[1];
    const common = {
      status,
      id: idText === undefined ? undefined : Number(idText),
      closes: head.includes("\r\nConnection: close"),
    };
    const isBodiless = method === "HEAD" && status !== 408;
    const isChunked = head.includes("\r\nTransfer-Encoding: chunked");
    const isOpenEnded = !isBodiless && !isChunked && lengthText === undefined;
    let found = { body: "", isWhole: true, rest };
    if (isOpenEnded) found = { body: rest, isWhole: false, rest: "" };
    else if (!isBodiless)
      found = isChunked ? readChunks(rest) : readLength(rest, Number(lengthText));
    const { body, isWhole } = found;
    rest = found.rest;
    all.push({ ...common, body, isWhole, isOpenEnded });
  }
  return all;
}

async function run({ highWaterMark, visits, cuts, steps }: Scenario): Promise<void> {
  let text = "";
  const points = [...cuts];
  for (const [index, one] of visits.entries()) {
    const [head, body] = spell(index, one);
    text += head;
    if (one.isApart) points.push(text.length);
    text += body;
  }
  const left = cut(text, points);
  const calls: Call[] = [];
  const errors: unknown[] = [];
  /** What was done to the connection, other than by its own fault. */
  const deeds = new Set<Act>();
  let draining = false;
  const answer: (() => void)[] = [];
  const readOn: (() => void)[] = [];
  const pull: (() => void)[] = [];
  let isOver = false;

  function release(what: (() => void)[]): void {
    for (const one of what.splice(0)) one();
  }
  function held(where: (() => void)[]): Promise<void> {
    return isOver ? Promise.resolve() : new Promise((resolve) => void where.push(resolve));
  }

  function bodyOf(call: Call): AsyncIterable<Uint8Array> {
    const { one } = call;
    const { sizes, flaw, isHeld, hasLength } = one.answer;
    let traps = one.trap;
    async function ready(): Promise<void> {
      if (isHeld) await held(pull);
    }
    function asked(how: "pull" | "return"): void {
      if (how === "return") return;
      const sprung = traps;
      traps = [];
      for (const what of sprung) perform(what);
    }
    const declared = hasLength ? total(one) : undefined;
    return source({ index: calls.indexOf(call), sizes, flaw, declared, ready, asked }, call.log);
  }

  async function readBody(call: Call, { body }: IncomingRequest): Promise<void> {
    if (body === null) {
      call.end = "whole";
      return;
    }
    if (body instanceof Uint8Array) {
      call.body = Buffer.from(body).toString("latin1");
      call.end = "whole";
      return;
    }
    const reader = body[Symbol.asyncIterator]();
    try {
      for (let count = 0; count < call.one.reads; count++) {
        await held(readOn);
        const { done, value } = await reader.next();
        if (done === true) {
          call.end = "whole";
          return;
        }
        call.body += Buffer.from(value).toString("latin1");
      }
    } catch {
      call.end = "broken";
    }
  }

  function respond(call: Call): ResponseMessage {
    const { one } = call;
    call.hasAnswered = true;
    if (one.throws) throw new Error("The handler failed");
    const headers: HeaderLines = ["Id", `${calls.indexOf(call)}`];
    if (one.answer.flaw === "unspeakable") headers.push("Id", "a\nb");
    if (one.answer.body === "none") return { status: 200, statusText: "OK", headers, body: null };
    if (one.answer.hasLength) headers.push("Content-Length", `${total(one)}`);
    call.streams = one.answer.body === "stream";
    call.isWanted = one.method !== "HEAD" && one.answer.flaw !== "unspeakable";
    const body = call.streams
      ? bodyOf(call)
      : Buffer.from(content(calls.indexOf(call), total(one)));
    return { status: 200, statusText: "OK", headers, body };
  }

  async function respondLater(call: Call, request: IncomingRequest): Promise<ResponseMessage> {
    if (call.one.readsFirst) await readBody(call, request);
    else void readBody(call, request);
    if (call.one.when === "held") await held(answer);
    return respond(call);
  }

  const fake = fakeSocket(highWaterMark);
  const connection = serveConnection(fake.socket, {
    ...CONTEXT,
    handler: (request) => {
      const index = calls.length;
      assert.equal(request.target, `/${index}`, "Requests are taken in their order");
      const one = visits[index];
      assert.ok(one !== undefined);
      if (fake.socket.destroyed) errors.push(new Error("A request of a closed connection is run"));
      const call: Call = {
        one,
        signal: request.signal,
        body: "",
        end: "",
        hasAnswered: false,
        streams: false,
        isWanted: false,
        log: sourceLog(),
      };
      calls.push(call);
      if (one.when !== "at once") return respondLater(call, request);
      void readBody(call, request);
      return respond(call);
    },
    // So small that a client who asks on and on is made to wait.
    limits: { ...DEFAULT_LIMITS, headBytes: 300 },
    onError: (error) => {
      if (!/The (?:handler|source) failed|"Id" is malformed/.test(String(error)))
        errors.push(error);
    },
    isDraining: () => draining,
  });
  fake.socket.on("error", (error) => {
    if (error.message !== "reset") errors.push(error);
  });
  const atRest = listeners(fake.socket);

  function perform(what: Act): void {
    if (what === "drain" || CUTS.includes(what)) {
      if (fake.socket.destroyed) return;
      deeds.add(what);
    }
    switch (what) {
      case "say": {
        if (deeds.has("end") || fake.socket.destroyed) return;
        const piece = left.shift();
        if (piece !== undefined) fake.say(piece);
        return;
      }
      case "say all":
        while (left.length > 0 && !deeds.has("end") && !fake.socket.destroyed) perform("say");
        return;
      case "take":
        fake.take();
        return;
      case "take all":
        while (fake.take());
        return;
      case "end":
        fake.end();
        return;
      case "break":
      case "close":
        fake.break(what === "break" ? new Error("reset") : undefined);
        return;
      case "tell":
        fake.tell();
        return;
      case "answer":
        release(answer);
        return;
      case "read":
        release(readOn);
        return;
      case "pull":
        release(pull);
        return;
      case "expire":
        connection.expire();
        return;
      case "drain":
        draining = true;
        connection.drain();
        return;
      case "destroy":
        connection.destroy();
    }
  }

  for (const [turns, what] of steps) {
    await turn(turns);
    perform(what);
  }
  // Lets the world go on until nothing more can come.
  for (let round = 0; round < 24; round++) {
    if (fake.socket.destroyed) {
      perform("read");
      perform("tell");
    } else for (const what of ["say", "take all", "answer", "read", "pull"] as const) perform(what);
    await turn(round % 2 === 0 ? 5 : 4);
  }
  judge();
  if (!fake.socket.destroyed && deeds.size === 0 && calls.every((call) => call.end !== ""))
    assert.equal(listeners(fake.socket), atRest);
  // Whoever is still there leaves.
  if (!deeds.has("end")) fake.end();
  for (let round = 0; round < 4; round++) {
    fake.tell();
    perform("read");
    await turn(5);
  }
  assert.ok(fake.socket.destroyed, "The connection outlives its client");
  for (const [index, call] of calls.entries()) {
    const isLast = index === calls.length - 1;
    if (call.streams)
      assert.ok(call.log.over || call.log.returned, `The source of answer ${index} is left`);
    if (call.streams && !isLast)
      assert.ok(!call.signal.aborted, `Request ${index} is told of another's client`);
    if (
      isLast &&
      (!call.hasAnswered || (call.streams && call.isWanted && !call.log.over && !call.log.failed))
    )
      assert.ok(call.signal.aborted, `Request ${index} is not told that its client is gone`);
    if (call.one.reads === 99)
      assert.notEqual(call.end, "", `The reader of request ${index} is left`);
  }
  isOver = true;
  for (const what of [answer, readOn, pull]) release(what);
  await turn(5);
  for (const [index, call] of calls.entries()) {
    if (call.streams)
      assert.ok(call.log.over || call.log.returned, `The source of answer ${index} is left`);
    assert.equal(call.log.pulledAfterReturn, false, `Source ${index} is pulled after its return`);
  }
  assert.deepEqual(errors, []);

  function judge(): void {
    const seen = read(fake.text(), visits);
    const isCutShort = CUTS.some((deed) => deeds.has(deed));
    for (const [index, one] of seen.entries()) {
      const call = calls[index];
      const isLast = index === seen.length - 1;
      if (one.status === 400) {
        assert.ok(isLast && visits[index]?.framing === "malformed");
        continue;
      }
      if (one.status === 408) {
        assert.ok(deeds.has("expire") && isLast);
        continue;
      }
      if (!one.isWhole) assert.ok(isLast, "Something comes behind an incomplete answer");
      if (one.closes) assert.ok(isLast, "Something comes behind the last answer");
      if (one.status === 0) continue;
      assert.ok(call !== undefined);
      if (one.status === 500) {
        assert.ok(call.one.throws || call.one.answer.flaw === "unspeakable");
        continue;
      }
      assert.equal(one.id, index);
      const what = `Answer ${index}`;
      const expected = content(index, total(call.one) + 1);
      assert.ok(expected.startsWith(one.body), `${what} has another's body`);
      if (call.streams && one.isWhole && call.one.method !== "HEAD" && !call.one.answer.hasLength)
        assert.ok(call.log.over && !call.log.failed, `${what} looks whole`);
      if (one.isOpenEnded && call.log.failed && !isCutShort)
        assert.equal(fake.closed(), "reset", `${what} looks whole`);
      if (
        one.isWhole &&
        !call.log.failed &&
        call.one.method !== "HEAD" &&
        call.one.answer.body !== "none"
      )
        assert.ok(
          one.body.length === total(call.one) ||
            (call.one.answer.flaw !== "none" && one.body.length === call.log.yielded),
          `${what} is not whole`,
        );
    }
    for (const [index, call] of calls.entries()) {
      const sent = call.one.method === "POST" ? content(index, call.one.size) : "";
      assert.ok(sent.startsWith(call.body), `Request ${index} has another's body`);
      if (call.end === "whole") assert.equal(call.body, sent, `Request ${index} looks whole`);
      if (call.signal.aborted)
        assert.ok(
          isCutShort || calls.some((each) => each.log.failed || isMalformed(each.one)),
          `Request ${index} was aborted`,
        );
    }
    // Nothing has happened that should not: then everything is answered, up to the answer that is the last.
    if (deeds.size > 0 || visits.some(isMalformed) || calls.some((call) => call.log.failed)) return;
    const last = seen.at(-1);
    assert.ok(last?.closes === true || seen.length === visits.length, `${seen.length} answers`);
    if (last !== undefined)
      assert.ok(last.isWhole || fake.closed() === "ended", "The last answer is not whole");
  }
}

/** What may happen to one of the two connections that a tunnel joins. */
const tunnelStep = fc.tuple(
  fc.nat(5),
  fc.constantFrom<("client" | "upstream")[]>("client", "upstream"),
  fc.constantFrom("say", "say", "say much", "take", "take", "end", "break", "close", "tell"),
);

/** One of them. */
interface TunnelEnd {
  readonly fake: FakeSocket;
  said: string;
  hasEnded: boolean;
  isBroken: boolean;
}

async function runTunnel(
  highWaterMark: number,
  tunnelSteps: readonly (readonly [number, "client" | "upstream", string])[],
): Promise<void> {
  const open = (): TunnelEnd => ({
    fake: fakeSocket(highWaterMark),
    said: "",
    hasEnded: false,
    isBroken: false,
  });
  const ends = { client: open(), upstream: open() };
  const { client, upstream } = ends;
  const pairs = [
    [client, upstream],
    [upstream, client],
  ] as const;
  upstream.fake.socket.on("error", () => {});
  serveConnection(client.fake.socket, {
    ...CONTEXT,
    handler: () => {
      const tunnel = createTunnel(upstream.fake.socket, Buffer.alloc(0));
      return { status: 101, statusText: "", headers: [], body: null, tunnel };
    },
  });
  await turn(5);
  client.fake.say("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
  await turn(5);
  const head = "HTTP/1.1 101 \r\n\r\n";
  while (client.fake.take());
  assert.equal(client.fake.text(), head);
  for (const [turns, whose, what] of tunnelSteps) {
    await turn(turns);
    const one = ends[whose];
    const { fake } = one;
    if (what === "take") fake.take();
    if (what === "tell") fake.tell();
    if (fake.socket.destroyed) continue;
    if (what.startsWith("say") && !one.hasEnded) {
      const text = content(one.said.length % 7, what === "say" ? 3 : 70_000);
      one.said += text;
      fake.say(text);
    } else if (what === "end" && !one.hasEnded) {
      one.hasEnded = true;
      fake.end();
    } else if (what === "break" || what === "close") {
      one.isBroken = true;
      fake.break(what === "break" ? new Error("reset") : undefined);
    }
  }
  for (let round = 0; round < 16; round++) {
    for (const { fake } of [client, upstream]) {
      while (fake.take());
      fake.tell();
    }
    await turn(5);
  }
  const isBroken = client.isBroken || upstream.isBroken;
  for (const [from, to] of pairs) {
    const text = to === client ? to.fake.text().slice(head.length) : to.fake.text();
    assert.ok(from.said.startsWith(text), "What one end sends is not what the other gets");
    if (to.fake.closed() === "ended")
      assert.ok(from.hasEnded && text === from.said, "It looks whole");
    if (isBroken) continue;
    assert.equal(text, from.said);
    assert.equal(to.fake.closed() === "ended", from.hasEnded);
  }
  // An upstream that breaks behind its end shows in the next write to it, and nowhere else.
  if (isBroken && !(upstream.isBroken && upstream.hasEnded))
    for (const { fake } of [client, upstream])
      assert.ok(fake.socket.destroyed, "One end is left when the other breaks");
  for (const { fake } of [client, upstream]) {
    fake.break();
    fake.tell();
  }
}

describe("createHttp1Server() in chaos", () => {
  const bounded = { timeout: 600_000 };
  const rejections: unknown[] = [];
  const note = (error: unknown): unknown => rejections.push(error);
  before(() => process.on("unhandledRejection", note));
  after(() => {
    process.off("unhandledRejection", note);
    assert.deepEqual(rejections, []);
  });

  it("answers in order, ends nothing that is not whole, and leaves nothing", bounded, async () => {
    await fc.assert(fc.asyncProperty(scenario, run), chaos(1000));
  });

  it("joins the ends of a tunnel until both have ended or one breaks", bounded, async () => {
    const property = fc.asyncProperty(
      fc.constantFrom(16, 16_384),
      fc.array(tunnelStep, { maxLength: 14 }),
      runTunnel,
    );
    await fc.assert(property, chaos(500));
  });

  it("runs no request of a connection that it has closed", async () => {
    const fake = fakeSocket(16_384);
    const run: string[] = [];
    const connection = serveConnection(fake.socket, {
      ...CONTEXT,
      handler: ({ target }) => {
        run.push(target);
        return { status: 204, statusText: "", headers: [], body: null };
      },
    });
    await turn(5);
    fake.say("GET /1 HTTP/1.1\r\nHost: a.test\r\n\r\nGET /2 HTTP/1.1\r\nHost: a.test\r\n\r\n");
    connection.drain();
    await settled();
    assert.deepEqual(run, ["/1"]);
    fake.tell();
  });

  it("reads on what comes behind its last answer when a body has ended there", async () => {
    const fake = fakeSocket(16_384);
    let isDraining = false;
    serveConnection(fake.socket, {
      ...CONTEXT,
      isDraining: () => isDraining,
      handler: () => ({ status: 204, statusText: "", headers: [], body: null }),
    });
    await turn(5);
    fake.say("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\n");
    await turn(5);
    fake.take();
    isDraining = true;
    fake.say(`x${"y".repeat(CONTEXT.limits.headBytes + 1)}`);
    await turn(5);
    assert.ok(!fake.socket.isPaused());
    fake.end();
    await turn(5);
    assert.ok(fake.socket.destroyed);
    fake.tell();
  });

  it("lets go of an answer that cannot go out to a client that leaves", async () => {
    const fake = fakeSocket(16_384);
    const asked: string[] = [];
    const body = {
      [Symbol.asyncIterator]: () => ({
        next: () => Promise.resolve({ done: true as const, value: undefined }),
        return: () => {
          asked.push("return");
          return Promise.resolve({ done: true as const, value: undefined });
        },
      }),
    };
    const headers = ["Malformed", "a\nb"];
    serveConnection(fake.socket, {
      ...CONTEXT,
      handler: () => ({ status: 200, statusText: "", headers, body }),
    });
    await turn(5);
    fake.socket.on("data", () => fake.socket.emit("end"));
    fake.say("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    await settled();
    assert.deepEqual(asked, ["return"]);
    fake.tell();
  });
});
