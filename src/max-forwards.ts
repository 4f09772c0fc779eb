import { firstValue } from "./headers.ts";
import type { HeaderLines, RequestMessage } from "./message.ts";

/** The methods whose requests say how far they go (RFC 9110 section 7.6.2). */
const COUNTED: ReadonlySet<string> = new Set(["OPTIONS", "TRACE"]);

/** Tells whether a request asks to be answered by whoever gets it, and to be sent on to nobody. */
export function endsHere(request: Pick<RequestMessage, "method" | "headers">): boolean {
  return left(request) === 0;
}

/**
 * Takes one from the number of times that a request may be sent on, if it says any.
 *
 * @param method Its method.
 * @param headers Its lines, which are changed.
 */
export function countForward(method: string, headers: HeaderLines): void {
  const count = left({ method, headers });
  if (count === undefined) return;
  const at = headers.findIndex(
    (name, index) => index % 2 === 0 && name.toLowerCase() === "max-forwards",
  );
  headers[at + 1] = String(Math.max(0, count - 1));
}

/** Returns how often a request may be sent on; undefined: it does not say. */
function left({ method, headers }: Pick<RequestMessage, "method" | "headers">): number | undefined {
  if (!COUNTED.has(method)) return undefined;
  const value = firstValue(headers, "max-forwards");
  return value !== undefined && /^\d{1,15}$/.test(value) ? Number(value) : undefined;
}
