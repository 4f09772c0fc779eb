import { versions } from "node:process";
import type { Proxy } from "../src/index.ts";

/** Where a server listens, and what it allows the target. */
export interface ListenOptions {
  /** The port; 0 takes a free one. */
  readonly port: number;
  /** The address or name to listen on. Left out: every address, IPv6 and IPv4. */
  readonly hostname?: string | undefined;
  /**
   * Whether other processes may listen on the same port, so that the system shares connections out among them
   * (SO_REUSEPORT): one process serves on one processor. Linux, with Bun, Node 22.12 or newer, or Deno, which must be
   * started with `--unstable-net`.
   *
   * @default false
   */
  readonly reusePort?: boolean | undefined;
  /**
   * How many milliseconds the target may take to begin its answer before the client gets 504; 0: as long as it wants.
   *
   * @default 0
   */
  readonly targetTimeout?: number | undefined;
}

/** A server that listens. */
export interface Server {
  /** The port it listens on. */
  readonly port: number;
  /** The address it listens on. */
  readonly hostname: string;
  /** Where a client on this machine reaches it. */
  readonly url: string;
  /**
   * Stops listening, lets the requests in flight finish and closes.
   *
   * @param options `timeout`: after how many milliseconds the rest is cut off; 0 by default.
   */
  close(options?: { readonly timeout?: number | undefined }): Promise<void>;
}

/**
 * Refuses what is no proxy, such as an app, which would fail at each request and not before.
 *
 * @param proxy What is to be served.
 * @throws {TypeError} When it is no proxy.
 */
export function checkProxy(proxy: Partial<Proxy> | null | undefined): void {
  // An app may have a `fetch` and a `handle` of its own.
  const needed = [proxy?.fetch, proxy?.handle, proxy?.health];
  if (needed.every((one) => typeof one === "function")) return;
  throw new TypeError(
    "Cannot serve: expected what createProxy() returns; for an app: serve(createProxy({ target: app.fetch, storage }))",
  );
}

/**
 * Refuses to share a port where the runtime would listen without it, and the next process would find the port taken.
 *
 * @param options Where to listen.
 * @throws {TypeError} When the runtime cannot share ports.
 */
export function checkReusePort({ reusePort = false }: Pick<ListenOptions, "reusePort">): void {
  const [major = 0, minor = 0] = versions.node.split(".").map(Number);
  const isOldNode = !("bun" in versions || "deno" in versions) && major < 23;
  if (reusePort && isOldNode && !(major === 22 && minor >= 12)) {
    throw new TypeError(
      `Cannot listen: \`reusePort\` needs Node 22.12 or newer, received ${versions.node}; node:cluster shares a port on every version`,
    );
  }
}

/**
 * Returns the address at which a client on this machine reaches a server.
 *
 * @param hostname What the server listens on.
 * @param port The port.
 */
export function urlOf(hostname: string, port: number): string {
  if (hostname === "" || hostname === "::" || hostname === "0.0.0.0")
    return `http://localhost:${port}`;
  return hostname.includes(":") ? `http://[${hostname}]:${port}` : `http://${hostname}:${port}`;
}

/** Answers a request whose body has a coding that nobody here undoes (RFC 9112 section 6.1). */
export function badCoding(): Response {
  return new Response("Unknown transfer coding\n", { status: 501 });
}

/** Answers a request whose Host is none, for servers that pass such requests on (RFC 9112 section 3.2). */
export function badHost(): Response {
  return new Response("Bad request: no valid Host\n", { status: 400 });
}
