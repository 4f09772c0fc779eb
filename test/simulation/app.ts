import {
  type HeaderLines,
  type ResponseMessage,
  type Transport,
  type TransportError,
  type UpstreamRequest,
} from "../../src/index.ts";
import type { Cluster, ClusterNode } from "./cluster.ts";
import type { Observation } from "./history.ts";
import type { Plan } from "./plan.ts";
import type { Random } from "./random.ts";
import type { Timeline } from "./timeline.ts";

/** The app on one node: it reads and writes that node's databases, each at some moment while it handles a request. */
export interface App {
  /** How its proxy reaches it. */
  readonly transport: Transport;
  /** Breaks off everything under way, and listens no more. */
  crash(): void;
  /** Listens again. */
  start(): void;
}

/** The field in which an app says which observation its answer shows. */
export const OBSERVATION = "X-Observation";

/** The field in which a client says which request this is. */
export const REQUEST = "X-Request";

/**
 * Creates the app of a node. Its paths: `/read` and `/stale/read` show what the databases have come to;
 * `/write/DATABASE` and `/forwarded/write/DATABASE` commit; `/upgrade/DATABASE` is a read that finds that it must write;
 * `/nothing` is sent with an unsafe method and changes nothing.
 *
 * @param node Its node.
 * @param onObserved Takes what an answer shows, and returns its number.
 * @param Failure What the proxy knows a request without an answer by.
 */
export function createApp(
  node: ClusterNode,
  cluster: Cluster,
  plan: Plan,
  timeline: Timeline,
  random: Random,
  onObserved: (observation: Observation) => number,
  Failure: typeof TransportError,
): App {
  const open = new Set<(error: Error) => void>();
  let isUp = true;

  function answer(status: number, headers: HeaderLines): ResponseMessage {
    return { status, statusText: "", headers, body: null };
  }

  /** Does what a request asks for. */
  function act(request: UpstreamRequest): ResponseMessage {
    const [, verb = "", ...rest] = request.target.replace(/^\/(?:forwarded|stale)/, "").split("/");
    const id = Number(valueOf(request.headers, REQUEST));
    if (verb === "write" || verb === "upgrade") {
      const wrote = cluster.commit(node, Number(rest[0]), id);
      if (wrote === undefined)
        return verb === "upgrade"
          ? answer(200, ["Txid-App", "primary"])
          : answer(500, ["X-Reason", "attempt to write a readonly database"]);
      const seen = observe(wrote);
      return answer(200, verb === "upgrade" ? [...seen, "Txid-App", "wrote"] : seen);
    }
    return answer(200, verb === "nothing" ? [...observe(), "Txid-App", "unchanged"] : observe());
  }

  function observe(wrote?: Observation["wrote"]): HeaderLines {
    const number = onObserved({ node: node.index, heads: node.heads.slice(), wrote });
    return [OBSERVATION, String(number)];
  }

  return {
    transport: (request) =>
      new Promise((resolve, reject) => {
        if (!isUp) {
          reject(new Failure("refused", "Nobody listens"));
          return;
        }
        const fail = (error: Error): void => {
          open.delete(fail);
          reject(error);
        };
        open.add(fail);
        request.signal.addEventListener("abort", () => {
          fail(new Failure("aborted", "Request aborted"));
        });
        timeline.after(random.time(0, plan.appTime), () => {
          // Who has crashed does nothing; who is asked by somebody that has left may still do it.
          if (!open.has(fail) && !(isUp && request.signal.aborted && random.chance(50))) return;
          const response = act(request);
          timeline.after(random.time(0, plan.appTime), () => {
            open.delete(fail);
            resolve(response);
          });
        });
      }),
    crash: () => {
      isUp = false;
      for (const fail of open) fail(new Failure("reset", "Connection broke"));
    },
    start: () => {
      isUp = true;
    },
  };
}

/** Returns the value of a header line. */
export function valueOf(headers: HeaderLines, name: string): string | undefined {
  const wanted = name.toLowerCase();
  for (let index = 0; index < headers.length; index += 2)
    if (headers[index]?.toLowerCase() === wanted) return headers[index + 1];
  return undefined;
}
