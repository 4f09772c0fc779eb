import type { Clock } from "../../src/clock.ts";
import type { Replay } from "../replay.ts";
import { sleep } from "../sleep.ts";
import { again, fallback, withUnavailable } from "./attempt.ts";
import type { Attempt, ReplayFailure } from "./attempt.ts";
import { candidateFor, randomOf } from "./choice.ts";
import type { EdgeNode } from "./choice.ts";
import { fail } from "./exchange.ts";

/** What replays are followed with. */
export interface FollowOptions {
  /** Returns the nodes that are there now. */
  readonly nodes: () => readonly EdgeNode[];
  /** Sends an attempt to a node and has it answered; false: nobody listens there. */
  readonly run: (node: EdgeNode, attempt: Attempt) => Promise<boolean>;
  /** The region of all nodes. */
  readonly region: string;
  /** The app that they run. */
  readonly app: string;
  /** How often one request may be replayed. */
  readonly replays: number;
  /** How long the edge tries to reach a node that a replay names without a `timeout`, in milliseconds. */
  readonly reachTimeout: number;
  /** How long it waits before it tries such a node again, in milliseconds. */
  readonly retryDelay: number;
  /** The time. */
  readonly clock: Clock;
}

/**
 * Does what a node asked for instead of an answer, until the client is answered.
 *
 * @param from The node.
 * @param attempt What was sent to it.
 * @param replay What it asked for; undefined: nobody can tell.
 */
export type Follow = (
  from: EdgeNode,
  attempt: Attempt,
  replay: Replay | undefined,
) => Promise<void>;

// The status codes and texts are this stand-in's own: Fly documents the codes, not how a client sees them.
const errors = {
  PA01: "PA01 Replay buffer exceeded: the body is too large to be sent again\n",
  PA02: "PA02 Too many replays\n",
  PA03: "PA03 Malformed replay\n",
  PA04: "PA04 Unknown app in a replay\n",
};

/** Creates what follows replays. */
export function createFollow(options: FollowOptions): Follow {
  const { nodes, run, region, app, replays, reachTimeout, retryDelay, clock } = options;

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
      const found = candidateFor(replay, from, nodes(), region);
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

  /** Sends the request back to the node that asked for a replay, if it wants that; false: the client has no answer yet. */
  async function fallBack(
    from: EdgeNode,
    attempt: Attempt,
    replay: Replay,
    failure: ReplayFailure,
  ): Promise<boolean> {
    const self = nodes().find((node) => node.name === from.name);
    const node = replay.fallback === "prefer_self" ? (self ?? randomOf(nodes())) : self;
    if (replay.fallback === undefined || node === undefined) {
      return false;
    }
    return run(node, fallback(attempt, from, replay, { region, app }, failure));
  }

  return async (from, attempt, replay) => {
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
    if (failure !== undefined && !(await fallBack(from, attempt, replay, failure))) {
      fail(attempt.response);
    }
  };
}
