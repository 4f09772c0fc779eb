/** Returns the headers that go on to the next hop; `raw` has each name with its value behind it. */
export function endToEnd(raw: readonly string[]): string[] {
  // The connection's own headers end at each hop (RFC 9110 section 7.6.1); what frames the body is made anew by Node.
  return without(raw, new Set(["connection", "keep-alive", "proxy-connection", "upgrade"]));
}

/** Leaves out the headers with these names, which are in lower case. */
export function without(headers: readonly string[], gone: ReadonlySet<string>): string[] {
  return headers.filter((_text, index) => {
    const name = headers[index - (index % 2)];
    return name === undefined || !gone.has(name.toLowerCase());
  });
}

/** Returns the value of a header, or the first one of several. */
export function firstOf(value: string | string[] | undefined): string | undefined {
  return typeof value === "string" ? value : value?.[0];
}
