import type { HeaderLines, ResponseMessage } from "../../src/index.ts";
import { nameOf } from "./cluster.ts";
import type { Plan } from "./plan.ts";
import { type Server, valueOf, type Visit } from "./server.ts";
import type { Timeline } from "./timeline.ts";

/** What stands in front of all servers and takes a request to any of them. */
export type Edge = (visit: Visit) => Promise<ResponseMessage>;

/** How often a request is replayed at most. */
const MAX_REPLAYS = 6;

/**
 * Creates an edge. Fly Proxy's kind honours `fly-replay`; another one shows the client what it gets.
 *
 * @param plan The world.
 * @param servers Where requests go.
 * @param timeline The time.
 */
export function createEdge(plan: Plan, servers: readonly Server[], timeline: Timeline): Edge {
  return async (visit) => {
    const { random } = visit;
    await timeline.sleep(random.time(0, plan.transit));
    let server = random.any(servers.filter((one) => one.isUp()));
    let from: Server | undefined;
    for (let replays = 0; replays <= MAX_REPLAYS && server !== undefined; replays++) {
      const headers = [...visit.headers, ...linesOf(plan, visit, from)];
      const clientAddress = plan.isFly ? "172.16.0.1" : visit.clientAddress;
      const response = await server.visit({ ...visit, headers, clientAddress });
      const target = response && plan.isFly && valueOf(response.headers, "fly-replay");
      if (target === undefined || target === false) {
        await timeline.sleep(random.time(0, plan.transit));
        return response ?? BROKEN;
      }
      from = server;
      server = servers.find((one) => `instance=${nameOf(one.index)}` === target && one.isUp());
    }
    return BROKEN;
  };
}

/** What a client is told when there is no answer to show. */
const BROKEN: ResponseMessage = { status: 502, statusText: "", headers: [], body: null };

/** What Fly Proxy adds to a request. */
function linesOf(plan: Plan, visit: Visit, from: Server | undefined): HeaderLines {
  if (!plan.isFly) return [];
  const lines = ["Fly-Client-IP", visit.clientAddress, "Fly-Request-Id", `r${visit.exchange.id}`];
  if (from !== undefined) lines.push("Fly-Replay-Src", `instance=${nameOf(from.index)}`);
  return lines;
}
