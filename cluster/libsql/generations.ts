import { Buffer } from "node:buffer";
import { copyFileSync, existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pageFrames, pagesIn, walFrames } from "./frames.ts";

/** The time between two checkpoints of a database. */
interface Generation {
  /** Its number, from 1. */
  readonly number: number;
  /** Whether its first transaction is every page of the base. */
  readonly isWhole: boolean;
  /** The number of its last frame; undefined while it goes on. */
  readonly end?: number;
}

/** The generations of a database, with the files that are kept of them. */
export interface Generations {
  /** Returns all of them, in order; none before the first one has begun. */
  all(): readonly Generation[];
  /** Returns one by its number. */
  get(number: number): Generation | undefined;
  /** Returns the last one. */
  current(): Generation;
  /**
   * Begins one with the database as it is.
   *
   * @param isWhole Whether its first transaction is every page of that.
   */
  begin(isWhole: boolean): Generation;
  /** Ends the last one with a frame, and keeps its write-ahead log. */
  finish(end: number): void;
  /** Takes that back: it goes on. */
  goOn(): void;
  /** Returns the number of frames that come before those of the write-ahead log. */
  prelude(generation: Generation): number;
  /** Returns the path of the database as it was when one began. */
  base(number: number): string;
  /** Returns frames by the numbers of the first and the last one; there may be fewer. */
  frames(generation: Generation, from: number, to: number): Buffer;
}

/**
 * Opens the generations of a database.
 *
 * @param directory The directory of their files.
 * @param path The database's path.
 */
export function openGenerations(directory: string, path: string): Generations {
  const recordPath = join(directory, "generations.json");
  const walOf = (number: number): string => join(directory, `generation-${number}.wal`);
  const base = (number: number): string => join(directory, `generation-${number}.db`);
  const generations: Generation[] = existsSync(recordPath)
    ? // What this very function has written.
      (JSON.parse(readFileSync(recordPath, "utf8")) as Generation[])
    : [];

  function record(): void {
    // A process may be killed at any time: the old record is there or the new one.
    writeFileSync(`${recordPath}.new`, JSON.stringify(generations));
    renameSync(`${recordPath}.new`, recordPath);
  }

  function current(): Generation {
    const last = generations.at(-1);
    if (last === undefined) {
      throw new Error("Cannot use the log: it has no generation");
    }
    return last;
  }

  function prelude({ number, isWhole }: Generation): number {
    return isWhole ? pagesIn(base(number)) : 0;
  }

  return {
    all: () => generations,
    get: (number) => generations.find((one) => one.number === number),
    current,
    begin(isWhole) {
      const generation = { number: (generations.at(-1)?.number ?? 0) + 1, isWhole };
      copyFileSync(path, base(generation.number));
      generations.push(generation);
      record();
      return generation;
    },
    finish(end) {
      const last = current();
      generations[generations.length - 1] = { ...last, end };
      if (existsSync(`${path}-wal`)) {
        copyFileSync(`${path}-wal`, walOf(last.number));
      }
    },
    goOn() {
      const { number, isWhole } = current();
      generations[generations.length - 1] = { number, isWhole };
    },
    prelude,
    base,
    frames(generation, from, to) {
      const { number, end } = generation;
      const pages = prelude(generation);
      const wal = end === undefined ? `${path}-wal` : walOf(number);
      return Buffer.concat([
        pageFrames(base(number), from, Math.min(to, pages)),
        walFrames(wal, Math.max(from - pages, 1), to - pages),
      ]);
    },
  };
}
