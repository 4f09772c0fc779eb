import { Agent } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { wallClock } from "./wall-clock.ts";
import type { Clock } from "../src/clock.ts";
import { bodyText } from "./body-text.ts";
import { firstAttempt } from "./edge/attempt.ts";
import type { Attempt } from "./edge/attempt.ts";
import { hold } from "./edge/body.ts";
import { freshOrder, randomOf } from "./edge/choice.ts";
import type { Choose, EdgeNode } from "./edge/choice.ts";
import { exchange, fail, pass } from "./edge/exchange.ts";
import { createFollow } from "./edge/follow.ts";
import { firstOf } from "./edge/headers.ts";
import { listen } from "./listen.ts";
import { parseReplay, parseReplayBody, replayType } from "./replay.ts";

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

/**
 * Starts a stand-in for Fly.io's edge: it sends each request to one of the nodes and honours `fly-replay`, as header
 * and as body, the way Fly documents it (https://fly.io/docs/networking/dynamic-request-routing/). `fly-force-instance-id` and
 * `fly-prefer-instance-id` of a client count too.
 */
export async function createEdge(options: EdgeOptions): Promise<Edge> {
  const { nodes, region = "local", app = "app", bodyLimit = 1 << 20, replays = 10 } = options;
  const { reachTimeout = 7500, retryDelay = 50, keepAlive = false, clock = wallClock } = options;
  const { choose = (_method, all) => randomOf(all) } = options;
  const agent = new Agent({ keepAlive, maxSockets: Infinity });
  const follow = createFollow({
    nodes,
    run,
    region,
    app,
    replays,
    reachTimeout,
    retryDelay,
    clock,
  });
  let replayed = 0;

  async function accept(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await hold(request, bodyLimit);
    const attempt = firstAttempt(request, response, body, region);
    for (const node of freshOrder(request, nodes(), choose)) {
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
