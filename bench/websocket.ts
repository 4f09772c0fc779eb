import { createHash } from "node:crypto";

/** What a server adds to the key of a client (RFC 6455 section 1.3). */
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** Returns what a server answers to the key of a client. */
export function acceptKey(key: string): string {
  return createHash("sha1").update(`${key}${GUID}`).digest("base64");
}

/** A handshake. */
export const HANDSHAKE: string = [
  "GET /echo HTTP/1.1",
  "Host: bench.test",
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
  "\r\n",
].join("\r\n");

/** A masked text frame of 64 bytes, which the app sends back as it came. */
export const FRAME: Buffer = Buffer.concat([
  Buffer.from([0x81, 0x80 + 64, 0, 0, 0, 0]),
  Buffer.alloc(64, "x"),
]);
