import type { RequestListener } from "node:http";
import type { Snapshot } from "./database.ts";
import { listen } from "./listen.ts";
import type { Listener } from "./listen.ts";
import type { Network } from "./network.ts";

/** What the control API can do to a cluster. */
export interface Controlled {
  /** The network between the nodes. */
  readonly network: Network;
  /** Ends a node as a crash does. */
  crash(name: string): Promise<void>;
  /** Starts a node again after a crash. */
  restart(name: string): Promise<void>;
  /** Hands the primary over and kills it, each so many times, while clients write, and tells what came of it. */
  upheaval?(moves: number, crashes: number): Promise<string>;
}

/**
 * Starts the control API of a cluster. `GET /` tells the state; `PUT` changes it: `/lag/MS`, `/lag/MS/NODE`,
 * `/partition/NODE`, `/heal`, `/failover/NODE`, `/failover/NODE/lose`, `/crash/NODE`, `/restart/NODE`, `/snapshot`,
 * `/restore` and, where there are clients, `/upheaval/MOVES/CRASHES`.
 */
export async function createControl(cluster: Controlled, port = 0): Promise<Listener> {
  const { network } = cluster;
  let saved: Snapshot | undefined;

  async function change(command: string, words: readonly string[]): Promise<string> {
    const [first = "", second] = words;
    switch (command) {
      case "lag":
        network.setLag(first === "" ? NaN : Number(first), second);
        return `Transactions take ${first} ms${second === undefined ? "" : ` to ${second}`}`;
      case "partition":
        await network.partition(first);
        return `${first} is cut off from the other nodes`;
      case "heal":
        await network.heal();
        return "All nodes reach each other";
      case "failover":
        await network.failover(first, second === "lose");
        return `${first} is the primary`;
      case "crash":
        await cluster.crash(first);
        return `${first} is down`;
      case "restart":
        await cluster.restart(first);
        return `${first} is up`;
      case "snapshot":
        saved = await network.snapshot();
        return `Saved the database at ${saved.txid}`;
      case "restore":
        if (saved === undefined) {
          throw new RangeError("Cannot restore: there is no snapshot yet, PUT /snapshot takes one");
        }
        await network.restore(saved);
        return `The database is back at ${saved.txid}`;
      case "upheaval":
        if (cluster.upheaval === undefined || !isCount(first) || !isCount(second)) {
          throw new RangeError("Cannot cause an upheaval: it is /upheaval/MOVES/CRASHES");
        }
        return (await cluster.upheaval(Number(first), Number(second))).trimEnd();
      default:
        throw new RangeError(`Cannot ${command}: there is no such command`);
    }
  }

  async function answer(method: string, path: string): Promise<string> {
    const [command = "", ...words] = path.split("/").slice(1).map(decodeURIComponent);
    if (method === "GET" && command === "") {
      const lines = (await network.status()).map((status) => `  ${JSON.stringify(status)}`);
      return `[\n${lines.join(",\n")}\n]`;
    }
    if (method !== "PUT" && method !== "POST") {
      throw new RangeError("Cannot change anything: the method must be PUT");
    }
    return change(command, words);
  }

  const handler: RequestListener = (request, response) => {
    request.resume();
    answer(request.method ?? "GET", request.url ?? "/").then(
      (text) => response.end(`${text}\n`),
      (error: unknown) => {
        response.writeHead(error instanceof RangeError ? 400 : 500);
        response.end(`${error instanceof Error ? error.message : String(error)}\n`);
      },
    );
  };
  return listen(handler, port);
}

function isCount(text: string | undefined): boolean {
  return text !== undefined && /^\d$/.test(text);
}
