import type { Started } from "./processes.ts";

/** How long a process may take to start, in milliseconds: long, for a machine that has more to do than it can manage. */
export const startTimeout = 45_000;

/**
 * Waits for something that a process is to do once it has started.
 *
 * @param work Resolves when it has done it.
 * @param what What the process is, for errors.
 * @throws {Error} When the process ends before, or takes too long.
 */
export async function inTime<T>(work: Promise<T>, process: Started, what: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    const fail = (why: string): void =>
      reject(new Error(`Cannot start ${what}: ${why}\n${process.errors()}`.trimEnd()));
    timer = setTimeout(() => fail("it takes too long"), startTimeout);
    void process.ended.then(() => fail("it has ended"));
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
