import { allValues, firstValue } from "./headers.ts";
import type { IncomingRequest } from "./message.ts";
import { clientNetwork, type Trust } from "./trust.ts";

/**
 * Stands for the address of a peer that has one and does not tell it any more, for it has left: nobody trusts it
 * (RFC 7239 section 6.2).
 */
export const UNKNOWN_PEER = "unknown";

/**
 * Tells whether what a request says of its way here is believed: its peer is a trusted proxy, or nothing says that it came
 * over a wire.
 */
export function isBelieved(
  { clientAddress }: Pick<IncomingRequest, "clientAddress">,
  isTrusted: Trust,
): boolean {
  return clientAddress === undefined || isTrusted(clientAddress);
}

/**
 * Tells whether the client's own connection was secured, here or at a proxy in front. Anybody may claim it: the answer
 * decides only over what this client is asked to do with its own cookie.
 */
export function cameSecurely(request: IncomingRequest): boolean {
  if (request.scheme === "https") return true;
  const claimed = firstValue(request.headers, "x-forwarded-proto");
  return claimed !== undefined && claimed.split(",")[0]?.trim().toLowerCase() === "https";
}

/**
 * Tells whether a browser has made the request for a page of the same site, so that it keeps cookies
 * (https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header). Older ones, and pages without TLS, do not tell.
 */
export function isOfPage(request: IncomingRequest): boolean {
  const site = firstValue(request.headers, "sec-fetch-site");
  return site === "same-origin" || site === "same-site";
}

/**
 * Returns whom a request counts for: the peer, or, behind trusted proxies, the last address that is none of theirs.
 *
 * @param request The client's request.
 * @param isTrusted Whose forwarding headers are believed.
 * @param header The field, in lower case, in which the proxy in front names the client; undefined: `x-forwarded-for`.
 * @returns The client's network, or undefined when the peer is not known.
 */
export function clientOf(
  request: IncomingRequest,
  isTrusted: Trust,
  header: string | undefined,
): string | undefined {
  const peer = request.clientAddress;
  if (peer === undefined || peer === UNKNOWN_PEER) return undefined;
  if (!isTrusted(peer)) return clientNetwork(peer);
  const named = header === undefined ? undefined : firstValue(request.headers, header);
  if (named !== undefined) return clientNetwork(named.trim());
  const path = allValues(request.headers, "x-forwarded-for").join(",").split(",").reverse();
  const addresses = path.map((address) => address.trim()).filter((address) => address !== "");
  return clientNetwork(
    addresses.find((address) => !isTrusted(address)) ?? addresses.at(-1) ?? peer,
  );
}
