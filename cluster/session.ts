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
import { createJar } from "./jar.ts";
import type { Jar } from "./jar.ts";

/** What a client sends; the global `fetch` takes it. */
export interface SessionRequest {
  /** The method. */
  readonly method: string;
  /** The headers. */
  readonly headers: Record<string, string>;
  /** The text to write; left out with GET. */
  readonly body?: string;
  /** Never followed: a proxy has no business with redirects. */
  readonly redirect: "manual";
  /** Aborts a request that takes too long. */
  readonly signal: AbortSignal;
}

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
  /** How long they go on, in milliseconds. @default 5000 */
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
  readonly fetch?: ((url: string, request: SessionRequest) => Promise<Response>) | undefined;
}

/** What was seen. */
interface SessionCounts {
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

/** Tells whether a report shows work, and nothing that breaks a guarantee. */
export function hasKept({ reads, writes, stale, back, errors }: SessionReport): boolean {
  return reads > 0 && writes > 0 && stale + back + errors === 0;
}

interface Answer {
  readonly ok: boolean;
  readonly status: number;
  readonly text: string;
  readonly node: string;
  readonly runtime: string;
}

/**
 * Runs clients against an app and counts what breaks the guarantees of their sessions. Each client writes growing
 * numbers into a key of its own, reads them back, and reads its neighbour's.
 */
export async function checkSessions(options: SessionOptions): Promise<SessionReport> {
  const { urls, clients = 16, duration = 5000, rounds = Infinity, timeout = 15_000 } = options;
  const { ownReads = 4, otherReads = 3 } = options;
  const prefix = options.prefix ?? Math.random().toString(36).slice(2, 8);
  const send = options.fetch ?? ((url, request) => fetch(url, request));
  const total = zero();
  const runtimes = new Map<string, SessionCounts>();
  const examples: string[] = [];
  const end = Date.now() + duration;

  function count(what: keyof SessionCounts, runtime: string, example?: string): void {
    const counts = runtimes.get(runtime) ?? zero();
    runtimes.set(runtime, counts);
    counts[what] += 1;
    total[what] += 1;
    if (example !== undefined && examples.length < 10) {
      examples.push(example);
    }
  }

  async function ask(jar: Jar, key: string, body?: string): Promise<Answer> {
    const base = urls[Math.floor(Math.random() * urls.length)] ?? "";
    const url = new URL(`/kv/${key}`, base);
    const page = new URL(url.pathname, options.site ?? base);
    const cookie = jar.header(page);
    try {
      const response = await send(url.href, {
        method: body === undefined ? "GET" : "PUT",
        headers: cookie === undefined ? {} : { cookie },
        ...(body === undefined ? {} : { body }),
        redirect: "manual",
        signal: AbortSignal.timeout(timeout),
      });
      jar.take(response.headers.getSetCookie(), page);
      const { ok, status, headers } = response;
      const node = headers.get("x-node") ?? base;
      return {
        ok,
        status,
        text: await response.text(),
        node,
        runtime: headers.get("x-runtime") ?? "",
      };
    } catch (error) {
      const text = error instanceof Error ? describeError(error) : String(error);
      return { ok: false, status: 0, text, node: base, runtime: "" };
    }
  }

  async function run(index: number): Promise<void> {
    const jar = createJar();
    const own = `${prefix}-${index}`;
    const other = `${prefix}-${(index + 1) % clients}`;
    const seen = new Map<string, number>();
    let written = 0;

    async function read(key: string): Promise<void> {
      const answer = await ask(jar, key);
      const { node, runtime, status, text } = answer;
      const value = status === 404 ? 0 : Number(text.trim() || "none");
      if ((!answer.ok && status !== 404) || Number.isNaN(value)) {
        count("errors", runtime, `GET ${key} from ${node}: ${status} ${text.trim()}`);
        return;
      }
      count("reads", runtime);
      if (key === own && value < written) {
        count("stale", runtime, `GET ${key} from ${node}: ${value} after ${written} was written`);
      }
      const best = seen.get(key) ?? 0;
      if (value < best) {
        count("back", runtime, `GET ${key} from ${node}: ${value} after ${best} was read`);
      }
      seen.set(key, Math.max(best, value));
    }

    for (let round = 1; round <= rounds && Date.now() < end; round += 1) {
      const answer = await ask(jar, own, String(round));
      if (answer.ok) {
        count("writes", answer.runtime);
        written = round;
      } else {
        const { node, status, text } = answer;
        count("errors", answer.runtime, `PUT ${own} at ${node}: ${status} ${text.trim()}`);
      }
      for (let i = 0; i < ownReads; i += 1) {
        await read(own);
      }
      for (let i = 0; i < otherReads; i += 1) {
        await read(other);
      }
    }
  }

  await Promise.all(Array.from({ length: clients }, (_, index) => run(index)));
  return { ...total, runtimes, examples };
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

function zero(): SessionCounts {
  return { reads: 0, writes: 0, stale: 0, back: 0, errors: 0 };
}

function describeError(error: Error): string {
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
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
