import type { Position } from "../../src/storage.ts";
import { unreadable } from "../storage/error.ts";
import { createHeldFile } from "./held-file.ts";
import { formatPosition, gapWithin, INFO } from "./position.ts";
import type { Source } from "./source.ts";

/** More than four numbers of 32 bits need. */
const SIZE = 512;

/** The one version of the file that there is. */
const VERSION = 0;

/**
 * Creates the reader of what an embedded replica writes beside its database after each transaction that it has applied
 * (libSQL's sync protocol with `/info`, as Turso Cloud speaks it): a generation and a frame in there. A new file takes
 * the place of the old one each time.
 *
 * @param path The file, the database's path and `-info`.
 */
export function createInfo(path: string): Source & { position(): Position | undefined } {
  const file = createHeldFile(path, SIZE);
  let content: string | undefined;
  let position: Position | undefined;

  return {
    position: () => {
      try {
        const text = file.read()?.toString("latin1");
        if (text === undefined) return undefined;
        if (text !== content) {
          position = parseInfo(text);
          content = text;
        }
        return position;
      } catch (error) {
        content = undefined;
        throw unreadable(error, path);
      }
    },
    gap: (ahead, behind) => gapWithin(INFO, ahead, behind),
    close: file.close,
  };
}

function parseInfo(text: string): Position {
  const info: unknown = JSON.parse(text);
  if (typeof info !== "object" || info === null) throw new Error("expected an object");
  const hash = member(info, "hash");
  const version = member(info, "version");
  const frame = member(info, "durable_frame_num");
  const generation = member(info, "generation");
  if (version !== VERSION) throw new Error(`expected version ${VERSION}, received ${version}`);
  if (hash !== crc32([version, frame, generation])) throw new Error("the hash is wrong");
  return formatPosition(INFO, generation, frame);
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
