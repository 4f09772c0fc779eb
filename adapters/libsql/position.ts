import type { Position } from "../../src/storage.ts";

/** How many digits of a position are its epoch or its generation, and the number in there. */
export interface Parts {
  /** The digits of the epoch; the others are those of the number. */
  readonly high: number;
}

/** The row's positions: 2 ** 24 epochs of 2 ** 40 bumps. */
export const ROW: Parts = { high: 6 };

/** Positions of the file `-info`: 2 ** 32 generations of 2 ** 32 frames. */
export const INFO: Parts = { high: 8 };

/** The last one of the row's epochs. */
export const LAST_EPOCH: number = 16 ** ROW.high - 1;

const DIGITS = 16;

/**
 * Writes a position.
 *
 * @param parts How it is divided.
 * @param epoch The high part.
 * @param number The low part.
 * @throws {RangeError} When one of them does not fit.
 */
export function formatPosition({ high }: Parts, epoch: number, number: number): Position {
  return hex(epoch, high) + hex(number, DIGITS - high);
}

function hex(value: number, digits: number): string {
  if (!Number.isSafeInteger(value) || value < 0 || value >= 16 ** digits)
    throw new RangeError(`Cannot read position: ${value} does not fit`);
  return value.toString(16).padStart(digits, "0");
}

/** Returns the high part of a position. */
export function epochOf({ high }: Parts, position: Position): number {
  return Number.parseInt(position.slice(0, high), 16);
}

/**
 * Returns how many transactions lie between two positions. Of those between two epochs nobody knows how many there are.
 *
 * @param parts How positions are divided.
 * @param ahead The one.
 * @param behind The other.
 */
export function gapWithin({ high }: Parts, ahead: Position, behind: Position): number | undefined {
  if (ahead.slice(0, high) !== behind.slice(0, high)) return undefined;
  return Number.parseInt(ahead.slice(high), 16) - Number.parseInt(behind.slice(high), 16);
}
