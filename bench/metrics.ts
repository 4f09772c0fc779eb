/** What is measured of a peer in a round, by name; what could not be measured is left out. */
export type Sample = Readonly<Partial<Record<Metric, number>>>;

/** What can be measured. */
export type Metric = keyof typeof METRICS;

/** How a column is headed, and with how many digits its numbers are written. */
interface Column {
  readonly title: string;
  readonly digits: number;
}

/** The columns. */
export const METRICS = {
  rate: { title: "a second", digits: 0 },
  mib: { title: "MiB/s", digits: 0 },
  p50: { title: "p50 ms", digits: 2 },
  p99: { title: "p99 ms", digits: 2 },
  p999: { title: "p99.9 ms", digits: 2 },
  cpu: { title: "CPU µs each", digits: 1 },
  cpuGib: { title: "CPU ms a GiB", digits: 0 },
  start: { title: "start ms", digits: 0 },
  rss: { title: "RSS MiB", digits: 0 },
  peak: { title: "peak RSS MiB", digits: 0 },
  each: { title: "KiB each", digits: 1 },
  core: { title: "% of a core", digits: 1 },
  answered: { title: "commit to last answer ms", digits: 0 },
  slope: { title: "RSS rises, MiB an hour", digits: 1 },
  growth: { title: "RSS rose, % after warm-up", digits: 1 },
  errors: { title: "errors", digits: 0 },
} as const satisfies Readonly<Record<string, Column>>;
