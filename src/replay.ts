import { answer, answerWith } from "./answer.ts";
import { checkNames, FIELD_NAME, finite, number, oneOf, show } from "./check.ts";
import { firstValue } from "./headers.ts";
import type { HeaderLines, IncomingRequest, ResponseMessage } from "./message.ts";
import { isBelieved } from "./peer.ts";
import type { Trust } from "./trust.ts";

/** What `fly-replay` says beside the primary's name (https://fly.io/docs/networking/dynamic-request-routing/). */
export interface ReplayOptions {
  /**
   * How the primary is named: as the only Machine that will do, as the one that is preferred among those of `region`, or
   * not at all, when `region` alone finds it.
   *
   * @default "instance"
   */
  readonly by?: "instance" | "prefer_instance" | "region" | undefined;
  /** The region or regions where the primary may be, such as `iad` or `iad,ord`. */
  readonly region?: string | undefined;
  /**
   * How long Fly Proxy tries to reach the primary, in milliseconds; 0: as long as it likes.
   *
   * @default 5_000
   */
  readonly timeout?: number | undefined;
  /**
   * Where the request goes when the primary cannot be reached: back to this node, back to it or to any other one, or
   * nowhere. A node that gets it back sends it to the primary itself if it can, and answers 503 otherwise.
   *
   * @default "force_self"
   */
  readonly fallback?: "force_self" | "prefer_self" | "off" | undefined;
  /** Header fields that the request gets on its way; then `fly-replay` is a body and not a header. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** The options of replays, complete and checked. */
export interface ResolvedReplay {
  readonly by: "instance" | "prefer_instance" | "region";
  readonly region: string | undefined;
  readonly timeout: number;
  readonly fallback: "force_self" | "prefer_self" | "off";
  readonly headers: Readonly<Record<string, string>>;
}

/** The names of the options. */
const KNOWN: Readonly<Record<keyof ReplayOptions, true>> = {
  by: true,
  region: true,
  timeout: true,
  fallback: true,
  headers: true,
};

/**
 * Completes the options and checks them.
 *
 * @throws {TypeError} When a value has the wrong shape.
 * @throws {RangeError} When a value is out of range, or would break the header.
 */
export function resolveReplay(options: ReplayOptions): ResolvedReplay {
  const { region, headers = {} } = options;
  checkNames(options, KNOWN, "replay.");
  const by = oneOf<ResolvedReplay["by"]>("replay.by", options.by ?? "instance", [
    "instance",
    "prefer_instance",
    "region",
  ]);
  const timeout = finite("replay.timeout", number("replay.timeout", options.timeout, 5000));
  const fallback = oneOf<ResolvedReplay["fallback"]>(
    "replay.fallback",
    options.fallback ?? "force_self",
    ["force_self", "prefer_self", "off"],
  );
  if (region !== undefined && !REGIONS.test(region)) {
    throw new RangeError(
      `Cannot create proxy: \`replay.region\` must be regions such as "iad,ord", received ${show(region)}`,
    );
  }
  if (by === "region" && region === undefined)
    throw new TypeError(
      'Cannot create proxy: `replay.by` is "region", so `replay.region` must name one',
    );
  for (const [name, value] of Object.entries(headers)) {
    if (FIELD_NAME.test(name) && FIELD_VALUE.test(value)) continue;
    throw new RangeError(
      `Cannot create proxy: \`replay.headers\` must be header fields, received ${show(name)}`,
    );
  }
  return { by, region, timeout, fallback, headers };
}

/** Regions of Fly.io, or names for several of them, the best one first. */
export const REGIONS: RegExp = /^[a-z]+(?:,[a-z]+)*$/;

/** The value of a header field (RFC 9110 section 5.5). */
const FIELD_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** The media type of a replay that is said in the body. */
const REPLAY_TYPE = "application/vnd.fly.replay+json";

/** What our own `state` begins with; an app that replays for reasons of its own has others. */
const STATE = "txid:";

/** The greatest body that Fly Proxy replays, in bytes. */
const MAX_BODY = 2 ** 20;

/**
 * Answers with `fly-replay`, by which Fly Proxy takes the request to the primary and shows the client its answer. The
 * status is 409 and the text says why: where no Fly Proxy stands in front, the client must not take a write that nobody
 * has run for a success.
 *
 * @param hostname The primary's name: on Fly.io the id of its Machine.
 * @param hops The count that the next node reads.
 * @param options What else the replay says.
 * @param method The request's method: the answer to HEAD has no body that could say more than a header.
 */
export function replay(
  hostname: string,
  hops: string,
  options: ResolvedReplay,
  method: string,
): ResponseMessage {
  const { by, region, timeout, fallback, headers } = options;
  const fields: [string, string][] = [];
  if (by !== "region") fields.push([by, hostname]);
  if (region !== undefined) fields.push(["region", region]);
  if (timeout > 0) fields.push(["timeout", `${Math.ceil(timeout)}ms`]);
  if (fallback !== "off") fields.push(["fallback", fallback]);
  fields.push(["state", STATE + hops]);
  const set = Object.entries(headers).map(([name, value]) => ({ name, value }));
  if (set.length > 0 && method !== "HEAD") {
    const text = JSON.stringify({ ...Object.fromEntries(fields), transform: { set_headers: set } });
    return answerWith(409, REPLAY_TYPE, text);
  }
  const header = fields
    .map(([name, value]) => `${name}=${value.includes(",") ? `"${value}"` : value}`)
    .join(";");
  return answer(409, "This node is not the primary: the request must be replayed there", [
    "Fly-Replay",
    header,
  ]);
}

/**
 * Tells whether a request says that Fly Proxy brought it, and came from a peer that may be Fly Proxy. A proxy that passes
 * its clients' word on lets them say so as well: they are answered with a replay that nobody carries out.
 */
export function cameThroughFly(request: IncomingRequest, isTrusted: Trust): boolean {
  const { headers } = request;
  const says =
    firstValue(headers, "fly-request-id") !== undefined ||
    firstValue(headers, "fly-client-ip") !== undefined;
  return says && isBelieved(request, isTrusted);
}

/** Tells whether Fly Proxy has tried in vain to replay a request; it must not be asked again. */
export function hasReplayFailed(headers: HeaderLines): boolean {
  return firstValue(headers, "fly-replay-failed") !== undefined;
}

/**
 * Returns the count that another node of ours has given to a replayed request.
 *
 * @param source The value of `fly-replay-src`.
 */
export function stateOf(source: string): string | undefined {
  const fields = source.split(/\s*[;,]\s*/);
  const state = fields.find((field) => field.startsWith(`state=${STATE}`));
  return state?.slice(`state=${STATE}`.length);
}

/** How much of a request there is to replay: Fly Proxy must hold all of it. */
export type Size = "none" | "small" | "large" | "unknown";

/** Returns how much of a request there is. */
export function sizeOf({ body, headers }: IncomingRequest): Size {
  if (body === null) return "none";
  const length = firstValue(headers, "content-length");
  if (length === undefined) return "unknown";
  return Number(length) <= MAX_BODY ? "small" : "large";
}
