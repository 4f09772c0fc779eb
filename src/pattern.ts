/** Tells whether a decoded path matches. */
export type Pattern = (path: string) => boolean;

const encoder = new TextEncoder();

/** Spells text as its UTF-8 bytes, one code unit each: the alphabet in which paths are matched. */
function toBytes(text: string): string {
  let bytes = "";
  for (const byte of encoder.encode(text)) bytes += String.fromCharCode(byte);
  return bytes;
}

/**
 * Compiles a glob of LiteFS's `passthrough` and `always-forward`: `*` stands for any run of bytes, `/` and nothing
 * included, but not for a line feed; every other character stands for itself, and the whole path must match. Matching
 * takes time in proportion to the path for any pattern, as it does in LiteFS.
 *
 * @param glob The pattern, such as `*.png` or `/api/auth/*`.
 */
export function compilePattern(glob: string): Pattern {
  // A star does not cross a line feed, so path and pattern must agree line by line.
  const lines = toBytes(glob)
    .split("\n")
    .map((line) => line.split("*"));
  return (path) => {
    if (lines.length === 1 && !path.includes("\n")) return matchesLine(lines[0] ?? [], path);
    const parts = path.split("\n");
    return (
      parts.length === lines.length &&
      parts.every((part, index) => matchesLine(lines[index] ?? [], part))
    );
  };
}

/** Matches the pieces between the stars: the first at the start, the last at the end, each other at its first place. */
function matchesLine(pieces: readonly string[], line: string): boolean {
  const first = pieces[0] ?? "";
  const last = pieces.at(-1) ?? "";
  if (pieces.length === 1) return line === first;
  if (line.length < first.length + last.length || !line.startsWith(first) || !line.endsWith(last))
    return false;
  const end = line.length - last.length;
  let at = first.length;
  for (let index = 1; index < pieces.length - 1; index++) {
    const piece = pieces[index] ?? "";
    const found = line.indexOf(piece, at);
    if (found === -1 || found + piece.length > end) return false;
    at = found + piece.length;
  }
  return true;
}

/**
 * Decodes the path of a request target for matching: without the query, percent-decoded once, one code unit for each
 * byte (RFC 3986 section 2.1).
 *
 * @param target The target in origin-form.
 * @returns The decoded path, or undefined when an escape is broken, so that nobody knows which path is meant.
 */
export function decodePath(target: string): string | undefined {
  const query = target.indexOf("?");
  const path = query === -1 ? target : target.slice(0, query);
  let escape = path.indexOf("%");
  if (escape === -1) return path;
  let decoded = "";
  let from = 0;
  while (escape !== -1) {
    const high = hexDigit(path.charCodeAt(escape + 1));
    const low = hexDigit(path.charCodeAt(escape + 2));
    if (high === -1 || low === -1) return undefined;
    decoded += path.slice(from, escape) + String.fromCharCode(high * 16 + low);
    from = escape + 3;
    escape = path.indexOf("%", from);
  }
  return decoded + path.slice(from);
}

function hexDigit(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  const lower = code | 32;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}

/**
 * Returns the path as a server sees it that resolves dot segments and takes `\` for `/`, as the WHATWG URL parser does.
 * It is the path itself wherever that makes no difference.
 *
 * @param path A decoded path.
 */
export function resolvePath(path: string): string {
  if (!path.includes("/.") && !path.includes("\\")) return path;
  const resolved: string[] = [];
  const segments = path.replaceAll("\\", "/").split("/");
  for (const [index, segment] of segments.entries()) {
    const isLast = index === segments.length - 1;
    if (segment === ".." && resolved.length > 1) resolved.pop();
    if (segment !== "." && segment !== "..") resolved.push(segment);
    else if (isLast) resolved.push("");
  }
  return resolved.join("/");
}

/** Tells whether a decoded path matches in every way in which a server may read it. */
export function matchesEvery(patterns: readonly Pattern[], path: string): boolean {
  return matches(patterns, path) && matches(patterns, resolvePath(path));
}

/** Tells whether a decoded path matches in any way in which a server may read it. */
export function matchesAny(patterns: readonly Pattern[], path: string): boolean {
  return matches(patterns, path) || matches(patterns, resolvePath(path));
}

function matches(patterns: readonly Pattern[], path: string): boolean {
  return patterns.some((pattern) => pattern(path));
}
