import { readdirSync, readFileSync, writeFileSync } from "node:fs";

/** What a process has cost. */
export interface Cost {
  /** The time on a processor, in milliseconds. */
  readonly cpu: number;
  /** The memory it holds, in KiB. */
  readonly rss: number;
  /** The most memory it has held, in KiB. */
  readonly peak: number;
}

/** The length of a tick in /proc, in milliseconds; Linux has no other on the machines that matter. */
const TICK = 10;

/**
 * Reads the time on a processor out of /proc/PID/stat (proc(5)), in milliseconds. The name in there may hold anything.
 *
 * @param text What the file holds.
 */
export function parseCpu(text: string): number {
  const fields = text.slice(text.lastIndexOf(") ") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK;
}

/**
 * Reads what memory a process holds out of /proc/PID/status, in KiB.
 *
 * @param text What the file holds.
 */
export function parseMemory(text: string): Omit<Cost, "cpu"> {
  const line = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1]);
  return { rss: line("VmRSS"), peak: line("VmHWM") };
}

/**
 * Reads how many files a process may open out of /proc/PID/limits.
 *
 * @param text What the file holds.
 */
export function parseOpenFiles(text: string): number {
  const most = /^Max open files\s+\S+\s+(\S+)/m.exec(text)?.[1];
  return most === "unlimited" ? Number.POSITIVE_INFINITY : Number(most);
}

/** Tells how many files a process may open here once it has asked for as many as it may. */
export function openFiles(): number {
  return parseOpenFiles(readFileSync("/proc/self/limits", "utf8"));
}

/** Reads what a process has cost so far (proc(5)). */
export function costOf(pid: number): Cost {
  return {
    cpu: parseCpu(readFileSync(`/proc/${pid}/stat`, "utf8")),
    ...parseMemory(readFileSync(`/proc/${pid}/status`, "utf8")),
  };
}

/** Reads what some processes have cost with all that they have started and that still runs. */
export function costOfAll(pids: readonly number[]): Cost {
  let sum: Cost = { cpu: 0, rss: 0, peak: 0 };
  for (const pid of pids.flatMap(family)) {
    const { cpu, rss, peak } = costOf(pid);
    sum = { cpu: sum.cpu + cpu, rss: sum.rss + rss, peak: sum.peak + peak };
  }
  return sum;
}

/** Forgets how much memory some processes have held at most, so that from now on counts. */
export function forgetPeak(pids: readonly number[]): void {
  for (const pid of pids.flatMap(family)) {
    try {
      writeFileSync(`/proc/${pid}/clear_refs`, "5");
    } catch {
      // Where that is not allowed the peak is that of the process's whole life.
    }
  }
}

/** A process and all below it. */
function family(pid: number): number[] {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8").split(" ").filter(Boolean),
  );
  return [pid, ...children.map(Number).flatMap(family)];
}
