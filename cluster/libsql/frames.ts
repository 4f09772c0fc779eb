import { Buffer } from "node:buffer";
import { closeSync, existsSync, openSync, readSync, statSync } from "node:fs";

const pageSize = 4096;
const frameSize = 24 + pageSize;
const walHeaderSize = 32;

/** Returns the number of pages of a database file. */
export function pagesIn(path: string): number {
  return statSync(path).size / pageSize;
}

/** Returns how many frames of a write-ahead log are committed, from the path of its index. */
export function committedFrames(indexPath: string): number {
  if (!existsSync(indexPath)) {
    return 0;
  }
  const file = openSync(indexPath, "r");
  const header = new DataView(new ArrayBuffer(48));
  readSync(file, header, 0, 48, 0);
  closeSync(file);
  // SQLite's file format, "The WAL-Index File Format": mxFrame, in the byte order of the machine.
  return header.getUint32(16, isLittleEndian);
}

const isLittleEndian = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

/**
 * Returns the numbers of those frames in a write-ahead log that are the last ones of transactions.
 *
 * @param from The number of the first frame that is looked at.
 * @param to The number of the last one.
 */
export function lastFrames(walPath: string, from: number, to: number): number[] {
  const ends: number[] = [];
  const wal = openSync(walPath, "r");
  const header = Buffer.alloc(8);
  for (let frame = from; frame <= to; frame += 1) {
    readSync(wal, header, 0, 8, walHeaderSize + (frame - 1) * frameSize);
    if (header.readUInt32BE(4) > 0) {
      ends.push(frame);
    }
  }
  closeSync(wal);
  return ends;
}

/** Returns frames of a write-ahead log by the numbers of the first and the last one; there may be fewer. */
export function walFrames(walPath: string, from: number, to: number): Buffer {
  if (to < from) {
    return Buffer.alloc(0);
  }
  const frames = Buffer.alloc((to - from + 1) * frameSize);
  const file = openSync(walPath, "r");
  const length = readSync(file, frames, 0, frames.length, walHeaderSize + (from - 1) * frameSize);
  closeSync(file);
  return frames.subarray(0, length - (length % frameSize));
}

/** Returns pages of a database file, from one to another, as frames of one transaction with all of its pages. */
export function pageFrames(path: string, from: number, to: number): Buffer {
  if (to < from) {
    return Buffer.alloc(0);
  }
  const pages = pagesIn(path);
  const frames = Buffer.alloc((to - from + 1) * frameSize);
  const file = openSync(path, "r");
  for (let page = from; page <= to; page += 1) {
    const start = (page - from) * frameSize;
    frames.writeUInt32BE(page, start);
    frames.writeUInt32BE(page === pages ? pages : 0, start + 4);
    readSync(file, frames, start + 24, pageSize, (page - 1) * pageSize);
  }
  closeSync(file);
  return frames;
}
