import type { Breaker } from "./breaker.ts";
import type { Clock } from "./clock.ts";
import type { Node } from "./node.ts";

/** Holds requests that the primary's proxy does not take: one look for all of them, whatever their number. */
export interface Queue {
  /**
   * Waits until it makes sense to try again: the proxy may be tried, another node is the primary, or this one closes; at
   * the latest shortly before the deadline, and no longer than whoever waits.
   *
   * @param place What was tried.
   * @param deadline Until when the request may be held, on the clock.
   * @param signal Aborts when whoever waits is gone.
   */
  turn(place: Place, deadline: number, signal: AbortSignal): Promise<void>;
}

/** Where a request was to go. */
interface Place {
  /** The primary's name. */
  readonly hostname: string;
  /** The origin of its proxy. */
  readonly origin: string;
}

/** A request that is held. */
interface Held {
  readonly place: Place;
  readonly deadline: number;
  end(): void;
}

/** How often anybody looks, in milliseconds. */
export const LOOK_INTERVAL = 100;

/**
 * Creates an empty queue.
 *
 * @param node Tells who the primary is.
 * @param breaker Tells which proxies may be tried.
 * @param clock The time.
 */
export function createQueue(
  node: Pick<Node, "primary" | "isClosed">,
  breaker: Breaker,
  clock: Clock,
): Queue {
  // Whoever has waited for longest comes first.
  const queue = new Set<Held>();
  let timer: unknown;

  async function look(): Promise<void> {
    const at = await node.primary();
    const next = clock.now() + LOOK_INTERVAL;
    const tried = new Set<string>();
    for (const { place, deadline, end } of queue) {
      const { hostname, origin } = place;
      const hasMoved = at.at === "here" || (at.at === "elsewhere" && at.hostname !== hostname);
      const isOver = next > deadline || node.isClosed();
      const door = breaker.state(origin);
      const isTurn = door === "open" || (door === "due" && !tried.has(origin));
      if (!hasMoved && !isOver && !isTurn) continue;
      tried.add(origin);
      end();
    }
    timer = queue.size > 0 ? clock.setTimeout(() => void look(), LOOK_INTERVAL) : undefined;
  }

  return {
    turn: (place, deadline, signal) =>
      new Promise((resolve) => {
        const end = (): void => {
          queue.delete(one);
          signal.removeEventListener("abort", end);
          resolve();
        };
        const one: Held = { place, deadline, end };
        signal.addEventListener("abort", end, { once: true });
        queue.add(one);
        timer ??= clock.setTimeout(() => void look(), LOOK_INTERVAL);
      }),
  };
}
