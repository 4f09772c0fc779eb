import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import process from "node:process";
import { eventually, type Peer } from "../http1-wire.ts";
import { pauseAndResume, takeBytes, limitMemory } from "./bulk.ts";
import {
  type Case,
  DATE,
  type Ends,
  isWhole,
  type Message,
  OK,
  outlast,
  parse,
  passes,
  SILENCE,
  type Stage,
  statusOf,
  values,
} from "./kit.ts";

const MIB = 1024 * 1024;

/** The size of a large message: 100 MiB takes its time on a small machine. */
const LARGE = (process.env["WIRE_LARGE"] === "1" ? 100 : 16) * MIB;

/** How much of the machine's memory the proxy may take while a large message passes. */
const MEMORY = 200 * MIB;

/** The lines with which a client asks for a WebSocket (RFC 6455 section 4.1). */
const ASK = [
  "Upgrade: websocket",
  "Connection: Upgrade",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  "Sec-WebSocket-Version: 13",
];

/** The lines with which an app agrees (RFC 6455 section 4.2). */
const AGREE = [
  "Upgrade: websocket",
  "Connection: Upgrade",
  "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
];

function ask(host: string, path: string, lines: readonly string[]): string {
  return [`GET ${path} HTTP/1.1`, `Host: ${host}`, ...lines, "", ""].join("\r\n");
}

function agree(lines: readonly string[]): string {
  return ["HTTP/1.1 101 Switching Protocols", ...lines, "", ""].join("\r\n");
}

/** What both ends saw of a handshake, and what they hold since. */
interface Opened extends Ends {
  readonly request: Message;
  readonly response: Message;
}

/** Opens a WebSocket; what has come to each end so far is forgotten. */
async function openSocket(
  stage: Stage,
  { path = "/ws", asking = [], agreeing = AGREE }: Partial<Handshake> = {},
): Promise<Opened> {
  const client = await stage.dial();
  client.send(ask(stage.host, path, [...ASK, ...asking]));
  const app = await stage.asked();
  const request = parse(app.text());
  app.clear();
  app.send(agree(agreeing));
  const response = parse(await client.until("\r\n\r\n"));
  client.clear();
  assert.equal(response.startLine, "HTTP/1.1 101 Switching Protocols");
  return { client, app, request, response };
}

/** What a handshake says beside what every one does. */
interface Handshake {
  readonly path: string;
  readonly asking: readonly string[];
  readonly agreeing: readonly string[];
}

/** Spells a frame (RFC 6455 section 5.2) in latin-1; a client masks what it sends. */
function frame(first: number, payload: string, isMasked: boolean): string {
  const { length } = payload;
  const head = [first];
  const mark = isMasked ? 0x80 : 0;
  if (length < 126) head.push(mark | length);
  else if (length < 65_536) head.push(mark | 126, length >> 8, length & 255);
  else head.push(mark | 127, 0, 0, 0, 0, ...bytesOf(length));
  const mask = isMasked ? [0x12, 0x9a, 0xf0, 0x0d] : [];
  const bytes = Buffer.from(payload, "latin1");
  if (isMasked)
    for (let at = 0; at < length; at++) bytes[at] = (bytes[at] ?? 0) ^ (mask[at % 4] ?? 0);
  return Buffer.concat([Buffer.from([...head, ...mask]), bytes]).toString("latin1");
}

function bytesOf(number: number): number[] {
  return [number >>> 24, (number >> 16) & 255, (number >> 8) & 255, number & 255];
}

const EVERY_BYTE = String.fromCharCode(...Array.from({ length: 256 }, (_, byte) => byte));

function closing(code: number, reason: string): string {
  return String.fromCharCode(code >> 8, code & 255) + reason;
}

