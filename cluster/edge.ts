import { Agent } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { wallClock } from "./wall-clock.ts";
import type { Clock } from "../src/clock.ts";
import { bodyText } from "./body-text.ts";
import { again, fallback, firstAttempt, withUnavailable } from "./edge/attempt.ts";
import type { Attempt, ReplayFailure } from "./edge/attempt.ts";
import { hold } from "./edge/body.ts";
import { candidateFor, freshOrder, randomOf } from "./edge/choice.ts";
import type { Choose, EdgeNode } from "./edge/choice.ts";
import { exchange, fail, pass } from "./edge/exchange.ts";
import { firstOf } from "./edge/headers.ts";
import { listen } from "./listen.ts";
import { parseReplay, parseReplayBody, replayType } from "./replay.ts";
import type { Replay } from "./replay.ts";
import { sleep } from "./sleep.ts";

export type { EdgeNode } from "./edge/choice.ts";

/** How an edge behaves. */
export interface EdgeOptions {
  /** Returns the nodes that are there now. */
  readonly nodes: () => readonly EdgeNode[];
  /** Returns the node that gets a fresh request first. @default a random one */
  readonly choose?: Choose | undefined;
  /** The port. @default 0, a free one */
  readonly port?: number | undefined;
  /** The region that `fly-replay-src` and `Fly-Region` tell. @default "local" */
  readonly region?: string | undefined;
  /** The app that the nodes run. @default "app" */
  readonly app?: string | undefined;
  /** The greatest body that can be sent again, in bytes. @default 1 MiB */
  readonly bodyLimit?: number | undefined;
  /** How often one request may be replayed. @default 10 */
  readonly replays?: number | undefined;
  /** How long the edge tries to reach a node that a replay names without a `timeout`, in milliseconds. @default 7500 */
  readonly reachTimeout?: number | undefined;
  /** How long it waits before it tries such a node again, in milliseconds. @default 50 */
  readonly retryDelay?: number | undefined;
  /**
   * True when connections to the nodes are kept; Deno's client repeats a POST on a connection that the other side has
   * closed meanwhile, so leave it off there.
   *
   * @default false
   */
  readonly keepAlive?: boolean | undefined;
  /** The time. @default the runtime's */
  readonly clock?: Clock | undefined;
}

/** An edge that listens. */
export interface Edge {
  /** Its origin. */
  readonly url: string;
  /** Its port. */
  readonly port: number;
  /** How many answers asked for a replay so far. */
  replays(): number;
  /** Stops listening and breaks every connection. */
  close(): Promise<void>;
}

// The status codes and texts are this stand-in's own: Fly documents the codes, not how a client sees them.
const errors = {
  PA01: "PA01 Replay buffer exceeded: the body is too large to be sent again\n",
  PA02: "PA02 Too many replays\n",
  PA03: "PA03 Malformed replay\n",
  PA04: "PA04 Unknown app in a replay\n",
};

/**
 * Starts a stand-in for Fly.io's edge: it sends each request to one of the nodes and honours `fly-replay`, as header
 * and as body, the way Fly documents it (https://fly.io/docs/networking/dynamic-request-routing/). `fly-force-instance-id` and
 * `fly-prefer-instance-id` of a client count too.
 */
export async function createEdge(options: EdgeOptions): Promise<Edge> {
  const { bodyLimit = 1 << 20, replays = 10, clock = wallClock } = options;
  const { region = "local", app = "app", reachTimeout = 7500, retryDelay = 50 } = options;
  const choose = options.choose ?? ((_method, nodes) => randomOf(nodes));
  const agent = new Agent({ keepAlive: options.keepAlive ?? false, maxSockets: Infinity });
  let replayed = 0;

  async function accept(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await hold(request, bodyLimit);
    const attempt = firstAttempt(request, response, body, region);
    for (const node of freshOrder(request, options.nodes(), choose)) {
      if (await run(node, attempt)) {
        return;
      }
    }
    fail(response);
  }

  /** Sends an attempt to a node and has its answer, or what that asks for, answer the client; false: nobody listens there. */
  async function run(node: EdgeNode, attempt: Attempt): Promise<boolean> {
    const answer = await exchange(agent, node, attempt);
    if (answer === "refused") {
      return false;
    }
    if (answer === "broken") {
      fail(attempt.response);
      return true;
    }
    const header = firstOf(answer.headers["fly-replay"]);
    const isBody = answer.headers["content-type"]?.startsWith(replayType) === true;
    if (header === undefined && !isBody) {
      pass(answer, attempt.response);
      return true;
    }
    const replay = isBody ? parseReplayBody(await bodyText(answer)) : parseReplay(header ?? "");
    answer.resume();
    replayed += 1;
    await follow(node, attempt, replay);
    return true;
  }

  /** Does what a node asked for instead of an answer. */
  async function follow(
    from: EdgeNode,
    attempt: Attempt,
    replay: Replay | undefined,
  ): Promise<void> {
    if (replay === undefined || attempt.isFallback) {
      fail(attempt.response, errors.PA03);
      return;
    }
    const refusal = refusalOf(attempt, replay);
    if (refusal !== undefined) {
      fail(attempt.response, refusal);
      return;
    }
    const failure = await reach(from, again(attempt, from, replay, region, clock.now()), replay);
    if (failure !== undefined) {
      await fallBack(from, attempt, replay, failure);
    }
  }

  function refusalOf(attempt: Attempt, replay: Replay): string | undefined {
    if (replay.app !== undefined && replay.app !== app) {
      return errors.PA04;
    }
    if (attempt.body.isLonger) {
      return errors.PA01;
    }
    return attempt.count >= replays ? errors.PA02 : undefined;
  }

  /** Sends a replay to a node, and again as long as none listens; undefined: it was answered. */
  async function reach(
    from: EdgeNode,
    attempt: Attempt,
    replay: Replay,
  ): Promise<ReplayFailure | undefined> {
    const began = clock.now();
    const timeout = replay.timeout ?? reachTimeout;
    let reason: ReplayFailure["reason"] = "no_candidate";
    for (;;) {
      const found = candidateFor(replay, from, options.nodes(), region);
      if (found === undefined) {
        break;
      }
      if (await run(found.node, found.isOther ? withUnavailable(attempt, replay) : attempt)) {
        return undefined;
      }
      reason = replay.timeout === undefined ? "retries_exhausted" : "timeout";
      if (clock.now() - began + retryDelay >= timeout) {
        break;
      }
      await sleep(retryDelay, clock);
    }
    return { reason, elapsed: clock.now() - began };
  }

  /** Sends the request back to the node that asked for a replay, if it wants that. */
  async function fallBack(
    from: EdgeNode,
    attempt: Attempt,
    replay: Replay,
    failure: ReplayFailure,
  ): Promise<void> {
    const nodes = options.nodes();
    const self = nodes.find((node) => node.name === from.name);
    const node = replay.fallback === "prefer_self" ? (self ?? randomOf(nodes)) : self;
    if (replay.fallback === undefined || node === undefined) {
      fail(attempt.response);
      return;
    }
    if (!(await run(node, fallback(attempt, from, replay, { region, app }, failure)))) {
      fail(attempt.response);
    }
  }

  const listener = await listen((request, response) => {
    accept(request, response).catch(() => response.destroy());
  }, options.port);

  return {
    url: listener.url,
    port: listener.port,
    replays: () => replayed,
    async close() {
      await listener.close();
      agent.destroy();
    },
  };
}
