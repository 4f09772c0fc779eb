import type { Buffer } from "node:buffer";
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { HranaProtocolError } from "./protocol.ts";

/** The header in which a replica that forwards a request for somebody else names itself. */
export const forwardedBy = "x-forwarded-by";

/** Makes what answers a request out of what may fail to. */
export function answering(
  answer: (request: IncomingMessage, response: ServerResponse) => Promise<void>,
): RequestListener {
  return (request, response) => {
    answer(request, response).catch((error: unknown) => {
      const status = error instanceof HranaProtocolError || error instanceof RangeError ? 400 : 500;
      const message = error instanceof Error ? error.message : String(error);
      const code = error instanceof HranaProtocolError ? error.code : "INTERNAL";
      if (response.headersSent) {
        response.destroy();
      } else {
        json(response, status, { message, code });
      }
    });
  };
}

/** Answers with JSON. */
export function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(body));
}

/** Answers with bytes. */
export function bytes(response: ServerResponse, body: Buffer): void {
  response.writeHead(200, {
    "Content-Type": "application/octet-stream",
    "Content-Length": body.length,
  });
  response.end(body);
}

/** Returns the path of a request, word by word. */
export function wordsOf(request: IncomingMessage): string[] {
  return new URL(request.url ?? "/", "http://localhost").pathname.split("/").filter(Boolean);
}

/** Returns the token of a request, by which a replica names itself; empty when there is none. */
export function tokenOf(request: IncomingMessage): string {
  return /^Bearer (\S+)$/.exec(request.headers.authorization ?? "")?.[1] ?? "";
}
