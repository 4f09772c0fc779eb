import assert from "node:assert/strict";
import { createServer, type Server as NetServer, type Socket } from "node:net";
import { setImmediate } from "node:timers";
import { memory } from "../../adapters/memory.ts";
import { serve } from "../../adapters/serve.ts";
import { freePort } from "../../cluster/ports.ts";
import { createProxy, type Primary } from "../../src/index.ts";
import { fakeClock } from "../fake-clock.ts";
import { dial, type Peer } from "../http1-wire.ts";
import {
  expand,
  type GoldenRecord,
  hex,
  milliseconds,
  type Outcome,
  positionOf,
  type Seen,
} from "./record.ts";
import { readMessage, type WireMessage } from "./wire.ts";

/** What a request of a record came to, and what its placeholders stood for. */
export interface Played {
  readonly outcome: Outcome;
  /** Puts values in the place of a text's placeholders. */
  fill(text: string): string;
}

/** What the app answers where LiteFS did not ask it. */
const OK = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n";

/** How much of a request is sent, in bytes: of a longer one the end never comes, so that no answer can wait for it. */
const LONGEST = 256 * 1024;

/** How far the clock goes at once while somebody waits, in milliseconds. */
const STEP = 50;

/**
 * Starts an app and a proxy in front of it, brings both into the state of a record, sends its bytes and tells what came
 * of them. While the proxy waits for something, time is passed by hand.
 */
export async function play(record: GoldenRecord): Promise<Played> {
  const { config, setup = {} } = record;
  const clock = fakeClock();
  const start = clock.now();
  const here: Primary = { at: "here" };
  const elsewhere: Primary = { at: "elsewhere", hostname: "p" };
  const position = positionOf(record);
  const storage = memory({
    position: position === undefined ? undefined : hex(position),
    primary: record.node === "primary" ? here : elsewhere,
    lag: record.node === "replica" && setup.lag !== undefined ? 6000 : 0,
  });
  if (setup.primary !== undefined) storage.setPrimary({ at: "unknown" });
  const advance = (by: number): void => {
    for (let count = 0; count < by; count++) storage.advance();
  };

  const events: { at: number; happen: () => void | Promise<void> }[] = [];
  const later = setup.advance;
  if (later !== undefined) events.push({ at: later.afterMs, happen: () => advance(later.by) });
  if (setup.primary === "stopped")
    events.push({ at: 1000, happen: () => storage.setPrimary(elsewhere) });

  let client: Peer | undefined;
  const answer = expand(record.appAnswer ?? OK, record);
  const app = createApp(async (socket, seen) => {
    if (setup.appCloses === true) {
      socket.destroy();
      return;
    }
    const { commit } = setup;
    const isLate = commit?.when.startsWith("after") ?? false;
    if (commit !== undefined && !isLate) advance(commit.by);
    const head = answer.slice(0, answer.indexOf("\r\n\r\n") + 4);
    if (head.includes("chunked")) {
      // The rest comes once the client has the first chunk, so that the body is streamed on every runtime.
      const first = answer.indexOf("\r\n", answer.indexOf("\r\n", head.length) + 2) + 2;
      socket.write(answer.slice(0, first), "latin1");
      await client?.until((text) => text.length > text.indexOf("\r\n\r\n") + 5);
      if (commit !== undefined && isLate) advance(commit.by);
      socket.write(answer.slice(first), "latin1");
    } else socket.write(seen.requestLine.startsWith("HEAD ") ? head : answer, "latin1");
    if (record.appAnswerNote !== undefined) socket.end();
  });
  // A port that is left must be nobody else's, or the proxy finds another test's server there.
  const isDownAtFirst = setup.app === "down" || setup.appUpAfterMs !== undefined;
  const port = await app.listen(isDownAtFirst ? await freePort() : 0);
  if (setup.app === "down") await app.close();
  if (setup.appUpAfterMs !== undefined) {
    await app.close();
    // It listens a moment before the attempt at that time, as it did then.
    const up = async (): Promise<void> => void (await app.listen(port));
    events.push({ at: setup.appUpAfterMs - STEP, happen: up });
  }

  const proxy = createProxy({
    target: `http://127.0.0.1:${port}`,
    storage,
    passthrough: config.passthrough,
    alwaysForward: config.alwaysForward,
    maxLag: milliseconds(config.maxLag),
    primaryRedirectTimeout: milliseconds(config.primaryRedirectTimeout),
    // LiteFS remembers writes alone, and believes any token.
    reads: "off",
    plausibleGap: 0,
    clock,
  });
  const server = await serve(proxy, { port: 0, hostname: "127.0.0.1" });
  try {
    if (setup.keptConnections !== undefined) await prime(server.port, app);
    client = await dial(server.port);
    client.send(expand(record.request, record).slice(0, LONGEST));
    const bodiless = record.request.startsWith("HEAD ");
    let answered = readAnswer(client, bodiless);
    const deadline = Date.now() + 10_000;
    while (answered === undefined) {
      assert.ok(Date.now() < deadline, `No answer but ${JSON.stringify(client.text())}`);
      if (clock.timers() > 0) {
        const due = events.findIndex((event) => event.at <= clock.now() - start);
        if (due !== -1) await events.splice(due, 1)[0]?.happen();
        else await clock.advance(STEP);
      }
      await turn();
      answered = readAnswer(client, bodiless);
    }
    const tunnel = answered.startLine.startsWith("HTTP/1.1 101 ") && (await echoes(client));
    const { startLine, headers, body, trailers, truncated, interim } = answered;
    const waited = clock.now() - start;
    const first = app.seen[0];
    return {
      outcome: {
        statusLine: startLine,
        headers: headers.map(([name, value]) => [name, isNow(name, value) ? "{date}" : value]),
        body: tunnel ? client.text().slice(answered.length) : body,
        trailers,
        interim,
        truncated,
        tunnel,
        waited: setup.primary === "stopped" && waited > 0 && waited < 3000 ? null : waited,
        app: first === undefined ? null : { ...first, times: app.seen.length },
      },
      fill: (text) =>
        expand(text, record)
          .replaceAll("{target}", `127.0.0.1:${port}`)
          .replaceAll("{expires}", new Date(clock.now() + 300_000).toUTCString()),
    };
  } finally {
    client?.socket.destroy();
    proxy.close();
    await Promise.all([server.close(), app.close()]);
  }
}

