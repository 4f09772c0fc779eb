import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash, type Hash } from "node:crypto";
import process from "node:process";
import { eventually, type Peer } from "../http1-wire.ts";
import { ENDLESS, pauseAndResume, pump, roomIn, takeBody, takeBytes, limitMemory } from "./bulk.ts";
import {
  type Case,
  DATE,
  type Ends,
  isWhole,
  OK,
  parse,
  SILENCE,
  type Stage,
  statusOf,
  unchunk,
  values,
} from "./kit.ts";

const MIB = 1024 * 1024;

/** The size of a large body: 1 GiB takes half a minute on a small machine. */
const LARGE = (process.env["WIRE_LARGE"] === "1" ? 1024 : 64) * MIB;

/** How much of the machine's memory the proxy may take while a large body passes. */
const MEMORY = 200 * MIB;

/** Sends a request's head, and resolves once it is at the app. */
async function open(stage: Stage, startLine: string, lines: readonly string[] = []): Promise<Ends> {
  const client = await stage.dial();
  client.send([`${startLine} HTTP/1.1`, `Host: ${stage.host}`, ...lines, "", ""].join("\r\n"));
  return { client, app: await stage.asked() };
}

/** Has the app begin an answer, and resolves once its head is at the client. */
async function answer({ client, app }: Ends, lines: readonly string[], body = ""): Promise<void> {
  // No other case is to be asked for on this connection.
  app.send(["HTTP/1.1 200 OK", DATE, "Connection: close", ...lines, "", body].join("\r\n"));
  await client.until("\r\n\r\n");
  assert.equal(statusOf(client.text()), 200);
}

const EVENTS = ["Content-Type: text/event-stream", "Cache-Control: no-cache"];
const FIRST = "data: 0\n\n";
const CHUNKED = "Transfer-Encoding: chunked";

/** Opens a stream of events on which there has been one. */
async function openEvents(stage: Stage): Promise<Ends> {
  const ends = await open(stage, "GET /events", ["Accept: text/event-stream"]);
  await answer(ends, [...EVENTS, CHUNKED], chunk(FIRST));
  await ends.client.until(FIRST);
  return ends;
}

function chunk(text: string): string {
  return `${text.length.toString(16)}\r\n${text}\r\n`;
}

/** Sends events one after the other, each once the one before has arrived. */
async function passEach(
  stage: Stage,
  framing: string,
  wrap: (text: string) => string,
): Promise<Ends> {
  const ends = await open(stage, "GET /events", ["Accept: text/event-stream"]);
  const { client, app } = ends;
  await answer(ends, [...EVENTS, framing], wrap(FIRST));
  let sent = FIRST;
  for (const event of [
    "data: 1\n\n",
    ": a comment\n\n",
    "retry: 10\n",
    "\n",
    `id: 4\ndata: ${"x".repeat(300_000)}\n\n`,
    "event: last\ndata: caf\xc3\xa9\ndata\n\n",
  ]) {
    sent += event;
    app.send(wrap(event));
    await client.until((text) => parse(text).content.length >= sent.length);
    assert.equal(parse(client.text()).content, sent);
  }
  return ends;
}

function silence(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, SILENCE));
}

/** A moment in which something that must not happen would happen. */
function moment(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 100));
}

/** Sends a large body, as fast as it is taken, and returns its checksum. */
async function giveBody(peer: Peer, size: number, chunked: boolean): Promise<string> {
  const hash: Hash = createHash("sha1");
  const { socket } = peer;
  const pattern = Buffer.alloc(65_537, "the quick brown fox, and so on; ");
  for (let sent = 0; sent < size;) {
    const piece = Buffer.from(pattern.subarray(0, Math.min(pattern.length, size - sent)));
    // Two pieces that change places change the sum.
    piece.writeDoubleBE(sent, piece.length >= 8 ? piece.length - 8 : 0);
    sent += piece.length;
    hash.update(piece);
    if (chunked) socket.write(`${piece.length.toString(16)}\r\n`);
    let room = socket.write(piece);
    if (chunked) room = socket.write("\r\n");
    assert.ok(!socket.destroyed, `Broken after ${sent} bytes`);
    if (!room) await roomIn(socket);
  }
  if (chunked) socket.write("0\r\n\r\n");
  return hash.digest("hex");
}

