import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { formatDuration, parseDuration } from "../adapters/drop-in/duration.ts";

/** What Go 1.26's `time.ParseDuration` makes of these, in nanoseconds; null: an error. */
const durations: readonly [text: string, nanoseconds: number | null][] = [
  ["0", 0],
  ["+0", 0],
  ["-0", 0],
  ["0s", 0],
  ["-0s", 0],
  ["5s", 5e9],
  ["+5s", 5e9],
  ["-5s", -5e9],
  ["1.s", 1e9],
  [".5s", 5e8],
  ["1.5h", 5.4e12],
  ["1m30s", 9e10],
  ["1h2m3s4ms5us6ns", 3723004005006],
  ["3s1h", 3.603e12],
  ["1s1s", 2e9],
  ["12µs", 12e3],
  ["12μs", 12e3],
  ["1.0000000000000001s", 1e9],
  ["0.3333333333333333333h", 12e11],
  ["0.9223372036854775807h", 3320413933267],
  ["0.830103483285477580700h", 2988372539827],
  ["1.999999999999999999ns", 2],
  ["2562047h47m16.854775807s", 2 ** 63],
  ["-2562047h47m16.854775808s", -(2 ** 63)],
  ["2562047h47m16.854775808s", null],
  ["9223372036854775808ns", null],
  ["9223372036854775809ns", null],
  ["", null],
  ["5", null],
  ["-", null],
  ["+", null],
  [".", null],
  [".s", null],
  ["s", null],
  ["5 s", null],
  [" 5s", null],
  ["5s ", null],
  ["5s\n", null],
  ["5d", null],
  ["5S", null],
  ["5sec", null],
  ["1e3s", null],
  ["1_0s", null],
  ["--5s", null],
  ["5s-3s", null],
  ["1.5.5s", null],
  ["00", null],
  ["٣s", null],
  ["0x5s", null],
];

describe("parseDuration()", () => {
  for (const [text, nanoseconds] of durations) {
    it(`reads ${JSON.stringify(text)} as Go does`, () => {
      const expected = nanoseconds === null ? undefined : nanoseconds / 1e6;
      assert.equal(parseDuration(text), expected);
    });
  }

  it("adds up the parts in any order", () => {
    const units = { h: 3_600_000, m: 60_000, s: 1000, ms: 1, us: 0.001 };
    const part = fc.tuple(fc.nat(999), fc.constantFrom("h", "m", "s", "ms", "us"));
    fc.assert(
      fc.property(fc.array(part, { minLength: 1 }), fc.boolean(), (parts, isNegative) => {
        const text = parts.map(([count, unit]) => `${count}${unit}`).join("");
        const sum = parts.reduce((total, [count, unit]) => {
          const found = Object.entries(units).find(([name]) => name === unit)?.[1] ?? 0;
          return total + Math.round(count * found * 1000);
        }, 0);
        const expected = sum === 0 ? 0 : (isNegative ? -sum : sum) / 1000;
        assert.equal(parseDuration((isNegative ? "-" : "") + text), expected);
      }),
    );
  });
});

describe("formatDuration()", () => {
  for (const [milliseconds, text] of [
    [0, "0s"],
    [5000, "5s"],
    [90_000, "1m30s"],
    [3_600_000, "1h"],
    [3_605_000, "1h5s"],
    [1500, "1.5s"],
    [250, "250ms"],
    [0.5, "0.5ms"],
    [-10_000, "-10s"],
  ] as const) {
    it(`writes ${milliseconds} ms as ${text}`, () => {
      assert.equal(formatDuration(milliseconds), text);
    });
  }

  it("writes what parseDuration() reads back", () => {
    fc.assert(
      fc.property(fc.integer({ min: -1e12, max: 1e12 }), (microseconds) => {
        const milliseconds = microseconds / 1000;
        assert.equal(parseDuration(formatDuration(milliseconds)), milliseconds);
      }),
    );
  });
});
