import { check } from "./checker.ts";
import type { Core } from "./core.ts";
import type { Violation } from "./facts.ts";
import { FAULTS, type Limits, planWorld } from "./plan.ts";
import { type History, runWorld } from "./world.ts";

/** A world and the promises that were not kept in it. */
export interface Verdict {
  readonly seed: number;
  readonly limits: Limits;
  readonly history: History;
  /** Those that nothing explains. */
  readonly violations: readonly Violation[];
  /** Those that a known weakness explains. */
  readonly known: readonly Violation[];
}

/**
 * Runs the world of a seed and judges it.
 *
 * @param seed The seed.
 * @param core The proxy and its client.
 * @param limits What is taken away from the world.
 * @param onEvent Takes what happens, for people.
 */
export async function simulate(
  seed: number,
  core: Core,
  limits: Limits = {},
  onEvent?: (at: number, text: string) => void,
): Promise<Verdict> {
  const history = await runWorld(planWorld(seed, limits), core, onEvent);
  const found = check(history);
  const violations = found.filter(({ known }) => known === undefined);
  return {
    seed,
    limits,
    history,
    violations,
    known: found.filter((one) => one.known !== undefined),
  };
}

/**
 * Makes the world of a failing seed smaller as long as the same promise is broken in it: without a fault, a client, half
 * of the time, a node.
 *
 * @param failing What is to be understood.
 * @param core The proxy and its client.
 * @returns The smallest failing world that was found; it runs from the same seed and its limits.
 */
export async function shrink(failing: Verdict, core: Core): Promise<Verdict> {
  let smallest = failing;
  const rules = new Set(failing.violations.map(({ rule }) => rule));
  for (let isSmaller = true; isSmaller;) {
    isSmaller = false;
    for (const limits of smallerThan(smallest)) {
      const verdict = await simulate(failing.seed, core, limits);
      if (!verdict.violations.some(({ rule }) => rules.has(rule))) continue;
      smallest = verdict;
      isSmaller = true;
      break;
    }
  }
  return smallest;
}

/** Makes worlds that have one thing less each. */
function* smallerThan({ limits, history }: Verdict): Generator<Limits> {
  const { plan } = history;
  for (const fault of FAULTS) {
    if (plan.faults.has(fault)) yield { ...limits, without: [...(limits.without ?? []), fault] };
  }
  const clients = plan.clients.map(({ index }) => index);
  for (const one of clients) {
    if (clients.length > 1) yield { ...limits, clients: clients.filter((other) => other !== one) };
  }
  if (plan.duration > 50) yield { ...limits, duration: Math.ceil(plan.duration / 2) };
  if (plan.duration > 50) yield { ...limits, duration: Math.ceil((plan.duration * 3) / 4) };
  if (plan.nodes > 2) yield { ...limits, nodes: plan.nodes - 1 };
}

/** Writes a verdict for people, in a few lines. */
export function explain({ seed, limits, violations }: Verdict): string {
  const less = Object.keys(limits).length === 0 ? "" : ` with ${JSON.stringify(limits)}`;
  const lines = violations.slice(0, 5).map(({ rule, text }) => `  ${rule}: ${text}`);
  const more = violations.length > 5 ? [`  and ${violations.length - 5} more`] : [];
  return [`seed ${seed}${less}`, ...lines, ...more].join("\n");
}
