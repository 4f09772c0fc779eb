import { getRequestListener } from "@hono/node-server";
import { createServer } from "node:http";
import type { RequestListener, Server } from "node:http";
import type { Socket } from "node:net";

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

/**
 * Starts an HTTP server on 127.0.0.1 for an app.
 *
 * @param app Answers the requests, as fetch does.
 * @param port The port; 0 takes a free one.
 * @throws {Error} When the port cannot be had.
 */
export function listenFor(
  app: (request: Request) => Response | Promise<Response>,
  port?: number,
): Promise<Listener> {
  const answer = getRequestListener(app, {
    // Global objects belong to the whole process, and a proxy may be in it.
    overrideGlobalObjects: false,
  });
  return listen((request, response) => void answer(request, response), port);
}

function portOf(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === "string") {
    throw new Error("Cannot listen: the server has no port");
  }
  return address.port;
}
