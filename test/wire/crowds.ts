import assert from "node:assert/strict";
import { eventually, type Peer } from "../http1-wire.ts";
import { type Case, DATE, isWhole, OK, parse, type Stage, statusOf, values } from "./kit.ts";

/** More than any runtime's own client keeps open at once: Bun's stops at 256. */
const CROWD = 600;

/** How long the whole crowd may take for one step, in milliseconds. */
const PATIENCE = 20_000;

/** Sends requests on a connection each, and resolves once all of them are at the app at the same time. */
async function gather(stage: Stage, path: string): Promise<Peer[]> {
  const clients = await Promise.all(Array.from({ length: CROWD }, () => stage.dial()));
  for (const [index, client] of clients.entries())
    client.send(`GET ${path}/${index} HTTP/1.1\r\nHost: ${stage.host}\r\n\r\n`);
  await eventually(
    () => stage.asking.length >= CROWD,
    () => `for ${CROWD} requests at the app: ${stage.asking.length}`,
    PATIENCE,
  );
  return clients;
}

/** The path that a request of the crowd asks for. */
function pathOf(app: Peer): string {
  return app.text().split(" ")[1] ?? "";
}

/** Many at once. */
export const crowds: readonly Case[] = [
  {
    topic: "streams",
    name: `has ${CROWD} slow requests answered at once, each with its own answer`,
    alone: true,
    run: async (stage) => {
      const clients = await gather(stage, "/slow");
      for (const app of [...stage.asking].reverse()) {
        const path = pathOf(app);
        app.send(`HTTP/1.1 200 OK\r\n${DATE}\r\nContent-Length: ${path.length}\r\n\r\n${path}`);
      }
      await eventually(
        () => clients.every((client) => isWhole(client.text())),
        () => "for the answers",
        PATIENCE,
      );
      for (const [index, client] of clients.entries())
        assert.equal(parse(client.text()).content, `/slow/${index}`);
    },
  },
  {
    topic: "streams",
    name: `keeps ${CROWD} event streams open, and still answers at once`,
    alone: true,
    run: async (stage) => {
      const clients = await gather(stage, "/events");
      for (const app of stage.asking)
        app.send(
          `HTTP/1.1 200 OK\r\n${DATE}\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n`,
        );
      await eventually(
        () => clients.every((client) => statusOf(client.text()) === 200),
        () => "for the heads",
        PATIENCE,
      );
      const other = await stage.dial();
      other.send(`GET /other HTTP/1.1\r\nHost: ${stage.host}\r\n\r\n`);
      await eventually(
        () => stage.asking.length > CROWD,
        () => "for the other request",
      );
      stage.asking[CROWD]?.send(OK);
      await other.until(isWhole);
      assert.equal(parse(other.text()).content, "ok");
      for (const app of stage.asking.slice(0, CROWD)) {
        const path = pathOf(app);
        app.send(`${path.length.toString(16)}\r\n${path}\r\n`);
      }
      await eventually(
        () => clients.every((client, index) => parse(client.text()).content === `/events/${index}`),
        () => "for the events",
        PATIENCE,
      );
    },
  },
  {
    topic: "streams",
    name: "answers 200 requests that come in a row on one connection in order, each its own",
    alone: true,
    run: async (stage) => {
      const count = 200;
      const client = await stage.dial();
      const lines = [`Host: ${stage.host}`, "", ""].join("\r\n");
      client.send(
        Array.from({ length: count }, (_, index) => `GET /row/${index} HTTP/1.1\r\n${lines}`).join(
          "",
        ),
      );
      // The proxy may ask on one connection or on many: each request is answered where it comes.
      let answered = 0;
      const paths: string[] = [];
      await eventually(
        () => {
          for (const app of stage.asking) {
            if (!app.text().includes("\r\n\r\n")) continue;
            const path = pathOf(app);
            app.clear();
            answered++;
            app.send(
              `HTTP/1.1 200 OK\r\n${DATE}\r\nContent-Length: ${path.length + 1}\r\n\r\n${path};`,
            );
          }
          paths.splice(0, Infinity, ...(client.text().match(/\/row\/\d+;/g) ?? []));
          return paths.length === count || client.isOver();
        },
        () => `for ${count} answers: ${paths.length} came, ${answered} were given`,
        PATIENCE,
      );
      assert.deepEqual(
        paths,
        Array.from({ length: count }, (_, index) => `/row/${index};`),
      );
      assert.equal(answered, count);
      assert.equal(values(parse(client.text()).lines, "connection").join(), "");
    },
  },
];
