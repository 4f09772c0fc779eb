/**
 * Read-your-writes over replicated SQLite, at the HTTP layer: LiteFS's proxy as a Web-standard fetch handler.
 *
 * A request that writes reaches the primary, and a read does not run on a replica that has not yet applied the same
 * client's last write.
 *
 * @example
 * ```ts
 * import { createProxy } from "@txid/proxy";
 * import { memory } from "@txid/proxy/memory";
 *
 * const proxy = createProxy({ target: () => new Response("hello"), storage: memory() });
 * const response = await proxy.fetch(new Request("http://localhost/", { method: "POST" }));
 * console.log(response.headers.get("set-cookie"));
 * ```
 *
 * @module
 */
export type { Clock } from "./clock.ts";
export { type FetchFunction, fetchTransport } from "./fetch-transport.ts";
export type { Health } from "./health.ts";
export {
  type Body,
  type HeaderLines,
  type IncomingRequest,
  type Inform,
  type RequestMessage,
  type ResponseMessage,
  type Transport,
  TransportError,
  type TransportFailure,
  type Tunnel,
  type UpstreamRequest,
} from "./message.ts";
export type { Decision, ProxyOptions, TargetFunction } from "./options.ts";
export { createProxy, type Proxy } from "./proxy.ts";
export type { ReplayOptions } from "./replay.ts";
export type { SigningKey, SigningOptions } from "./signature.ts";
export type { MaybePromise, Position, Primary, Storage } from "./storage.ts";
export { type ConnectionInfo, connectionInfo } from "./web.ts";
