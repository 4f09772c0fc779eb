import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";

/** What a process has cost. */
export interface Cost {
  /** The time on a processor, in milliseconds. */
  readonly cpu: number;
  /** The memory it holds, in KiB. */
  readonly rss: number;
}

/** The length of a tick in /proc, in milliseconds; Linux has no other on the machines that matter. */
const TICK = 10;

/** Reads what a process has cost so far (proc(5)). */
export function costOf(pid: number): Cost {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  const cpu = (Number(fields[11]) + Number(fields[12])) * TICK;
  const rss = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return { cpu, rss: Number(rss) };
}

/** A helper process that has told its port. */
export interface Served {
  readonly port: number;
  stop(): void;
}

/** Starts a script of this folder on this runtime; it writes its port as its first line. */
export function serveScript(path: string): Promise<Served> {
  const child: ChildProcess = spawn(process.execPath, [...process.execArgv, path], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", () => reject(new Error(`Cannot start ${path}`)));
    child.stdout?.once("data", (bytes: Buffer) =>
      resolve({ port: Number(String(bytes)), stop: () => child.kill("SIGKILL") }),
    );
  });
}

/** Returns the value below which a part of the values lies; the values are sorted in place. */
export function quantile(values: number[], part: number): number {
  values.sort((a, b) => a - b);
  return values[Math.min(values.length - 1, Math.floor(values.length * part))] ?? Number.NaN;
}
