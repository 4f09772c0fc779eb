/**
 * Serves a proxy with `Deno.serve`, for those who want its speed; `@txid/proxy/serve` is exact.
 *
 * @example
 * ```ts ignore
 * import { createProxy } from "@txid/proxy";
 * import { serve } from "@txid/proxy/deno";
 * import { litefs } from "@txid/proxy/litefs";
 *
 * serve(createProxy({ target: "http://127.0.0.1:8081", storage: litefs({ dir: "/litefs", db: "app.db" }) }), {
 *   port: 8080,
 * });
 * ```
 *
 * @module
 */
import { connectionInfo, type Proxy } from "../src/index.ts";
import { createHttp1Client } from "./http1/client.ts";
import { type ListenOptions, type Server, urlOf } from "./listen.ts";

/** The part of Deno that this adapter uses (https://docs.deno.com/api/deno/~/Deno.serve). */
declare const Deno: {
  serve(
    options: {
      port: number;
      hostname?: string;
      signal: AbortSignal;
      onListen(): void;
      onError(): Response;
    },
    handler: (request: Request, info: { readonly remoteAddr: unknown }) => Promise<Response>,
  ): { readonly addr: unknown; readonly finished: Promise<void>; shutdown(): Promise<void> };
};

/**
 * Serves a proxy with `Deno.serve`.
 *
 * @param proxy What answers.
 * @param options Where to listen.
 * @returns The server, already listening.
 */
export function serve(proxy: Proxy, options: ListenOptions): Server {
  const client = createHttp1Client({ headTimeout: options.targetTimeout });
  const abort = new AbortController();
  const server = Deno.serve(
    {
      port: options.port,
      hostname: options.hostname ?? "::",
      signal: abort.signal,
      onListen: () => {},
      onError: () => new Response("Bad gateway\n", { status: 502 }),
    },
    (request, info) => {
      // Deno writes a Host with a path in it straight into the URL, where it would become part of the target.
      if (!isAuthority(request.headers.get("host"))) {
        return Promise.resolve(new Response("Bad request: no valid Host\n", { status: 400 }));
      }
      return proxy.fetch(
        request,
        connectionInfo({ clientAddress: addressOf(info.remoteAddr), transport: client }),
      );
    },
  );
  const { hostname, port } = netAddress(server.addr);
  return {
    port,
    hostname,
    url: urlOf(hostname, port),
    close: async ({ timeout = 0 } = {}) => {
      const timer = setTimeout(() => abort.abort(), timeout);
      await Promise.race([server.shutdown(), server.finished]);
      clearTimeout(timer);
      client.close();
    },
  };
}

/** Tells whether a Host value is a host and maybe a port (RFC 9110 section 7.2). */
function isAuthority(host: string | null): boolean {
  return (
    host !== null && /^(?:\[[0-9a-f:.]+\]|[a-z0-9._~!$&'()*+,;=%-]*)(?::\d{0,5})?$/i.test(host)
  );
}

function netAddress(address: unknown): { hostname: string; port: number } {
  if (typeof address !== "object" || address === null) return { hostname: "", port: 0 };
  const hostname = "hostname" in address ? String(address.hostname) : "";
  const port = "port" in address ? Number(address.port) : 0;
  return { hostname, port };
}

function addressOf(address: unknown): string | undefined {
  const { hostname } = netAddress(address);
  return hostname === "" ? undefined : hostname.replace(/^::ffff:/i, "");
}