/** Passes a large body from one end to the other. */
async function passLarge(stage: Stage, from: Peer, to: Peer, chunked: boolean): Promise<void> {
  const checkMemory = limitMemory(stage.pids, MEMORY);
  const giving = giveBody(from, LARGE, chunked);
  await to.until("\r\n\r\n");
  const intake = takeBody(to);
  const sum = await giving;
  await eventually(
    () => intake.isWhole() || to.isOver(),
    () => `for the rest after ${intake.bytes()} bytes`,
    60_000,
  );
  assert.equal(intake.bytes(), LARGE);
  assert.equal(intake.sum(), sum);
  assert.ok(intake.isWhole());
  checkMemory();
}

/** The ways in which a client goes. */
const LEAVINGS: [string, (client: Peer) => void][] = [
  ["closes", (client) => client.socket.destroy()],
  ["resets", (client) => client.socket.resetAndDestroy()],
];

/** What is under way when the client goes. */
const PHASES: [string, (stage: Stage) => Promise<Ends>][] = [
  ["before the app has answered", (stage) => open(stage, "GET /slow")],
  [
    "before the app has answered an upload",
    async (stage) => {
      const ends = await open(stage, "POST /slow", ["Content-Length: 3"]);
      ends.client.send("abc");
      await ends.app.until("abc");
      return ends;
    },
  ],
  [
    "in the middle of a body",
    async (stage) => {
      const ends = await open(stage, "GET /long");
      await answer(ends, ["Content-Length: 1000"], "some");
      await ends.client.until("some");
      return ends;
    },
  ],
  [
    "in the middle of an upload",
    async (stage) => {
      const ends = await open(stage, "PUT /up", ["Content-Length: 1000"]);
      ends.client.send("some");
      await ends.app.until("some");
      return ends;
    },
  ],
  [
    "in the middle of an upload in chunks",
    async (stage) => {
      const ends = await open(stage, "PUT /up", [CHUNKED]);
      ends.client.send(chunk("some"));
      await ends.app.until("some");
      return ends;
    },
  ],
  [
    "without having read what the app sends",
    async (stage) => {
      const ends = await open(stage, "GET /long");
      await answer(ends, [`Content-Length: ${ENDLESS}`], "y");
      const { client, app } = ends;
      client.socket.pause();
      let last = Date.now();
      app.socket.on("drain", () => (last = Date.now()));
      void pump(app, ENDLESS - 1, () => false).catch(() => {});
      await eventually(
        () => app.socket.writableNeedDrain && Date.now() - last > 300,
        () => "for the sending to stop",
        20_000,
      );
      return ends;
    },
  ],
  ["on a silent stream of events", (stage) => openEvents(stage)],
];

/** The ways in which an app breaks off. */
const BREAKS: [string, readonly string[], string, (app: Peer) => void][] = [
  ["closes in the middle of a length", ["Content-Length: 100"], "some", end],
  ["resets in the middle of a length", ["Content-Length: 100"], "some", reset],
  ["closes between two chunks", [CHUNKED], chunk("some"), end],
  ["resets between two chunks", [CHUNKED], chunk("some"), reset],
  ["closes in the middle of a chunk", [CHUNKED], "10\r\nsome", end],
  ["closes in the middle of the last chunk", [CHUNKED], `${chunk("some")}0\r\n`, end],
  ["resets in the middle of a body without a length", [], "some", reset],
];

function end(app: Peer): void {
  app.socket.end();
}

function reset(app: Peer): void {
  app.socket.resetAndDestroy();
}