/** Lets sockets have their turn. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Tells whether a line is the server's own `Date`. */
function isNow(name: string, value: string): boolean {
  if (name !== "Date" || new Date(value).toUTCString() !== value) return false;
  return Math.abs(Date.parse(value) - Date.now()) < 60_000;
}

/** Leaves one idle connection between proxy and app. */
async function prime(port: number, app: App): Promise<void> {
  const client = await dial(port);
  app.answerNext(OK);
  client.send("GET /prime HTTP/1.1\r\nHost: app.test\r\n\r\n");
  await client.until("ok\n");
  client.socket.destroy();
  app.seen.length = 0;
}

/** Says something into a tunnel and waits for its echo. */
async function echoes(client: Peer): Promise<boolean> {
  client.send("ping");
  await client.until((text) => text.endsWith("ping"));
  return !client.isOver();
}

interface Answered extends WireMessage {
  readonly interim: Outcome["interim"];
}

/** Reads the answer, or undefined when it is not all there. */
function readAnswer(client: Peer, bodiless: boolean): Answered | undefined {
  const interim: Outcome["interim"][number][] = [];
  let text = client.text();
  for (;;) {
    const status = Number(text.slice(9, 12));
    const hasNone = bodiless || status < 200 || status === 204 || status === 304;
    const message = readMessage(text, client.isOver(), hasNone, true);
    if (message === undefined) {
      assert.ok(!client.isOver(), `Connection ended with ${JSON.stringify(text)}`);
      return undefined;
    }
    if (status === 101 || status >= 200) return { ...message, interim };
    interim.push({ status, headers: message.headers });
    text = text.slice(message.length);
  }
}

interface App {
  /** What it has seen, in order. */
  readonly seen: Seen[];
  /** Takes a port, 0 a free one, and returns it. */
  listen(port: number): Promise<number>;
  /** Answers the next request with this and all others as it was told. */
  answerNext(text: string): void;
  close(): Promise<void>;
}

/** Creates an app that keeps what it sees and answers bytes. */
function createApp(answer: (socket: Socket, seen: Seen) => void | Promise<void>): App {
  const seen: Seen[] = [];
  const sockets = new Set<Socket>();
  let server: NetServer | undefined;
  let next: string | undefined;

  function take(socket: Socket): void {
    let text = "";
    let upgraded = false;
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
    socket.on("data", (bytes) => {
      if (upgraded) {
        socket.write(bytes);
        return;
      }
      text += bytes.toString("latin1");
      const message = readMessage(text, false, false, false);
      if (message === undefined) return;
      text = "";
      const { startLine: requestLine, headers, body } = message;
      const request: Seen = { requestLine, headers, body };
      seen.push(request);
      upgraded = headers.some(([name]) => name.toLowerCase() === "upgrade");
      if (next === undefined) void answer(socket, request);
      else socket.write(next, "latin1");
      next = undefined;
    });
  }

  return {
    seen,
    listen: (port) =>
      new Promise((resolve, reject) => {
        const listening = createServer({ allowHalfOpen: true }, take);
        server = listening;
        listening.once("error", reject);
        listening.listen(port, "127.0.0.1", () => {
          const address = listening.address();
          assert.ok(address !== null && typeof address === "object");
          resolve(address.port);
        });
      }),
    answerNext: (text) => {
      next = text;
    },
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        if (server?.listening === true) server.close(() => resolve());
        else resolve();
      }),
  };
}
