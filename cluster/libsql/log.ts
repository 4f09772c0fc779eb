import { Buffer } from "node:buffer";
import {
  closeSync,
  copyFileSync,
  existsSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { Clock } from "../../src/clock.ts";
import { connect } from "./connection.ts";
import type { Connection } from "./connection.ts";

/** A place in the log: the frame with this number is the last one of a transaction, or 0 at a generation's start. */
export interface Place {
  /** The generation, from 1. */
  readonly generation: number;
  /** The frame, from 1 in each generation. */
  readonly frame: number;
}

/** Returns a place as one number, the generation in its upper half. Frames alone begin anew in each generation. */
export function indexOf({ generation, frame }: Place): number {
  return generation * 2 ** 32 + frame;
}

/** A SQLite database whose write-ahead log is kept, so that replicas can have all of it. */
export interface Log {
  /** Opens one more connection to the database. */
  connect(): Connection;
  /** Takes note of what has been committed and returns where the log ends. */
  collect(): Place;
  /** Returns where the log ended `delay` milliseconds ago. */
  ago(delay: number): Place;
  /**
   * Returns frames as replicas get them.
   *
   * @param generation Their generation.
   * @param from The number of the first one.
   * @param to The number of the last one; there may be fewer.
   */
  frames(generation: number, from: number, to: number): Buffer;
  /** Returns the number of the last frame of a generation that is over; undefined for any other. */
  end(generation: number): number | undefined;
  /** Returns the path of the database as it was when a generation began; undefined when there is none. */
  base(generation: number): string | undefined;
  /** Begins a new generation; false while a transaction is open. */
  roll(): boolean;
  /** Saves the database as it is. */
  save(path: string): void;
  /**
   * Goes back to a database that was saved, in a new generation. Its first transaction has every page, since replicas
   * may hold what has never been now. No other connection may be open.
   */
  restore(path: string): void;
}

interface Generation {
  readonly number: number;
  /** Whether the first transaction is every page of the base. */
  readonly isWhole: boolean;
  /** The last frame; undefined while it goes on. */
  end?: number;
}

interface Commit extends Place {
  /** When it was there, in milliseconds. */
  readonly at: number;
}

const pageSize = 4096;
const frameSize = 24 + pageSize;
const walHeaderSize = 32;

/**
 * Opens the log below a directory and creates the database when there is none.
 *
 * A replica's frame is 24 bytes and a page, with the page's number in the first 4 bytes and, on the last frame of a
 * transaction, the database's size in pages in the next 4: exactly what SQLite writes into its write-ahead log. So that
 * file *is* the log as long as nobody checkpoints, a generation is the time between two checkpoints, and the database
 * file does not change within one. How much of it is committed stands in the index of the write-ahead log.
 */
export function openLog(directory: string, clock: Clock): Log {
  const path = join(directory, "primary.db");
  const recordPath = join(directory, "generations.json");
  const walOf = (number: number): string => join(directory, `generation-${number}.wal`);
  const baseOf = (number: number): string => join(directory, `generation-${number}.db`);
  const generations: Generation[] = [];
  const commits: Commit[] = [];
  let keeper = open();

  // One connection is always open: the last one that closes would checkpoint.
  function open(): Connection {
    const connection = connect(path);
    connection.run("PRAGMA journal_mode = WAL");
    // A first read, for what a process that was killed has left in the log to be found.
    connection.run("SELECT count(*) FROM sqlite_schema");
    return connection;
  }

  function current(): Generation {
    const last = generations.at(-1);
    if (last === undefined) {
      throw new Error("Cannot use the log: it has no generation");
    }
    return last;
  }

  function prelude({ number, isWhole }: Generation): number {
    return isWhole ? statSync(baseOf(number)).size / pageSize : 0;
  }

  function record(): void {
    // A process may be killed at any time: the old record is there or the new one.
    writeFileSync(`${recordPath}.new`, JSON.stringify(generations));
    renameSync(`${recordPath}.new`, recordPath);
  }

  function begin(number: number, isWhole: boolean, at: number): void {
    copyFileSync(path, baseOf(number));
    const generation = { number, isWhole };
    generations.push(generation);
    record();
    commits.push({ generation: number, frame: prelude(generation), at });
  }

  function last(): Place {
    return commits.at(-1) ?? { generation: 0, frame: 0 };
  }

  function collect(at: number = clock.now()): Place {
    const { number } = current();
    const before = prelude(current());
    const committed = before + committedFrames(`${path}-shm`);
    const known = last().frame;
    if (committed > known) {
      const wal = openSync(`${path}-wal`, "r");
      const header = Buffer.alloc(8);
      for (let frame = known + 1; frame <= committed; frame += 1) {
        readSync(wal, header, 0, 8, walHeaderSize + (frame - before - 1) * frameSize);
        if (header.readUInt32BE(4) > 0) {
          commits.push({ generation: number, frame, at });
        }
      }
      closeSync(wal);
    }
    return last();
  }

  function finish(): void {
    const generation = current();
    generation.end = collect().frame;
    if (existsSync(`${path}-wal`)) {
      copyFileSync(`${path}-wal`, walOf(generation.number));
    }
  }

  if (existsSync(recordPath)) {
    // What this very function has written.
    generations.push(...(JSON.parse(readFileSync(recordPath, "utf8")) as Generation[]));
    for (const generation of generations) {
      commits.push({
        generation: generation.number,
        frame: generation.end ?? prelude(generation),
        at: 0,
      });
    }
    collect(0);
  } else {
    begin(1, false, 0);
  }

  return {
    connect: () => connect(path),
    collect: () => collect(),
    ago(delay) {
      const time = clock.now() - delay;
      for (let index = commits.length - 1; index > 0; index -= 1) {
        const commit = commits[index];
        if (commit !== undefined && commit.at <= time) {
          return commit;
        }
      }
      return commits[0] ?? last();
    },
    frames(number, from, to) {
      const generation = generations.find((one) => one.number === number);
      if (generation === undefined) {
        return Buffer.alloc(0);
      }
      const pages = prelude(generation);
      const parts = [
        preludeFrames(baseOf(number), from, Math.min(to, pages)),
        walFrames(
          generation.end === undefined ? `${path}-wal` : walOf(number),
          Math.max(from - pages, 1),
          to - pages,
        ),
      ];
      return Buffer.concat(parts);
    },
    end: (number) => generations.find((one) => one.number === number)?.end,
    base(number) {
      return generations.some((one) => one.number === number) ? baseOf(number) : undefined;
    },
    roll() {
      const { number, isWhole } = current();
      finish();
      const { rows } = keeper.run("PRAGMA wal_checkpoint(TRUNCATE)");
      const [busy] = rows[0] ?? [];
      if (busy?.type !== "integer" || busy.value !== "0") {
        generations[generations.length - 1] = { number, isWhole };
        return false;
      }
      begin(number + 1, false, clock.now());
      return true;
    },
    save(target) {
      rmSync(target, { force: true });
      keeper.run("VACUUM INTO ?", { args: [{ type: "text", value: target }] });
    },
    restore(source) {
      const { number } = current();
      const version = schemaVersion(keeper);
      finish();
      keeper.close();
      for (const end of ["", "-wal", "-shm"]) {
        rmSync(`${path}${end}`, { force: true });
      }
      copyFileSync(source, path);
      // A connection keeps the schema that it knows for as long as this number is the same, and would find other tables
      // behind it. In a file that has no write-ahead log yet, the number goes into the base.
      const restored = connect(path);
      restored.run(`PRAGMA schema_version = ${version + 1}`);
      restored.close();
      keeper = open();
      begin(number + 1, true, clock.now());
    },
  };
}

function schemaVersion(connection: Connection): number {
  const value = connection.run("PRAGMA schema_version").rows[0]?.[0];
  return value?.type === "integer" ? Number(value.value) : 0;
}

// SQLite's file format, "The WAL-Index File Format": mxFrame, in the byte order of the machine.
function committedFrames(path: string): number {
  if (!existsSync(path)) {
    return 0;
  }
  const file = openSync(path, "r");
  const header = new DataView(new ArrayBuffer(48));
  readSync(file, header, 0, 48, 0);
  closeSync(file);
  return header.getUint32(16, isLittleEndian);
}

const isLittleEndian = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

function walFrames(path: string, from: number, to: number): Buffer {
  if (to < from) {
    return Buffer.alloc(0);
  }
  const frames = Buffer.alloc((to - from + 1) * frameSize);
  const file = openSync(path, "r");
  const length = readSync(file, frames, 0, frames.length, walHeaderSize + (from - 1) * frameSize);
  closeSync(file);
  return frames.subarray(0, length - (length % frameSize));
}

function preludeFrames(base: string, from: number, to: number): Buffer {
  if (to < from) {
    return Buffer.alloc(0);
  }
  const pages = statSync(base).size / pageSize;
  const frames = Buffer.alloc((to - from + 1) * frameSize);
  const file = openSync(base, "r");
  for (let page = from; page <= to; page += 1) {
    const start = (page - from) * frameSize;
    frames.writeUInt32BE(page, start);
    frames.writeUInt32BE(page === pages ? pages : 0, start + 4);
    readSync(file, frames, start + 24, pageSize, (page - 1) * pageSize);
  }
  closeSync(file);
  return frames;
}
