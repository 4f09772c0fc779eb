import { told } from "./error.ts";
import { type OriginName, startOrigin } from "./origin.ts";
import type { Peer, Running, Setting } from "./peers.ts";
import type { Tools } from "./scenarios.ts";

/** A peer, and its process where there is one. */
export interface Actor {
  readonly peer: Peer;
  readonly running?: Running | undefined;
  /** Why there is none. */
  readonly remark?: string | undefined;
}

/** An app, and the peers in front of it, which stay for all scenarios with that app. */
export interface Stage {
  readonly origin: OriginName;
  readonly setting: Setting;
  /** Returns these peers, started and warm. */
  enter(peers: readonly Peer[], say: (text: string) => void): Promise<readonly Actor[]>;
  /** Ends a peer that has failed, so that the next one who wants it gets a new one. */
  dismiss(actor: Actor): void;
  close(): void;
}

/** How many requests have the compilers done with a peer, and after how many seconds of them it must do. */
const WARM = { requests: 20_000, seconds: 4 };

/** Starts an app. */
export async function openStage(name: OriginName, { generate }: Tools): Promise<Stage> {
  const origin = await startOrigin(name);
  const setting: Setting = { target: origin.port };
  const actors = new Map<Peer, Actor>();

  async function begin(peer: Peer): Promise<void> {
    try {
      actors.set(peer, { peer, running: await peer.start(setting) });
    } catch (error) {
      actors.set(peer, { peer, remark: told(error) });
    }
  }

  async function warm({ port }: Running): Promise<void> {
    let requests = 0;
    const method = name === "fast" ? "GET" : "POST";
    const length = method === "POST" ? 2 ** 10 : 0;
    for (let second = 0; second < WARM.seconds && requests < WARM.requests; second++)
      requests += (await generate(port, { method, path: "/1k", length }, 64, 1)).requests;
  }

  return {
    origin: name,
    setting,
    enter: async (peers, say) => {
      const fresh = peers.filter((peer) => !actors.has(peer));
      await Promise.all(fresh.map(begin));
      for (const peer of fresh) {
        say(`warm up: ${peer.name}`);
        const running = actors.get(peer)?.running;
        if (running !== undefined) await warm(running).catch(() => {});
      }
      return peers.flatMap((peer) => actors.get(peer) ?? []);
    },
    dismiss: ({ peer, running }) => {
      running?.stop();
      actors.delete(peer);
    },
    close: () => {
      for (const { running } of actors.values()) running?.stop();
      origin.stop();
    },
  };
}
