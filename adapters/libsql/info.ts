import type { Position } from "../../src/storage.ts";
import { unreadable } from "../storage/error.ts";
import { createHeldFile } from "./held-file.ts";
import { formatPosition, gapWithin, INFO } from "./position.ts";
import type { Source } from "./source.ts";
import { createWal, type Extent } from "./wal.ts";

/** More than four numbers of 32 bits need. */
const SIZE = 512;

/** The one version of the file that there is. */
const VERSION = 0;

/** How often the log is measured at most until no other generation has begun meanwhile. */
const TURNS = 10;

/** What the file says. */
interface Info {
  readonly generation: number;
  readonly frame: number;
  readonly position: Position;
}

/** A write-ahead log as it was measured. */
interface Log {
  readonly inode: bigint;
  /** What the file said of it. */
  readonly generation: number;
  readonly frame: number;
  /** How many frames of the generation are not in it any more. */
  readonly gone: number;
}

/**
 * Creates the reader of what an embedded replica writes beside its database after each transaction that it has applied
 * (libSQL's sync protocol with `/info`, as Turso Cloud speaks it): a generation and a frame in there. A new file takes
 * the place of the old one each time.
 *
 * The replica waits for the disk between a transaction and this file, and begins the next one after that. Meanwhile the
 * write-ahead log has more: the replica checkpoints it at the end of a generation alone, so that its frames are the
 * primary's one by one. Where somebody else has checkpointed it before, such as SQLite's own shell when it closes,
 * those that are gone are known from the file: it never says more than there was.
 *
 * @param path The file, the database's path and `-info`.
 */
export function createInfo(path: string): Source & { position(): Position | undefined } {
  const file = createHeldFile(path, SIZE);
  const wal = createWal(`${path.replace(/-info$/, "")}-wal`);
  let content: string | undefined;
  let known: Info | undefined;
  /** The log that was measured last. */
  let log: Log = { inode: 0n, generation: 0, frame: 0, gone: 0 };

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

  function measure(): Extent {
    try {
      return wal.measure();
    } catch (error) {
      throw unreadable(error, path);
    }
  }

  /** The frames of a transaction that is yet to end are the primary's as well, and all nodes come past them. */
  function seen(): Position | undefined {
    let info = read();
    for (let turn = 0; turn < TURNS; turn++) {
      const { inode, frames } = measure();
      const before = info;
      info = read();
      if (info === undefined) return undefined;
      const { generation, frame } = info;
      // In another generation the frames are counted anew, and so are those of a replica that has begun anew: its file
      // says less than before.
      if (generation !== before?.generation || frame < before.frame) continue;
      const isKnown =
        log.inode === inode && log.generation === generation && log.frame <= before.frame;
      const gone = Math.max(isKnown ? log.gone : 0, before.frame - frames);
      log = { inode, generation, frame, gone };
      const end = gone + frames;
      return end > frame ? formatPosition(INFO, generation, end) : info.position;
    }
    throw unreadable("it changes all the time", path);
  }

  return {
    position: () => read()?.position,
    commit: seen,
    seen,
    gap: (ahead, behind) => gapWithin(INFO, ahead, behind),
    close: () => {
      file.close();
      wal.close();
    },
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
