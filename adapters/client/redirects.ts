/** Sends one request and returns its answer. */
export type Send = (request: Request) => Promise<Response>;

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
    const redirect = init?.redirect ?? (input instanceof Request ? input.redirect : "follow");
    const isFollowed = redirect === "follow" && !isBrowser();
    const { url: first } = input instanceof Request ? input : new Request(input);
    if (!isFollowed || !isOwn(first)) return send(new Request(input, init));
    let request = new Request(input, { ...init, redirect: "manual" });
    const { signal } = request;
    const headers = new Headers(request.headers);
    // A form is written with another boundary each time.
    if (init?.body instanceof FormData) headers.delete("content-type");
    let step: Step = {
      url: request.url,
      method: request.method,
      headers,
      body: bodyOf(request, input, init?.body),
    };
    for (let count = 0; ; count++) {
      const response = await send(request);
      const url = targetOf(response, step.url);
      if (url === undefined) return count === 0 ? response : marked(response);
      await response.body?.cancel();
      if (count === MOST) throw new TypeError("Cannot follow redirect: there are too many");
      step = stepTo(url, step, response.status);
      const body = (await step.body?.()) ?? null;
      request = new Request(url, { ...init, ...step, body, signal, redirect: "manual" });
    }
  };
}

/** Tells whether this is a page or one of its workers: all browsers begin their names like this, and no server does. */
function isBrowser(): boolean {
  return (globalThis.navigator?.userAgent ?? "").startsWith("Mozilla/");
}

/**
 * Returns what makes the body of a request anew; undefined: it has none. One that came within a request is kept until
 * then, for nothing tells what it was made of; and a stream is there once.
 *
 * The request's own stream is not looked at: Deno would send it in chunks from then on, and what has no length cannot be
 * replayed.
 */
function bodyOf(
  request: Request,
  input: string | URL | Request,
  given: BodyInit | null | undefined,
): Step["body"] {
  if (request.method === "GET" || request.method === "HEAD") return undefined;
  if (given === undefined || given === null) {
    if (!(input instanceof Request)) return undefined;
    const spare = request.clone();
    return () => spare.clone().arrayBuffer();
  }
  return () => {
    if (isRepeatable(given)) return given;
    throw new TypeError("Cannot follow redirect: the body is a stream, which cannot be sent again");
  };
}

function isRepeatable(body: BodyInit): boolean {
  const isBytes = body instanceof ArrayBuffer || ArrayBuffer.isView(body);
  const isForm = body instanceof URLSearchParams || body instanceof FormData;
  return typeof body === "string" || isBytes || isForm || body instanceof Blob;
}

/** Returns where an answer leads; undefined: it is what was asked for. */
function targetOf(response: Response, base: string): string | undefined {
  const location = response.headers.get("location");
  if (location === null || !REDIRECTS.has(response.status)) return undefined;
  const url = URL.canParse(location, base) ? new URL(location, base) : undefined;
  if (url !== undefined && /^https?:$/.test(url.protocol)) return url.href;
  throw new TypeError(`Cannot follow redirect: ${JSON.stringify(location)} leads nowhere`);
}

function stepTo(url: string, { url: last, method, headers, body }: Step, status: number): Step {
  const next = new Headers(headers);
  if (new URL(url).origin !== new URL(last).origin) for (const name of OF_ORIGIN) next.delete(name);
  const isPost = method === "POST" && (status === 301 || status === 302);
  const isOther = status === 303 && method !== "GET" && method !== "HEAD";
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
