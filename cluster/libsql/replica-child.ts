/**
 * An app on an embedded replica, in a process of its own, started by `startLibsqlReplica()` on any of the runtimes. It
 * ends when its standard input does, so that it cannot outlive the process that started it.
 *
 * @module
 */
import { createClient } from "@libsql/client";
import { getRequestListener } from "@hono/node-server";
import { readFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createNotes } from "../app.ts";
import type { AppContext } from "../app.ts";
import { listen } from "../listen.ts";
import { wallClock } from "../wall-clock.ts";
import { connect, isReadOnly } from "./connection.ts";
import { createHrana } from "./hrana.ts";
import { thisRuntime } from "./primary.ts";
import type { HranaRequest, PipelineRequest } from "./protocol.ts";
import { answering, forwardedBy, indexOf, json, textOf } from "./server.ts";

const { values } = parseArgs({
  options: {
    name: { type: "string", default: "" },
    primary: { type: "string", default: "" },
    directory: { type: "string", default: "" },
    interval: { type: "string", default: "50" },
    port: { type: "string", default: "0" },
    "api-port": { type: "string", default: "0" },
  },
});
const { name, primary } = values;

// How often the position is read while somebody waits for it, in milliseconds.
const pollInterval = 5;

// Ctrl-C reaches every process of the terminal; the one that started this one decides about the end.
process.on("SIGINT", () => undefined);

const path = join(values.directory, "replica.db");
const client = createClient({
  url: `file:${path}`,
  syncUrl: primary,
  authToken: name,
  syncInterval: Number(values.interval) / 1000,
});

// The native client replaces this file after each transaction that it has applied.
function index(): number {
  const info = JSON.parse(readFileSync(`${path}-info`, "utf8")) as Record<string, number>;
  return indexOf({ generation: info["generation"] ?? 0, frame: info["durable_frame_num"] ?? 0 });
}

function sleep(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, pollInterval));
}

const runtime = thisRuntime();
const context: AppContext = {
  node: name,
  runtime: `${runtime} ${process.versions[runtime] ?? ""}`,
  async read(sql, args = []) {
    const result = await client.execute({ sql, args: [...args] });
    return result.rows.map((row) =>
      Object.fromEntries(result.columns.map((column, at) => [column, row[at]])),
    );
  },
  async write(statements) {
    await client.batch(
      statements.map(({ sql, args }) => ({ sql, args: [...args] })),
      "write",
    );
  },
  position: () => ({ txid: index().toString(16).padStart(16, "0"), checksum: "0".repeat(16) }),
  subscribe(moved) {
    let known = index();
    const timer = setInterval(() => {
      if (index() !== known) {
        known = index();
        moved(context.position());
      }
    }, pollInterval);
    return () => clearInterval(timer);
  },
};

const hrana = createHrana({
  connect: () => connect(path, true),
  index,
  // Without a time-out, as sqld does: whoever asks has to know how long to wait.
  async reach(wanted) {
    while (index() < wanted) {
      await sleep();
    }
  },
  streamTimeout: 10_000,
  busyTimeout: 5000,
  clock: wallClock,
});

function isRead(request: HranaRequest): boolean {
  switch (request.type) {
    case "execute":
      return isReadOnly(request.stmt.sql ?? "");
    case "batch":
      return request.batch.steps.every(({ stmt }) => isReadOnly(stmt.sql ?? ""));
    case "sequence":
      return false;
    default:
      return true;
  }
}

// Streams that this process has opened; the others are the primary's.
const batons = new Set<string>();

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = await textOf(request);
  const where = request.url ?? "/";
  if (request.method === "POST" && where.endsWith("/pipeline")) {
    // A client of hrana; one that sends anything else gets the error that it deserves.
    const asked = JSON.parse(body) as PipelineRequest;
    const { baton = null, requests } = asked;
    if (baton === null ? requests.every(isRead) : batons.delete(baton)) {
      const answered = await hrana.pipeline(asked);
      if (answered.baton !== null) {
        batons.add(answered.baton);
      }
      json(response, 200, answered);
      return;
    }
    const forwarded = await fetch(new URL(where, primary), {
      method: "POST",
      headers: { [forwardedBy]: name },
      body,
    });
    json(response, forwarded.status, await forwarded.json());
    return;
  }
  json(response, request.method === "GET" && where === "/v2" ? 200 : 404, {});
}

const notes = getRequestListener(createNotes(context));
const app = await listen((request, response) => void notes(request, response), Number(values.port));
const api = await listen(answering(answer), Number(values["api-port"]));
process.stdout.write(`${JSON.stringify({ url: app.url, apiUrl: api.url, path })}\n`);
process.stdin.resume().once("close", () => process.exit(0));
