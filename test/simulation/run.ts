import { createProxy } from "../../src/index.ts";
import { check, type Violation } from "./checker.ts";
import { type Event, hashOf } from "./history.ts";
import { type Limits, type Plan, planWorld } from "./plan.ts";
import { runWorld } from "./world.ts";

/** What came of one seed. */
export interface Outcome {
  readonly plan: Plan;
  readonly events: readonly Event[];
  readonly violations: readonly Violation[];
  /** Differs from that of any other history. */
  readonly hash: string;
}

/**
 * Lets the world of a seed happen, and judges it.
 *
 * @param seed The seed.
 * @param limits What is taken away from its world.
 * @param create Makes the proxies; left out, they are the real ones.
 */
export async function runSeed(
  seed: number,
  limits: Limits = {},
  create: typeof createProxy = createProxy,
): Promise<Outcome> {
  const plan = planWorld(seed, limits);
  const events = await runWorld(plan, create);
  return { plan, events, violations: check(plan, events), hash: hashOf(events) };
}
