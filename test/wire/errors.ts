import assert from "node:assert/strict";
import type { Peer } from "../http1-wire.ts";
import {
  type Case,
  DATE,
  isWhole,
  OK,
  outlast,
  parse,
  type Stage,
  statusOf,
  values,
} from "./kit.ts";

/** What an answer of the proxy's own says, whatever went wrong behind it. */
const UNAVAILABLE = "Proxy error: target unavailable\n";

/** The same for an app that takes too long. */
const TIMED_OUT = "Proxy error: target timed out\n";

/** The ways in which an app fails before it has answered. */
const FAILURES: [string, (app: Peer) => void][] = [
  ["closes", (app) => app.socket.end()],
  ["resets", (app) => app.socket.resetAndDestroy()],
  ["sends garbage", (app) => app.send("\x00\x01garbage\r\n\r\n")],
  ["closes in the middle of the head", (app) => void app.socket.end("HTTP/1.1 200 OK\r\nX-A: 1")],
  [
    "resets in the middle of the head",
    (app) => {
      app.send("HTTP/1.1 200 OK\r\nX-A: 1");
      app.socket.resetAndDestroy();
    },
  ],
];

/** Requests of each kind; a body, where there is one, has come when the app fails. */
const REQUESTS: [string, string][] = [
  ["GET", ""],
  ["POST", "Content-Length: 4\r\n\r\nbody"],
  ["PUT", "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"],
];

function spell(method: string, path: string, host: string, rest: string): string {
  return `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\n${rest === "" ? "\r\n" : rest}`;
}

/** Looks at an answer that must tell nothing of the inside. */
function lookAt(text: string, status: number, body: string): void {
  const answer = parse(text);
  assert.equal(statusOf(text), status);
  assert.equal(answer.content, body);
  assert.deepEqual(values(answer.lines, "content-length"), [String(body.length)]);
  assert.deepEqual(values(answer.lines, "content-type"), ["text/plain; charset=utf-8"]);
  assert.deepEqual(values(answer.lines, "cache-control"), ["no-store"]);
  assert.deepEqual(values(answer.lines, "set-cookie"), []);
}

/** Has the next request on a connection served, as if nothing had been. */
async function serveNext(stage: Stage, client: Peer): Promise<void> {
  client.clear();
  client.send(spell("GET", "/next", stage.host, ""));
  const app = await stage.asked();
  assert.match(app.text(), /^GET \/next /);
  app.send(OK);
  assert.equal(parse(await client.until(isWhole)).content, "ok");
}

/** What goes wrong behind the proxy: a client learns that, and no more. */
export const errors: readonly Case[] = [
  ...FAILURES.flatMap(([how, fail]) =>
    REQUESTS.map(([method, rest]): Case => ({
      topic: "errors",
      name: `answers 502 to a ${method} when the app ${how}, and serves the next request`,
      run: async (stage) => {
        const client = await stage.dial();
        client.send(spell(method, "/", stage.host, rest));
        const app = await stage.asked();
        await app.until(isWhole);
        fail(app);
        lookAt(await client.until(isWhole), 502, UNAVAILABLE);
        await serveNext(stage, client);
      },
    })),
  ),
  {
    topic: "errors",
    name: "answers 502 to a HEAD without a body, and serves the next request",
    run: async (stage) => {
      const client = await stage.dial();
      client.send(spell("HEAD", "/", stage.host, ""));
      (await stage.asked()).socket.resetAndDestroy();
      assert.equal(statusOf(await client.until("\r\n\r\n")), 502);
      await serveNext(stage, client);
      assert.ok(!client.text().includes(UNAVAILABLE));
    },
  },
  ...REQUESTS.map(([method, rest]): Case => ({
    topic: "errors",
    name: `answers 504 to a ${method} when the app is silent for too long, and lets go of it`,
    idle: true,
    run: async (stage) => {
      const client = await stage.dialImpatient();
      client.send(spell(method, "/slow", stage.host, rest));
      const app = await stage.askedImpatiently();
      lookAt(await outlast(client), 504, TIMED_OUT);
      await app.over();
    },
  })),
  {
    topic: "errors",
    name: "answers 504 when the app begins its head in time and does not end it",
    idle: true,
    run: async (stage) => {
      const client = await stage.dialImpatient();
      client.send(spell("GET", "/slow", stage.host, ""));
      (await stage.askedImpatiently()).send(`HTTP/1.1 200 OK\r\n${DATE}\r\n`);
      lookAt(await outlast(client), 504, TIMED_OUT);
    },
  },
  {
    topic: "errors",
    name: "does not limit how long the app takes for a body",
    idle: true,
    run: async (stage) => {
      const client = await stage.dialImpatient();
      client.send(spell("GET", "/slow", stage.host, ""));
      const app = await stage.askedImpatiently();
      app.send(`HTTP/1.1 200 OK\r\n${DATE}\r\nContent-Length: 8\r\nConnection: close\r\n\r\nsome`);
      await client.until("some");
      // Were a body limited as well, this one's time would be up before that of a head that is asked for later.
      const later = await stage.dialImpatient();
      later.send(spell("GET", "/later", stage.host, ""));
      assert.equal(statusOf(await outlast(later)), 504);
      app.send("more");
      assert.equal(parse(await client.until(isWhole)).content, "somemore");
    },
  },
  ...REQUESTS.map(([method, rest]): Case => ({
    topic: "errors",
    name: `answers 502 to a ${method} when nobody listens for the app`,
    run: async (stage) => {
      const client = await stage.dialLonely();
      client.send(spell(method, "/", stage.host, rest));
      lookAt(await client.until(isWhole), 502, UNAVAILABLE);
      client.clear();
      client.send(spell(method, "/again", stage.host, rest));
      lookAt(await client.until(isWhole), 502, UNAVAILABLE);
    },
  })),
  {
    topic: "errors",
    name: "tells the log alone why the app could not answer",
    alone: true,
    run: async (stage) => {
      const client = await stage.dial();
      client.send(spell("GET", "/", stage.host, ""));
      (await stage.asked()).socket.resetAndDestroy();
      const text = await client.until(isWhole);
      lookAt(text, 502, UNAVAILABLE);
      await stage.logged(/ECONNRESET/);
    },
  },
  {
    topic: "errors",
    name: "ends a connection whose request's head does not end in time",
    run: async (stage) => {
      const client = await stage.dialLonely();
      client.send(`GET / HTTP/1.1\r\nHost: ${stage.host}\r\n`);
      const text = await client.over();
      assert.ok(text === "" || statusOf(text) === 408, text);
    },
  },
];
