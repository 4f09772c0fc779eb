/** Runs works one at a time, in the order in which they were given; one that fails does not keep the next ones back. */
export type Queue = <T>(work: () => Promise<T>) => Promise<T>;

/** Creates a queue that is empty. */
export function createQueue(): Queue {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const done = last.then(work);
    last = done.catch(() => undefined);
    return done;
  };
}
