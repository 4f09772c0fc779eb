import { createInterface } from "node:readline";
import type { Started } from "../processes.ts";

// How long a process may take to start, in milliseconds: long, for a machine that has more to do than it can.
const startTimeout = 45_000;

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
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    return await new Promise((resolve, reject) => {
      const fail = (why: string): void =>
        reject(new Error(`Cannot start ${what}: ${why}\n${process.errors()}`.trimEnd()));
      timer = setTimeout(() => fail("it takes too long"), startTimeout);
      void process.ended.then(() => fail("it has ended"));
      // What the other end writes is an object of texts, and nothing after it.
      createInterface({ input: process.output }).once("line", (line) => resolve(JSON.parse(line)));
    });
  } catch (error) {
    void process.stop(0);
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
