import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { describe, it } from "node:test";
import fc from "fast-check";
import { createHttp1Client } from "../adapters/http1/client.ts";
import { type Body, type Clock, type ResponseMessage, TransportError } from "../src/index.ts";
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
  /** The upstream takes what was written last, or all that is written. */
  | "take"
  | "take all"
  /** The upstream sends the next piece of its answer, or all that is left of it. */
  | "say"
  | "say all"
  /** The upstream ends its side. */
  | "end"
  /** The system breaks the connection, with an error or without; the client is told later. */
  | "break"
  | "close"
  /** The client is told what has become of the connection. */
  | "tell"
  /** The caller does not want the answer any more. */
  | "abort"
  /** The reader reads on, or leaves. */
  | "read"
  | "leave"
  /** The request's body comes on. */
  | "pull"
  /** The time for the answer is up, or the time for 100. */
  | "late"
  | "unasked";

/** An act, and how many turns of the promises pass before it; at most 4, and 5 stands for a turn of the loop. */
type Step = readonly [turns: number, act: Act];

/** An act in the middle of something that the client does. */
interface Trap {
  readonly where: "pull" | "return" | "inform" | "write" | "open" | "opened";
  readonly nth: number;
  readonly acts: readonly Act[];
}

interface Order {
  readonly method: "GET" | "POST";
  readonly once: boolean;
  readonly body: "none" | "whole" | "stream";
  readonly hasLength: boolean;
  readonly sizes: readonly number[];
  /** What is wrong with the body. */
  readonly flaw: "none" | "throws" | "short" | "long" | "stuck";
  /** Whether the body comes only when the test lets it. */
  readonly isHeld: boolean;
  readonly expects: boolean;
  readonly answer: {
    readonly before: readonly (100 | 103)[];
    readonly framing: "none" | "length" | "chunked" | "close";
    readonly size: number;
    readonly close: boolean;
    readonly flaw: "none" | "cut" | "malformed" | "more";
    readonly cuts: readonly number[];
  };
  /** Whether the answer's reader waits until the test lets it read. */
  readonly isSlow: boolean;
  readonly steps: readonly Step[];
  /** What happens between this request and the next one. */
  readonly after: readonly Step[];
  readonly trap: Trap | undefined;
}

interface Scenario {
  readonly highWaterMark: number;
  /** Whether writes fail where connections would break; that takes the client real time. */
  readonly failsWrites: boolean;
  readonly orders: readonly Order[];
}

