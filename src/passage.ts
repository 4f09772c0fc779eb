import { answer, moving, RETRY, unreachable, usedUp } from "./answer.ts";
import { createDirect, type Passed } from "./direct.ts";
import { createHopCounter, HOPS_FIELD, type Hops } from "./hops.ts";
import type { IncomingRequest, ResponseMessage } from "./message.ts";
import type { Node } from "./node.ts";
import type { ResolvedOptions } from "./options.ts";
import { cameThroughFly, hasReplayFailed, replay, sizeOf } from "./replay.ts";
import type { Reporter, Trail } from "./trail.ts";
import { chooseWay, type Way } from "./way.ts";

/** Takes requests from this node to the primary. */
export interface Passage {
  /**
   * Takes a request to the primary, by whatever way there is.
   *
   * @param trail The request.
   * @param hostname The primary's name.
   * @param reason Why it belongs there.
   * @param deadline Until when it may be held, on the proxy's clock.
   */
  take(trail: Trail, hostname: string, reason: string, deadline: number): Promise<Passed>;
  /** Returns the way that a request would take; undefined: there is none. */
  find(request: IncomingRequest, hostname: string): Promise<"replay" | "direct" | undefined>;
  /** Returns how often a request has been sent from node to node before it came here. */
  hopsOf(request: IncomingRequest): Promise<Hops>;
}

/** What a client is told when there is no way. */
const REFUSALS: Readonly<Record<Exclude<Way, "replay" | "direct">, () => ResponseMessage>> = {
  loop: moving,
  unreachable,
  "too large": () => answer(413, "The request is too large to be replayed on the primary"),
  "no length": () =>
    answer(411, "The request needs a Content-Length to be replayed on the primary"),
  none: () => answer(503, "Proxy error: no way to the primary", RETRY),
};

/** Creates the passage of a node. */
export function createPassage(settings: ResolvedOptions, node: Node, reporter: Reporter): Passage {
  const hops = createHopCounter(settings.keyring, settings.isTrusted, settings.clock);
  const direct = createDirect(settings, node, reporter);

  function wayOf(request: IncomingRequest, sent: Hops, hostname: string): Way {
    return chooseWay({
      forward: settings.forward,
      throughFly: cameThroughFly(request, settings.isTrusted),
      failed: hasReplayFailed(request.headers),
      forwarded: sent.isForwarded,
      hops: sent.count,
      size: sizeOf(request),
      hasUrl: direct.leadsTo(hostname),
    });
  }

  return {
    take: async (trail, hostname, reason, deadline) => {
      const { request } = trail;
      const sent = await hops.read(request);
      const way = wayOf(request, sent, hostname);
      if (way !== "direct" && way !== "replay")
        return { is: "unsent", reason: `not sent: ${way}`, refusal: REFUSALS[way]() };
      if (way === "direct" && request.source?.bodyUsed === true) {
        settings.onError(
          new TypeError("Cannot send request to the primary: its body was read before"),
        );
        return { is: "unsent", reason: "the body is used up", refusal: usedUp() };
      }
      const count = await hops.write(request, sent.count + 1);
      if (way === "direct") {
        const lines = [HOPS_FIELD, count];
        const isHeld = !sent.isForwarded;
        return direct.send(trail, hostname, reason, { lines, deadline, isHeld });
      }
      reporter.note(trail, "replay", reason);
      return { is: "answered", response: replay(hostname, count, settings.replay, request.method) };
    },
    find: async (request, hostname) => {
      const way = wayOf(request, await hops.read(request), hostname);
      return way === "direct" || way === "replay" ? way : undefined;
    },
    hopsOf: hops.read,
  };
}
