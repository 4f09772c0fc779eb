import { drive } from "./drive.ts";
import { httpFraming } from "./framing.ts";
import { parseWrk, runWrk } from "./wrk.ts";

/** What is sent, over and over. */
export interface Request {
  readonly method: "GET" | "POST";
  readonly path: string;
  /** The length of the body. */
  readonly length?: number | undefined;
  /** The token, as a cookie. */
  readonly token?: string | undefined;
}

/** What came of it. Times are in milliseconds. */
export interface Load {
  /** How many answers came. */
  readonly requests: number;
  /** How many bytes of answers came. */
  readonly bytes: number;
  /** How long it took. */
  readonly duration: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  /** Answers with an error status, connections that broke, and requests without an answer. */
  readonly errors: number;
}

/** Returns how many answers came a second. */
export function rateOf({ requests, duration }: Load): number {
  return requests / (duration / 1000);
}

/** Sends requests, each connection the next one when it has its answer. */
export type Generator = (
  port: number,
  request: Request,
  connections: number,
  seconds: number,
) => Promise<Load>;

/** Sends with wrk. */
export const withWrk: Generator = async (port, request, connections, seconds) =>
  parseWrk(await runWrk(port, request, connections, seconds));

/** Sends with this process, where there is no wrk. */
export const withSockets: Generator = (port, request, connections, seconds) =>
  drive({ port, connections, seconds, message: bytesOf(request), framing: httpFraming });

/** Writes a request as bytes. */
export function bytesOf({ method, path, length = 0, token }: Request): Buffer {
  const cookie = token === undefined ? "" : `Cookie: ${token}\r\n`;
  const measured = length > 0 ? `Content-Length: ${length}\r\n` : "";
  const head = `${method} ${path} HTTP/1.1\r\nHost: bench.test\r\n${cookie}${measured}\r\n`;
  return Buffer.from(head + "x".repeat(length));
}
