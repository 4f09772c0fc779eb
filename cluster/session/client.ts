import { createJar } from "../jar.ts";
import type { Tally } from "./tally.ts";

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

/** What a client is made of. */
export interface ClientOptions {
  /** Where requests go, each one to any of them. */
  readonly urls: readonly string[];
  /** The site that the client takes all these for; undefined: each is one of its own. */
  readonly site: string | undefined;
  /** The key that this client writes, and nobody else. */
  readonly own: string;
  /** How long one request may take, in milliseconds. */
  readonly timeout: number;
  /** Sends a request. */
  readonly send: (url: string, request: SessionRequest) => Promise<Response>;
  /** Counts what the client sees. */
  readonly tally: Tally;
}

/** A client with cookies, which remembers what it knows and holds every answer against it. */
export interface SessionClient {
  /** Writes a number, greater than all before, into its own key. */
  write(value: number): Promise<void>;
  /** Reads a key. */
  read(key: string): Promise<void>;
}

interface Answer {
  readonly ok: boolean;
  readonly status: number;
  readonly text: string;
  readonly node: string;
  readonly runtime: string;
}

/** Creates a client that knows nothing yet. */
export function createSessionClient(options: ClientOptions): SessionClient {
  const { urls, own, tally } = options;
  const jar = createJar();
  // The greatest number that it has read from each key.
  const seen = new Map<string, number>();
  let written = 0;

  async function ask(key: string, body?: string): Promise<Answer> {
    const base = urls[Math.floor(Math.random() * urls.length)] ?? "";
    const url = new URL(`/kv/${key}`, base);
    const page = new URL(url.pathname, options.site ?? base);
    const cookie = jar.header(page);
    try {
      const response = await options.send(url.href, {
        method: body === undefined ? "GET" : "PUT",
        headers: cookie === undefined ? {} : { cookie },
        ...(body === undefined ? {} : { body }),
        redirect: "manual",
        signal: AbortSignal.timeout(options.timeout),
      });
      jar.take(response.headers.getSetCookie(), page);
      const { ok, status, headers } = response;
      const node = headers.get("x-node") ?? base;
      const text = await response.text();
      return { ok, status, text, node, runtime: headers.get("x-runtime") ?? "" };
    } catch (error) {
      const text = error instanceof Error ? describeError(error) : String(error);
      return { ok: false, status: 0, text, node: base, runtime: "" };
    }
  }

  return {
    async write(value) {
      const { ok, status, text, node, runtime } = await ask(own, String(value));
      if (!ok) {
        tally.count("errors", runtime, `PUT ${own} at ${node}: ${status} ${text.trim()}`);
        return;
      }
      tally.count("writes", runtime);
      written = value;
    },
    async read(key) {
      const { ok, status, text, node, runtime } = await ask(key);
      const value = status === 404 ? 0 : Number(text.trim() || "none");
      const told = `GET ${key} from ${node}:`;
      if ((!ok && status !== 404) || Number.isNaN(value)) {
        tally.count("errors", runtime, `${told} ${status} ${text.trim()}`);
        return;
      }
      tally.count("reads", runtime);
      if (key === own && value < written) {
        tally.count("stale", runtime, `${told} ${value} after ${written} was written`);
      }
      const best = seen.get(key) ?? 0;
      if (value < best) {
        tally.count("back", runtime, `${told} ${value} after ${best} was read`);
      }
      seen.set(key, Math.max(best, value));
    },
  };
}

function describeError(error: Error): string {
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}
