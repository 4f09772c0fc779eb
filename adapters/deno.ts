/**
 * Serves a proxy with `Deno.serve`, for those who already serve with it; `@txid/proxy/serve` is exact.
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
import { systemClock } from "../src/clock.ts";
import { connectionInfo, type Proxy } from "../src/index.ts";
import type { Transport } from "../src/message.ts";
import { UNKNOWN_PEER } from "../src/peer.ts";
import { createHttp1Client } from "./http1/client.ts";
import { LINGER } from "./http1/limits.ts";
import { isHost } from "./http1/parse.ts";
import {
  badCoding,
  badHost,
  checkProxy,
  type ListenOptions,
  type Server,
  urlOf,
} from "./listen.ts";

/** The part of Deno that this adapter uses (https://docs.deno.com/api/deno/~/Deno.serve). */
declare const Deno: {
  serve(
    options: {
      port: number;
      hostname?: string;
      reusePort: boolean;
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
 * @throws {TypeError} When what it gets is no proxy.
 */
export function serve(proxy: Proxy, options: ListenOptions): Server {
  checkProxy(proxy);
  const client = createHttp1Client({ headTimeout: options.targetTimeout });
  const transport = readingOn(client);
  const abort = new AbortController();
  const server = Deno.serve(
    {
      port: options.port,
      hostname: options.hostname ?? "::",
      reusePort: options.reusePort ?? false,
      signal: abort.signal,
      onListen: () => {},
      onError: () => new Response("Bad gateway\n", { status: 502 }),
    },
    async (request, info) => {
      // Deno writes a Host with a path in it straight into the URL, where it would become part of the target.
      // The authority of an absolute target stands there too, whatever it is.
      if (!isHost(request.headers.get("host") ?? "/") || !isHost(authorityOf(request.url)))
        return badHost();
      // Deno undoes chunks, and takes what is in them for the body whatever its coding is.
      const coding = request.headers.get("transfer-encoding") ?? "chunked";
      if (coding.toLowerCase() !== "chunked") return badCoding();
      const response = await proxy.fetch(
        request,
        connectionInfo({ clientAddress: addressOf(info.remoteAddr) ?? UNKNOWN_PEER, transport }),
      );
      return request.method === "HEAD" ? unmeasured(response) : response;
    },
  );
  const { hostname, port } = netAddress(server.addr);
  return {
    port,
    hostname,
    url: urlOf(hostname, port),
    close: async ({ timeout = 0 } = {}) => {
      const timer = systemClock.setTimeout(() => abort.abort(), timeout);
      await Promise.race([server.shutdown(), server.finished]);
      systemClock.clearTimeout(timer);
      client.close();
    },
  };
}

/**
 * Has uploads read on for a while that are answered before their end: Deno ends a connection whose bytes nobody reads by
 * a reset, which may overtake the answer.
 */
function readingOn(transport: Transport): Transport {
  return (request) => {
    const { body } = request;
    if (!(body instanceof ReadableStream)) return transport(request);
    // Not before it is sent: a request that has found nobody is handed over again.
    return transport({ ...request, body: { [Symbol.asyncIterator]: () => piecesOf(body) } });
  };
}

function piecesOf(body: ReadableStream<Uint8Array>): AsyncIterator<Uint8Array, undefined> {
  const reader = body.getReader();
  let reading: Promise<void> | undefined;
  return {
    next: async () => {
      const { done, value } = await reader.read();
      return done ? OVER : { done, value };
    },
    return: async () => {
      // Whoever lets go of it may do so twice.
      reading ??= readOut(reader);
      return OVER;
    },
  };
}

const OVER = { done: true, value: undefined } as const;

/** Reads a body that nobody needs to its end, unless that takes too long. */
async function readOut(reader: ReadableStreamDefaultReader): Promise<void> {
  const timer = systemClock.setTimeout(() => {
    // It fails for the client that has left, which the next read tells.
    reader.cancel().catch(() => {});
  }, LINGER);
  try {
    while (!(await reader.read()).done);
  } catch {
    // The client is gone.
  }
  systemClock.clearTimeout(timer);
}

/** Keeps Deno from saying that what `HEAD` asks for is empty, where the target has not told its length. */
function unmeasured(response: Response): Response {
  if (response.headers.has("content-length") || response.body !== null) return response;
  return new Response(new ReadableStream({ start: (body) => body.close() }), response);
}

/** Returns the authority of a URL, or what cannot be one. */
function authorityOf(url: string): string {
  return /^https?:\/\/([^/?#]*)/i.exec(url)?.[1] ?? "/";
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
