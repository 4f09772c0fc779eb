import { createNotesClient } from "./notes-client.ts";
import type { NotesClient } from "./notes-client.ts";
import { sleep } from "./sleep.ts";

/** How clients load a cluster. */
export interface LoadOptions {
  /** Returns where requests go now; each one to any of them. */
  readonly urls: () => readonly string[];
  /** The number of clients. @default 12 */
  readonly clients?: number | undefined;
  /** How long a client rests after each request, in milliseconds. @default 10 */
  readonly rest?: number | undefined;
  /** How long one request may take, in milliseconds. @default 15000 */
  readonly timeout?: number | undefined;
}

/** Clients at work. */
export interface Load {
  /** Lets the clients end what they have begun, and returns what they saw. */
  stop(): Promise<LoadLog>;
}

/** A request that was not answered as it should. */
export interface Failure {
  /** What was asked, and what came. */
  readonly text: string;
  /** The status; 0: there was no answer. */
  readonly status: number;
  /** When the request began, in milliseconds since the Unix epoch. */
  readonly began: number;
  /** When it ended, in milliseconds since the Unix epoch. */
  readonly ended: number;
}

/** What clients saw. */
export interface LoadLog {
  /** The keys that they wrote. */
  readonly keys: readonly string[];
  /** Every mark whose writing was acknowledged. */
  readonly acknowledged: ReadonlySet<string>;
  /** How many reads were answered. */
  readonly reads: number;
  /** The marks that a client knew of and was not shown, and when the answer came, in milliseconds since the Unix epoch. */
  readonly unseen: readonly { readonly mark: string; readonly at: number; readonly text: string }[];
  /** The marks that were there twice in an answer. */
  readonly twice: ReadonlySet<string>;
  /** What went wrong. */
  readonly failures: readonly Failure[];
  /** How long the slowest request took, in milliseconds. */
  readonly slowest: number;
}

/** Returns the marks in the text of a note. */
export function marksIn(text: string): string[] {
  return text.split(" ").filter((mark) => mark !== "");
}

/** Returns the marks that are in a list more than once. */
export function twiceIn(marks: readonly string[]): string[] {
  return marks.filter((mark, index) => marks.indexOf(mark) !== index);
}

/** What clients have seen so far. */
interface Sight {
  readonly acknowledged: Set<string>;
  readonly unseen: { mark: string; at: number; text: string }[];
  readonly twice: Set<string>;
  readonly failures: Failure[];
  reads: number;
  slowest: number;
}

/**
 * Starts clients that add marks, each of which there is once only, to a note of their own (`POST /kv/KEY`), and read it and
 * their neighbour's: so a write that is lost shows, and one that ran twice as well.
 */
export function startLoad(options: LoadOptions): Load {
  const { urls, clients = 12, rest = 10, timeout = 15_000 } = options;
  const prefix = Math.random().toString(36).slice(2, 8);
  const keys = Array.from({ length: clients }, (_, index) => `${prefix}-${index}`);
  const sight: Sight = {
    acknowledged: new Set(),
    unseen: [],
    twice: new Set(),
    failures: [],
    reads: 0,
    slowest: 0,
  };
  let isOver = false;

  async function run(own: string, other: string): Promise<void> {
    const { add, read } = createMarker(createNotesClient({ urls, timeout }), sight);
    // Clients in step would all write, or all read, when something happens.
    await sleep(Math.random() * 20 * rest);
    for (let round = 1; !isOver; round += 1) {
      await add(own, `${own}.${round}`);
      await sleep(rest);
      for (const key of [own, other, own]) {
        await read(key);
        await sleep(rest);
      }
    }
  }

  const running = Promise.all(
    keys.map((key, index) => run(key, keys[(index + 1) % clients] ?? key)),
  );
  return {
    async stop() {
      isOver = true;
      await running;
      return { keys, ...sight };
    },
  };
}

/** A client that remembers the marks that it knows of. */
interface Marker {
  /** Adds a mark to a note. */
  add(key: string, mark: string): Promise<void>;
  /** Reads a note. */
  read(key: string): Promise<void>;
}

function createMarker(client: NotesClient, sight: Sight): Marker {
  // By the key of their note.
  const known = new Map<string, Set<string>>();

  /** Returns the text of an answer; undefined: it was none. */
  async function ask(
    method: "GET" | "POST",
    key: string,
    body?: string,
  ): Promise<string | undefined> {
    const began = Date.now();
    const { status, text } = await client.ask(method, key, body);
    const ended = Date.now();
    sight.slowest = Math.max(sight.slowest, ended - began);
    if (status === 200) return text;
    if (status === 404 && method === "GET") return "";
    const told = `${method} ${key}: ${status} ${text.trim()}`;
    sight.failures.push({ text: told, status, began, ended });
    return undefined;
  }

  return {
    async add(key, mark) {
      if ((await ask("POST", key, mark)) === undefined) return;
      sight.acknowledged.add(mark);
      known.set(key, (known.get(key) ?? new Set()).add(mark));
    },
    async read(key) {
      const text = await ask("GET", key);
      if (text === undefined) return;
      sight.reads += 1;
      const marks = marksIn(text);
      const shown = new Set(marks);
      for (const mark of twiceIn(marks)) sight.twice.add(mark);
      const at = Date.now();
      for (const mark of known.get(key) ?? []) {
        if (shown.has(mark)) continue;
        sight.unseen.push({ mark, at, text: `GET ${key}: ${mark} is missing` });
      }
      known.set(key, shown);
    },
  };
}
