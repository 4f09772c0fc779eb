import { createJar } from "./jar.ts";

/** What a client sends; the global `fetch` takes it. */
export interface NotesRequest {
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
export interface NotesClientOptions {
  /** Returns where requests go now; each one to any of them. */
  readonly urls: () => readonly string[];
  /** The site that the client takes all these for, whose cookies it keeps. @default the URL of each request */
  readonly site?: string | undefined;
  /** How long one request may take, in milliseconds. */
  readonly timeout: number;
  /** Sends a request. @default the global `fetch` */
  readonly send?: ((url: string, request: NotesRequest) => Promise<Response>) | undefined;
}

/** What came of a request. */
interface Answer {
  /** The status; 0: there was no answer, and the text says why. */
  readonly status: number;
  /** The text. */
  readonly text: string;
  /** The node that answered, as `X-Node` names it, or else the URL that was asked. */
  readonly node: string;
  /** The runtime that answered, as `X-Runtime` names it; empty: it did not say. */
  readonly runtime: string;
}

/** A client of the notes app, with cookies of its own. */
export interface NotesClient {
  /** Sends a request about a note, with its new text or with a word for it. */
  ask(method: "GET" | "PUT" | "POST", key: string, body?: string): Promise<Answer>;
}

/** Makes what sends reads where they are to go, and everything else to one origin. */
export function sendWritesTo(origin: string): NonNullable<NotesClientOptions["send"]> {
  return (url, request) =>
    fetch(request.method === "GET" ? url : new URL(new URL(url).pathname, origin), request);
}

/** Creates a client without cookies. */
export function createNotesClient(options: NotesClientOptions): NotesClient {
  const { timeout, send = (url, request) => fetch(url, request) } = options;
  const jar = createJar();
  return {
    async ask(method, key, body) {
      const all = options.urls();
      const base = all[Math.floor(Math.random() * all.length)] ?? "";
      const url = new URL(`/kv/${key}`, base);
      const page = new URL(url.pathname, options.site ?? base);
      const cookie = jar.header(page);
      try {
        const response = await send(url.href, {
          method,
          headers: cookie === undefined ? {} : { cookie },
          ...(body === undefined ? {} : { body }),
          redirect: "manual",
          signal: AbortSignal.timeout(timeout),
        });
        jar.take(response.headers.getSetCookie(), page);
        const { status, headers } = response;
        const text = await response.text();
        const [node, runtime] = [headers.get("x-node"), headers.get("x-runtime")];
        return { status, text, node: node ?? base, runtime: runtime ?? "" };
      } catch (error) {
        return { status: 0, text: describe(error), node: base, runtime: "" };
      }
    },
  };
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) {
    return String(error);
  }
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}
