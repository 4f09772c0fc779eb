import { createSession } from "../../adapters/client.ts";
import { createProxy, TransportError } from "../../src/index.ts";
import { check, type Violation } from "./checker.ts";
import { describe, type Event, hashOf } from "./history.ts";
import { FAULTS, type Limits, type Plan, planWorld } from "./plan.ts";
import { runWorld, type Subject } from "./world.ts";

/** What came of one seed. */
export interface Outcome {
  readonly plan: Plan;
  readonly events: readonly Event[];
  readonly violations: readonly Violation[];
  /** Differs from that of any other history. */
  readonly hash: string;
}

const REAL: Subject = { createProxy, createSession, TransportError };

/**
 * Lets the world of a seed happen, and judges it.
 *
 * @param seed The seed.
 * @param limits What is taken away from its world.
 * @param subject What is tried; left out, the real one.
 */
export async function runSeed(
  seed: number,
  limits: Limits = {},
  subject: Subject = REAL,
): Promise<Outcome> {
  const plan = planWorld(seed, limits);
  const events = await runWorld(plan, subject);
  return { plan, events, violations: check(plan, events), hash: hashOf(events) };
}

/**
 * Finds the smallest world in which a seed breaks the promise that it breaks, by leaving out one thing after the other.
 *
 * @param seed A seed with a violation.
 * @param subject What is tried; left out, the real one.
 * @returns What can be left out.
 */
export async function shrink(seed: number, subject: Subject = REAL): Promise<Limits> {
  const { plan, violations } = await runSeed(seed, {}, subject);
  const promise = violations[0]?.promise;
  let best: Limits = {};

  async function attempt(limits: Limits): Promise<void> {
    const outcome = await runSeed(seed, limits, subject);
    if (outcome.violations.some((one) => one.promise === promise)) best = limits;
  }

  for (const fault of FAULTS)
    if (plan.faults.has(fault))
      await attempt({ ...best, without: [...(best.without ?? []), fault] });
  for (let nodes = 2; nodes < plan.nodes && best.nodes === undefined; nodes++)
    await attempt({ ...best, nodes });
  for (const { index } of plan.clients) {
    const kept = best.clients ?? plan.clients.map((client) => client.index);
    await attempt({ ...best, clients: kept.filter((one) => one !== index) });
  }
  for (const part of [8, 4, 2]) {
    const duration = Math.ceil(plan.duration / part);
    if (best.duration === undefined) await attempt({ ...best, duration });
  }
  return best;
}

/** Writes what happened to the client whose promise was broken first, for people. */
export function trace({ events, violations }: Outcome): string {
  const broken = violations[0]?.request;
  const sent = events.find((event) => event.type === "sent" && event.request === broken);
  const client = sent?.type === "sent" ? sent.client : undefined;
  const own = new Set<number>();
  for (const event of events)
    if (event.type === "sent" && event.client === client) own.add(event.request);
  const isShown = (event: Event): boolean => {
    if (event.type === "commit") return own.has(event.transaction.request);
    return !("request" in event) || own.has(event.request);
  };
  return [
    ...events.filter(isShown).map(describe),
    ...violations.map(({ promise, request, text }) => `broken by ${request}: ${promise}: ${text}`),
  ].join("\n");
}
