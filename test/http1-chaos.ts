import assert from "node:assert/strict";
import type { Socket } from "node:net";
import process from "node:process";

/**
 * How chaos is run: the same each time, so that a change is judged by what it changes. CHAOS_SEED lets another one happen,
 * and CHAOS_RUNS more of it.
 *
 * @param runs How often.
 */
export function chaos(runs: number): { seed: number; numRuns: number; includeErrorInReport: true } {
  const { CHAOS_SEED: seed = "1", CHAOS_RUNS: numRuns = String(runs) } = process.env;
  return { seed: Number(seed), numRuns: Number(numRuns), includeErrorInReport: true };
}

/** Lets some turns of the promises pass; 5 stands for a turn of the loop. */
export async function turn(turns: number): Promise<void> {
  if (turns === 5) await new Promise<void>((resolve) => setImmediate(resolve));
  else for (let at = 0; at < turns; at++) await Promise.resolve();
}

/** Makes the content of a message: no two messages share a letter. */
export function content(index: number, length: number): string {
  return String.fromCharCode(97 + index).repeat(length);
}

/** Cuts a text at some points. */
export function cut(text: string, points: readonly number[]): string[] {
  const all = [0, ...points.filter((point) => point < text.length), text.length];
  all.sort((one, other) => one - other);
  return all
    .slice(1)
    .map((point, at) => text.slice(all[at], point))
    .filter((piece) => piece !== "");
}

/** A body as its receiver finds it, and what comes behind it. */
export interface FoundBody {
  readonly body: string;
  readonly isWhole: boolean;
  readonly rest: string;
}

/** Reads a body with a length; a reader that knows nothing of the engine. */
export function readLength(text: string, length: number): FoundBody {
  return { body: text.slice(0, length), isWhole: text.length >= length, rest: text.slice(length) };
}

/** Reads a body in chunks without trailers; what is left may be the beginning of one, and nothing else. */
export function readChunks(text: string): FoundBody {
  let body = "";
  for (let rest = text; ;) {
    const line = /^([0-9a-f]+)\r\n/.exec(rest);
    if (line === null) {
      assert.match(rest, /^[0-9a-f]*\r?$/);
      return { body, isWhole: false, rest: "" };
    }
    const size = Number.parseInt(line[1] ?? "", 16);
    const end = line[0].length + size;
    body += rest.slice(line[0].length, end);
    const lineEnd = rest.slice(end, end + 2);
    assert.ok("\r\n".startsWith(lineEnd), `No end of a chunk: ${JSON.stringify(lineEnd)}`);
    if (lineEnd.length < 2) return { body, isWhole: false, rest: "" };
    rest = rest.slice(end + 2);
    if (size === 0) return { body, isWhole: true, rest };
  }
}

const NAMES = ["data", "end", "error", "close", "drain", "resume", "pause", "finish", "readable"];

/** Tells how many listeners a socket has. */
export function listeners(socket: Socket): string {
  return NAMES.map((name) => `${name} ${socket.listenerCount(name)}`).join();
}

/** A source of bytes that notes how it is treated. */
export interface SourceLog {
  began: boolean;
  yielded: number;
  /** Whether it has ended or thrown. */
  over: boolean;
  /** Whether it has thrown, or yielded more or less than was declared. */
  failed: boolean;
  returned: boolean;
  pulledAfterReturn: boolean;
}

/** What a source does. */
export interface SourcePlan {
  readonly index: number;
  readonly sizes: readonly number[];
  readonly flaw: string;
  /** How many bytes were declared, if any were. */
  readonly declared: number | undefined;
  /** Waits until the source may go on, the last piece of a source that is stuck for ever. */
  ready(): Promise<void>;
  /** Called when it is asked for a piece, and when it is let go of. */
  asked(how: "pull" | "return"): void;
}

/** Creates what has happened to a source yet: nothing. */
export function sourceLog(): SourceLog {
  return {
    began: false,
    yielded: 0,
    over: false,
    failed: false,
    returned: false,
    pulledAfterReturn: false,
  };
}

/** Makes a source: it may throw, end early, yield too much, or get stuck before its last piece. */
export function source(plan: SourcePlan, log: SourceLog): AsyncIterable<Uint8Array> {
  const { index, flaw, declared } = plan;
  const sizes = flaw === "short" ? plan.sizes.slice(0, -1) : [...plan.sizes];
  if (flaw === "long") sizes.push(1);
  let at = 0;
  return {
    [Symbol.asyncIterator]: () => ({
      next: async () => {
        log.began = true;
        if (log.returned) log.pulledAfterReturn = true;
        await plan.ready();
        const isLast = at === sizes.length - 1;
        if (flaw === "stuck" && isLast) await new Promise<never>(() => {});
        plan.asked("pull");
        if (flaw === "throws" && isLast) {
          log.over = true;
          log.failed = true;
          throw new Error("The source failed");
        }
        const length = sizes[at++];
        if (length === undefined || log.returned) {
          log.over = true;
          if (!log.returned && log.yielded < (declared ?? 0)) log.failed = true;
          return { done: true, value: undefined };
        }
        log.yielded += length;
        if (log.yielded > (declared ?? Infinity)) log.failed = true;
        return { done: false, value: new TextEncoder().encode(content(index, length)) };
      },
      return: () => {
        log.returned = true;
        plan.asked("return");
        return Promise.resolve({ done: true, value: undefined });
      },
    }),
  };
}
