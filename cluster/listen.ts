import { createServer } from "node:http";
import type { RequestListener, Server } from "node:http";
import type { Socket } from "node:net";
import process from "node:process";

/** A server on the loopback interface. */
export interface Listener {
  /** Its origin, such as `http://127.0.0.1:8081`. */
  readonly url: string;
  /** Its port. */
  readonly port: number;
  /** Stops listening and breaks every connection. */
  close(): Promise<void>;
}

/**
 * Starts an HTTP server on 127.0.0.1 and resolves once it listens.
 *
 * @param handler Answers the requests.
 * @param port The port; 0 takes a free one.
 * @throws {Error} When the port cannot be had.
 */
export async function listen(handler: RequestListener, port = 0): Promise<Listener> {
  const server = createServer({ keepAliveTimeout: 60_000 }, handler);
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    // Nobody else listens, and an error without a listener ends the process.
    socket.on("error", () => socket.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  const bound = portOf(server);
  return {
    url: `http://127.0.0.1:${bound}`,
    port: bound,
    close() {
      return new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
        for (const socket of sockets) {
          socket.destroy();
        }
      });
    },
  };
}

/** The ports below those that systems hand out by themselves, so that no connection takes them meanwhile. */
const FIRST_PORT = 20_000;
const PORTS = 12_000;

/** Where the next one is looked for: processes that run at once begin far from each other. */
let nextPort = (process.pid * 97) % PORTS;

/**
 * Returns a port on 127.0.0.1 that is free, for who must know it before, or have it again after a crash. It is given
 * away once: who has it need not listen yet.
 *
 * @throws {Error} When there is none.
 */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 50; attempt += 1) {
    const port = FIRST_PORT + nextPort;
    nextPort = (nextPort + 1) % PORTS;
    try {
      const listener = await listen((_request, response) => response.end(), port);
      await listener.close();
      return port;
    } catch {
      // Taken: the next one.
    }
  }
  throw new Error(`Cannot find a free port from ${FIRST_PORT} on`);
}

function portOf(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === "string") {
    throw new Error("Cannot listen: the server has no port");
  }
  return address.port;
}
