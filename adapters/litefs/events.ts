import type { Clock } from "../../src/clock.ts";
import type { Position, Primary } from "../../src/storage.ts";
import { later } from "../storage/clock.ts";
import { messageOf } from "../storage/error.ts";
import { primaryNamed } from "../storage/primary.ts";

/** What a LiteFS node tells by itself: one long response of its API, an event a line. */
export interface EventStream {
  /** Begins to follow; later calls do nothing. */
  start(): void;
  /** Returns the role as last told, or `undefined` while the stream is down. */
  primary(): Primary | undefined;
  /** Returns a promise while it is open whether the first connection succeeds; it resolves within a second. */
  settled(): Promise<void> | undefined;
  /** Stops following. */
  close(): void;
}

/** What a stream calls. */
export interface EventListener {
  /** Gets the role, when it is told first and whenever it may have changed. */
  role(primary: Primary): void;
  /** Gets each transaction of each database, and the position and the checksum after it when they are told. */
  transaction(database: string, position: Position | undefined, checksum: string | undefined): void;
  /** Is called when a stream that was up is down; the role is the last one. */
  down(primary: Primary): void;
  /** Gets the reason why the stream is down, once until it is up. */
  error(error: unknown): void;
}

/** An event as the API words it, checked; `undefined` stands for types that mean nothing here. */
type Event =
  | { readonly type: "role"; readonly primary: Primary }
  | {
      readonly type: "transaction";
      readonly database: string;
      readonly position: Position | undefined;
      readonly checksum: string | undefined;
    }
  | undefined;

/** How long the API may take to tell the role, in milliseconds. */
const FIRST_EVENT_TIMEOUT = 1000;

/** The pauses between attempts: the first and the longest, in milliseconds. */
const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 2000;

/** The longest line that is believed to be an event, in characters. */
const LINE_LIMIT = 65_536;

/**
 * Creates the follower of one node's `/events`. It reconnects by itself: at once when the stream has lasted, for some
 * runtimes cut a response that is silent for minutes; otherwise after a pause that doubles.
 *
 * @param url The address of `/events`.
 * @param request Makes the request.
 * @param clock The time.
 * @param listener What to call.
 */
export function createEventStream(
  url: URL,
  request: (url: URL, init: RequestInit) => Promise<Response>,
  clock: Clock,
  listener: EventListener,
): EventStream {
  let started = false;
  let closed = false;
  let role: Primary | undefined;
  let upSince = 0;
  let failures = 0;
  let failing = false;
  let controller: AbortController | undefined;
  let timer: unknown;
  let settle: () => void = () => {};
  let settled: Promise<void> | undefined;

  async function connect(): Promise<void> {
    const abort = new AbortController();
    controller = abort;
    const deadline = later(
      clock,
      () => abort.abort(new Error(`no event within ${FIRST_EVENT_TIMEOUT} ms`)),
      FIRST_EVENT_TIMEOUT,
    );
    try {
      await follow(abort, () => clock.clearTimeout(deadline));
    } catch (error) {
      lose(error);
    } finally {
      clock.clearTimeout(deadline);
      // Whatever is left of the response is of no use.
      abort.abort();
    }
  }

  /** Reads events until the stream ends, which it does by throwing. */
  async function follow(abort: AbortController, up: () => void): Promise<never> {
    const { signal } = abort;
    // Raced with each step, so that a `fetch` that does not hear the signal cannot hold the follower up.
    const aborted = new Promise<never>((_resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
    aborted.catch(() => {});
    // Bun ends a silent response after five minutes unless it is told not to; the others do not know the word.
    const init: RequestInit & { timeout: false } = { signal, redirect: "manual", timeout: false };
    const response = await Promise.race([request(url, init), aborted]);
    if (response.status !== 200 || response.body === null) {
      throw new Error(`the API answered ${response.status}`);
    }
    const reader = response.body.getReader();
    const lines = createLineSplitter();
    for (;;) {
      const { done, value } = await Promise.race([reader.read(), aborted]);
      if (done) throw new Error("the stream has ended");
      for (const line of lines(value)) {
        // A listener may have closed the stream at the line before.
        if (closed) throw new Error("closed");
        tell(parseEvent(line), up);
      }
    }
  }

  function tell(event: Event, up: () => void): void {
    if (event === undefined) return;
    if (event.type === "transaction") {
      listener.transaction(event.database, event.position, event.checksum);
      return;
    }
    if (role === undefined) {
      up();
      upSince = clock.now();
      failing = false;
    }
    role = event.primary;
    conclude();
    listener.role(role);
  }

  function lose(error: unknown): void {
    if (closed) return;
    const last = role;
    role = undefined;
    const lasted = last !== undefined && clock.now() - upSince >= LONGEST_PAUSE;
    failures = lasted ? 0 : failures + 1;
    timer = later(clock, () => void connect(), pause(failures));
    conclude();
    // A stream that has lasted and is opened again at once is no failure, unless that fails.
    if (!lasted && !failing) {
      failing = true;
      listener.error(
        new Error(`Cannot follow LiteFS events: ${messageOf(error)} (${url.href})`, {
          cause: error,
        }),
      );
    }
    if (last !== undefined) listener.down(last);
  }

  function conclude(): void {
    settled = undefined;
    settle();
  }

  return {
    start: () => {
      if (started || closed) return;
      started = true;
      settled = new Promise((resolve) => {
        settle = resolve;
      });
      void connect();
    },
    primary: () => role,
    settled: () => settled,
    close: () => {
      closed = true;
      role = undefined;
      clock.clearTimeout(timer);
      controller?.abort();
      conclude();
    },
  };
}

function pause(failures: number): number {
  if (failures === 0) return 0;
  const pure = Math.min(FIRST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE);
  // Many proxies beside one LiteFS must not come back in step.
  return pure * (1 + Math.random() / 4);
}

/** Returns a function that takes the bytes as they come and returns the lines that they complete. */
function createLineSplitter(): (bytes: Uint8Array) => string[] {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let rest = "";
  return (bytes) => {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > LINE_LIMIT) throw new Error("a line has no end");
    return lines;
  };
}

function parseEvent(line: string): Event {
  if (line.trim() === "") return undefined;
  const event: unknown = JSON.parse(line);
  if (!isRecord(event) || typeof event["type"] !== "string")
    throw new Error("a line is not an event");
  const { type, db, data } = event;
  if (type === "init" || type === "primaryChange")
    return { type: "role", primary: parseRole(data) };
  if (type !== "tx") return undefined;
  if (typeof db !== "string") throw new Error("a transaction has no database");
  const { txID: txid, postApplyChecksum: checksum } = isRecord(data) ? data : {};
  return {
    type: "transaction",
    database: db,
    position: typeof txid === "string" ? txid : undefined,
    checksum: typeof checksum === "string" ? checksum : undefined,
  };
}

function parseRole(data: unknown): Primary {
  if (!isRecord(data) || typeof data["isPrimary"] !== "boolean")
    throw new Error("an event has no role");
  if (data["isPrimary"]) return { at: "here" };
  const hostname = data["hostname"] ?? "";
  if (typeof hostname !== "string") throw new Error("a hostname is not text");
  return primaryNamed(hostname.trim());
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
