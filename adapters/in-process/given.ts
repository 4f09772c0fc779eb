import type { HeaderLines, ResponseMessage } from "../../src/index.ts";

/** What the app has given, and what stands for it while the proxy decides what its header lines are. */
export interface Given<T> {
  readonly message: ResponseMessage;
  /** Returns what the app has given, with the lines that it is to have. */
  withLines(message: ResponseMessage): T | Response;
}

/** What became of a response. One without a body may be given to many, and to several at once. */
interface Fate {
  /** Whether it was given more than once, so that its lines are not one request's to change. */
  isShared: boolean;
  /** The lines that it had before they were changed for the one request that it was given to. */
  pristine: HeaderLines | undefined;
}

const fates = new WeakMap<Response, Fate>();

/**
 * Reads what an app has given, without touching its body: on Bun a text whose stream was looked at is sent without its
 * type (https://github.com/oven-sh/bun/issues/21193), and what hands a connection over is more than its parts.
 */
export function readGiven<T extends Response | void>(value: T): Given<T> {
  if (value === undefined)
    return { message: messageOf(101, "", [], () => {}), withLines: () => value };
  // TypeScript does not take `void` for the undefined that was ruled out.
  const { given, fate } = take(value as Response);
  const lines = linesOf(given.headers);
  const message = messageOf(given.status, given.statusText, lines, () => given.body?.cancel());
  return {
    message: { ...message, source: given },
    withLines: ({ headers, source }) => {
      if (source === given) return given;
      if (fate.isShared) return withLines(copyOf(given), headers);
      fate.pristine = lines;
      return withLines(given, headers);
    },
  };
}

/** A message whose body is nobody's to read: it tells which message it is, and lets go of what the app has given. */
function messageOf(
  status: number,
  statusText: string,
  headers: HeaderLines,
  cancel: () => unknown,
): ResponseMessage {
  const body: AsyncIterable<Uint8Array> = {
    [Symbol.asyncIterator]: () => ({
      next: () => Promise.resolve({ done: true, value: undefined }),
      return: async () => {
        await cancel();
        return { done: true, value: undefined };
      },
    }),
  };
  return { status, statusText, headers, body };
}

/** Takes a response as the app has made it, though it was given before and has the lines of that answer on it. */
function take(response: Response): { readonly given: Response; readonly fate: Fate } {
  const known = fates.get(response);
  if (known?.pristine !== undefined) {
    const given = withLines(copyOf(response), known.pristine);
    return { given, fate: { isShared: false, pristine: undefined } };
  }
  const fate = known ?? { isShared: false, pristine: undefined };
  fate.isShared = known !== undefined;
  fates.set(response, fate);
  return { given: response, fate };
}

function copyOf(response: Response): Response {
  return new Response(response.body, response);
}

/** Returns the response with these lines: itself, where they can be changed, else a copy. */
function withLines(response: Response, lines: HeaderLines): Response {
  try {
    setLines(response.headers, lines);
    return response;
  } catch {
    // What fetch() returns can be given, not changed (https://fetch.spec.whatwg.org/#concept-headers-guard).
    const copy = copyOf(response);
    setLines(copy.headers, lines);
    return copy;
  }
}

function setLines(headers: Headers, lines: HeaderLines): void {
  const before = valuesOf(linesOf(headers));
  const after = valuesOf(lines);
  for (const name of before.keys()) if (!after.has(name)) headers.delete(name);
  for (const [name, values] of after) {
    if (before.get(name)?.join("\n") === values.join("\n")) continue;
    headers.delete(name);
    for (const value of values) headers.append(name, value);
  }
}

function valuesOf(lines: HeaderLines): Map<string, string[]> {
  const values = new Map<string, string[]>();
  for (let index = 0; index < lines.length; index += 2) {
    const name = (lines[index] ?? "").toLowerCase();
    values.set(name, [...(values.get(name) ?? []), lines[index + 1] ?? ""]);
  }
  return values;
}

function linesOf(headers: Headers): HeaderLines {
  const lines: HeaderLines = [];
  for (const [name, value] of headers) lines.push(name, value);
  return lines;
}
