import assert from "node:assert/strict";
import type { Peer } from "../http1-wire.ts";
import { eventually } from "../http1-wire.ts";
import { type Case, DATE, OK, type Stage, statusOf } from "./kit.ts";

/** Lets the proxy keep a connection to the app, and returns the app's end of it. */
async function warmUp(stage: Stage): Promise<Peer> {
  const client = await stage.dial();
  client.send(`GET /warm HTTP/1.1\r\nHost: ${stage.host}\r\nConnection: close\r\n\r\n`);
  const app = await stage.asked();
  app.send(`HTTP/1.1 200 OK\r\n${DATE}\r\nContent-Length: 4\r\n\r\nwarm`);
  await client.over();
  app.clear();
  return app;
}

/** The ways in which an app takes a request and does not answer. */
const DEATHS: [string, (app: Peer) => void][] = [
  ["closes", (app) => app.socket.end()],
  ["resets", (app) => app.socket.resetAndDestroy()],
  [
    "breaks off inside the head",
    (app) => {
      app.socket.end("HTTP/1.1 200 O");
    },
  ],
];

/** Requests that may have done something, with their bodies. */
const WRITES: [string, string][] = [
  ["POST without a body", "POST /w HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0\r\n\r\n"],
  ["POST with a body", "POST /w HTTP/1.1\r\nHost: HOST\r\nContent-Length: 3\r\n\r\nabc"],
  [
    "POST in chunks",
    "POST /w HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
  ],
  ["DELETE", "DELETE /w HTTP/1.1\r\nHost: HOST\r\n\r\n"],
  ["GET with a body", "GET /w HTTP/1.1\r\nHost: HOST\r\nContent-Length: 3\r\n\r\nabc"],
];

/** Sends a write; the app takes it on `used` (or on a new connection), dies, and must not see it again. */
async function once(
  stage: Stage,
  request: string,
  die: (app: Peer) => void,
  used: Peer | undefined,
): Promise<void> {
  const client = await stage.dial();
  client.send(request.replace("HOST", stage.host));
  const app = used ?? (await stage.asked());
  await app.until(
    (all) => all.includes("/w HTTP") && (!/chunked|: 3/.test(all) || /abc/.test(all)),
  );
  const before = stage.asking.length;
  die(app);
  await client.until("\r\n\r\n");
  assert.equal(statusOf(client.text()), 502);
  // Whatever was sent again would come before the answer to the next request.
  const next = await stage.dial();
  next.send(`GET /next HTTP/1.1\r\nHost: ${stage.host}\r\nConnection: close\r\n\r\n`);
  await eventually(
    () => stage.asking.some((peer) => peer.text().startsWith("GET /next")),
    () => "for the next request",
  );
  const later = stage.asking.slice(before);
  for (const peer of later) peer.send(OK);
  assert.equal(later.length, 1);
  await next.over();
}

/** That nothing runs twice. */
export const repeats: Case[] = [
  ...WRITES.flatMap(([what, request]): Case[] =>
    DEATHS.map(([how, die]) => ({
      topic: "no write twice",
      name: `sends a ${what} once when the app ${how} on a used connection`,
      alone: true,
      run: async (stage) => once(stage, request, die, await warmUp(stage)),
    })),
  ),
  ...WRITES.flatMap(([what, request]): Case[] =>
    DEATHS.map(([how, die]) => ({
      topic: "no write twice",
      name: `sends a ${what} once when the app ${how} on a new connection`,
      run: (stage) => once(stage, request, die, undefined),
    })),
  ),
  {
    topic: "no write twice",
    name: "sends a GET once more when the app closes a used connection",
    alone: true,
    run: async (stage) => {
      const used = await warmUp(stage);
      const client = await stage.dial();
      client.send(`GET /r HTTP/1.1\r\nHost: ${stage.host}\r\nConnection: close\r\n\r\n`);
      await used.until("GET /r");
      used.socket.end();
      const again = await stage.asked();
      assert.match(again.text(), /^GET \/r /);
      again.send(OK);
      assert.equal(statusOf(await client.over()), 200);
    },
  },
  {
    topic: "no write twice",
    name: "sends a GET no third time",
    alone: true,
    run: async (stage) => {
      const used = await warmUp(stage);
      const client = await stage.dial();
      client.send(`GET /r HTTP/1.1\r\nHost: ${stage.host}\r\nConnection: close\r\n\r\n`);
      await used.until("GET /r");
      used.socket.end();
      (await stage.asked()).socket.end();
      assert.equal(statusOf(await client.over()), 502);
      assert.equal(stage.asking.length, 2);
    },
  },
  {
    topic: "no write twice",
    name: "sends a POST on a new connection when the app has closed the idle one",
    alone: true,
    run: async (stage) => {
      const used = await warmUp(stage);
      used.socket.end();
      await used.over();
      const client = await stage.dial();
      client.send(
        `POST /w HTTP/1.1\r\nHost: ${stage.host}\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc`,
      );
      const app = await stage.asked();
      assert.match(app.text(), /^POST \/w /);
      app.send(OK);
      assert.equal(statusOf(await client.over()), 200);
      assert.equal(used.text(), "");
    },
  },
  {
    topic: "no write twice",
    name: "sends nothing again when the app resets after the head",
    run: async (stage) => {
      const client = await stage.dial();
      client.send(`GET /r HTTP/1.1\r\nHost: ${stage.host}\r\n\r\n`);
      const app = await stage.asked();
      app.send(`HTTP/1.1 200 OK\r\n${DATE}\r\nContent-Length: 10\r\n\r\nabc`);
      await client.until("abc");
      app.socket.resetAndDestroy();
      const text = await client.over();
      assert.equal(text.split("HTTP/1.1").length, 2);
      assert.equal(stage.asking.length, 1);
    },
  },
];
