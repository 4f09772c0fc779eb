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
    let more: HeaderLines = [];
    for (let replays = 0; replays <= MAX_REPLAYS && server !== undefined; replays++) {
      const headers = [...visit.headers, ...linesOf(plan, visit), ...more];
      const clientAddress = plan.isFly ? "172.16.0.1" : visit.clientAddress;
      const response = await server.visit({ ...visit, headers, clientAddress });
      const value = response && plan.isFly && valueOf(response.headers, "fly-replay");
      if (value === undefined || value === false) {
        await timeline.sleep(random.time(0, plan.transit));
        return response ?? BROKEN;
      }
      const hasFailed = more[0] === FAILED;
      if (hasFailed) return BROKEN;
      const replay = new Map(value.split(";").map((field) => splitField(field)));
      const from: Server = server;
      const name = nameOf(from.index);
      const state = replay.get("state");
      const target = servers.find((one) => nameOf(one.index) === replay.get("instance"));
      if (target?.isUp() === true) {
        server = target;
        more = [SOURCE, `instance=${name}${state === undefined ? "" : `;state=${state}`}`];
      } else if (replay.get("fallback") === "force_self" && from.isUp()) {
        more = [FAILED, `instance=${replay.get("instance")};replay_source=${name};reason=timeout`];
      } else return BROKEN;
    }
    return BROKEN;
  };
}

const SOURCE = "Fly-Replay-Src";

const FAILED = "Fly-Replay-Failed";

function splitField(field: string): [string, string] {
  const at = field.indexOf("=");
  return [field.slice(0, at), field.slice(at + 1)];
}

/** What a client is told when there is no answer to show. */
const BROKEN: ResponseMessage = { status: 502, statusText: "", headers: [], body: null };

/** What Fly Proxy adds to a request. */
function linesOf(plan: Plan, visit: Visit): HeaderLines {
  if (!plan.isFly) return [];
  return ["Fly-Client-IP", visit.clientAddress, "Fly-Request-Id", `r${visit.exchange.id}`];
}
