/**
 * Serves a proxy with `@hono/node-server`, for those who already serve with it; `@txid/proxy/serve` is exact.
 *
 * @example
 * ```ts ignore
 * import { createProxy } from "@txid/proxy";
 * import { litefs } from "@txid/proxy/litefs";
 * import { serve } from "@txid/proxy/node";
 *
 * const storage = litefs({ dir: "/litefs", db: "app.db" });
 * await serve(createProxy({ target: "http://127.0.0.1:8081", storage }), { port: 8080 });
 * ```
 *
 * @module
 */
import { createServer, type Server as HttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import { getRequestListener, type HttpBindings } from "@hono/node-server";
import { systemClock } from "../src/clock.ts";
import { connectionInfo, type Proxy } from "../src/index.ts";
import { UNKNOWN_PEER } from "../src/peer.ts";
import { createHttp1Client } from "./http1/client.ts";
import { checkProxy, checkReusePort, type ListenOptions, type Server, urlOf } from "./listen.ts";

/**
 * Serves a proxy with `@hono/node-server` on `node:http`. The target is reached by this package's own client, never by
 * Node's global fetch, which decodes bodies, replaces `Host` and holds uploads in memory.
 *
 * @param proxy What answers.
 * @param options Where to listen.
 * @returns The server, once it listens.
 * @throws {Error} When the address cannot be listened on.
 * @throws {TypeError} When what it gets is no proxy.
 */
export async function serve(proxy: Proxy, options: ListenOptions): Promise<Server> {
  checkProxy(proxy);
  checkReusePort(options);
  const client = createHttp1Client({ headTimeout: options.targetTimeout });
  const listener = getRequestListener(
    (request, env) => {
      // The listener is only ever given to an HTTP/1.1 server.
      const { incoming } = env as HttpBindings;
      const clientAddress = incoming.socket.remoteAddress?.replace(/^::ffff:/i, "") ?? UNKNOWN_PEER;
      return proxy.fetch(request, connectionInfo({ clientAddress, transport: client }));
    },
    // Global objects belong to the whole process, and other servers in it need the real ones.
    { overrideGlobalObjects: false },
  );
  // A request may last as long as it wants, as with LiteFS; a head may not.
  const server = createServer(
    { requestTimeout: 0, headersTimeout: 10_000, keepAliveTimeout: 30_000 },
    (incoming, outgoing) => {
      void listener(incoming, outgoing);
    },
  );
  const address = await listen(server, options);
  return {
    port: address.port,
    hostname: address.address,
    url: urlOf(address.address, address.port),
    close: async ({ timeout = 0 } = {}) => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeIdleConnections();
      const cut = (): void => server.closeAllConnections();
      const timer = systemClock.setTimeout(cut, timeout);
      await closed;
      systemClock.clearTimeout(timer);
      client.close();
    },
  };
}

function listen(server: HttpServer, options: ListenOptions): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    const { port, hostname: host, reusePort = false } = options;
    server.listen({ port, ...(host !== undefined && { host }), reusePort }, () => {
      server.off("error", reject);
      // A server that listens on a port has an address of this form.
      resolve(server.address() as AddressInfo);
    });
  });
}
