import { Buffer } from "node:buffer";
import { readSync, statSync } from "node:fs";
import type { Clock } from "../../src/clock.ts";
import type { Position } from "../../src/storage.ts";
import { isMissing, unreadable } from "../storage/error.ts";
import type { History } from "../storage/history.ts";
import { closeDescriptor, type Descriptor, openDescriptor } from "../storage/descriptor.ts";

/** A `-pos` file, read through a descriptor that is held. */
export interface PositionFile {
  /**
   * Returns the position, or `undefined` when there is no such file.
   *
   * @throws {Error} When the file cannot be read or does not hold a position, or after `close()`.
   */
  read(): Position | undefined;
  /** Makes one of the next reads look whether the descriptor still belongs to the file at the path. */
  doubt(): void;
  /** Gives the descriptor back. */
  close(): void;
}

/** TXID, slash, checksum, line feed. */
const SIZE = 34;

const CONTENT = /^([0-9a-f]{16})\/([0-9a-f]{16})\n$/;

/** How long a descriptor is trusted to belong to the path, in milliseconds. */
const TRUST = 1000;

/** How long it is trusted although there is a doubt: a busy database may raise one with each transaction. */
const TRUST_IN_DOUBT = 20;

/**
 * Creates the reader of one `-pos` file. Opening it on LiteFS costs half a millisecond, reading 34 bytes of an open one
 * two microseconds, so the descriptor is kept until reading it fails or the path leads to another file. The latter
 * (the file or the whole mount was replaced) is looked for once a second and after a doubt.
 *
 * @param path The file.
 * @param clock The time.
 * @param history Learns each position with its checksum.
 */
export function createPositionFile(path: string, clock: Clock, history: History): PositionFile {
  const buffer = Buffer.alloc(SIZE);
  // What was read last; most reads find the same.
  const last = Buffer.alloc(SIZE);
  let held: Descriptor | undefined;
  let checkedAt = 0;
  let trust = TRUST;
  let position: Position = "";
  let closed = false;

  function read(): Position | undefined {
    if (closed) throw new Error("Cannot read position: the storage is closed");
    if (held !== undefined && isReplaced(held)) release();
    let failure: unknown;
    // The second turn opens the file anew: whatever failed on the first may be a matter of the old descriptor.
    for (let turn = 0; turn < 2; turn++) {
      try {
        held ??= open();
        return readHeld(held);
      } catch (error) {
        release();
        failure = error;
      }
    }
    if (isMissing(failure)) return undefined;
    throw unreadable(failure, path);
  }

  function open(): Descriptor {
    const file = openDescriptor(path);
    checkedAt = clock.now();
    trust = TRUST;
    return file;
  }

  function readHeld(file: Descriptor): Position {
    const size = readSync(file.descriptor, buffer, 0, SIZE, 0);
    if (position !== "" && size === SIZE && buffer.equals(last)) return position;
    const text = buffer.toString("latin1", 0, size);
    const [, txid, checksum] = CONTENT.exec(text) ?? [];
    if (txid === undefined || checksum === undefined) {
      throw new Error(
        `expected 16 hexadecimal digits, a slash, 16 digits and a line feed, received ${JSON.stringify(text)}`,
      );
    }
    last.set(buffer);
    position = txid;
    history.at(txid, checksum);
    return txid;
  }

  function isReplaced(file: Descriptor): boolean {
    const now = clock.now();
    // A clock that stepped back must not prolong the trust.
    if (now >= checkedAt && now - checkedAt < trust) return false;
    checkedAt = now;
    trust = TRUST;
    try {
      const { dev, ino } = statSync(path, { bigint: true });
      return dev !== file.device || ino !== file.inode;
    } catch {
      return true;
    }
  }

  function release(): void {
    const file = held;
    held = undefined;
    closeDescriptor(file);
  }

  return {
    read,
    doubt: () => {
      trust = TRUST_IN_DOUBT;
    },
    close: () => {
      closed = true;
      release();
    },
  };
}
