import { type Metric, METRICS, type Sample } from "./metrics.ts";
import { type Missing, YARDSTICK } from "./peers.ts";
import { type Spread, spreadOf } from "./statistics.ts";

/** What was measured of one peer. */
export interface Row {
  readonly peer: string;
  /** One for each round. */
  readonly samples: readonly Sample[];
  /** Why there is nothing, or no more. */
  readonly remark?: string | undefined;
}

/** What one scenario came to. */
export interface Section {
  readonly name: string;
  readonly title: string;
  /** What happened. */
  readonly says: string;
  /** The columns, in order. */
  readonly metrics: readonly Metric[];
  /** What is compared with the yardstick; left out: nothing. */
  readonly compared?: Metric | undefined;
  readonly rows: readonly Row[];
}

/** All that a run came to. */
export interface Report {
  /** The day. */
  readonly date: string;
  readonly machine: string;
  /** What takes part, by name, and how old it is. */
  readonly versions: Readonly<Record<string, string>>;
  readonly command: string;
  /** What sends the requests. */
  readonly generator: string;
  readonly missing: readonly Missing[];
  readonly sections: readonly Section[];
}

/** The columns whose least and most are worth their room; all of them are in the JSON. */
const SPREAD: ReadonlySet<Metric> = new Set(["rate", "mib", "p99", "cpu"]);

/** Writes a report for people, as Markdown. */
export function renderReport(report: Report): string {
  const versions = Object.entries(report.versions).map(([name, version]) => `${name} ${version}`);
  const lines = [
    `${report.date}, ${report.machine}. ${report.generator}`,
    versions.join(", "),
    `\`${report.command}\``,
    ...report.missing.map(({ name, reason }) => `**Not measured: ${name}**, ${reason}.`),
    ...report.sections.map(renderSection),
  ];
  return `${lines.join("\n\n")}\n`;
}

/** Writes what one scenario came to. */
export function renderSection(section: Section): string {
  const { title, says, metrics, compared, rows } = section;
  const yardstick = rows.find(({ peer }) => peer === YARDSTICK);
  const ratio = compared === undefined || yardstick === undefined ? undefined : compared;
  const heads: string[] = metrics.map((metric) => METRICS[metric].title);
  const index = ratio === undefined ? 0 : metrics.indexOf(ratio) + 1;
  if (ratio !== undefined) heads.splice(index, 0, `× ${YARDSTICK}`);
  const lines = rows.map((row) => {
    if (row.samples.length === 0)
      return [row.peer, ...heads.map((_, at) => (at === 0 ? (row.remark ?? "–") : ""))];
    const cells = metrics.map((metric) => cellOf(row, metric));
    if (ratio !== undefined) cells.splice(index, 0, writeRatio(ratioOf(row, yardstick, ratio)));
    const name = row.remark === undefined ? row.peer : `${row.peer} (then ${row.remark})`;
    return [name, ...cells];
  });
  const table = [["", ...heads], ["---", ...heads.map(() => "---:")], ...lines];
  return `### ${title}\n\n${says}\n\n${table.map((cells) => `| ${cells.join(" | ")} |`).join("\n")}`;
}

/**
 * Compares two peers round by round.
 *
 * @returns The ratios' median and between what they lay, or undefined when there is nothing to compare.
 */
export function ratioOf(
  { samples }: Row,
  yardstick: Row | undefined,
  metric: Metric,
): Spread | undefined {
  return spreadOf(
    samples.map((sample, round) => {
      const [own, other] = [sample[metric], yardstick?.samples[round]?.[metric]];
      return own === undefined || other === undefined ? Number.NaN : own / other;
    }),
  );
}

function cellOf({ samples }: Row, metric: Metric): string {
  const spread = spreadOf(samples.map((sample) => sample[metric] ?? Number.NaN));
  if (spread === undefined) return "–";
  const { digits } = METRICS[metric];
  const [middle, least, most] = [spread.median, spread.least, spread.most].map((value) =>
    value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }),
  );
  const isWorth = SPREAD.has(metric) && least !== most;
  return isWorth ? `${middle} (${least}–${most})` : `${middle}`;
}

function writeRatio(spread: Spread | undefined): string {
  return spread === undefined ? "–" : spread.median.toFixed(2);
}

/**
 * Puts a text between two markers of another.
 *
 * @throws {Error} When the markers are not there.
 */
export function replaceMarked(text: string, name: string, content: string): string {
  const [begin, end] = [`<!-- ${name}:begin -->`, `<!-- ${name}:end -->`];
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from === -1 || to < from) throw new Error(`Cannot find ${begin} and ${end}`);
  return `${text.slice(0, from + begin.length)}\n\n${content.trim()}\n\n${text.slice(to)}`;
}