/** Tells whether a client takes what it has got for a complete answer. */
function looksWhole(client: Peer, hasError: boolean): boolean {
  const text = client.text();
  const { lines } = parse(text);
  const isFramed = [...values(lines, "content-length"), ...values(lines, "transfer-encoding")];
  return isFramed.length > 0 ? isWhole(text) : !hasError;
}

/** Has the app break off its answer to a request, and looks at what the client makes of it. */
async function breakOff(
  stage: Stage,
  version: string,
  [, lines, body, fail]: (typeof BREAKS)[number],
): Promise<void> {
  const client = await stage.dial();
  let hasError = false;
  client.socket.on("error", () => (hasError = true));
  client.send(`GET / HTTP/${version}\r\nHost: ${stage.host}\r\n\r\n`);
  const app = await stage.asked();
  await answer({ client, app }, lines, body);
  await client.until("some");
  fail(app);
  await client.over();
  assert.ok(!looksWhole(client, hasError), JSON.stringify(client.text()));
  assert.equal(stage.asking.length, 1);
}

/** What an app does with the rest of an upload that it has answered. */
const EARLY: [string, (app: Peer) => void][] = [
  ["closes", (app) => app.socket.pause().end()],
  [
    "resets with bytes unread",
    // An end before the bytes that wait are read goes out as a reset.
    (app) => app.socket.pause().end(() => app.socket.destroy()),
  ],
  ["reads on", (app) => takeBytes(app, () => {})],
];

/** A body that the client would send for minutes: the answer comes before its end or not at all. */
const UNENDING = 2 ** 40;

async function answerEarly(
  stage: Stage,
  status: number,
  chunked: boolean,
  then: (app: Peer) => void,
): Promise<void> {
  const framing = chunked ? CHUNKED : `Content-Length: ${UNENDING}`;
  const { client, app } = await open(stage, "POST /upload", [framing]);
  const hasAnswer = (): boolean => isWhole(client.text()) || client.isOver();
  // A chunk that is as long as the body is never over.
  if (chunked) client.send(`${UNENDING.toString(16)}\r\n`);
  const sending = pump(client, UNENDING, hasAnswer);
  await app.until("xxxx");
  app.send(
    [`HTTP/1.1 ${status}`, DATE, "Connection: close", "Content-Length: 5", "", "early"].join(
      "\r\n",
    ),
  );
  then(app);
  await eventually(hasAnswer, () => "for the answer");
  await sending;
  assert.equal(statusOf(client.text()), status);
  assert.equal(parse(client.text()).content, "early");
}

const EXPECT = "Expect: 100-continue";
const CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n";

/** How long a proxy waits for 100 before it asks for the body by itself, as it may, in milliseconds. */
const PATIENCE = 1000;

/**
 * Sends the head of a request that waits for 100, until the proxy has left it to the app to ask for the body.
 *
 * @param look Has something happen, and returns what has come to the client by then.
 */
async function openExpecting(
  stage: Stage,
  framing: string,
  look: (ends: Ends) => Promise<string>,
): Promise<Ends> {
  for (let attempt = 0; attempt < 10; attempt++) {
    const since = Date.now();
    const ends = await open(stage, "POST /upload", [framing, EXPECT]);
    assert.deepEqual(values(parse(ends.app.text()).lines, "expect"), ["100-continue"]);
    const isEarly = (await look(ends)).startsWith(CONTINUE);
    const isInTime = Date.now() - since < PATIENCE;
    if (isInTime) assert.ok(!isEarly, "the proxy has asked for the body");
    if (!isEarly) return ends;
    // What may have come later than that tells nothing: this machine was too slow for a look in time.
    ends.client.socket.destroy();
    ends.app.socket.destroy();
  }
  throw new Error("This machine is too slow to tell");
}

/** Has an app answer a request that waits for its leave to send a body, and refuses it. */
async function refuseExpectation(stage: Stage, status: number, framing: string): Promise<void> {
  const { client, app } = await openExpecting(stage, framing, async (ends) => {
    ends.app.send([`HTTP/1.1 ${status} X`, DATE, "Content-Length: 2", "", "no"].join("\r\n"));
    return ends.client.until(isWhole);
  });
  assert.equal(statusOf(client.text()), status);
  assert.equal(parse(client.text()).content, "no");
  assert.equal(parse(app.text()).rest, "");
}

