import { parseArgs } from "node:util";

/** What `--help` says. */
export const usage: string = `Usage: npm start -- [options]

Starts a stand-in for a LiteFS cluster on this machine, with the proxy in front of each node, looks for reads that are
out of date without the proxy and with it, and stays up to be played with.

  --nodes N      how many nodes, on Node, Bun and Deno in turn (3)
  --no-edge      clients speak to any node, and the proxies forward what belongs to the primary; without this flag an
                 edge stands in front that honours fly-replay
  --libsql       a stand-in for a libSQL primary instead, real embedded replicas, and no proxy: the apps themselves are
                 consistent, and a front that knows nothing sends each request to any of them
  --lag MS       how long a transaction takes to the replicas, in milliseconds (150; 200 with --libsql)
  --clients N    how many clients (16)
  --seconds N    how long they look, each time (4)
  --moves N      how often the primary is handed over after that while clients write (0)
  --crashes N    how often it is killed then, and another node takes over (0)
  --proxy FILE   the program that is the proxy, a path in this checkout (proxy.ts)
  --once         end after that: 0 when the proxy kept its word, 1 when it did not
  --help         this text
`;

/** What the command line asks for. */
export interface Settings {
  /** How many nodes there are. */
  readonly nodes: number;
  /** Whether an edge stands in front. */
  readonly hasEdge: boolean;
  /** Whether the nodes are embedded replicas of libSQL with apps that are consistent by themselves. */
  readonly isLibsql: boolean;
  /** How long a transaction takes to the replicas, in milliseconds. */
  readonly lag: number;
  /** How many clients there are. */
  readonly clients: number;
  /** How long they look, in seconds. */
  readonly seconds: number;
  /** How often the primary is handed over. */
  readonly moves: number;
  /** How often it is killed. */
  readonly crashes: number;
  /** The program that is the proxy. */
  readonly proxy: string;
  /** Whether all ends after the check. */
  readonly isOnce: boolean;
}

/**
 * Reads the command line.
 *
 * @returns The settings, or undefined when help is wanted.
 * @throws {TypeError} When a flag is unknown.
 * @throws {RangeError} When a value makes no sense.
 */
export function readSettings(): Settings | undefined {
  try {
    return readValues();
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
    error.message = `${error.message}, see --help`;
    throw error;
  }
}

function readValues(): Settings | undefined {
  const { values } = parseArgs({
    options: {
      nodes: { type: "string", default: "3" },
      "no-edge": { type: "boolean", default: false },
      libsql: { type: "boolean", default: false },
      lag: { type: "string" },
      clients: { type: "string", default: "16" },
      seconds: { type: "string", default: "4" },
      moves: { type: "string", default: "0" },
      crashes: { type: "string", default: "0" },
      proxy: { type: "string" },
      once: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    return undefined;
  }
  const [moves, crashes] = [
    numberOf("moves", values.moves, 0),
    numberOf("crashes", values.crashes, 0),
  ];
  if (values.libsql && (values["no-edge"] || values.proxy !== undefined || moves + crashes > 0)) {
    throw new RangeError("--libsql: there is no proxy, and no primary that moves");
  }
  return {
    // Whoever moves the primary needs a node to move it to.
    nodes: numberOf("nodes", values.nodes, moves + crashes > 0 ? 2 : 1),
    hasEdge: !values["no-edge"],
    isLibsql: values.libsql,
    lag: numberOf("lag", values.lag ?? (values.libsql ? "200" : "150"), 0),
    clients: numberOf("clients", values.clients, 1),
    seconds: numberOf("seconds", values.seconds, 0.1),
    moves,
    crashes,
    proxy: values.proxy ?? "proxy.ts",
    isOnce: values.once,
  };
}

function numberOf(name: string, text: string, least: number): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= least) || value === Infinity) {
    throw new RangeError(`--${name}: "${text}" is not a number from ${least} up`);
  }
  return value;
}