/** Frames of each kind: the first byte, and the payload. */
const FRAMES: [string, number, string][] = [
  ["a text", 0x81, "caf\xc3\xa9"],
  ["an empty text", 0x81, ""],
  ["a binary message of every byte", 0x82, EVERY_BYTE],
  ["a message of 70,000 bytes", 0x82, "x".repeat(70_000)],
  ["a first fragment", 0x01, "frag"],
  ["a fragment in the middle", 0x00, "men"],
  ["a last fragment", 0x80, "ted"],
  ["a ping", 0x89, "are you there"],
  ["a pong", 0x8a, "are you there"],
  ["a compressed message", 0xc1, "\xf2\x48\xcd\xc9\xc9\x07\x00"],
  ["an unknown opcode", 0x83, "?"],
];

const CLOSES: [number, string][] = [
  [1000, ""],
  [1001, "going away"],
  [1011, "internal error"],
  [4000, "our own"],
];

/** Sends from each end what the other must get, byte for byte, before the next is sent. */
async function passFrame({ client, app }: Ends, first: number, payload: string): Promise<void> {
  for (const [from, to, isMasked] of [
    [client, app, true],
    [app, client, false],
  ] as const) {
    const bytes = frame(first, payload, isMasked);
    to.clear();
    from.send(bytes);
    await passes(to, bytes);
  }
}

/** Sends a large message in frames of 64 KiB, as fast as it is taken, and looks at how it arrives. */
async function passLarge(stage: Stage, from: Peer, to: Peer): Promise<void> {
  const checkMemory = limitMemory(stage.pids, MEMORY);
  const payload = "m".repeat(65_536);
  let taken = 0;
  let bad = -1;
  const piece = Buffer.from(frame(0x00, payload, false), "latin1");
  takeBytes(to, (bytes) => {
    for (let at = 0; at < bytes.length && bad === -1;) {
      const offset = taken % piece.length;
      const length = Math.min(bytes.length - at, piece.length - offset);
      if (bytes.compare(piece, offset, offset + length, at, at + length) !== 0) bad = taken;
      at += length;
      taken += length;
    }
  });
  const size = Math.ceil(LARGE / 65_536) * piece.length;
  for (let sent = 0; sent < size; sent += piece.length) {
    if (!from.socket.write(piece))
      await eventually(
        () => !from.socket.writableNeedDrain || from.socket.destroyed,
        () => `for room after ${sent} bytes`,
        60_000,
      );
  }
  await eventually(
    () => taken === size || bad !== -1 || to.isOver(),
    () => `for the rest after ${taken} bytes`,
    60_000,
  );
  assert.equal(bad, -1, "Other bytes came than were sent");
  assert.equal(taken, size);
  checkMemory();
}

/** Has a read that waits for nothing answered on the replica. */
async function readOnReplica(stage: Stage): Promise<void> {
  const client = await stage.replica.dial();
  client.send(`GET /read HTTP/1.1\r\nHost: ${stage.host}\r\n\r\n`);
  (await stage.asked()).send(OK);
  await client.until(isWhole);
}

/** Both ends, the one of which the case is named first. */
const SIDES: [string, (ends: Ends) => [Peer, Peer]][] = [
  ["client", ({ client, app }) => [client, app]],
  ["app", ({ client, app }) => [app, client]],
];

/** How an app may refuse. */
const REFUSALS: [string, string[], string][] = [
  ["401 Unauthorized", ['WWW-Authenticate: Basic realm="chat"'], "who are you"],
  ["403 Forbidden", ["X-Reason: origin"], ""],
  ["404 Not Found", ["Set-Cookie: a=1", "Set-Cookie: b=2"], "no such room"],
  ["426 Upgrade Required", ["Upgrade: websocket"], "later"],
  ["200 OK", ["Content-Type: text/plain"], "just a page"],
  ["503 Service Unavailable", ["Retry-After: 3"], "full"],
];

/** What stands in for an answer to a handshake, and is none. */
const FAILURES: [string, (app: Peer) => void][] = [
  ["closes", (app) => app.socket.end()],
  ["resets", (app) => app.socket.resetAndDestroy()],
  ["sends garbage", (app) => app.send("\x81\x05hello\r\n\r\n")],
  ["breaks off", (app) => void app.socket.end("HTTP/1.1 101 Switching Pro")],
];

