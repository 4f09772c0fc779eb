import { nearest } from "./nearest.ts";

/** The name of a header field (RFC 9110 section 5.1). */
export const FIELD_NAME: RegExp = /^[!#$%&'*+.^_`|~\w-]+$/;

/** Writes what was given for an option as an error quotes it: text and URLs in quotes. */
export function show(value: unknown): string {
  const isText = typeof value === "string" || value instanceof URL;
  return isText ? JSON.stringify(String(value)) : String(value);
}

/**
 * Returns a number, or `fallback` where none is given.
 *
 * @param name The option's name.
 * @param value What was given for it.
 * @param fallback The default.
 * @param least The least number that is fit.
 * @param unit What it counts.
 * @throws {TypeError} When it is no number.
 * @throws {RangeError} When it is less.
 */
export function number(
  name: string,
  value: number | undefined,
  fallback: number,
  least = 0,
  unit = "milliseconds",
): number {
  if (value === undefined) return fallback;
  if (typeof value !== "number" || Number.isNaN(value)) {
    throw new TypeError(
      `Cannot create proxy: \`${name}\` must be a number of ${unit}, received ${show(value)}`,
    );
  }
  if (value < least) {
    throw new RangeError(
      `Cannot create proxy: \`${name}\` must be ${least} or more ${unit}, received ${value}`,
    );
  }
  return value;
}

/**
 * Returns a number that has an end.
 *
 * @throws {RangeError} When it is infinite.
 */
export function finite(name: string, value: number): number {
  if (Number.isFinite(value)) return value;
  throw new RangeError(`Cannot create proxy: \`${name}\` must be finite, received ${value}`);
}

/**
 * Refuses options that there are not, which would be ignored otherwise: a misspelt name is one.
 *
 * @param options What was given.
 * @param known The options that there are.
 * @param place What stands before each name, such as `replay.`.
 * @param what What is created with them.
 * @throws {TypeError} When one is unknown.
 */
export function checkNames(
  options: object,
  known: Readonly<Record<string, true>>,
  place = "",
  what = "proxy",
): void {
  for (const name of Object.keys(options)) {
    if (Object.hasOwn(known, name)) continue;
    const meant = nearest(name, Object.keys(known));
    const mend = meant === undefined ? "" : `, did you mean \`${place}${meant}\``;
    throw new TypeError(`Cannot create ${what}: \`${place}${name}\` is not an option${mend}`);
  }
}

/**
 * Returns one of some values.
 *
 * @throws {TypeError} When it is another one.
 */
export function oneOf<T>(name: string, value: T, allowed: readonly T[]): T {
  if (allowed.includes(value)) return value;
  throw new TypeError(
    `Cannot create proxy: \`${name}\` must be one of ${allowed.map(show).join(", ")}, received ${show(value)}`,
  );
}

/**
 * Returns the path of a request.
 *
 * @throws {TypeError} When it is none.
 */
export function path(name: string, value: string): string {
  if (typeof value === "string" && value.startsWith("/")) return value;
  throw new TypeError(
    `Cannot create proxy: \`${name}\` must be a path that begins with "/", received ${show(value)}`,
  );
}

/**
 * Returns the name of a header field.
 *
 * @throws {TypeError} When it is none.
 */
export function fieldName(name: string, value: string): string {
  if (typeof value === "string" && FIELD_NAME.test(value)) return value;
  throw new TypeError(
    `Cannot create proxy: \`${name}\` must be the name of a header field, received ${show(value)}`,
  );
}

/**
 * Refuses what is given for a function and is none.
 *
 * @throws {TypeError} When it is something else.
 */
export function checkFunction(name: string, value: unknown): void {
  if (value === undefined || typeof value === "function") return;
  throw new TypeError(
    `Cannot create proxy: \`${name}\` must be a function, received ${show(value)}`,
  );
}