const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom<Act[]>("take", "say", "pull", "read") },
  { weight: 3, arbitrary: fc.constantFrom<Act[]>("take all", "say all", "tell") },
  {
    weight: 2,
    arbitrary: fc.constantFrom<Act[]>("break", "close", "end", "abort", "leave", "late", "unasked"),
  },
);
const steps: fc.Arbitrary<Step[]> = fc.array(fc.tuple(fc.nat(5), act), { maxLength: 8 });
const size = fc.constantFrom(1, 7, 40_000);
const order: fc.Arbitrary<Order> = fc.record({
  method: fc.constantFrom("GET", "POST"),
  once: fc.boolean(),
  body: fc.constantFrom("none", "none", "whole", "stream", "stream"),
  hasLength: fc.boolean(),
  sizes: fc.array(size, { minLength: 1, maxLength: 3 }),
  flaw: fc.oneof(
    { weight: 3, arbitrary: fc.constant("none" as const) },
    { weight: 1, arbitrary: fc.constantFrom("throws", "short", "long", "stuck") },
  ),
  isHeld: fc.boolean(),
  expects: fc.boolean(),
  answer: fc.record({
    before: fc.array(fc.constantFrom(100, 103), { maxLength: 2 }),
    framing: fc.constantFrom("none", "length", "length", "chunked", "chunked", "close"),
    size: fc.constantFrom(1, 7, 70_000),
    close: fc.constantFrom(false, false, false, true),
    flaw: fc.oneof(
      { weight: 4, arbitrary: fc.constant("none" as const) },
      { weight: 1, arbitrary: fc.constantFrom("cut", "malformed", "more") },
    ),
    cuts: fc.array(fc.nat(200), { maxLength: 3 }),
  }),
  isSlow: fc.boolean(),
  steps,
  after: fc.oneof(fc.constant([]), steps),
  trap: fc.option(
    fc.record({
      where: fc.constantFrom("pull", "return", "inform", "write", "open", "opened"),
      nth: fc.nat(2),
      acts: fc.array(act, { minLength: 1, maxLength: 3 }),
    }),
    { nil: undefined },
  ),
});
/** One that may be repeated, and that not much happens to. */
const plainOrder: fc.Arbitrary<Order> = order.chain((one) =>
  fc
    .record({
      once: fc.nat(3).map((number) => number === 3),
      steps: fc.array(
        fc.tuple(
          fc.nat(5),
          fc.constantFrom<Act[]>("take", "take", "say", "break", "close", "end", "tell"),
        ),
        { minLength: 1, maxLength: 5 },
      ),
    })
    .map((more) => ({
      ...one,
      ...more,
      method: "GET" as const,
      body: "none" as const,
      expects: false,
      after: [],
      trap: undefined,
    })),
);
const scenario: fc.Arbitrary<Scenario> = fc.record({
  highWaterMark: fc.constantFrom(16, 16_384),
  failsWrites: fc.nat(40).map((number) => number === 7),
  orders: fc.array(fc.oneof(order, plainOrder), { minLength: 1, maxLength: 3 }),
});

/** A clock whose timers fire when the test says so, by their delay. */
function handClock(): Clock & { fire(delay: number): void; timers(): number } {
  const due = new Map<unknown, { callback: () => void; delay: number }>();
  let next = 1;
  return {
    now: () => 0,
    setTimeout: (callback, delay) => {
      due.set(next, { callback, delay });
      return next++;
    },
    clearTimeout: (timer) => void due.delete(timer),
    fire: (delay) => {
      for (const [timer, one] of due) {
        if (one.delay !== delay) continue;
        due.delete(timer);
        one.callback();
      }
    },
    timers: () => due.size,
  };
}

const HEAD_TIMEOUT = 500;
const CONTINUE_TIMEOUT = 1000;

/** What the upstream finds in the bytes of a connection; a reader that knows nothing of the engine. */
interface Seen {
  readonly index: number;
  readonly body: string;
  readonly isWhole: boolean;
}

function read(text: string): Seen[] {
  const all: Seen[] = [];
  for (let rest = text; rest !== "";) {
    const end = rest.indexOf("\r\n\r\n");
    const index = Number(/^[A-Z]+ \/(\d+) HTTP\/1\.1\r\n/.exec(rest)?.[1] ?? -1);
    assert.notEqual(index, -1, `No request: ${JSON.stringify(rest.slice(0, 200))}`);
    if (end === -1) {
      all.push({ index, body: "", isWhole: false });
      break;
    }
    const head = rest.slice(0, end);
    rest = rest.slice(end + 4);
    const length = Number(/\r\nContent-Length: (\d+)/.exec(head)?.[1] ?? 0);
    const isChunked = head.includes("\r\nTransfer-Encoding: chunked");
    const { body, isWhole, rest: behind } = isChunked ? readChunks(rest) : readLength(rest, length);
    all.push({ index, body, isWhole });
    rest = behind;
  }
  return all;
}

