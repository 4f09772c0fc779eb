import { sleep } from "./children.ts";
import { startOrigin } from "./origin.ts";
import type { Peer, Running, Setting } from "./peers.ts";
import type { Sample } from "./metrics.ts";
import type { Section } from "./report.ts";
import type { Scenario, Subject, Tools } from "./scenarios.ts";

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
  readonly peer: Peer;
  readonly samples: Sample[];
  running?: Running | undefined;
  remark?: string | undefined;
}

/** How long each peer is warmed up before the first round, in seconds. */
const WARM_UP = 1;

/** How long it is quiet between two measurements, in milliseconds, so that what one leaves behind is not the next one's. */
const PAUSE = 50;

/** Measures the peers in rounds: A, B, C, and again A, B, C, so that what changes on the machine changes for all. */
export async function compare(scenario: Scenario, plan: Plan): Promise<Section> {
  const { name, title, says, metrics, compared } = scenario;
  const { peers, tools, say } = plan;
  const rounds = { more: plan.rounds + 2, usual: plan.rounds, one: 1 }[scenario.rounds];
  const origin = await startOrigin(scenario.origin);
  const setting: Setting = { target: origin.port };
  const entries = peers
    .filter(({ kind }) => scenario.kinds.includes(kind))
    .map((peer): Entry => ({ peer: scenario.wrap?.(peer) ?? peer, samples: [] }));

  /** Does something with a peer that has not failed yet. */
  async function attempt(entry: Entry, act: (subject: Subject) => Promise<void>): Promise<void> {
    const { peer, running } = entry;
    if (running === undefined || entry.remark !== undefined) return;
    try {
      await act({ peer, running, setting, tools });
    } catch (error) {
      entry.remark = told(error);
    }
  }

  try {
    say(`${name}: start and check`);
    await Promise.all(
      entries.map(async (entry) => {
        try {
          entry.running = await entry.peer.start(setting);
        } catch (error) {
          entry.remark = told(error);
        }
      }),
    );
    for (const entry of entries) await attempt(entry, scenario.check);
    if (scenario.rounds !== "one") {
      for (const entry of entries) {
        await attempt(entry, async (subject) => {
          await scenario.measure({ ...subject, tools: { ...tools, seconds: WARM_UP } });
        });
      }
    }
    for (let round = 1; round <= rounds; round++) {
      for (const entry of entries) {
        say(`${name}: round ${round} of ${rounds}, ${entry.peer.name}`);
        await attempt(entry, async (subject) => {
          entry.samples.push(await scenario.measure(subject));
        });
        await sleep(PAUSE);
      }
    }
  } finally {
    for (const { running } of entries) running?.stop();
    origin.stop();
  }
  const rows = entries.map(({ peer, samples, remark }) => ({ peer: peer.name, samples, remark }));
  return { name, title, says, metrics, compared, rows };
}

/** Returns what an error says, on one line. */
export function told(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replaceAll(/\s+/g, " ").replaceAll("|", "/").slice(0, 200);
}
