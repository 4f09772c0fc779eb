import { Buffer } from "node:buffer";
import type { IncomingMessage } from "node:http";

/** Reads the body of a request or an answer. */
export async function bodyText(message: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) {
    chunks.push(Buffer.from(chunk));
  }
  return Buffer.concat(chunks).toString();
}
