import { createInterface } from "node:readline";
import { inTime } from "../in-time.ts";
import type { Started } from "../processes.ts";

/**
 * Waits for the line in which a process tells what it has opened.
 *
 * @param process The process.
 * @param what What it is, for errors.
 * @throws {Error} When it ends before, or takes too long.
 */
export async function readyOf(
  process: Started,
  what: string,
): Promise<Readonly<Record<string, string>>> {
  // What the other end writes is an object of texts, and nothing after it.
  const told = new Promise<Readonly<Record<string, string>>>((resolve) => {
    createInterface({ input: process.output }).once("line", (line) => resolve(JSON.parse(line)));
  });
  try {
    return await inTime(told, process, what);
  } catch (error) {
    void process.stop(0);
    throw error;
  }
}
