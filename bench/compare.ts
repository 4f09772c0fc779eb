import { sleep } from "../cluster/sleep.ts";
import { told } from "./error.ts";
import type { Sample } from "./metrics.ts";
import type { Peer } from "./peers.ts";
import type { Section } from "./report.ts";
import type { Scenario, Subject, Tools } from "./scenarios.ts";
import type { Actor, Stage } from "./stage.ts";

/** How peers are compared. */
export interface Plan {
  readonly peers: readonly Peer[];
  readonly tools: Tools;
  readonly rounds: number;
  /** Is told how far it is. */
  readonly say: (text: string) => void;
}

/** A peer that takes part, what was measured of it, and why no more. */
interface Entry {
  readonly actor: Actor;
  readonly samples: Sample[];
  remark: string | undefined;
}

/** How long it is quiet between two measurements, in milliseconds, so that what one leaves behind is not the next one's. */
const PAUSE = 50;

/** Measures the peers in rounds: A, B, C, and again A, B, C, so that what changes on the machine changes for all. */
export async function compare(scenario: Scenario, stage: Stage, plan: Plan): Promise<Section> {
  const { name, title, says, metrics, compared } = scenario;
  const { say } = plan;
  const rounds = { more: plan.rounds + 1, usual: plan.rounds, one: 1 }[scenario.rounds];
  const seconds = Math.max(scenario.seconds ?? 0, plan.tools.seconds);
  const tools: Tools = { ...plan.tools, seconds };
  const peers = plan.peers
    .filter(({ kind }) => scenario.kinds.includes(kind))
    .map((peer) => scenario.wrap?.(peer) ?? peer);
  const actors = await stage.enter(peers, say);
  const entries = actors.map((actor): Entry => ({ actor, samples: [], remark: actor.remark }));

  /** Does something with a peer that has not failed yet. */
  async function attempt(entry: Entry, act: (subject: Subject) => Promise<void>): Promise<void> {
    const { peer, running } = entry.actor;
    if (running === undefined || entry.remark !== undefined) return;
    try {
      await act({ peer, running, setting: stage.setting, tools });
    } catch (error) {
      entry.remark = told(error);
    }
  }

  for (const entry of entries) await attempt(entry, scenario.check);
  for (let round = 1; round <= rounds; round++) {
    for (const entry of entries) {
      say(`${name}: round ${round} of ${rounds}, ${entry.actor.peer.name}`);
      await attempt(entry, async (subject) => {
        entry.samples.push(await scenario.measure(subject));
      });
      await sleep(PAUSE);
    }
  }
  for (const { actor, remark } of entries)
    if (remark !== undefined || scenario.wrap !== undefined) stage.dismiss(actor);
  const rows = entries.map(({ actor: { peer }, samples, remark }) => ({
    peer: peer.name,
    samples,
    remark,
  }));
  return { name, title, says, metrics, compared, rows };
}
