const largest = (1n << 63n) - 1n;

/** Nanoseconds in each unit; the micro sign and the Greek letter both stand for micro. */
const units: ReadonlyMap<string, bigint> = new Map([
  ["ns", 1n],
  ["us", 1_000n],
  ["\u00b5s", 1_000n],
  ["\u03bcs", 1_000n],
  ["ms", 1_000_000n],
  ["s", 1_000_000_000n],
  ["m", 60_000_000_000n],
  ["h", 3_600_000_000_000n],
]);

/**
 * Reads a duration in the grammar of LiteFS's configuration, which is that of Go's `time.ParseDuration`: `5s`,
 * `1m30s`, `-1.5h`, `0`; units are ns, us, ms, s, m and h.
 *
 * @param text The duration, without spaces.
 * @returns The duration in milliseconds, a fraction where there is one, or undefined when the text is no duration.
 */
export function parseDuration(text: string): number | undefined {
  const isNegative = text.startsWith("-");
  const unsigned = isNegative || text.startsWith("+") ? text.slice(1) : text;
  if (unsigned === "0") return 0;
  if (!/^(?:\d+\.?\d*[^.\d]+|\.\d+[^.\d]+)+$/.test(unsigned)) return undefined;
  let total = 0n;
  for (const [, whole, fraction, unit] of unsigned.matchAll(/(\d*)(?:\.(\d*))?([^.\d]+)/g)) {
    const size = units.get(unit ?? "");
    if (size === undefined) return undefined;
    total += BigInt(whole ?? "") * size + fractionOf(fraction ?? "", size);
    // The lowest duration has no positive counterpart.
    if (total > largest + (isNegative ? 1n : 0n)) return undefined;
  }
  const milliseconds = Number(total) / 1e6;
  return isNegative && total !== 0n ? -milliseconds : milliseconds;
}

/** Returns the nanoseconds of a decimal fraction, by the same floating-point steps that Go takes. */
function fractionOf(digits: string, size: bigint): bigint {
  let value = 0n;
  let scale = 1;
  for (const digit of digits) {
    const next = value * 10n + BigInt(digit);
    // Go drops the digits that do not fit.
    if (next > largest + 1n) break;
    value = next;
    scale *= 10;
  }
  return value === 0n ? 0n : BigInt(Math.trunc(Number(value) * (Number(size) / scale)));
}

/**
 * Writes a duration so that `parseDuration` reads it back, such as `1m30s`, `0.5ms` or `0s`.
 *
 * @param milliseconds The duration in milliseconds.
 */
export function formatDuration(milliseconds: number): string {
  const sign = milliseconds < 0 ? "-" : "";
  let rest = BigInt(Math.round(Math.abs(milliseconds) * 1e6));
  if (rest === 0n) return "0s";
  if (rest < 1_000_000_000n) return `${sign}${decimal(rest, 6)}ms`;
  let text = sign;
  for (const unit of ["h", "m"]) {
    const size = units.get(unit) ?? 1n;
    if (rest >= size) text += `${rest / size}${unit}`;
    rest %= size;
  }
  return rest === 0n ? text : `${text}${decimal(rest, 9)}s`;
}

/** Writes a number of nanoseconds as a decimal number of a unit that is `places` powers of ten larger. */
function decimal(nanoseconds: bigint, places: number): string {
  const digits = nanoseconds.toString().padStart(places + 1, "0");
  const fraction = digits.slice(-places).replace(/0+$/, "");
  return digits.slice(0, -places) + (fraction === "" ? "" : `.${fraction}`);
}
