import { readFileSync } from "node:fs";

/** A header line: name and value. */
export type Line = readonly [name: string, value: string];

/** What the app saw of a request. */
export interface Seen {
  readonly requestLine: string;
  readonly headers: readonly Line[];
  readonly body?: string;
  /** How often it saw the request; left out: once. */
  readonly times?: number;
}

/** What held when a request was sent; left out: database there, link and app up, primary known, lag small. */
export interface Setup {
  readonly database?: "absent" | "empty";
  readonly link?: "partition";
  readonly lag?: "over max-lag";
  readonly primary?: "stopped" | "unknown";
  readonly app?: "down";
  readonly appUpAfterMs?: number;
  readonly appCloses?: boolean;
  readonly keptConnections?: number;
  readonly linkBackAfterMs?: number;
  /** The position of the asked node rises by that much after that time. */
  readonly advance?: { readonly afterMs: number; readonly by: number };
  /** The position of the primary rises by that much while the app handles the request. */
  readonly commit?: { readonly when: string; readonly by: number };
}

/** One request to LiteFS's proxy, and what came of it; the file's `about` explains the fields. */
export interface GoldenRecord {
  readonly name: string;
  readonly section: string;
  readonly node: "primary" | "replica";
  readonly config: {
    readonly passthrough: readonly string[];
    readonly alwaysForward: readonly string[];
    readonly maxLag: string;
    readonly primaryRedirectTimeout: string;
  };
  readonly state: string;
  readonly setup?: Setup;
  readonly request: string;
  readonly appAnswer: string | null;
  readonly appAnswerNote?: string;
  readonly response: {
    readonly status: number;
    readonly statusLine: string;
    readonly headers: readonly Line[];
    readonly body: string;
    readonly elapsedMs: number | null;
    readonly truncated?: boolean;
    readonly staysOpen?: boolean;
  };
  readonly app: Seen | null;
}

/** What came of one request: what the record says, what is expected instead, or what was observed. */
export interface Outcome {
  readonly statusLine: string;
  readonly headers: readonly Line[];
  readonly body: string;
  readonly trailers: readonly Line[];
  /** The informational responses before it: status and lines. */
  readonly interim: readonly { readonly status: number; readonly headers: readonly Line[] }[];
  /** Whether the connection ended before the body did. */
  readonly truncated: boolean;
  /** Whether bytes go both ways after the head. */
  readonly tunnel: boolean;
  /** Milliseconds until the answer; null: less than the three seconds after which the primary is known again. */
  readonly waited: number | null;
  /** What the app saw, or null when it was not asked. */
  readonly app: Seen | null;
}

interface GoldenFile {
  readonly about: {
    readonly count: number;
    readonly sections: Readonly<Record<string, number>>;
  };
  readonly records: readonly GoldenRecord[];
}

/** Reads the file. */
export function readGolden(): GoldenFile {
  return JSON.parse(readFileSync(new URL("litefs-0.5.14.json", import.meta.url), "utf8"));
}

/** Returns what LiteFS did. */
export function recorded(record: GoldenRecord): Outcome {
  const { response, app } = record;
  return {
    statusLine: response.statusLine,
    headers: response.headers,
    body: response.body,
    trailers: [],
    interim: [],
    truncated: response.truncated ?? false,
    tunnel: false,
    waited: response.elapsedMs,
    app: app === null ? null : { ...app, body: app.body ?? "", times: app.times ?? 1 },
  };
}

/** The position of the asked node when a request is sent. */
const POSITION = 0x2an;

/** Spells a position. */
export function hex(position: bigint): string {
  return BigInt.asUintN(64, position).toString(16).padStart(16, "0");
}

/** Returns the position of the asked node when the request is sent; undefined: it has no database. */
export function positionOf(record: GoldenRecord): bigint | undefined {
  const { database } = record.setup ?? {};
  if (database === undefined) return POSITION;
  return database === "empty" && record.node === "primary" ? 0n : undefined;
}

/** Puts values in the place of `{position}`, `{position+1}`, `{POSITION}` and `{x*5}`. */
export function expand(text: string, record: GoldenRecord): string {
  const position = positionOf(record) ?? 0n;
  return text
    .replace(/\{x\*(\d+)\}/g, (_, count: string) => "x".repeat(Number(count)))
    .replace(/\{(position|POSITION)([+-]\d+)?\}/g, (_, name: string, offset: string | undefined) =>
      name === "POSITION" ? hex(position).toUpperCase() : hex(position + BigInt(offset ?? 0)),
    );
}

/** Returns milliseconds of a duration such as `5s`. */
export function milliseconds(duration: string): number {
  return Number(duration.replace(/s$/, "")) * 1000;
}

/** Names a record so that no other has the same name. */
export function titleOf(record: GoldenRecord): string {
  const words = [`${record.name} (${record.node}`];
  const { setup, config } = record;
  if (setup !== undefined) words.push(`, ${JSON.stringify(setup).replace(/["{}]/g, "")}`);
  if (config.primaryRedirectTimeout !== "5s")
    words.push(`, redirect timeout ${config.primaryRedirectTimeout}`);
  return `${words.join("")})`;
}
