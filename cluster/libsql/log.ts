import { Buffer } from "node:buffer";
import { copyFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../../src/clock.ts";
import { connect } from "./connection.ts";
import type { Connection } from "./connection.ts";
import { committedFrames, lastFrames } from "./frames.ts";
import { openGenerations } from "./generations.ts";

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

interface Commit extends Place {
  /** When it was there, in milliseconds. */
  readonly at: number;
}

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
  const commits: Commit[] = [];
  const opened = new Set<Connection>();
  let keeper = open();
  const generations = openGenerations(directory, path);

  // One connection is always open: the last one that closes would checkpoint.
  function open(): Connection {
    const connection = connect(path);
    connection.run("PRAGMA journal_mode = WAL");
    // A first read, for what a process that was killed has left in the log to be found.
    connection.run("SELECT count(*) FROM sqlite_schema");
    return connection;
  }

  function connectTo(): Connection {
    const connection = connect(path);
    const own: Connection = {
      ...connection,
      close() {
        opened.delete(own);
        connection.close();
      },
    };
    opened.add(own);
    return own;
  }

  function begin(isWhole: boolean, at: number): void {
    const generation = generations.begin(isWhole);
    commits.push({ generation: generation.number, frame: generations.prelude(generation), at });
  }

  function last(): Place {
    return commits.at(-1) ?? { generation: 0, frame: 0 };
  }

  function collect(at: number = clock.now()): Place {
    const generation = generations.current();
    const prelude = generations.prelude(generation);
    const known = last().frame - prelude;
    const committed = committedFrames(`${path}-shm`);
    if (committed > known) {
      for (const frame of lastFrames(`${path}-wal`, known + 1, committed)) {
        commits.push({ generation: generation.number, frame: prelude + frame, at });
      }
    }
    return last();
  }

  // Goes on with what is there; when that was committed nobody knows any more.
  function resume(): void {
    for (const generation of generations.all()) {
      const frame = generation.end ?? generations.prelude(generation);
      commits.push({ generation: generation.number, frame, at: 0 });
    }
    collect(0);
  }

  if (generations.all().length > 0) {
    resume();
  } else {
    begin(false, 0);
  }

  return {
    connect: connectTo,
    collect: () => collect(),
    ago(delay) {
      const time = clock.now() - delay;
      return commits.findLast((commit, index) => index === 0 || commit.at <= time) ?? last();
    },
    frames(number, from, to) {
      const generation = generations.get(number);
      return generation === undefined ? Buffer.alloc(0) : generations.frames(generation, from, to);
    },
    end: (number) => generations.get(number)?.end,
    base: (number) => generations.get(number) && generations.base(number),
    roll() {
      // A checkpoint that is refused has copied what it could, and then the next transaction begins the log anew, in the
      // same generation: replicas would miss it.
      if ([...opened].some((connection) => !connection.isAutocommit())) {
        return false;
      }
      generations.finish(collect().frame);
      const { rows } = keeper.run("PRAGMA wal_checkpoint(TRUNCATE)");
      const [busy] = rows[0] ?? [];
      if (busy?.type !== "integer" || busy.value !== "0") {
        generations.goOn();
        return false;
      }
      begin(false, clock.now());
      return true;
    },
    save(target) {
      rmSync(target, { force: true });
      keeper.run("VACUUM INTO ?", { args: [{ type: "text", value: target }] });
    },
    restore(source) {
      const version = schemaVersion(keeper);
      generations.finish(collect().frame);
      keeper.close();
      replaceDatabase(path, source, version + 1);
      keeper = open();
      begin(true, clock.now());
    },
  };
}

/** Puts another database in the place of one that nobody has open. */
function replaceDatabase(path: string, source: string, version: number): void {
  for (const end of ["", "-wal", "-shm"]) {
    rmSync(`${path}${end}`, { force: true });
  }
  copyFileSync(source, path);
  // A connection keeps the schema that it knows for as long as this number is the same, and would find other tables
  // behind it. In a file that has no write-ahead log yet, the number goes into the base.
  const restored = connect(path);
  restored.run(`PRAGMA schema_version = ${version}`);
  restored.close();
}

function schemaVersion(connection: Connection): number {
  const value = connection.run("PRAGMA schema_version").rows[0]?.[0];
  return value?.type === "integer" ? Number(value.value) : 0;
}
