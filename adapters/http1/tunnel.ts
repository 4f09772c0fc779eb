import type { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import type { Tunnel } from "../../src/index.ts";
import { createChannel } from "./channel.ts";
import { drained } from "./write.ts";

/**
 * Makes a tunnel of a connection that has left HTTP. Each direction ends by itself, and each slows its sender down.
 *
 * @param socket The connection; it must have been opened with `allowHalfOpen`.
 * @param first What has already come.
 */
export function createTunnel(socket: Socket, first: Buffer): Tunnel {
  const channel = createChannel(
    socket,
    () => {},
    () => socket.destroy(),
  );
  let clean = false;
  // Before the first bytes are pushed, for they may pause it again.
  socket.resume();
  if (first.length > 0) channel.push(first);
  socket.on("data", (bytes: Buffer) => channel.push(bytes));
  socket.on("end", () => {
    clean = true;
    channel.end();
  });
  socket.on("close", () => {
    if (!clean) channel.fail(new Error("Tunnel broke"));
  });
  return {
    readable: channel.body,
    write: (bytes) => {
      if (socket.destroyed) return Promise.reject(new Error("Tunnel broke"));
      socket.write(bytes);
      return drained(socket);
    },
    end: () => void socket.end(),
    destroy: () => void socket.destroy(),
  };
}

/**
 * Joins two tunnels until both directions have ended or one breaks.
 *
 * @param one One end.
 * @param other The other end.
 */
export async function joinTunnels(one: Tunnel, other: Tunnel): Promise<void> {
  await Promise.all([pour(one, other), pour(other, one)]);
}

async function pour(from: Tunnel, to: Tunnel): Promise<void> {
  try {
    for await (const bytes of from.readable) await to.write(bytes);
    to.end();
  } catch {
    from.destroy();
    to.destroy();
  }
}