/** Streams: what comes in pieces, takes its time, or breaks off. */
export const streams: readonly Case[] = [
  ...[CHUNKED, "Connection: close"].map((framing): Case => ({
    topic: "streams",
    name: `passes the head of an event stream with ${framing} before any event`,
    run: async (stage) => {
      const ends = await open(stage, "GET /events", ["Accept: text/event-stream"]);
      const { client } = ends;
      await answer(ends, [...EVENTS, framing]);
      const head = parse(client.text());
      assert.deepEqual(values(head.lines, "content-type"), ["text/event-stream"]);
      assert.deepEqual(values(head.lines, "content-length"), []);
      assert.equal(head.content, "");
      assert.ok(!client.isOver());
    },
  })),
  {
    topic: "streams",
    name: "passes each event in chunks before the next is sent",
    run: async (stage) => {
      const { client, app } = await passEach(stage, CHUNKED, chunk);
      app.send("0\r\n\r\n");
      await client.until(isWhole);
    },
  },
  {
    topic: "streams",
    name: "passes each event without a length before the next is sent",
    run: async (stage) => {
      const { client, app } = await passEach(stage, "Connection: close", (text) => text);
      app.socket.end();
      const { lines } = parse(client.text());
      if (values(lines, "transfer-encoding").length > 0) await client.until(isWhole);
      else await client.over();
    },
  },
  {
    topic: "streams",
    name: "passes events that come in one packet, and those cut in two",
    run: async (stage) => {
      const { client, app } = await openEvents(stage);
      app.send(chunk("data: 1\n\n") + chunk("data: 2\n\n") + chunk("data: 3\n\n").slice(0, -8));
      await client.until((text) => parse(text).content.includes("2\n\n"));
      app.send(chunk("data: 3\n\n").slice(-8));
      await client.until((text) => parse(text).content.endsWith("3\n\n"));
      assert.equal(parse(client.text()).content, `${FIRST}data: 1\n\ndata: 2\n\ndata: 3\n\n`);
    },
  },
  {
    topic: "streams",
    name: "keeps an event stream that is silent for longer than every time limit",
    idle: true,
    run: async (stage) => {
      const { client, app } = await openEvents(stage);
      app.send(chunk("data: 1\n\n"));
      await client.until("data: 1");
      await silence();
      assert.ok(!client.isOver() && !app.isOver());
      app.send(chunk("data: 2\n\n"));
      await client.until("data: 2");
    },
  },
  {
    topic: "streams",
    name: "waits for an app that is silent before its head for longer than every time limit",
    idle: true,
    run: async (stage) => {
      const { client, app } = await open(stage, "GET /slow");
      await silence();
      assert.equal(client.text(), "");
      app.send(OK);
      await client.until(isWhole);
      assert.equal(statusOf(client.text()), 200);
    },
  },
  ...["Content-Length: 8", CHUNKED].map((framing): Case => ({
    topic: "streams",
    name: `keeps an upload with ${framing} that is silent for longer than every time limit`,
    idle: true,
    run: async (stage) => {
      const wrap = framing === CHUNKED ? chunk : (text: string) => text;
      const { client, app } = await open(stage, "PUT /slow", [framing]);
      client.send(wrap("some"));
      await app.until("some");
      await silence();
      assert.ok(!client.isOver() && !app.isOver());
      client.send(wrap("more") + (framing === CHUNKED ? "0\r\n\r\n" : ""));
      await app.until(isWhole);
      assert.equal(parse(app.text()).content, "somemore");
      app.send(OK);
      await client.until(isWhole);
    },
  })),
  ...[false, true].flatMap((chunked): Case[] => {
    const framing = chunked ? CHUNKED : `Content-Length: ${LARGE}`;
    const how = chunked ? "in chunks" : "with its length";
    return [
      {
        topic: "streams",
        name: `passes a large upload ${how}, and takes little memory`,
        alone: true,
        run: async (stage) => {
          const { client, app } = await open(stage, "PUT /large", [framing]);
          await passLarge(stage, client, app, chunked);
          app.send(OK);
          await client.until(isWhole);
          assert.equal(statusOf(client.text()), 200);
        },
      },
      {
        topic: "streams",
        name: `passes a large body ${how}, and takes little memory`,
        alone: true,
        run: async (stage) => {
          const ends = await open(stage, "GET /large");
          const head = ["HTTP/1.1 200 OK", DATE, "Connection: close", framing, "", ""];
          ends.app.send(head.join("\r\n"));
          await passLarge(stage, ends.app, ends.client, chunked);
        },
      },
    ];
  }),
  {
    topic: "streams",
    name: "stops the app while the client does not read",
    alone: true,
    run: async (stage) => {
      const ends = await open(stage, "GET /large");
      await answer(ends, [`Content-Length: ${ENDLESS}`], "y");
      await pauseAndResume(ends.app, ends.client, 1, stage.pids.length);
    },
  },
  {
    topic: "streams",
    name: "stops the client while the app does not read",
    alone: true,
    run: async (stage) => {
      const { client, app } = await open(stage, "PUT /large", [`Content-Length: ${ENDLESS}`]);
      client.send("y");
      await pauseAndResume(client, app, 1, stage.pids.length);
    },
  },
  ...PHASES.flatMap(([when, begin]): Case[] =>
    LEAVINGS.map(([how, leave]) => ({
      topic: "streams",
      name: `lets go of the app when the client ${how} ${when}`,
      run: async (stage) => {
        const { client, app } = await begin(stage);
        assert.ok(!app.isOver());
        leave(client);
        await app.over();
        assert.equal(stage.asking.length, 1);
      },
    })),
  ),
  ...BREAKS.flatMap((one): Case[] =>
    ["1.1", "1.0"].map((version) => ({
      topic: "streams",
      name: `ends nothing cleanly for an HTTP/${version} client when the app ${one[0]}`,
      run: (stage) => breakOff(stage, version, one),
    })),
  ),
  ...[413, 200].flatMap((status): Case[] =>
    EARLY.flatMap(([how, then]) =>
      [false, true].map((chunked) => ({
        topic: "streams",
        name: `passes ${status} during an upload ${chunked ? "in chunks" : "with its length"} to an app that then ${how}`,
        // A reset overtakes what came before it where a proxy has its hands full.
        alone: how === "resets with bytes unread",
        isRace: how === "resets with bytes unread",
        run: (stage: Stage) => answerEarly(stage, status, chunked, then),
      })),
    ),
  ),
  ...["Content-Length: 4", CHUNKED].map((framing): Case => ({
    topic: "streams",
    name: `passes Expect: 100-continue with ${framing}, and asks for the body once the app does`,
    run: async (stage) => {
      const { client, app } = await openExpecting(stage, framing, async (ends) => {
        await moment();
        return ends.client.text();
      });
      app.send(CONTINUE);
      await client.until("\r\n\r\n");
      assert.equal(client.text(), CONTINUE);
      assert.equal(parse(app.text()).rest, "");
      client.clear();
      client.send(framing === CHUNKED ? `${chunk("body")}0\r\n\r\n` : "body");
      await app.until(isWhole);
      assert.equal(parse(app.text()).content, "body");
      app.send(OK);
      await client.until(isWhole);
      assert.equal(statusOf(client.text()), 200);
    },
  })),
  ...[417, 413, 200].flatMap((status): Case[] =>
    [`Content-Length: ${MIB}`, CHUNKED].map((framing) => ({
      topic: "streams",
      name: `passes ${status} to a client that expects 100 with ${framing.split(":")[0]}, and asks for no body`,
      run: (stage) => refuseExpectation(stage, status, framing),
    })),
  ),
  {
    topic: "streams",
    name: "passes the body to an app that never answers its Expect: 100-continue",
    run: async (stage) => {
      const { client, app } = await open(stage, "POST /upload", ["Content-Length: 4", EXPECT]);
      // The client waits, as it may, until it is asked.
      await client.until(CONTINUE);
      client.clear();
      client.send("body");
      await app.until(isWhole);
      app.send(OK);
      await client.until(isWhole);
      assert.equal(statusOf(client.text()), 200);
    },
  },
  {
    topic: "streams",
    name: "passes no Expect: 100-continue of an HTTP/1.0 client, for which nobody waits",
    run: async (stage) => {
      const client = await stage.dial();
      const lines = ["Expect: 100-continue", "Content-Length: 3"];
      client.send(["POST / HTTP/1.0", `Host: ${stage.host}`, ...lines, "", ""].join("\r\n"));
      const app = await stage.asked();
      assert.deepEqual(values(parse(app.text()).lines, "expect"), []);
      client.send("abc");
      await app.until("\r\n\r\nabc");
      app.send(OK);
      assert.match(await client.over(), /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nok$/);
    },
  },
  {
    topic: "streams",
    name: "passes the body of a client that does not wait for its 100",
    run: async (stage) => {
      const { client, app } = await open(stage, "POST /upload", ["Content-Length: 4", EXPECT]);
      client.send("body");
      await app.until(isWhole);
      assert.equal(parse(app.text()).content, "body");
      app.send(OK);
      await client.until((text) => text.includes("200 OK") && text.endsWith("ok"));
    },
  },
  {
    topic: "streams",
    name: "passes an upload in chunks piece by piece",
    run: async (stage) => {
      const { client, app } = await open(stage, "POST /upload", [CHUNKED]);
      let sent = "";
      for (const piece of ["a", "bc", "d".repeat(100_000), "e"]) {
        sent += piece;
        client.send(chunk(piece));
        await app.until((text) => parse(text).content.length >= sent.length);
        assert.equal(parse(app.text()).content, sent);
      }
      client.send("0\r\n\r\n");
      await app.until(isWhole);
      app.send(OK);
      await client.until(isWhole);
    },
  },
  {
    topic: "streams",
    name: "passes the trailers of an upload that comes piece by piece",
    run: async (stage) => {
      const { client, app } = await open(stage, "POST /upload", [CHUNKED, "Trailer: X-Sum"]);
      client.send(chunk("some"));
      await app.until("some");
      client.send("0\r\nX-Sum: 42\r\n\r\n");
      await app.until(isWhole);
      assert.equal(unchunk(parse(app.text()).rest).trailers, "X-Sum: 42\r\n\r\n");
      app.send(OK);
      await client.until(isWhole);
    },
  },
  {
    topic: "streams",
    name: "passes an upload with its length piece by piece",
    run: async (stage) => {
      const { client, app } = await open(stage, "POST /upload", ["Content-Length: 6"]);
      for (const piece of ["ab", "cd", "ef"]) {
        client.send(piece);
        await app.until((text) => parse(text).content.endsWith(piece));
      }
      app.send(OK);
      await client.until(isWhole);
    },
  },
  {
    topic: "streams",
    name: "passes both ways at once: an answer that follows its upload",
    run: async (stage) => {
      const ends = await open(stage, "POST /echo", [CHUNKED]);
      await answer(ends, [CHUNKED], chunk("zero"));
      const { client, app } = ends;
      for (const piece of ["one", "two", "three"]) {
        client.send(chunk(piece));
        await app.until((text) => parse(text).content.endsWith(piece));
        app.send(chunk(piece));
        await client.until((text) => parse(text).content.endsWith(piece));
      }
      client.send("0\r\n\r\n");
      await app.until(isWhole);
      app.send("0\r\n\r\n");
      await client.until(isWhole);
      assert.equal(parse(client.text()).content, "zeroonetwothree");
    },
  },
];
