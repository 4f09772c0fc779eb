import type { Position } from "../../src/storage.ts";
import { unreadable } from "../storage/error.ts";
import { createHeldFile } from "./held-file.ts";
import type { Source } from "./source.ts";

/** The id of the log, the frame, and nothing in the last eight bytes. */
const SIZE = 32;

/** What stands for a log of which nothing was applied. */
const NONE = 2n ** 64n - 1n;

/** How often the bytes are read at most until they are the same twice. */
const TURNS = 10;

/**
 * Creates the reader of what an embedded replica writes beside its database after each transaction that it has applied
 * (libSQL's older sync protocol, as sqld speaks it): the id of the log and the last frame of it. The file is written in
 * place and has no checksum.
 *
 * Frames count from 0. The first transaction of an app ends at a later one, for the first page of a database is never
 * written alone by it; so position 0, which no token can name, covers no write.
 *
 * @param path The file, the database's path and `-client_wal_index`.
 */
export function createWalIndex(path: string): Source & { position(): Position | undefined } {
  const file = createHeldFile(path, SIZE + 1);
  let log: string | undefined;

  /** Reads the file when nobody is in the middle of writing it. */
  function read(): Uint8Array | undefined {
    let last = file.read()?.toString("latin1");
    for (let turn = 0; turn < TURNS; turn++) {
      const bytes = file.read();
      const text = bytes?.toString("latin1");
      if (text === last) return bytes;
      last = text;
    }
    throw new Error("it changes all the time");
  }

  function parse(bytes: Uint8Array): Position | undefined {
    // It is created empty.
    if (bytes.length === 0) return undefined;
    if (bytes.length !== SIZE)
      throw new Error(
        `expected ${SIZE} bytes, received ${bytes.length > SIZE ? "more" : bytes.length}`,
      );
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const frame = view.getBigUint64(16, true);
    log = hex(view.getBigUint64(8, true)) + hex(view.getBigUint64(0, true));
    return frame === NONE ? undefined : hex(frame);
  }

  return {
    position: () => {
      try {
        const bytes = read();
        return bytes && parse(bytes);
      } catch (error) {
        throw unreadable(error, path);
      }
    },
    historyAt: () => log,
    close: file.close,
  };
}

function hex(value: bigint): string {
  return value.toString(16).padStart(16, "0");
}
