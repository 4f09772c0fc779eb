/**
 * The notes app on an embedded replica, in a process of its own, started by `startLibsqlReplica()` on any of the
 * runtimes. It ends when its standard input does, so that it cannot outlive the process that started it.
 *
 * @module
 */
import { getRequestListener } from "@hono/node-server";
import { parseArgs } from "node:util";
import { createNotes } from "../app.ts";
import { listen } from "../listen.ts";
import { openEmbedded } from "./embedded.ts";
import { createFollower } from "./follower.ts";

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
const { name, primary, directory } = values;

// Ctrl-C reaches every process of the terminal; the one that started this one decides about the end.
process.on("SIGINT", () => undefined);

const { context, path, index } = openEmbedded({
  name,
  primary,
  directory,
  interval: Number(values.interval),
});
const notes = getRequestListener(createNotes(context));
const app = await listen((request, response) => void notes(request, response), Number(values.port));
const follower = createFollower({ name, primary, path, index });
const api = await listen(follower, Number(values["api-port"]));
process.stdout.write(`${JSON.stringify({ url: app.url, apiUrl: api.url, path })}\n`);
process.stdin.resume().once("close", () => process.exit(0));
