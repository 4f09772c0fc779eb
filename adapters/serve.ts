/**
 * Serves a proxy the same way on Bun, Deno and Node: an HTTP/1.1 server and client over `node:net` that pass every byte
 * on as it came.
 *
 * @example
 * ```ts ignore
 * import { createProxy } from "@txid/proxy";
 * import { litefs } from "@txid/proxy/litefs";
 * import { serve } from "@txid/proxy/serve";
 *
 * const storage = litefs({ dir: "/litefs", db: "app.db" });
 * const server = await serve(createProxy({ target: "http://127.0.0.1:8081", storage }), { port: 8080 });
 * console.log(server.url);
 * ```
 *
 * @module
 */
import type { Proxy } from "../src/index.ts";
import { createHttp1Client } from "./http1/client.ts";
import { createHttp1Server } from "./http1/server.ts";
import { checkProxy, checkReusePort, type ListenOptions, type Server, urlOf } from "./listen.ts";

export type { ListenOptions, Server } from "./listen.ts";

/** How a proxy is served. Durations are milliseconds, and 0 means no limit. */
export interface ServeOptions extends ListenOptions {
  /**
   * `"exact"`: the same server on every runtime, byte for byte. `"native"`: `Bun.serve` or `Deno.serve`, which change
   * some messages; on Node there is none but the exact one.
   *
   * @default "exact"
   */
  readonly server?: "exact" | "native" | undefined;
  /**
   * How long a client may take for a whole request.
   *
   * @default 0
   */
  readonly readTimeout?: number | undefined;
  /**
   * How long a client may take for a request's head.
   *
   * @default 10_000
   */
  readonly readHeaderTimeout?: number | undefined;
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
  /** Gets every error of a connection. */
  readonly onError?: ((error: unknown) => void) | undefined;
}

/**
 * Serves a proxy.
 *
 * @param proxy What answers.
 * @param options Where to listen, and how.
 * @returns The server, once it listens.
 * @throws {Error} When the address cannot be listened on.
 * @throws {TypeError} When what it gets is no proxy, or the runtime cannot share ports and is told to.
 */
export async function serve(proxy: Proxy, options: ServeOptions): Promise<Server> {
  checkProxy(proxy);
  checkReusePort(options);
  const native = options.server === "native" ? await nativeServe() : undefined;
  if (native !== undefined) return native(proxy, options);
  const transport = createHttp1Client({ headTimeout: options.targetTimeout });
  const server = createHttp1Server(proxy.handle, { ...options, transport });
  const { port, hostname } = await server.listen({
    port: options.port,
    hostname: options.hostname,
    reusePort: options.reusePort,
  });
  return {
    port,
    hostname,
    url: urlOf(hostname, port),
    close: async (how) => {
      await server.close({ timeout: how?.timeout ?? 0 });
      transport.close();
    },
  };
}

/** Returns the runtime's own server, where it has one. */
async function nativeServe(): Promise<
  ((proxy: Proxy, options: ListenOptions) => Server) | undefined
> {
  if ("Bun" in globalThis) return (await import("./bun.ts")).serve;
  if ("Deno" in globalThis) return (await import("./deno.ts")).serve;
  return undefined;
}
