/**
 * An HTTP/1.1 server over `node:net` (RFC 9112), the same on Node, Bun and Deno. It hands on what came and writes what
 * it is given, byte for byte, and refuses what could be read in two ways.
 *
 * @module
 */
import { type AddressInfo, createServer, type ListenOptions, type Server } from "node:net";
import { systemClock } from "../../src/clock.ts";
import type { Transport } from "../../src/index.ts";
import { afterReading } from "./after-reading.ts";
import { DEFAULT_LIMITS, type Limits, PROBE_DELAY } from "./limits.ts";
import {
  type Http1Handler,
  serveConnection,
  type ServerConnection,
  type ServerContext,
} from "./server-connection.ts";

export type { Http1Handler } from "./server-connection.ts";

/** How the server behaves. Durations are milliseconds, and 0 means no limit. */
export interface Http1ServerOptions {
  /** What the requests name as the best way to an upstream. */
  readonly transport?: Transport | undefined;
  /**
   * How long a client may take for a head.
   *
   * @default 10_000
   */
  readonly readHeaderTimeout?: number | undefined;
  /**
   * How long a client may take for a whole request.
   *
   * @default 0
   */
  readonly readTimeout?: number | undefined;
  /**
   * How long a response may take from the end of the request's head.
   *
   * @default 0
   */
  readonly writeTimeout?: number | undefined;
  /**
   * How long a connection may stay open between requests.
   *
   * @default 30_000
   */
  readonly idleTimeout?: number | undefined;
  /** What a message may cost. */
  readonly limits?: Partial<Limits> | undefined;
  /** Gets what a handler or a response's body throws. */
  readonly onError?: ((error: unknown) => void) | undefined;
}

/**
 * How long a server that closes waits for requests that are on their way on idle connections, in milliseconds: who has
 * sent a write there would not know what has become of it.
 */
const ON_ITS_WAY = 100;

/** A server. */
export interface Http1Server {
  /** Begins to listen; rejects when it cannot. */
  listen(where: {
    readonly port: number;
    readonly hostname?: string | undefined;
    readonly reusePort?: boolean | undefined;
  }): Promise<{ port: number; hostname: string }>;
  /** Stops listening, closes idle connections, lets the others finish and cuts them off after `timeout`. */
  close(how?: { readonly timeout?: number | undefined }): Promise<void>;
}

/**
 * Creates a server.
 *
 * @param handler Answers requests; what it throws is answered with 500.
 * @param options How the server behaves.
 */
export function createHttp1Server(
  handler: Http1Handler,
  options: Http1ServerOptions = {},
): Http1Server {
  let draining = false;
  const context = createContext(handler, options, () => draining);
  const connections = new Set<ServerConnection>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    if (socket.remoteAddress === undefined) {
      // A client that has left before it was let in: nobody would see an answer, and nobody knows whom to believe.
      socket.on("error", () => {});
      socket.destroy();
      return;
    }
    socket.setNoDelay(true);
    socket.setKeepAlive(true, PROBE_DELAY);
    const connection = serveConnection(socket, context);
    connections.add(connection);
    socket.on("close", () => connections.delete(connection));
  });
  let sweeper: ReturnType<typeof setInterval> | undefined;

  /** One coarse timer serves all connections. */
  function sweep(): void {
    const now = performance.now();
    const late = [...connections].filter((connection) => connection.deadline() <= now);
    if (late.length === 0) return;
    // Where this process stood still, and not the client, what the client has sent in time is not read yet.
    afterReading(() => {
      for (const connection of late) if (connection.deadline() <= now) connection.expire();
    });
  }

  return {
    listen: async ({ port, hostname, reusePort = false }) => {
      const where = hostname === undefined ? { port } : { port, host: hostname };
      const address = await listen(server, { ...where, reusePort, backlog: 1024 });
      server.on("error", context.onError);
      sweeper = setInterval(sweep, sweepInterval(context));
      sweeper.unref();
      return { port: address.port, hostname: address.address };
    },
    close: ({ timeout = 0 } = {}) => {
      draining = true;
      return new Promise((resolve) => {
        // Whoever has connected by now is let in, and the time runs for all from then on.
        afterReading(() => {
          const rest = systemClock.setTimeout(() => {
            for (const connection of connections) connection.drain();
          }, ON_ITS_WAY);
          const cut = systemClock.setTimeout(() => {
            for (const connection of connections) connection.destroy();
          }, timeout);
          server.close(() => {
            systemClock.clearTimeout(rest);
            systemClock.clearTimeout(cut);
            clearInterval(sweeper);
            resolve();
          });
        });
      });
    },
  };
}

function createContext(
  handler: Http1Handler,
  options: Http1ServerOptions,
  isDraining: () => boolean,
): ServerContext {
  return {
    handler,
    limits: { ...DEFAULT_LIMITS, ...options.limits },
    transport: options.transport,
    readHeaderTimeout: options.readHeaderTimeout ?? 10_000,
    readTimeout: options.readTimeout ?? 0,
    writeTimeout: options.writeTimeout ?? 0,
    idleTimeout: options.idleTimeout ?? 30_000,
    onError: options.onError ?? (() => {}),
    isDraining,
  };
}

function listen(server: Server, options: ListenOptions): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(options, () => {
      server.off("error", reject);
      // A server that listens on a port has an address of this form.
      resolve(server.address() as AddressInfo);
    });
  });
}

/** Looks often enough that no time limit is passed by more than a quarter, and at least every second. */
function sweepInterval(context: ServerContext): number {
  const { readHeaderTimeout, idleTimeout, readTimeout, writeTimeout } = context;
  const limits = [readHeaderTimeout, idleTimeout, readTimeout, writeTimeout];
  const shortest = Math.min(...limits.map((limit) => limit || 4000));
  return Math.max(10, Math.min(1000, shortest / 4));
}
