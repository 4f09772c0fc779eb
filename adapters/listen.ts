/** Where a server listens, and what it allows the target. */
export interface ListenOptions {
  /** The port; 0 takes a free one. */
  readonly port: number;
  /** The address or name to listen on. Left out: every address, IPv6 and IPv4. */
  readonly hostname?: string | undefined;
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
