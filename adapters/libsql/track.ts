import type { Position } from "../../src/storage.ts";
import { type Asker, createShared, type LibSQLClient } from "./client.ts";
import type { Source } from "./source.ts";

/** What sees the answers that a client gets from sqld. */
export interface Tracker {
  /** Makes the client's requests; goes into `createClient({ fetch })`. */
  readonly fetch: (request: Request) => Promise<Response>;
  /**
   * Calls `heard` with each replication index in the answers that come, until the returned function is called. While
   * nobody listens, answers pass as they are.
   */
  listen(heard: (index: bigint) => void): () => void;
}

/**
 * Creates what reads the replication index off sqld's answers; `@libsql/client` itself drops it.
 *
 * @param request Makes the requests. Left out: the runtime's `fetch`.
 * @example
 * ```ts ignore
 * import { createClient } from "@libsql/client";
 * import { libsql, track } from "@txid/proxy/libsql";
 *
 * const tracker = track();
 * const client = createClient({ url: "http://127.0.0.1:8080", fetch: tracker.fetch });
 * const storage = libsql({ client, tracker });
 * ```
 */
export function track(
  request: (request: Request) => Promise<Response> = (one) => fetch(one),
): Tracker {
  const listeners = new Set<{ readonly heard: (index: bigint) => void }>();
  return {
    fetch: async (one) => {
      const response = await request(one);
      if (listeners.size === 0 || !response.ok || !isPipeline(one.url)) return response;
      // Told before the client sees its answer, so that whoever awaits that has heard.
      const answer: unknown = await response
        .clone()
        .json()
        .catch(() => undefined);
      for (const index of indexes(answer)) for (const { heard } of listeners) heard(index);
      return response;
    },
    listen: (heard) => {
      const listener = { heard };
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

function isPipeline(url: string): boolean {
  return new URL(url).pathname.endsWith("/pipeline");
}

/** Finds the indexes in an answer of Hrana over HTTP: decimal numbers, most often as texts, beside the results. */
function* indexes(answer: unknown): Generator<bigint> {
  const results = member(answer, "results");
  if (!Array.isArray(results)) return;
  for (const result of results) {
    const index = member(member(member(result, "response"), "result"), "replication_index");
    if (typeof index === "string" && /^\d{1,20}$/.test(index)) yield BigInt(index);
    if (typeof index === "number" && Number.isSafeInteger(index) && index >= 0) yield BigInt(index);
  }
}

function member(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}

/**
 * Creates the source of positions that asks sqld. Its client is used for nothing else: of the indexes that come while a
 * question is open, none must be the answer to a write that a replica has passed on, for that is the primary's.
 *
 * @param client The client whose requests the tracker makes.
 * @param tracker What sees the answers.
 * @param asker Asks the client.
 */
export function createIndex(client: () => LibSQLClient, tracker: Tracker, asker: Asker): Source {
  let last: Promise<unknown> = Promise.resolve();

  /** Asks a question when no other one is open, and returns the indexes that come meanwhile. */
  function alone(sql: string): Promise<bigint[]> {
    const turn = last.then(async () => {
      const found: bigint[] = [];
      const end = tracker.listen((index) => found.push(index));
      try {
        await asker.read(client(), sql);
      } finally {
        end();
      }
      return found;
    });
    last = turn.catch(() => {});
    return turn;
  }

  async function least(): Promise<Position> {
    return position((await alone("SELECT 1")).toSorted(compare)[0]);
  }

  // sqld counts this among the writes, so that a replica asks the primary and the index in the answer is the primary's.
  async function greatest(): Promise<Position> {
    return position((await alone("PRAGMA data_version")).toSorted(compare).at(-1));
  }

  return { position: createShared(least), commit: createShared(greatest), close: () => {} };
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : Number(a > b);
}

function position(index: bigint | undefined): Position {
  if (index === undefined || index >= 2n ** 64n)
    throw new Error("Cannot read position: the server tells no replication index");
  return index.toString(16).padStart(16, "0");
}
