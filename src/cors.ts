import { HEADER_NAME } from "./claims.ts";
import { allValues, firstValue, listMembers } from "./headers.ts";
import type { HeaderLines } from "./message.ts";

/**
 * Lets a page of another origin send and read the token's header, where the app has allowed that origin: adds the lines
 * to the response (https://fetch.spec.whatwg.org/#http-cors-protocol).
 *
 * @param request The request's headers.
 * @param response The response's headers; lines are added.
 */
export function allowTokenHeader(request: HeaderLines, response: HeaderLines): void {
  if (firstValue(request, "origin") === undefined) return;
  if (firstValue(response, "access-control-allow-origin") === undefined) return;
  const asked = listMembers(allValues(request, "access-control-request-headers"));
  if (asked.includes("txid")) add(response, "Access-Control-Allow-Headers");
  if (firstValue(response, "txid") !== undefined) add(response, "Access-Control-Expose-Headers");
}

function add(headers: HeaderLines, field: string): void {
  const members = listMembers(allValues(headers, field.toLowerCase()));
  if (!members.includes("txid")) headers.push(field, HEADER_NAME);
}
