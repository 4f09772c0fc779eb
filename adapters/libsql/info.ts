import { statSync } from "node:fs";
import type { Position } from "../../src/storage.ts";
import { isMissing, unreadable } from "../storage/error.ts";
import { createHeldFile } from "./held-file.ts";
import { formatPosition, gapWithin, INFO } from "./position.ts";
import type { Source } from "./source.ts";

/** More than four numbers of 32 bits need. */
const SIZE = 512;

/** The one version of the file that there is. */
const VERSION = 0;

/** SQLite's write-ahead log: what is before the frames, and a frame, with the one size of pages that is replicated. */
const WAL_HEADER = 32;
const WAL_FRAME = 24 + 4096;

/** How often the log is measured at most until no other generation has begun meanwhile. */
const TURNS = 10;

/** What the file says. */
interface Info {
  readonly generation: number;
  readonly frame: number;
  readonly position: Position;
}

/**
 * Creates the reader of what an embedded replica writes beside its database after each transaction that it has applied
 * (libSQL's sync protocol with `/info`, as Turso Cloud speaks it): a generation and a frame in there. A new file takes
 * the place of the old one each time.
 *
 * The replica waits for the disk between a transaction and this file, and begins the next one after that. Meanwhile the
 * write-ahead log has more: it is not checkpointed within a generation, and its frames are the primary's one by one.
 *
 * @param path The file, the database's path and `-info`.
 */
export function createInfo(path: string): Source & { position(): Position | undefined } {
  const file = createHeldFile(path, SIZE);
  const wal = `${path.replace(/-info$/, "")}-wal`;
  let content: string | undefined;
  let known: Info | undefined;

  function read(): Info | undefined {
    try {
      const text = file.read()?.toString("latin1");
      if (text === undefined) return undefined;
      if (text !== content) {
        known = parseInfo(text);
        content = text;
      }
      return known;
    } catch (error) {
      content = undefined;
      throw unreadable(error, path);
    }
  }

  /** Returns the number of the last frame in the write-ahead log, of a transaction that is yet to end as well. */
  function lastFrame(): number {
    try {
      return Math.max(0, Math.floor((statSync(wal).size - WAL_HEADER) / WAL_FRAME));
    } catch (error) {
      if (isMissing(error)) return 0;
      throw unreadable(error, path);
    }
  }

  /** The frames of a transaction that is yet to end are the primary's as well, and all nodes come past them. */
  function seen(): Position | undefined {
    let info = read();
    for (let turn = 0; turn < TURNS; turn++) {
      const frame = lastFrame();
      const before = info;
      info = read();
      if (info === undefined) return undefined;
      // In another generation the frames are counted anew.
      if (info.generation !== before?.generation) continue;
      return frame > info.frame ? formatPosition(INFO, info.generation, frame) : info.position;
    }
    throw unreadable("it changes all the time", path);
  }

  return {
    position: () => read()?.position,
    commit: seen,
    seen,
    gap: (ahead, behind) => gapWithin(INFO, ahead, behind),
    close: file.close,
  };
}

function parseInfo(text: string): Info {
  const info: unknown = JSON.parse(text);
  if (typeof info !== "object" || info === null) throw new Error("expected an object");
  const hash = member(info, "hash");
  const version = member(info, "version");
  const frame = member(info, "durable_frame_num");
  const generation = member(info, "generation");
  if (version !== VERSION) throw new Error(`expected version ${VERSION}, received ${version}`);
  if (hash !== crc32([version, frame, generation])) throw new Error("the hash is wrong");
  return { generation, frame, position: formatPosition(INFO, generation, frame) };
}

function member(record: object, name: string): number {
  const value: unknown = Reflect.get(record, name);
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value < 2 ** 32)
    return value;
  throw new Error(`expected \`${name}\` to be a number of 32 bits`);
}

/** The checksum of numbers in little-endian order (CRC-32 of ISO-HDLC); `node:zlib` has it from Node 22 on only. */
function crc32(numbers: readonly number[]): number {
  let crc = 0xffffffff;
  for (const number of numbers) {
    for (let shift = 0; shift < 32; shift += 8) {
      crc ^= (number >>> shift) & 0xff;
      for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    }
  }
  return ~crc >>> 0;
}
