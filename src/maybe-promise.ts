import type { MaybePromise } from "./storage.ts";

/** Tells whether a value is still to come. */
export function isPromise<T>(value: MaybePromise<T>): value is Promise<T> {
  return typeof value === "object" && value !== null && "then" in value;
}

/**
 * Goes on with a value: in this turn if it is at hand, for a promise costs a turn and memory, and most storages have
 * their answers at hand.
 *
 * @param value The value.
 * @param go What is done with it.
 */
export function andThen<T, R>(
  value: MaybePromise<T>,
  go: (value: T) => MaybePromise<R>,
): MaybePromise<R> {
  return isPromise(value) ? value.then(go) : go(value);
}

/** Goes on with all values: in this turn if they are at hand. */
export function all<T>(values: readonly MaybePromise<T>[]): MaybePromise<readonly T[]> {
  // None of them is a promise then, which the types cannot say.
  return values.some(isPromise) ? Promise.all(values) : (values as readonly T[]);
}