/** Spells an answer in the pieces in which it comes. */
function spell(index: number, { answer }: Order): string[] {
  let text = answer.before.map((status) => `HTTP/1.1 ${status} \r\n\r\n`).join("");
  text += `HTTP/1.1 200 OK\r\nId: ${index}\r\n`;
  if (answer.close) text += "Connection: close\r\n";
  const body = content(index, answer.size);
  if (answer.framing === "none") text += "Content-Length: 0\r\n\r\n";
  else if (answer.framing === "length") text += `Content-Length: ${body.length}\r\n\r\n${body}`;
  else if (answer.framing === "close") text += `\r\n${body}`;
  else
    text += `Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
  if (answer.flaw === "cut") text = text.slice(0, -1);
  if (answer.flaw === "malformed") text = text.replace("HTTP/1.1 200", "HTTP/1.1 2x0");
  const end = text.length;
  // Where the end of the connection is the end of the answer, there is no more.
  if (answer.flaw === "more" && answer.framing !== "close")
    text += "HTTP/1.1 200 OK\r\nId: 99\r\nContent-Length: 0\r\n\r\n";
  return cut(
    text,
    answer.cuts.filter((point) => point < end),
  );
}

/** A connection and its upstream. */
interface Line {
  readonly fake: FakeSocket;
  /** What is left of the answers, by request. */
  readonly answers: Map<number, string[]>;
  /** What the system or the upstream has done to it. */
  isBroken: boolean;
  isEnded: boolean;
  /** Whether the request was aborted before it could go out. */
  isUnwanted: boolean;
  /** During which request a write has failed. */
  refusedAt: number;
  /** After how many requests the upstream has sent what nobody had asked for. */
  spoiltAfter: number;
  /** How many listeners it had when the first request went out. */
  listeners: string | undefined;
}

/** A request under way, and all that is known of it. */
interface Call {
  readonly index: number;
  readonly order: Order;
  readonly controller: AbortController;
  /** What listens to its signal. */
  readonly listeners: Set<unknown>;
  readonly source: SourceLog;
  /** Lets the request's body go on. */
  pull: (() => void) | undefined;
  /** What has come of it, once it is settled. */
  outcome: { failure?: string; error?: unknown; body: string; head?: ResponseMessage } | undefined;
  /** Whether the head of an answer was handed on. */
  hasHead: boolean;
  /** Whether a timer has fired, and whether the answer's reader has left. */
  isLate: boolean;
  hasLeft: boolean;
  /** Has the answer's reader leave, or read on. */
  leave: (() => void) | undefined;
  readOn: (() => void) | undefined;
  /** How often each place of a trap was passed. */
  readonly counts: Map<string, number>;
  /** The connections that it may have gone out on. */
  readonly lines: Set<Line>;
}

async function run({ highWaterMark, failsWrites, orders }: Scenario): Promise<void> {
  const clock = handClock();
  const lines: Line[] = [];
  /** What the streams have found wrong with how they are used. */
  const misuses: string[] = [];
  let current: Call | undefined;

  function spring(call: Call, where: Trap["where"]): void {
    const count = call.counts.get(where) ?? 0;
    call.counts.set(where, count + 1);
    const { trap } = call.order;
    if (trap?.where === where && trap.nth === count)
      for (const one of trap.acts)
        // Within a write only the system acts.
        if (where !== "write" || one === "break" || one === "close") perform(call, one);
  }

  const client = createHttp1Client({
    headTimeout: HEAD_TIMEOUT,
    keepAliveTimeout: 60_000,
    clock,
    open: async (_origin, signal) => {
      const call = current;
      await Promise.resolve();
      if (call !== undefined) spring(call, "open");
      if (signal.aborted) throw new TransportError("aborted", "Request aborted");
      const line: Line = {
        fake: fakeSocket(highWaterMark, () => {
          line.listeners ??= listeners(line.fake.socket);
          if (current !== undefined) spring(current, "write");
        }),
        answers: new Map(),
        isBroken: false,
        isEnded: false,
        isUnwanted: false,
        refusedAt: Infinity,
        spoiltAfter: Infinity,
        listeners: undefined,
      };
      line.fake.socket.on("error", ({ message }) => {
        if (!/^(?:reset|Write failed|Write cancelled)$/.test(message)) misuses.push(message);
      });
      lines.push(line);
      call?.lines.add(line);
      if (call !== undefined) spring(call, "opened");
      line.isUnwanted = signal.aborted;
      return line.fake.socket;
    },
  });

  function say(line: Line): boolean {
    const seen = read(line.fake.text()).at(-1);
    if (seen === undefined || line.isEnded || line.fake.socket.destroyed) return false;
    const one = orders[seen.index];
    assert.ok(one !== undefined);
    let left = line.answers.get(seen.index);
    if (left === undefined) line.answers.set(seen.index, (left = spell(seen.index, one)));
    const piece = left.shift();
    if (piece === undefined) return false;
    line.fake.say(piece);
    const { framing, flaw } = one.answer;
    if (left.length === 0 && (framing === "close" || flaw === "cut")) end(line);
    return true;
  }

  function end(line: Line): void {
    if (line.fake.socket.destroyed || line.isEnded) return;
    line.isEnded = true;
    line.fake.end();
  }

  function perform(call: Call, one: Act): void {
    const line = lines.at(-1);
    switch (one) {
      case "abort":
        call.controller.abort();
        return;
      case "read":
        call.readOn?.();
        return;
      case "leave":
        if (call.leave !== undefined) {
          call.hasLeft = true;
          call.leave();
        }
        return;
      case "pull":
        call.pull?.();
        return;
      case "late":
        // What a source does when it is let go of may come when the next request is under way.
        if (clock.timers() > 0) (current ?? call).isLate = true;
        clock.fire(HEAD_TIMEOUT);
        clock.fire(CONTINUE_TIMEOUT);
        return;
    }
    if (line === undefined) return;
    const { fake } = line;
    switch (one) {
      case "take":
        fake.take();
        return;
      case "take all":
        while (fake.take());
        return;
      case "say":
        say(line);
        return;
      case "say all":
        while (say(line));
        return;
      case "end":
        end(line);
        return;
      case "break":
      case "close":
        if (fake.socket.destroyed) return;
        if (failsWrites) {
          if (!fake.refuse()) return;
          line.isBroken = true;
          line.refusedAt = current?.index ?? call.index;
          return;
        }
        line.isBroken = true;
        fake.break(one === "break" ? new Error("reset") : undefined);
        return;
      case "tell":
        for (const { fake: each } of lines) each.tell();
        return;
      case "unasked":
        if (current === undefined && !fake.socket.destroyed && !line.isEnded) {
          line.isBroken = true;
          line.spoiltAfter = read(fake.text()).length;
          fake.say("HTTP/1.1 200 OK\r\nId: 98\r\nContent-Length: 0\r\n\r\n");
        }
    }
  }

  function bodyOf(call: Call): Body | null {
    const { order: one, index } = call;
    if (one.body === "none") return null;
    if (one.body === "whole") return Buffer.from(content(index, total(one)));
    async function ready(): Promise<void> {
      if (one.isHeld) await new Promise<void>((resolve) => (call.pull = resolve));
      call.pull = undefined;
    }
    const declared = one.hasLength ? total(one) : undefined;
    const { sizes, flaw } = one;
    const asked = (how: "pull" | "return"): void => spring(call, how);
    return source({ index, sizes, flaw, declared, ready, asked }, call.source);
  }

  async function send(call: Call): Promise<void> {
    const { order: one, index, controller } = call;
    const { signal } = controller;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (name: string, listener: EventListenerOrEventListenerObject) => {
      call.listeners.add(listener);
      add(name, listener);
    };
    signal.removeEventListener = (name: string, listener: EventListenerOrEventListenerObject) => {
      call.listeners.delete(listener);
      remove(name, listener);
    };
    const headers = ["Host", "a.test"];
    if (one.expects) headers.push("Expect", "100-continue");
    if (one.body === "stream" && one.hasLength) headers.push("Content-Length", `${total(one)}`);
    let body = "";
    try {
      const head = await client({
        method: one.method,
        target: `/${index}`,
        headers,
        body: bodyOf(call),
        signal,
        once: one.once,
        origin: "http://a.test",
        upgrade: false,
        inform: () => spring(call, "inform"),
      });
      call.hasHead = true;
      if (head.body instanceof Uint8Array) body = Buffer.from(head.body).toString("latin1");
      else if (head.body !== null) {
        const reader = head.body[Symbol.asyncIterator]();
        call.leave = () => void reader.return?.();
        for (;;) {
          if (one.isSlow) await new Promise<void>((resolve) => (call.readOn = resolve));
          const { done, value } = await reader.next();
          if (done === true) break;
          body += Buffer.from(value).toString("latin1");
        }
        call.leave = undefined;
      }
      call.outcome = { body, head };
    } catch (error) {
      call.leave = undefined;
      const failure = error instanceof TransportError ? error.failure : "none of ours";
      call.outcome = { failure, error, body };
    }
  }

  /** Lets the world go on until the request is settled. */
  async function complete(call: Call): Promise<void> {
    for (let round = 0; call.outcome === undefined && round < 60; round++) {
      for (const line of lines) {
        while (line.fake.take());
        if (round > 20 || read(line.fake.text()).at(-1)?.isWhole === true) say(line);
        line.fake.tell();
      }
      if (round === 20) assert.ok(!call.source.failed, "It is not told that the source failed");
      if (call.hasHead) clock.fire(HEAD_TIMEOUT);
      call.pull?.();
      call.readOn?.();
      await turn(round % 2 === 0 ? 5 : 4);
      if (failsWrites) await new Promise((resolve) => setTimeout(resolve, 4));
      if (round > 5) clock.fire(CONTINUE_TIMEOUT);
    }
  }

  for (const [index, one] of orders.entries()) {
    const call: Call = {
      index,
      order: one,
      controller: new AbortController(),
      listeners: new Set(),
      source: sourceLog(),
      pull: undefined,
      outcome: undefined,
      hasHead: false,
      isLate: false,
      hasLeft: false,
      leave: undefined,
      readOn: undefined,
      counts: new Map(),
      lines: new Set(lines.filter(({ fake }) => !fake.socket.destroyed)),
    };
    current = call;
    const sending = send(call);
    for (const [turns, what] of one.steps) {
      await turn(turns);
      if (call.outcome !== undefined) break;
      perform(call, what);
    }
    await complete(call);
    assert.ok(call.outcome !== undefined, `Request ${index} does not settle`);
    await sending;
    current = undefined;
    await turn(3);
    judge(call);
    assert.equal(clock.timers(), 0, "A timer is left");
    for (const { fake, listeners: before } of lines) {
      if (fake.socket.destroyed) continue;
      assert.equal(listeners(fake.socket), before);
      assert.ok(!fake.socket.isPaused(), "An idle connection is paused");
    }
    for (const [turns, what] of one.after) {
      await turn(turns);
      perform(call, what);
    }
  }
  await turn(5);
  if (failsWrites) {
    // `hearLastWords()` tells of a failed write after some looks, each 10 ms and two turns behind the one before it.
    for (let look = 0; look < 4; look++) {
      await new Promise((resolve) => setTimeout(resolve, 11));
      await turn(5);
      await turn(5);
    }
  }
  judgeLines(lines, orders);
  assert.deepEqual(misuses, []);
  client.close();
  for (const { fake } of lines) fake.tell();
}

function total({ sizes }: Order): number {
  return sizes.reduce((sum, one) => sum + one, 0);
}

/** Judges one request: that it failed only for a reason, and says which. */
function judge(call: Call): void {
  const { order: one, index, source: log, outcome } = call;
  assert.ok(outcome !== undefined);
  const { failure, body, head } = outcome;
  // The time for a body has no limit.
  if (call.hasHead) assert.notEqual(failure, "timeout");
  const what = `Request ${index}: ${failure ?? "answered"}: ${String(outcome.error)}`;
  const mine = [...call.lines];
  const isHurt = mine.some(
    (line) =>
      line.isBroken ||
      (line.isEnded && (one.answer.flaw === "cut" || line.answers.get(index)?.length !== 0)),
  );
  const reasons: Record<string, boolean> = {
    request: call.source.failed,
    aborted: call.controller.signal.aborted || call.hasLeft,
    timeout: call.isLate,
    malformed: one.answer.flaw === "malformed",
    reset: isHurt,
  };
  if (failure === "reset")
    assert.ok(
      mine.some((line) => line.refusedAt >= index),
      `${what}: the connection was known to be broken`,
    );
  if (failure !== undefined) assert.equal(reasons[failure], true, `${what}: no reason`);
  else if (!call.hasLeft) {
    assert.deepEqual(head?.headers.slice(0, 2), ["Id", `${index}`], what);
    const expected = one.answer.framing === "none" ? "" : content(index, one.answer.size);
    const isOpenEnded = one.answer.framing === "close";
    if (isOpenEnded) {
      assert.ok(expected.startsWith(body), `${what}: answer`);
      assert.ok(
        mine.some((line) => line.isEnded),
        `${what}: no end`,
      );
    } else assert.equal(body, expected, `${what}: answer`);
  }
  const isChunked = one.body === "stream" && !one.hasLength;
  const looksWhole = mine.some(({ fake }) =>
    read(fake.text()).some((seen) => seen.index === index && seen.isWhole),
  );
  if (isChunked && looksWhole) assert.ok(log.over && !log.failed, `${what}: the body looks whole`);
  assert.deepEqual([...call.listeners], [], `${what}: listeners are left`);
  if (one.body === "stream" && log.began)
    assert.ok(log.over || log.returned, `${what}: the source is left`);
  assert.equal(log.pulledAfterReturn, false, `${what}: pulled after return`);
}

/** Judges what the upstream has seen. */
function judgeLines(lines: Line[], orders: readonly Order[]): void {
  const times = new Map<number, number>();
  const heard = new Set<number>();
  for (const { fake, spoiltAfter, answers, isEnded, isBroken, isUnwanted } of lines) {
    if (isUnwanted) assert.equal(fake.text(), "", "An aborted request has gone out");
    if (isEnded || isBroken) assert.ok(fake.socket.destroyed, "A connection that is over is open");
    const all = read(fake.text());
    assert.ok(all.length <= spoiltAfter, "A connection was used on which nobody knows what comes");
    for (const [at, { index, body, isWhole }] of all.entries()) {
      const one = orders[index];
      assert.ok(one !== undefined);
      const repeated = (times.get(index) ?? 0) > 0;
      assert.ok(
        !repeated || !heard.has(index),
        `Request ${index} is repeated although it was answered`,
      );
      if (answers.has(index)) heard.add(index);
      times.set(index, (times.get(index) ?? 0) + 1);
      if ((one.answer.close || one.answer.flaw === "more") && answers.get(index)?.length === 0)
        assert.ok(at === all.length - 1, "Something comes behind the last answer");
      assert.ok(isWhole || at === all.length - 1, "Something comes behind an incomplete request");
      const expected = one.body === "none" ? "" : content(index, total(one) + 1);
      assert.ok(expected.startsWith(body), `Request ${index} has another's body`);
    }
  }
  for (const [index, count] of times) {
    const one = orders[index];
    const mayRepeat = one?.method === "GET" && one.body === "none" && !one.once;
    assert.ok(count <= (mayRepeat ? 2 : 1), `Request ${index} went out ${count} times`);
  }
}

describe("createHttp1Client() in chaos", () => {
  it("says whose fault it was, and leaves nothing behind", { timeout: 600_000 }, async () => {
    await fc.assert(fc.asyncProperty(scenario, run), chaos(600));
  });
});
