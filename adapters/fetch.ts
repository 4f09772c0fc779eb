/**
 * Consistency inside any app that is a fetch handler, without a process in front of it: for `Bun.serve`, `Deno.serve`
 * and whatever else calls `fetch(request)`.
 *
 * @example
 * ```ts
 * import { consistency, txidOf } from "@txid/proxy/fetch";
 * import { memory } from "@txid/proxy/memory";
 *
 * const consistent = consistency({ storage: memory() });
 * const app = consistent(
 *   async (request: Request) => new Response(`This node is at ${await txidOf(request)?.position}`),
 * );
 * const response = await app(new Request("http://localhost/", { method: "POST" }));
 * console.log(response.headers.get("set-cookie"));
 * ```
 *
 * @module
 */
import type { MaybePromise } from "../src/storage.ts";
import { isRunning } from "../src/word.ts";
import {
  type ConsistencyOptions,
  type Controls,
  createInProcess,
  createPeerReader,
} from "./in-process.ts";

export { type Role, type Txid, txidOf } from "../src/word.ts";
export type { ConsistencyOptions, Controls } from "./in-process.ts";

/** What {@linkcode consistency} takes. */
export interface FetchOptions<Rest extends readonly unknown[]> extends ConsistencyOptions {
  /**
   * Returns the address of the connection's peer from what the server gives beside the request, as with
   * `(request, server: Server) => server.requestIP(request)?.address`. Whoever can choose it chooses for whom he counts,
   * and whether his `X-Forwarded-*` lines are believed: it must come from the connection and not from a header. Left
   * out: nobody is known, no limit per client holds, and everybody's lines are believed. Where it returns undefined, as
   * for a client that has left, nothing of the request's is.
   */
  readonly clientAddress?: ((request: Request, ...rest: Rest) => string | undefined) | undefined;
}

/** Makes an app consistent: takes a fetch handler and returns one with the same arguments. */
export type ConsistencyWrapper<Rest extends readonly unknown[]> = Controls &
  (<Args extends Rest, Answer extends Response | void>(
    fetch: (request: Request, ...rest: Args) => MaybePromise<Answer>,
  ) => (request: Request, ...rest: Args) => Promise<Answer | Response>);

/**
 * Creates a wrapper that makes an app consistent: what writes runs on the primary, and a read runs once this node has
 * what its client has seen. What the server gives beside the request is passed on to the app, and what the app throws
 * is thrown. Put it around the whole app; of two for one request the outer one decides.
 *
 * @param options How it behaves; `storage` is required.
 * @throws {TypeError} When an option has the wrong shape.
 * @throws {RangeError} When an option is out of range.
 *
 * @example
 * ```ts
 * import { consistency } from "@txid/proxy/fetch";
 * import { memory } from "@txid/proxy/memory";
 *
 * const consistent = consistency({ storage: memory(), clientAddress: (_, address: string) => address });
 * const app = consistent((request: Request, address: string) => new Response(`hello ${address}`));
 * console.log(await (await app(new Request("http://localhost/"), "192.0.2.1")).text());
 * ```
 */
export function consistency<Rest extends readonly unknown[] = readonly unknown[]>(
  options: FetchOptions<Rest>,
): ConsistencyWrapper<Rest> {
  const { clientAddress, ...rest } = options;
  const { answer, health, drain, close } = createInProcess(rest);
  const addressOf = createPeerReader(clientAddress);

  function wrap<Args extends Rest, Answer extends Response | void>(
    fetch: (request: Request, ...rest: Args) => MaybePromise<Answer>,
  ): (request: Request, ...rest: Args) => Promise<Answer | Response> {
    if (typeof fetch !== "function")
      throw new TypeError(
        `Cannot wrap app: it must be a fetch handler, received ${typeof fetch}; of an object give its \`fetch\``,
      );
    return async (request, ...others) => {
      if (isRunning(request)) return fetch(request, ...others);
      const address = addressOf(request, ...others);
      return answer<Answer>(request, address, async () => fetch(request, ...others));
    };
  }

  return Object.assign(wrap, { health, drain, close });
}
