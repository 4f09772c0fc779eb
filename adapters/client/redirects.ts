import { keepBody, type Spare } from "./spare.ts";

/**
 * Sends one request and returns its answer. The signal is the one that the request follows; undefined: it has its own.
 * Node loses what follows a signal with the request itself (https://github.com/nodejs/undici/issues/4068).
 */
export type Send = (request: Request, signal: AbortSignal | null | undefined) => Promise<Response>;

/** How often an answer is followed at most (https://fetch.spec.whatwg.org/#http-redirect-fetch). */
const MOST = 20;

/** Answers that say where to go on. */
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/** Fields that tell of a body, and are gone with it. */
const OF_BODY = [
  "content-encoding",
  "content-language",
  "content-length",
  "content-location",
  "content-type",
];

/** Fields that no other origin must learn. */
const OF_ORIGIN = ["authorization", "cookie", "host", "proxy-authorization"];

/** What is sent next. */
interface Step {
  readonly url: string;
  readonly method: string;
  readonly headers: Headers;
  /** Returns the body anew; undefined: there is none. */
  readonly body: (() => BodyInit | Promise<BodyInit>) | undefined;
}

/**
 * Makes requests whose redirects are followed one by one, as `fetch` follows them, so that whoever sends them sees each
 * answer: what a write has shown is in its redirect, and not in the answer of the page where that leads.
 *
 * Browsers show redirects to nobody, and follow them themselves.
 *
 * @param send Sends one request, and follows no redirect that it is told not to follow.
 * @param isOwn Tells whether whoever sends requests to a URL wants to see their redirects.
 */
export function createFollower(
  send: Send,
  isOwn: (url: string) => boolean,
): (input: string | URL | Request, init?: RequestInit) => Promise<Response> {
  return async (input, init) => {
    const asked = new Request(input, init);
    const signal = signalOf(input, init);
    const isFollowed = asked.redirect === "follow" && !isBrowser();
    if (!isFollowed || !isOwn(asked.url)) return send(asked, signal);
    const first = new Request(asked, { redirect: "manual", ...(signal && { signal }) });
    const isWithin = input instanceof Request && (init?.body ?? undefined) === undefined;
    const spare = isWithin && hasBody(first) ? keepBody(first) : undefined;
    try {
      return await follow(send, first, init, signal, bodyOf(first, init?.body, spare));
    } finally {
      spare?.drop();
    }
  };
}

/** Sends a request, and then what its answers lead to. */
async function follow(
  send: Send,
  first: Request,
  init: RequestInit | undefined,
  signal: AbortSignal | null | undefined,
  body: Step["body"],
): Promise<Response> {
  const headers = new Headers(first.headers);
  // A form is written with another boundary each time.
  if (init?.body instanceof FormData) headers.delete("content-type");
  let step: Step = { url: first.url, method: first.method, headers, body };
  let request = first;
  for (let count = 0; ; count++) {
    const response = await send(request, signal);
    const url = targetOf(response, step.url);
    if (url === undefined) return count === 0 ? response : marked(response);
    await response.body?.cancel();
    if (count === MOST) throw new TypeError("Cannot follow redirect: there are too many");
    step = stepTo(url, step, response.status);
    const again = (await step.body?.()) ?? null;
    const own = { ...step, body: again, signal: signal ?? null, redirect: "manual" } as const;
    request = new Request(url, { ...init, ...own });
  }
}

/** Returns the signal that ends a request, as it was given. */
function signalOf(
  input: string | URL | Request,
  init: RequestInit | undefined,
): AbortSignal | null | undefined {
  if (init?.signal !== undefined) return init.signal;
  return input instanceof Request ? input.signal : undefined;
}

/** Tells whether this is a page or one of its workers: all browsers begin their names like this, and no server does. */
function isBrowser(): boolean {
  return (globalThis.navigator?.userAgent ?? "").startsWith("Mozilla/");
}

/** Returns what makes the body of a request anew; undefined: it has none. A stream is there once. */
function bodyOf(
  request: Request,
  given: BodyInit | null | undefined,
  spare: Spare | undefined,
): Step["body"] {
  const isGiven = given !== undefined && given !== null;
  if (!hasBody(request) || (!isGiven && spare === undefined)) return undefined;
  return async () => {
    const again = isGiven && isRepeatable(given) ? given : await spare?.read();
    if (again !== undefined) return again;
    throw new TypeError(
      "Cannot follow redirect: the body cannot be sent again, for it is a stream, or too large to be kept",
    );
  };
}

function hasBody({ method }: Pick<Request, "method">): boolean {
  return method !== "GET" && method !== "HEAD";
}

function isRepeatable(body: BodyInit): boolean {
  const isBytes = body instanceof ArrayBuffer || ArrayBuffer.isView(body);
  const isForm = body instanceof URLSearchParams || body instanceof FormData;
  return typeof body === "string" || isBytes || isForm || body instanceof Blob;
}

/** Returns where an answer leads; undefined: it is what was asked for. */
function targetOf({ status, headers }: Response, base: string): string | undefined {
  const location = locationOf(headers);
  if (location === undefined || !REDIRECTS.has(status)) return undefined;
  const url = URL.canParse(location, base) ? new URL(location, base) : undefined;
  if (url !== undefined && /^https?:$/.test(url.protocol)) return url.href;
  throw new TypeError(`Cannot follow redirect: ${JSON.stringify(location)} leads nowhere`);
}

/** Returns the location, whose bytes `Headers` holds one by one: what is not in ASCII is in UTF-8, as browsers take it. */
function locationOf(headers: Headers): string | undefined {
  const text = headers.get("location");
  if (text === null) return undefined;
  const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return text;
  }
}

function stepTo(url: string, last: Step, status: number): Step {
  const { method, headers, body } = last;
  const next = new Headers(headers);
  if (new URL(url).origin !== new URL(last.url).origin)
    for (const name of OF_ORIGIN) next.delete(name);
  const isPost = method === "POST" && (status === 301 || status === 302);
  const isOther = status === 303 && hasBody(last);
  if (isPost || isOther) {
    for (const name of OF_BODY) next.delete(name);
    return { url, method: "GET", headers: next, body: undefined };
  }
  return { url, method, headers: next, body };
}

/** Says of an answer, as `fetch` does, that a redirect has led there. */
function marked(response: Response): Response {
  return Object.defineProperty(response, "redirected", { value: true });
}
