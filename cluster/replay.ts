/** What an answer asks of the edge: to run the request again somewhere else. */
export interface Replay {
  /** The node that must run it. */
  readonly instance?: string | undefined;
  /** The node that should run it, or another one. */
  readonly preferInstance?: string | undefined;
  /** Region codes in order of preference. */
  readonly regions: readonly string[];
  /** The app that must run it. */
  readonly app?: string | undefined;
  /** Text that the next node finds in `fly-replay-src`. */
  readonly state?: string | undefined;
  /** True when the answering node must not get it again. */
  readonly elsewhere: boolean;
  /** How long the edge tries to reach the next node, in milliseconds. */
  readonly timeout?: number | undefined;
  /** Who gets the request when that fails. */
  readonly fallback?: "force_self" | "prefer_self" | undefined;
  /** The path and query to use instead. */
  readonly path?: string | undefined;
  /** Names of headers to take off the request. */
  readonly deleteHeaders: readonly string[];
  /** Headers to put on the request, in place of those of the same name. */
  readonly setHeaders: readonly (readonly [name: string, value: string])[];
}

/** The content type of a replay that lies in the body. */
export const replayType = "application/vnd.fly.replay+json";

/**
 * Reads a `fly-replay` header.
 *
 * @returns The replay, or undefined when the header is malformed.
 */
export function parseReplay(header: string): Replay | undefined {
  const fields = new Map<string, string>();
  for (const field of header.split(";")) {
    const cut = field.indexOf("=");
    if (cut < 1) {
      return undefined;
    }
    fields.set(field.slice(0, cut).trim(), unquoted(field.slice(cut + 1).trim()));
  }
  return replayOf(Object.fromEntries(fields), undefined);
}

/**
 * Reads a replay from an answer's body of type `application/vnd.fly.replay+json`.
 *
 * @returns The replay, or undefined when the body is malformed.
 */
export function parseReplayBody(text: string): Replay | undefined {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    return undefined;
  }
  return isRecord(content) ? replayOf(content, content["transform"]) : undefined;
}

function replayOf(fields: Record<string, unknown>, transform: unknown): Replay | undefined {
  const known = Object.keys(fields).every((name) => fieldNames.has(name));
  const fallback = fields["fallback"];
  const timeout = durationOf(fields["timeout"]);
  const elsewhere = String(fields["elsewhere"] ?? "false");
  if (!known || timeout === null || !isFallback(fallback) || !/^(true|false)$/.test(elsewhere)) {
    return undefined;
  }
  const change = isRecord(transform) ? transform : {};
  return {
    instance: textOf(fields["instance"]),
    preferInstance: textOf(fields["prefer_instance"]),
    regions: (textOf(fields["region"]) ?? "").split(",").flatMap((region) => region.trim() || []),
    app: textOf(fields["app"]),
    state: textOf(fields["state"]),
    elsewhere: elsewhere === "true",
    timeout,
    fallback,
    path: textOf(change["path"]),
    deleteHeaders: listOf(change["delete_headers"]).flatMap((name) => textOf(name) ?? []),
    setHeaders: listOf(change["set_headers"]).flatMap((entry) => headerOf(entry)),
  };
}

const fieldNames = new Set([
  "instance",
  "prefer_instance",
  "region",
  "app",
  "state",
  "elsewhere",
  "timeout",
  "fallback",
  "transform",
  "cache",
  "allow_bypass",
]);

function durationOf(value: unknown): number | undefined | null {
  if (value === undefined) {
    return undefined;
  }
  const match = /^(\d+(?:\.\d+)?)(ms|s|m)?$/.exec(String(value));
  return match === null ? null : Number(match[1]) * (unitMs[match[2] ?? "ms"] ?? 1);
}

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000 };

function isFallback(value: unknown): value is "force_self" | "prefer_self" | undefined {
  return value === undefined || value === "force_self" || value === "prefer_self";
}

function headerOf(entry: unknown): [name: string, value: string][] {
  const name = isRecord(entry) ? textOf(entry["name"]) : undefined;
  const value = isRecord(entry) ? textOf(entry["value"]) : undefined;
  return name === undefined || value === undefined ? [] : [[name, value]];
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function unquoted(value: string): string {
  return value.length > 1 && value.startsWith('"') && value.endsWith('"')
    ? value.slice(1, -1)
    : value;
}
