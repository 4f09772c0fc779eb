import type { Primary } from "../../src/storage.ts";

/**
 * Returns the primary of that name. What could not stand in `fly-replay` or in a URL is the name of no node, whatever
 * wrote it: then nobody knows the primary.
 */
export function primaryNamed(hostname: string): Primary {
  return isNodeName(hostname) ? { at: "elsewhere", hostname } : { at: "unknown" };
}

/** Tells whether a text can be the name of a node. */
export function isNodeName(hostname: string): boolean {
  return /^[\w.:[\]%-]+$/.test(hostname);
}

/** Tells whether something that was given says where writes run. */
export function isPrimary(given: unknown): given is Primary {
  if (typeof given !== "object" || given === null || !("at" in given)) return false;
  const { at } = given;
  if (at === "elsewhere") return "hostname" in given && typeof given.hostname === "string";
  return at === "here" || at === "everywhere" || at === "unknown";
}

/** Writes where writes run as a text that is another one for each place. */
export function spellPrimary(primary: Primary): string {
  return primary.at === "elsewhere" ? `${primary.at} ${primary.hostname}` : primary.at;
}
