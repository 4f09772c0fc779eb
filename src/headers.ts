import type { HeaderLines } from "./message.ts";

/** The field in which the app speaks to the proxy: `wrote`, `unchanged` or `primary`. It never leaves. */
export const APP_WORD = "txid-app";

/** Tells whether a field name is `name`, which must be in lower case. */
function isName(field: string | undefined, name: string): boolean {
  return (
    field !== undefined &&
    field.length === name.length &&
    (field === name || field.toLowerCase() === name)
  );
}

/** Returns the value of the first line called `name` (in lower case), or undefined. */
export function firstValue(headers: HeaderLines, name: string): string | undefined {
  for (let index = 0; index < headers.length; index += 2) {
    if (isName(headers[index], name)) return headers[index + 1];
  }
  return undefined;
}

/** Returns the values of all lines called `name` (in lower case), in their order. */
export function allValues(headers: HeaderLines, name: string): string[] {
  const values: string[] = [];
  for (let index = 0; index < headers.length; index += 2) {
    if (isName(headers[index], name)) values.push(headers[index + 1] ?? "");
  }
  return values;
}

/** Returns a copy of the lines for which `keep` holds; `keep` gets the name in lower case and the value. */
export function filterLines(
  headers: HeaderLines,
  keep: (name: string, value: string) => boolean,
): HeaderLines {
  const kept: HeaderLines = [];
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index] ?? "";
    const value = headers[index + 1] ?? "";
    if (keep(name.toLowerCase(), value)) kept.push(name, value);
  }
  return kept;
}

/** Splits a list-valued field at its commas, without empty members (RFC 9110 section 5.6.1); members in lower case. */
export function listMembers(values: readonly string[]): string[] {
  const members: string[] = [];
  for (const value of values) {
    for (const member of value.split(",")) {
      const trimmed = member.trim().toLowerCase();
      if (trimmed !== "") members.push(trimmed);
    }
  }
  return members;
}

/** Fields that end at each connection (RFC 9110 section 7.6.1), and those that old software treats so. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "te",
  "transfer-encoding",
  "upgrade",
  "proxy-authenticate",
  "proxy-authorization",
  // How often the proxies have sent a request on is theirs alone.
  "txid-hops",
]);

/** For each length of a name, whether one of these has it: almost no name has to be looked up. */
const HOP_BY_HOP_LENGTHS: readonly boolean[] = Array.from({ length: 20 }, (_, length) =>
  Array.from(HOP_BY_HOP).some((name) => name.length === length),
);

function isHopByHop(name: string): boolean {
  return HOP_BY_HOP_LENGTHS[name.length] === true && HOP_BY_HOP.has(name.toLowerCase());
}

/**
 * Fields that a `Connection` header cannot take away: the framing, and what proxies in front of us vouch for, so that
 * a client cannot erase its own traces by calling them hop-by-hop.
 */
function isProtected(name: string): boolean {
  return (
    name === "host" ||
    name === "content-length" ||
    name === "cookie" ||
    name === "forwarded" ||
    name.startsWith("x-forwarded-") ||
    name.startsWith("fly-")
  );
}

/**
 * Returns the end-to-end lines of a header section: without the hop-by-hop fields and without those that `Connection`
 * names (RFC 9110 section 7.6.1).
 *
 * @param headers The section as it was received.
 */
export function endToEnd(headers: HeaderLines): HeaderLines {
  // Options of the connection itself name no field that would not end here anyway.
  const named = listMembers(allValues(headers, "connection")).filter(
    (name) => name !== "close" && !isHopByHop(name),
  );
  const kept: HeaderLines = [];
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index] ?? "";
    if (isHopByHop(name) || (named.length > 0 && isNamed(name.toLowerCase(), named))) continue;
    kept.push(name, headers[index + 1] ?? "");
  }
  return kept;
}

function isNamed(name: string, named: readonly string[]): boolean {
  return named.includes(name) && !isProtected(name);
}

/** Tells whether `TE` says that trailers are welcome (RFC 9110 section 10.1.4), which an intermediary may pass on. */
export function welcomesTrailers(headers: HeaderLines): boolean {
  return listMembers(allValues(headers, "te")).includes("trailers");
}