/** Upgrades that are none (RFC 9110 section 7.8): the request is served without. */
const IGNORED: [string, (host: string) => string][] = [
  ["of HTTP/1.0", (host) => ask(host, "/ws", ASK).replace("HTTP/1.1", "HTTP/1.0")],
  [
    "that Connection does not name",
    (host) => ask(host, "/ws", ["Upgrade: websocket", "Connection: keep-alive"]),
  ],
  [
    "with a body",
    (host) => `${ask(host, "/ws", [...ASK, "Content-Length: 2"]).replace("GET", "POST")}hi`,
  ],
  [
    "to h2c, in which requests would go past the proxy",
    (host) =>
      ask(host, "/ws", [
        "Upgrade: h2c",
        "Connection: Upgrade, HTTP2-Settings",
        "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
      ]),
  ],
];

/** WebSockets: the handshake is HTTP, and what follows is not the proxy's. */
export const websockets: readonly Case[] = [
  {
    topic: "WebSockets",
    name: "tunnels a WebSocket, and passes each line of its handshake",
    run: async (stage) => {
      const { request, response } = await openSocket(stage, {
        path: "/chat?room=%2F1",
        asking: [
          "Origin: https://app.test",
          "Cookie: session=1; theme=dark",
          "Authorization: Bearer abc",
          "Sec-WebSocket-Protocol: chat.v2, chat.v1",
          "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        ],
        agreeing: [
          ...AGREE,
          "Sec-WebSocket-Protocol: chat.v1",
          "Sec-WebSocket-Extensions: permessage-deflate",
          "Set-Cookie: seat=4",
          "Set-Cookie: row=2",
        ],
      });
      assert.equal(request.startLine, "GET /chat?room=%2F1 HTTP/1.1");
      for (const [name, value] of Object.entries({
        host: stage.host,
        upgrade: "websocket",
        connection: "Upgrade",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-version": "13",
        "sec-websocket-protocol": "chat.v2, chat.v1",
        "sec-websocket-extensions": "permessage-deflate; client_max_window_bits",
        origin: "https://app.test",
        cookie: "session=1; theme=dark",
        authorization: "Bearer abc",
      }))
        assert.deepEqual(values(request.lines, name), [value], name);
      for (const [name, value] of Object.entries({
        upgrade: ["websocket"],
        connection: ["Upgrade"],
        "sec-websocket-accept": ["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="],
        "sec-websocket-protocol": ["chat.v1"],
        "sec-websocket-extensions": ["permessage-deflate"],
        "set-cookie": ["seat=4", "row=2"],
        "content-length": [],
        "transfer-encoding": [],
      }))
        assert.deepEqual(values(response.lines, name), value, name);
    },
  },
  ...FRAMES.map(([what, first, payload]): Case => ({
    topic: "WebSockets",
    name: `tunnels ${what} both ways, byte for byte`,
    run: async (stage) => passFrame(await openSocket(stage), first, payload),
  })),
  ...CLOSES.flatMap(([code, reason]) =>
    SIDES.map(([side, order]): Case => ({
      topic: "WebSockets",
      name: `tunnels close code ${code} of the ${side}, and the answer to it`,
      run: async (stage) => {
        const [from, to] = order(await openSocket(stage));
        const bytes = frame(0x88, closing(code, reason), side === "client");
        from.send(bytes);
        await passes(to, bytes);
        const reply = frame(0x88, closing(code, reason), side === "app");
        to.send(reply);
        to.socket.end();
        await passes(from, reply);
        await from.over();
        from.socket.end();
        await to.over();
      },
    })),
  ),
  {
    topic: "WebSockets",
    name: "tunnels what each side sends in one packet with its handshake",
    run: async (stage) => {
      const client = await stage.dial();
      const early = frame(0x81, "early", true);
      client.send(ask(stage.host, "/ws", ASK) + early);
      const app = await stage.asked();
      const greeting = frame(0x81, "welcome", false);
      app.send(agree(AGREE) + greeting);
      assert.equal(parse(await client.until(greeting)).rest, greeting);
      assert.equal(parse(await app.until(early)).rest, early);
    },
  },
  {
    topic: "WebSockets",
    name: "tunnels a message that comes a byte at a time",
    run: async (stage) => {
      const { client, app } = await openSocket(stage);
      const bytes = frame(0x81, "slowly", true);
      for (let at = 0; at < bytes.length; at++) {
        client.send(bytes.slice(at, at + 1));
        await passes(app, bytes.slice(0, at + 1));
      }
    },
  },
  ...SIDES.map(([side, order]): Case => ({
    topic: "WebSockets",
    name: `tunnels on to the ${side} when it has sent its last`,
    run: async (stage) => {
      const [from, to] = order(await openSocket(stage));
      from.send("last");
      from.socket.end();
      await passes(to, "last");
      await to.over();
      to.send("still here");
      await passes(from, "still here");
      to.socket.end();
      await from.over();
    },
  })),
  ...SIDES.flatMap(([side, order]) =>
    [true, false].map((isIdle): Case => ({
      topic: "WebSockets",
      name: `tunnels no more to the other side when the ${side} is killed ${isIdle ? "in silence" : "in the middle of a message"}`,
      run: async (stage) => {
        const [from, to] = order(await openSocket(stage));
        if (!isIdle) {
          from.send(frame(0x82, "x".repeat(1000), false).slice(0, 500));
          await to.until((text) => text.length === 500);
        }
        from.socket.resetAndDestroy();
        await to.over();
      },
    })),
  ),
  {
    topic: "WebSockets",
    name: "tunnels on after a silence that is longer than every time limit",
    idle: true,
    run: async (stage) => {
      const ends = await openSocket(stage);
      await new Promise((resolve) => setTimeout(resolve, SILENCE));
      assert.ok(!ends.client.isOver() && !ends.app.isOver());
      await passFrame(ends, 0x81, "still here");
    },
  },
  ...SIDES.map(([side, order]): Case => ({
    topic: "WebSockets",
    name: `tunnels a large message of the ${side}, and takes little memory`,
    alone: true,
    run: async (stage) => {
      const [from, to] = order(await openSocket(stage));
      await passLarge(stage, from, to);
    },
  })),
  ...SIDES.map(([side, order]): Case => ({
    topic: "WebSockets",
    name: `tunnels no faster from the ${side} than the other side reads`,
    alone: true,
    run: async (stage) => {
      const [from, to] = order(await openSocket(stage));
      await pauseAndResume(from, to, 0, stage.pids.length);
    },
  })),
  {
    topic: "WebSockets",
    name: "tunnels 100 WebSockets at once, each its own",
    alone: true,
    run: async (stage) => {
      const all: Ends[] = [];
      for (let count = 0; count < 100; count++)
        all.push(await openSocket(stage, { path: `/${count}` }));
      for (const [index, { client }] of all.entries()) client.send(`from client ${index};`);
      for (const [index, { app }] of all.entries()) app.send(`from app ${index};`);
      for (const [index, { client, app }] of all.entries()) {
        await passes(client, `from app ${index};`);
        await passes(app, `from client ${index};`);
      }
    },
  },
  {
    topic: "WebSockets",
    name: "tunnels another protocol than WebSocket",
    run: async (stage) => {
      const client = await stage.dial();
      client.send(ask(stage.host, "/raw", ["Upgrade: chat/3", "Connection: keep-alive, Upgrade"]));
      const app = await stage.asked();
      const { lines } = parse(app.text());
      assert.deepEqual(values(lines, "upgrade"), ["chat/3"]);
      assert.deepEqual(values(lines, "connection"), ["Upgrade"]);
      app.clear();
      app.send(agree(["Upgrade: chat/3", "Connection: Upgrade"]));
      await client.until("\r\n\r\n");
      client.clear();
      await passFrame({ client, app }, 0x00, "anything");
    },
  },
  ...REFUSALS.map(([status, lines, body]): Case => ({
    topic: "WebSockets",
    name: `passes the app's ${status} to a client that asks for a WebSocket`,
    run: async (stage) => {
      const client = await stage.dial();
      client.send(ask(stage.host, "/ws", ASK));
      const app = await stage.asked();
      app.send(
        [
          `HTTP/1.1 ${status}`,
          DATE,
          ...lines,
          "Connection: close",
          `Content-Length: ${body.length}`,
          "",
          body,
        ].join("\r\n"),
      );
      const response = parse(await client.until(isWhole));
      assert.equal(response.startLine, `HTTP/1.1 ${status}`);
      assert.equal(response.content, body);
      for (const line of lines.filter((each) => !each.startsWith("Upgrade"))) {
        const lower = (text: string): string => text.slice(0, text.indexOf(":")).toLowerCase();
        assert.ok(
          response.lines.some(
            (each) => lower(each) === lower(line) && each.endsWith(line.slice(line.indexOf(":"))),
          ),
          line,
        );
      }
    },
  })),
  ...FAILURES.map(([how, fail]): Case => ({
    topic: "WebSockets",
    name: `answers 502, once, when the app ${how} instead of agreeing to a WebSocket`,
    run: async (stage) => {
      const client = await stage.dial();
      client.send(ask(stage.host, "/ws", ASK));
      fail(await stage.asked());
      await client.until(isWhole);
      assert.equal(statusOf(client.text()), 502);
      assert.equal(stage.asking.length, 1);
    },
  })),
  ...IGNORED.map(([what, request]): Case => ({
    topic: "WebSockets",
    name: `serves a request without the upgrade ${what}`,
    run: async (stage) => {
      const client = await stage.dial();
      client.send(request(stage.host));
      const app = await stage.asked();
      await app.until(isWhole);
      for (const name of ["upgrade", "connection", "http2-settings"])
        assert.deepEqual(values(parse(app.text()).lines, name), [], name);
      app.send(OK);
      assert.equal(statusOf(await client.until(isWhole)), 200);
    },
  })),
  {
    topic: "WebSockets",
    name: "tunnels on a replica once it has what its client has seen",
    run: async (stage) => {
      const client = await stage.replica.dial();
      client.send(ask(stage.host, "/ws", [...ASK, "Cookie: __txid=000000000000000b"]));
      // A read that need not wait overtakes it: it is not at the app, and not lost.
      await readOnReplica(stage);
      assert.equal(stage.asking.length, 1);
      stage.replica.moveTo("000000000000000b");
      const app = await stage.asked();
      app.send(agree(AGREE));
      await client.until("\r\n\r\n");
      assert.equal(statusOf(client.text()), 101);
    },
  },
  {
    topic: "WebSockets",
    name: "answers 504 to an upgrade whose node does not catch up, and does not ask the app",
    idle: true,
    run: async (stage) => {
      const client = await stage.replica.dial();
      client.send(ask(stage.host, "/ws", [...ASK, "Cookie: __txid=0000000000ffffff"]));
      assert.equal(statusOf(await outlast(client)), 504);
      assert.equal(stage.asking.length, 0);
    },
  },
  {
    topic: "WebSockets",
    name: "replays an upgrade on a path that is always forwarded, and does not ask the app",
    run: async (stage) => {
      const client = await stage.replica.dial();
      client.send(ask(stage.host, "/forwarded/ws", [...ASK, "Fly-Request-Id: 01"]));
      const response = parse(await client.until(isWhole));
      assert.equal(statusOf(response.text), 409);
      assert.match(values(response.lines, "fly-replay")[0] ?? "", /^instance=primary-node/);
      assert.equal(stage.asking.length, 0);
    },
  },
  {
    topic: "WebSockets",
    name: "tunnels on a replica that has what its client has seen",
    run: async (stage) => {
      const client = await stage.replica.dial();
      client.send(ask(stage.host, "/ws", [...ASK, "Cookie: __txid=0000000000000001"]));
      const app = await stage.asked();
      app.clear();
      app.send(agree(AGREE));
      await client.until("\r\n\r\n");
      client.clear();
      await passFrame({ client, app }, 0x81, "from a replica");
    },
  },
];
