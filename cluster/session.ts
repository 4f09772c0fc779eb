/**
 * Checks the guarantees of sessions from outside: many clients, each with a cookie jar of its own, write and read
 * numbers through an edge or a list of proxies, and every answer is held against what that client knows already.
 *
 * As a program: `node --import tsx cluster/session.ts --edge http://127.0.0.1:8080 --seconds 8 --clients 16`. Without an edge
 * each `--proxy` names an entrance of the same site, and a client takes its cookies to all of them, as it does where one
 * name has several addresses. The app behind must keep text under `/kv/KEY` (`PUT` and `GET`, 404 for an unknown key).
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { createNotesClient } from "./notes-client.ts";
import type { NotesRequest } from "./notes-client.ts";
import { createSessionClient } from "./session/client.ts";
import { createTally } from "./session/tally.ts";
import type { SessionCounts, SessionReport } from "./session/tally.ts";

export type { NotesRequest as SessionRequest } from "./notes-client.ts";
export type { SessionReport } from "./session/tally.ts";

/** How sessions are checked. */
export interface SessionOptions {
  /** Where requests go, such as `http://127.0.0.1:8080`; each one to any of them. */
  readonly urls: readonly string[];
  /**
   * The site that clients take all these for, such as `http://app.example`: their cookies are of its host, and not of
   * the one that a request goes to. @default the URL of each request
   */
  readonly site?: string | undefined;
  /** The number of clients. @default 16 */
  readonly clients?: number | undefined;
  /** How long they go on, in milliseconds, but for three rounds at least, or `rounds` where that is fewer. @default 5000 */
  readonly duration?: number | undefined;
  /** How many rounds each client makes at most. @default Infinity */
  readonly rounds?: number | undefined;
  /** How often a client reads its own key in a round. @default 4 */
  readonly ownReads?: number | undefined;
  /** How often a client reads its neighbour's key in a round. @default 3 */
  readonly otherReads?: number | undefined;
  /** How long one request may take, in milliseconds. @default 15000 */
  readonly timeout?: number | undefined;
  /** What keys begin with. @default a random word */
  readonly prefix?: string | undefined;
  /** Sends a request. @default the global `fetch` */
  readonly fetch?: ((url: string, request: NotesRequest) => Promise<Response>) | undefined;
}

// A check that stood still for the whole of its time has seen too little to tell anything.
const leastRounds = 3;

/** Tells whether a report shows work, and nothing that breaks a guarantee. */
export function hasKept({ reads, writes, stale, back, errors }: SessionReport): boolean {
  return reads > 0 && writes > 0 && stale + back + errors === 0;
}

/**
 * Runs clients against an app and counts what breaks the guarantees of their sessions. Each client writes growing
 * numbers into a key of its own, reads them back, and reads its neighbour's.
 */
export async function checkSessions(options: SessionOptions): Promise<SessionReport> {
  const { urls, site, clients = 16, duration = 5000, rounds = Infinity } = options;
  const { ownReads = 4, otherReads = 3, timeout = 15_000 } = options;
  const prefix = options.prefix ?? Math.random().toString(36).slice(2, 8);
  const client = { urls: () => urls, site, timeout, send: options.fetch };
  const tally = createTally();
  const end = Date.now() + duration;

  function isDue(round: number): boolean {
    return round <= leastRounds || Date.now() < end;
  }

  async function run(index: number): Promise<void> {
    const own = `${prefix}-${index}`;
    const other = `${prefix}-${(index + 1) % clients}`;
    const { write, read } = createSessionClient(own, createNotesClient(client), tally);
    for (let round = 1; round <= rounds && isDue(round); round += 1) {
      await write(round);
      for (let i = 0; i < ownReads; i += 1) {
        await read(own);
      }
      for (let i = 0; i < otherReads; i += 1) {
        await read(other);
      }
    }
  }

  await Promise.all(Array.from({ length: clients }, (_, index) => run(index)));
  return tally.report();
}

/**
 * Returns a table of reports, one line for each runtime and one for all of them.
 *
 * @param reports The reports with their titles.
 */
export function sessionTable(reports: readonly (readonly [string, SessionReport])[]): string {
  const head = ["", "reads", "writes", "stale after own write", "back in time", "errors"];
  const rows = reports.flatMap(([title, report]) => [
    row(title, report),
    ...[...report.runtimes]
      .sort(([a], [b]) => a.localeCompare(b))
      .map(([runtime, counts]) => row(`  ${runtime || "(did not say)"}`, counts)),
  ]);
  const widths = head.map((cell, column) =>
    Math.max(cell.length, ...rows.map((cells) => cells[column]?.length ?? 0)),
  );
  return [head, ...rows]
    .map((cells) => {
      const padded = cells.map((cell, column) => {
        const width = widths[column] ?? 0;
        return column === 0 ? cell.padEnd(width) : cell.padStart(width);
      });
      return `${padded.join("  ").trimEnd()}\n`;
    })
    .join("");
}

function row(title: string, counts: SessionCounts): string[] {
  const { reads, writes, stale, back, errors } = counts;
  return [title, ...[reads, writes, stale, back, errors].map(String)];
}

const usage = `Usage: node --import tsx cluster/session.ts --edge URL [--seconds 5] [--clients 16]
       node --import tsx cluster/session.ts --proxy URL [--proxy URL …] [--seconds 5] [--clients 16]
`;

/** What several entrances without an edge are to their clients. */
const SITE = "http://app.example";

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      edge: { type: "string", multiple: true, default: [] },
      proxy: { type: "string", multiple: true, default: [] },
      seconds: { type: "string", default: "5" },
      clients: { type: "string", default: "16" },
      help: { type: "boolean", default: false },
    },
  });
  const { edge, proxy } = values;
  // Each of them keeps its cookies in another way.
  if (values.help || (edge.length === 0) === (proxy.length === 0)) {
    process.stdout.write(usage);
    process.exitCode = values.help ? 0 : 2;
    return;
  }
  const report = await checkSessions({
    urls: [...edge, ...proxy],
    site: proxy.length > 0 ? SITE : undefined,
    duration: Number(values.seconds) * 1000,
    clients: Number(values.clients),
  });
  process.stdout.write(sessionTable([["all", report]]));
  process.stdout.write(report.examples.map((example) => `${example}\n`).join(""));
  process.exitCode = hasKept(report) ? 0 : 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main();
}
