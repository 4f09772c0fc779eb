/**
 * The notes app on an embedded replica, in a process of its own, started by `startLibsqlReplica()` on any of the
 * runtimes. It ends when its standard input does, so that it cannot outlive the process that started it.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { createNotes } from "../app.ts";
import { listen, listenFor } from "../listen.ts";
import { openEmbedded } from "./embedded.ts";
import { createFollower } from "./follower.ts";
import { createConsistent, libsqlWays } from "./ways.ts";
import type { LibsqlWay } from "./ways.ts";

const { values } = parseArgs({
  options: {
    name: { type: "string", default: "" },
    primary: { type: "string", default: "" },
    directory: { type: "string", default: "" },
    interval: { type: "string", default: "50" },
    ports: { type: "string", default: "0" },
  },
});
const { name, primary, directory } = values;

// Ctrl-C reaches every process of the terminal; the one that started this one decides about the end.
process.on("SIGINT", () => undefined);

const embedded = openEmbedded({
  name,
  primary,
  directory,
  interval: Number(values.interval),
});
const { context, path, index } = embedded;

const [port = 0, apiPort = 0, ...wayPorts] = values.ports.split(",").map(Number);
const follower = createFollower({ name, primary, path, index });
const { url: apiUrl } = await listen(follower, apiPort);
const { url } = await listenFor(createNotes(context), port);
const wayUrls = new Map<LibsqlWay, string>();
for (const [at, way] of libsqlWays.entries()) {
  const app = createConsistent(way, { embedded, primary, apiUrl });
  wayUrls.set(way, (await listenFor(app, wayPorts[at] ?? 0)).url);
}
process.stdout.write(`${JSON.stringify({ url, apiUrl, path, ...Object.fromEntries(wayUrls) })}\n`);
process.stdin.resume().once("close", () => process.exit(0));
