import type { Line } from "./record.ts";

/** A message as it stands in the bytes of a connection. */
export interface WireMessage {
  readonly startLine: string;
  readonly headers: readonly Line[];
  /** The content, without its chunks. */
  readonly body: string;
  readonly trailers: readonly Line[];
  /** Whether the connection ended before the body. */
  readonly truncated: boolean;
  /** How many bytes it takes. */
  readonly length: number;
}

/**
 * Reads the first message of a text, or undefined when it is not all there.
 *
 * @param text What has come, as latin-1.
 * @param over Whether nothing more will come.
 * @param bodiless Whether it has no body, whatever its head says.
 * @param untilEnd Whether a body of unknown length lasts until the connection ends.
 */
export function readMessage(
  text: string,
  over: boolean,
  bodiless: boolean,
  untilEnd: boolean,
): WireMessage | undefined {
  const end = text.indexOf("\r\n\r\n");
  if (end === -1) return undefined;
  const [startLine = "", ...fields] = text.slice(0, end).split("\r\n");
  const headers = fields.map(readLine);
  const rest = text.slice(end + 4);
  const message = { startLine, headers, body: "", trailers: [], truncated: false, length: end + 4 };
  if (bodiless) return message;
  if (/chunked/i.test(valueOf(headers, "transfer-encoding") ?? "")) {
    const chunks = readChunks(rest);
    if (!chunks.whole && !over) return undefined;
    const { body, trailers, length } = chunks;
    return { ...message, body, trailers, truncated: !chunks.whole, length: end + 4 + length };
  }
  const declared = valueOf(headers, "content-length");
  if (declared === undefined && untilEnd)
    return over ? { ...message, body: rest, length: text.length } : undefined;
  const size = Number(declared ?? 0);
  if (rest.length < size && !over) return undefined;
  return {
    ...message,
    body: rest.slice(0, size),
    truncated: rest.length < size,
    length: end + 4 + Math.min(size, rest.length),
  };
}

/** Returns the value of the first line of that name (in lower case). */
export function valueOf(headers: readonly Line[], name: string): string | undefined {
  return headers.find(([field]) => field.toLowerCase() === name)?.[1];
}

function readLine(text: string): Line {
  const colon = text.indexOf(":");
  return [text.slice(0, colon), text.slice(colon + 1).replace(/^ /, "")];
}

function readChunks(text: string): {
  body: string;
  trailers: readonly Line[];
  whole: boolean;
  length: number;
} {
  let body = "";
  let at = 0;
  for (;;) {
    const lineEnd = text.indexOf("\r\n", at);
    if (lineEnd === -1) return { body, trailers: [], whole: false, length: text.length };
    const size = Number.parseInt(text.slice(at, lineEnd), 16);
    if (size === 0) {
      const end = text.indexOf("\r\n\r\n", lineEnd);
      if (end === -1) return { body, trailers: [], whole: false, length: text.length };
      const section = text.slice(lineEnd + 2, Math.max(end, lineEnd + 2));
      const trailers = section === "" ? [] : section.split("\r\n").map(readLine);
      return { body, trailers, whole: true, length: end + 4 };
    }
    body += text.slice(lineEnd + 2, lineEnd + 2 + size);
    at = lineEnd + 2 + size + 2;
    if (text.length < at) return { body, trailers: [], whole: false, length: text.length };
  }
}
