import { Buffer } from "node:buffer";
import type { IncomingMessage } from "node:http";
import { without } from "./headers.ts";

/** The body of a request as far as the edge holds it, so that it can be sent again. */
export interface Held {
  /** What has come. */
  readonly start: Buffer;
  /** True when there is more than the limit, which is still on its way. */
  readonly isLonger: boolean;
}

/**
 * Reads the body of a request until its end, or until there is more than the edge holds.
 *
 * @param limit How much that is, in bytes.
 * @throws {Error} When the client goes away.
 */
export async function hold(request: IncomingMessage, limit: number): Promise<Held> {
  const chunks: Buffer[] = [];
  let length = 0;
  return new Promise((resolve, reject) => {
    function settle(isLonger: boolean): void {
      request.off("data", take);
      request.off("end", finish);
      resolve({ start: Buffer.concat(chunks), isLonger });
    }
    function take(chunk: Buffer): void {
      chunks.push(chunk);
      length += chunk.length;
      if (length > limit) {
        request.pause();
        settle(true);
      }
    }
    function finish(): void {
      settle(false);
    }
    request.on("data", take);
    request.once("end", finish);
    request.once("error", reject);
    request.once("close", () => reject(new Error("The client is gone")));
  });
}

/** Returns the headers of a request with the length of its body, where all of it is held. */
export function framed(headers: readonly string[], body: Held): string[] {
  if (body.isLonger || body.start.length === 0) {
    return [...headers];
  }
  const gone = new Set(["content-length", "transfer-encoding"]);
  return [...without(headers, gone), "Content-Length", String(body.start.length)];
}
