import { availableParallelism } from "node:os";
import { findPlaces } from "../test/wire/places.ts";
import { nginxWith } from "./configs.ts";
import { dropIn, findProgram, isExact, nginxArgs, type Peer, startProgram } from "./peers.ts";
import { GET, type Scenario } from "./scenarios.ts";

/** How many processes share a port: one for each processor. */
const PROCESSES = Math.max(2, availableParallelism());

/** Returns what stands beside each peer that can be several: as many of it as there are processors, on one port. */
export function severalOf(peers: readonly Peer[]): Peer[] {
  const places = findPlaces().filter(isExact);
  return peers.flatMap((peer) => {
    if (peer.name === "nginx") {
      const config = nginxWith(PROCESSES);
      const start = startProgram(findProgram("nginx") ?? "nginx", config, nginxArgs);
      return [peer, { ...peer, name: `nginx, ${PROCESSES} workers`, start }];
    }
    const place = places.find(({ name }) => name === peer.name);
    if (place === undefined) return [];
    // Node 20 cannot share a port but by its cluster.
    const ways = place.name === "Node" ? ["cluster"] : ["cluster", "reuse"];
    const several = ways.map((way) => {
      const name = `${peer.name}, ${PROCESSES} × ${way === "reuse" ? "SO_REUSEPORT" : way}`;
      // Whoever starts processes needs more leave than the proxy does.
      const runtime = place.command.filter(
        (word) => !/^(?:--(?:allow|no-prompt)|proxy\.ts$)/.test(word),
      );
      const leave = place.name === "Deno" ? ["--allow-all"] : [];
      const command = [...runtime, ...leave, "bench/workers.ts", way, `${PROCESSES}`];
      return { ...dropIn({ ...place, command }), name };
    });
    return [peer, ...several];
  });
}

/** Measures peers that are one process beside such that are several. */
export const SCALING: Scenario = {
  ...GET,
  name: "scaling",
  title: "Several processes on one port",
  says: `GET, 1 KiB, 64 connections. "cluster" is node:cluster; with SO_REUSEPORT each process listens by itself. The load and the app take their part of the same ${availableParallelism()} processors.`,
  rounds: "usual",
  quick: false,
  kinds: ["exact", "other"],
};
