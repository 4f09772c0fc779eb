/**
 * The libSQL primary in a process of its own, started by `startLibsqlPrimary()` on any of the runtimes. It ends when its
 * standard input does, so that it cannot outlive the process that started it.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { serveLibsql } from "./server.ts";

const { values } = parseArgs({
  options: {
    directory: { type: "string", default: "" },
    delay: { type: "string", default: "0" },
    "stream-timeout": { type: "string", default: "10000" },
    "busy-timeout": { type: "string", default: "5000" },
    port: { type: "string", default: "0" },
  },
});

// Ctrl-C reaches every process of the terminal; the one that started this one decides about the end.
process.on("SIGINT", () => undefined);

const { url } = await serveLibsql({
  directory: values.directory,
  delay: Number(values.delay),
  streamTimeout: Number(values["stream-timeout"]),
  busyTimeout: Number(values["busy-timeout"]),
  port: Number(values.port),
});
process.stdout.write(`${JSON.stringify({ url })}\n`);
// An end in order would let SQLite checkpoint, and a restart would find no log.
process.stdin.resume().once("close", () => process.kill(process.pid, "SIGKILL"));
