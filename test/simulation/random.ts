/** A source of numbers that look random and are the same for the same seed on every runtime. */
export interface Random {
  /** Returns a whole number from 0 to `limit` - 1. */
  below(limit: number): number;
  /** Returns a whole number from `least` to `most`. */
  between(least: number, most: number): number;
  /** Returns a duration from `least` to `most` milliseconds in steps of 1/16, which floating point adds exactly. */
  time(least: number, most: number): number;
  /** Returns true in `percent` of 100 cases. */
  chance(percent: number): boolean;
  /** Returns one of the items. */
  pick<T>(items: readonly [T, ...T[]]): T;
  /** Returns one of the items, or undefined when there are none. */
  any<T>(items: readonly T[]): T | undefined;
}

/**
 * Creates a source of numbers (sfc32). Each part of a world has a source of its own, named by its label, so that taking
 * one part away leaves the others as they are.
 *
 * @param seed The seed of the world.
 * @param label Whose numbers these are.
 */
export function createRandom(seed: number, label: string): Random {
  let a = mix(seed >>> 0);
  let b = mix(Math.floor(seed / 2 ** 32) ^ 0x9e3779b9);
  let c = 0x243f6a88;
  for (let index = 0; index < label.length; index++) c = mix(c ^ label.charCodeAt(index));
  let counter = 1;

  function next(): number {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + sum) | 0;
    return sum >>> 0;
  }
  for (let turn = 0; turn < 12; turn++) next();

  const below = (limit: number): number => Math.floor((next() / 2 ** 32) * limit);
  return {
    below,
    between: (least, most) => least + below(most - least + 1),
    time: (least, most) => least + below((most - least) * 16 + 1) / 16,
    chance: (percent) => below(100) < percent,
    pick: (items) => items[below(items.length)] ?? items[0],
    any: (items) => items[below(items.length)],
  };
}

/** Spreads the bits of a number over 32 bits. */
function mix(value: number): number {
  let mixed = (value + 0x9e3779b9) | 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
  return mixed ^ (mixed >>> 15);
}
