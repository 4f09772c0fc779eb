/** What was seen. */
export interface SessionCounts {
  /** Reads that were answered. */
  reads: number;
  /** Writes that were answered. */
  writes: number;
  /** Reads that did not show what the client itself had written before (read-your-writes). */
  stale: number;
  /** Reads that showed less than an earlier read of the same client (monotonic reads). */
  back: number;
  /** Requests without a proper answer. */
  errors: number;
}

/** The result of a check. */
export interface SessionReport extends SessionCounts {
  /** The counts for each runtime that answered, as `X-Runtime` names it; the empty text: it did not say. */
  readonly runtimes: ReadonlyMap<string, SessionCounts>;
  /** The first few things that went wrong, in words. */
  readonly examples: readonly string[];
}

/** What counts while a check goes on. */
export interface Tally {
  /**
   * Counts one thing that was seen.
   *
   * @param runtime The runtime that answered.
   * @param example What went wrong, in words.
   */
  count(what: keyof SessionCounts, runtime: string, example?: string): void;
  /** Returns what was counted. */
  report(): SessionReport;
}

// More examples tell no more.
const exampleLimit = 10;

/** Creates a tally of nothing. */
export function createTally(): Tally {
  const total = zero();
  const runtimes = new Map<string, SessionCounts>();
  const examples: string[] = [];
  return {
    count(what, runtime, example) {
      const counts = runtimes.get(runtime) ?? zero();
      runtimes.set(runtime, counts);
      counts[what] += 1;
      total[what] += 1;
      if (example !== undefined && examples.length < exampleLimit) {
        examples.push(example);
      }
    },
    report: () => ({ ...total, runtimes, examples }),
  };
}

function zero(): SessionCounts {
  return { reads: 0, writes: 0, stale: 0, back: 0, errors: 0 };
}
