import type { IncomingMessage, ServerResponse } from "node:http";
import type { Replay } from "../replay.ts";
import type { Held } from "./body.ts";
import type { EdgeNode } from "./choice.ts";
import { endToEnd, without } from "./headers.ts";

/** A client's request as it goes to one of the nodes, the first time or again. */
export interface Attempt {
  /** The client's request. */
  readonly request: IncomingMessage;
  /** What answers the client. */
  readonly response: ServerResponse;
  /** The body. */
  readonly body: Held;
  /** The path and query that go to the node. */
  readonly path: string;
  /** The headers that go to the node, each name with its value behind it. */
  readonly headers: readonly string[];
  /** How often it was replayed. */
  readonly count: number;
  /** Whether it is back with a node whose replay failed. */
  readonly isFallback: boolean;
}

/** Why a replay reached no node. */
export interface ReplayFailure {
  /** The reason in Fly's words. */
  readonly reason: "no_candidate" | "retries_exhausted" | "timeout";
  /** How long it was tried, in milliseconds. */
  readonly elapsed: number;
}

/** Where an edge stands: what it tells the nodes of itself. */
export interface Whereabouts {
  /** The region. */
  readonly region: string;
  /** The app that the nodes run. */
  readonly app: string;
}

/** Makes the first attempt of a request. */
export function firstAttempt(
  request: IncomingMessage,
  response: ServerResponse,
  body: Held,
  region: string,
): Attempt {
  const client = request.socket.remoteAddress ?? "";
  const told = {
    "Fly-Region": region,
    "Fly-Client-IP": client,
    "X-Forwarded-For": client,
    "X-Forwarded-Proto": "http",
  };
  return {
    request,
    response,
    body,
    path: request.url ?? "/",
    headers: [...endToEnd(request.rawHeaders), ...Object.entries(told).flat()],
    count: 0,
    isFallback: false,
  };
}

/**
 * Makes the attempt that a replay asks for.
 *
 * @param from The node that asked for it.
 * @param time When it did, in milliseconds since the Unix epoch.
 */
export function again(
  attempt: Attempt,
  from: EdgeNode,
  replay: Replay,
  region: string,
  time: number,
): Attempt {
  const { state, setHeaders, deleteHeaders } = replay;
  const source = [
    `instance=${from.name}`,
    `region=${region}`,
    `t=${Math.round(time * 1000)}`,
    ...(state === undefined ? [] : [`state=${state}`]),
  ];
  const replaced = [...deleteHeaders, ...setHeaders.map(([name]) => name)];
  const gone = new Set(["fly-replay-src", ...replaced.map((name) => name.toLowerCase())]);
  return {
    ...attempt,
    path: replay.path ?? attempt.path,
    count: attempt.count + 1,
    headers: [
      ...without(attempt.headers, gone),
      ...setHeaders.flat(),
      "fly-replay-src",
      source.join(";"),
    ],
  };
}

/** Tells in an attempt that it goes to another node than the replay prefers. */
export function withUnavailable(attempt: Attempt, replay: Replay): Attempt {
  const name = "fly-preferred-instance-unavailable";
  return { ...attempt, headers: [...attempt.headers, name, replay.preferInstance ?? ""] };
}

/** Makes the attempt that goes back to a node after the replay that `from` asked for has failed. */
export function fallback(
  attempt: Attempt,
  from: EdgeNode,
  replay: Replay,
  { region, app }: Whereabouts,
  { reason, elapsed }: ReplayFailure,
): Attempt {
  const fields = [
    ...(replay.instance === undefined ? [] : [`instance=${replay.instance}`]),
    `app=${app}`,
    `region=${region}`,
    `replay_source=${from.name}`,
    `reason=${reason}`,
    `elapsed_ms=${Math.round(elapsed)}`,
  ];
  const headers = [...attempt.headers, "fly-replay-failed", fields.join(";")];
  return { ...attempt, headers, isFallback: true };
}
