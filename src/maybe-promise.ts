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

/**
 * Asks for something of each value, and goes on with all that is found: in this turn if it is at hand. Who throws at once
 * is taken for one who rejects: what the others have promised would else reject for nobody, which ends the process.
 *
 * @param values The values.
 * @param ask Asks for something of one of them.
 */
export function each<T, R>(
  values: readonly T[],
  ask: (value: T, index: number) => MaybePromise<R>,
): MaybePromise<readonly R[]> {
  const found = values.map((value, index): MaybePromise<R> => {
    try {
      return ask(value, index);
    } catch (error) {
      return rejected(error);
    }
  });
  // None of them is a promise then, which the types cannot say.
  return found.some(isPromise) ? Promise.all(found) : (found as readonly R[]);
}

async function rejected(error: unknown): Promise<never> {
  throw error;
}
