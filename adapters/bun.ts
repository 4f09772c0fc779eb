/**
 * Serves a proxy with `Bun.serve`, for those who already serve with it; `@txid/proxy/serve` is exact.
 *
 * @example
 * ```ts ignore
 * import { createProxy } from "@txid/proxy";
 * import { serve } from "@txid/proxy/bun";
 * import { litefs } from "@txid/proxy/litefs";
 *
 * serve(createProxy({ target: "http://127.0.0.1:8081", storage: litefs({ dir: "/litefs", db: "app.db" }) }), {
 *   port: 8080,
 * });
 * ```
 *
 * @module
 */
import { systemClock } from "../src/clock.ts";
import { connectionInfo, type Proxy } from "../src/index.ts";
import { UNKNOWN_PEER } from "../src/peer.ts";
import { createHttp1Client } from "./http1/client.ts";
import { isHost } from "./http1/parse.ts";
import { badHost, checkProxy, type ListenOptions, type Server, urlOf } from "./listen.ts";

/** The part of Bun that this adapter uses (https://bun.sh/docs/api/http). */
declare const Bun: {
  serve(options: {
    port: number;
    hostname?: string;
    idleTimeout: number;
    maxRequestBodySize: number;
    development: false;
    reusePort: boolean;
    fetch(request: Request, server: BunServer): Promise<Response>;
    error(): Response;
  }): BunServer;
};

/** The part of Bun's server that this adapter uses. */
interface BunServer {
  readonly port?: number | undefined;
  readonly hostname?: string | undefined;
  requestIP(request: Request): { address: string } | null;
  stop(closeActiveConnections?: boolean): Promise<void>;
}

/**
 * Serves a proxy with `Bun.serve`.
 *
 * @param proxy What answers.
 * @param options Where to listen.
 * @returns The server, already listening.
 * @throws {TypeError} When what it gets is no proxy.
 */
export function serve(proxy: Proxy, options: ListenOptions): Server {
  checkProxy(proxy);
  const client = createHttp1Client({ headTimeout: options.targetTimeout });
  const server = Bun.serve({
    port: options.port,
    ...(options.hostname === undefined ? {} : { hostname: options.hostname }),
    // Bun cuts every connection that is silent for this many seconds, event streams and slow uploads too.
    idleTimeout: 0,
    // Bun refuses bodies of more than 128 MiB; how large one may be is for the target to say.
    maxRequestBodySize: Number.MAX_SAFE_INTEGER,
    development: false,
    // Outside development Bun 1.4 would share a port that is taken instead of saying so.
    reusePort: options.reusePort ?? false,
    fetch: async (request, self) => {
      // Bun joins two Host lines, and takes the value for what it is.
      if (!isHost(request.headers.get("host") ?? "/")) return badHost();
      const clientAddress = self.requestIP(request)?.address ?? UNKNOWN_PEER;
      const info = connectionInfo({ clientAddress, transport: client });
      const response = await proxy.fetch(request, info);
      // Who asks for a tunnel may have sent on as if it were there: that is no next request (RFC 9931).
      if (request.method === "CONNECT") response.headers.set("connection", "close");
      return request.method === "HEAD" ? unmeasured(response) : untyped(response);
    },
    error: () => new Response("Bad gateway\n", { status: 502 }),
  });
  const hostname = options.hostname ?? "::";
  const port = server.port ?? options.port;
  return {
    port,
    hostname,
    url: urlOf(hostname, port),
    close: async ({ timeout = 0 } = {}) => {
      const timer = systemClock.setTimeout(() => void server.stop(true), timeout);
      await server.stop(false);
      systemClock.clearTimeout(timer);
      client.close();
    },
  };
}

/** Keeps Bun from saying that what `HEAD` asks for is empty, where the target has not told its length. */
function unmeasured(response: Response): Response {
  if (!response.headers.has("content-length")) response.headers.set("transfer-encoding", "chunked");
  return response;
}

/**
 * Keeps Bun from calling a body without `Content-Type` an `application/octet-stream`: it does so with every body but a
 * stream made in JavaScript (https://github.com/oven-sh/bun/issues/21193).
 */
function untyped(response: Response): Response {
  // The type first: to ask Bun for a body makes a stream of it.
  if (response.headers.has("content-type") || response.body === null) return response;
  const reader = response.body.getReader();
  const body = new ReadableStream({
    pull: async (controller) => {
      const { done, value } = await reader.read();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: (reason) => reader.cancel(reason),
  });
  return new Response(body, response);
}
