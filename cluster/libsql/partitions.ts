import type { ServerResponse } from "node:http";
import { json } from "./http.ts";

/** How a server treats a replica that is cut off: it breaks its connections, answers 503, or does not answer. */
export type Cut = "break" | "unavailable" | "hang";

/** The replicas that are cut off, by their tokens. */
export interface Partitions {
  /** Cuts a replica off. */
  add(replica: string, cut: Cut): void;
  /** Treats a request as its replica's partition wants it; false: there is none, and it is still to be answered. */
  meet(replica: string, response: ServerResponse): boolean;
  /** Ends all of them, and breaks what hangs. */
  heal(): void;
}

/** Creates an empty set of partitions. */
export function createPartitions(): Partitions {
  const cuts = new Map<string, Cut>();
  const hanging = new Set<ServerResponse>();
  return {
    add(replica, cut) {
      cuts.set(replica, cut);
    },
    meet(replica, response) {
      const cut = cuts.get(replica);
      if (cut === "break") {
        response.destroy();
      } else if (cut === "unavailable") {
        json(response, 503, { error: "cut off" });
      } else if (cut === "hang") {
        hanging.add(response);
      }
      return cut !== undefined;
    },
    heal() {
      cuts.clear();
      for (const response of hanging) {
        response.destroy();
      }
      hanging.clear();
    },
  };
}
