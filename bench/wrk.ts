import { fileURLToPath } from "node:url";
import { run } from "./children.ts";
import type { Load, Request } from "./load.ts";

const SCRIPT = fileURLToPath(new URL("wrk.lua", import.meta.url));

/** Runs wrk, and returns what it has written. */
export function runWrk(
  port: number,
  { method, path, length = 0, token }: Request,
  connections: number,
  seconds: number,
): Promise<string> {
  const threads = Math.min(2, connections);
  const numbers = ["-t", `${threads}`, "-c", `${connections}`, "-d", `${seconds}`];
  const headers = token === undefined ? [] : ["-H", `Cookie: ${token}`];
  const url = `http://127.0.0.1:${port}${path}`;
  const words = ["--timeout", "10", ...headers, "-s", SCRIPT, url, "--", method, `${length}`];
  return run("wrk", [...numbers, ...words], (seconds + 30) * 1000);
}

/**
 * Reads the line that the script has wrk write: times in there are microseconds.
 *
 * @param text All that wrk has written.
 */
export function parseWrk(text: string): Load {
  const line = text.split("\n").find((each) => each.startsWith("{"));
  if (line === undefined) throw new Error(`Cannot read what wrk has written: ${text}`);
  // The script writes no other fields, and all of them as numbers.
  const told = JSON.parse(line) as Load;
  const { requests, bytes, errors } = told;
  const [duration = 0, p50 = 0, p99 = 0, p999 = 0] = [
    told.duration,
    told.p50,
    told.p99,
    told.p999,
  ].map((time) => time / 1000);
  return { requests, bytes, duration, p50, p99, p999, errors };
}
