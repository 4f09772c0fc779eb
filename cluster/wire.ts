import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import type { Transaction } from "./database.ts";
import type { Member } from "./member.ts";
import type { ClusterNode } from "./node.ts";
import { createCalls } from "./wire/calls.ts";

/** What a node in a process of its own tells about itself once it is up. */
export interface Ready extends Pick<
  ClusterNode,
  "directory" | "url" | "port" | "apiUrl" | "apiPort"
> {
  /** The runtime with its version. */
  readonly runtime: string;
}

/** What the network can ask of a node. */
type Method = Exclude<keyof Member, "name" | "hostname">;

interface Request {
  readonly id: number;
  readonly call: Method;
  readonly argument?: unknown;
}

type Message =
  | { readonly ready: Ready }
  | { readonly committed: Transaction }
  | { readonly promote: true }
  | { readonly id: number; readonly result?: unknown; readonly error?: string };

/** The node's end of the wire: one JSON text a line. */
export interface NodeWire {
  /** Tells that the node is up, and serves it until the other end is gone. */
  serve(node: ClusterNode, runtime: string): Promise<void>;
  /** Passes a commit on. */
  committed(transaction: Transaction): void;
  /** Passes on the wish to become the primary. */
  promote(): void;
}

/**
 * Makes the node's end of a wire.
 *
 * @param input Where requests come from.
 * @param output Where answers go.
 */
export function createNodeWire(input: Readable, output: Writable): NodeWire {
  function tell(message: Message): void {
    output.write(`${JSON.stringify(message)}\n`);
  }

  async function answer(node: ClusterNode, line: string): Promise<void> {
    // What comes from the other end is a request that `createMemberWire` wrote.
    const { id, call, argument } = JSON.parse(line) as Request;
    try {
      // The argument is the one that the other end's method of this name took.
      const work = node[call] as (argument: unknown) => Promise<unknown>;
      tell({ id, result: await work(argument) });
    } catch (error) {
      tell({ id, error: error instanceof Error ? error.message : String(error) });
    }
  }

  return {
    async serve(node, runtime) {
      const lines = createInterface({ input });
      const ended = new Promise<void>((resolve) => lines.once("close", () => resolve()));
      lines.on("line", (line) => void answer(node, line));
      const { directory, url, port, apiUrl, apiPort } = node;
      tell({ ready: { directory, url, port, apiUrl, apiPort, runtime } });
      await ended;
    },
    committed: (transaction) => tell({ committed: transaction }),
    promote: () => tell({ promote: true }),
  };
}

/** What the other end of a wire takes besides answers. */
export interface WireEvents {
  /** Takes a commit of the node. */
  readonly committed: (transaction: Transaction) => void;
  /** Takes the node's wish to become the primary. */
  readonly promote: () => void;
}

/** The network's end of a wire. */
export interface MemberWire {
  /** The node behind the wire. */
  readonly member: Member;
  /** Resolves once the node is up; rejects when the wire ends before. */
  readonly ready: Promise<Ready>;
}

// A process that hangs must not hang the cluster.
const callTimeout = 10_000;

/**
 * Makes the network's end of a wire.
 *
 * @param who The node.
 * @param input Where answers come from.
 * @param output Where requests go.
 * @param events Takes what the node tells by itself.
 */
export function createMemberWire(
  who: Pick<Member, "name" | "hostname">,
  input: Readable,
  output: Writable,
  events: WireEvents,
): MemberWire {
  const { name, hostname } = who;
  const calls = createCalls(name, callTimeout);
  const lines = createInterface({ input });

  const ready = new Promise<Ready>((resolve, reject) => {
    lines.on("line", (line) => {
      // What comes from the other end is a message that `createNodeWire` wrote.
      const message = JSON.parse(line) as Message;
      if ("ready" in message) {
        resolve(message.ready);
      } else if ("committed" in message) {
        events.committed(message.committed);
      } else if ("promote" in message) {
        events.promote();
      } else {
        calls.answer(message.id, message);
      }
    });
    lines.once("close", () => {
      reject(new Error(`Cannot reach ${name}: it is gone`));
      calls.end();
    });
  });
  // Whoever waits for it sees the error; nobody has to wait.
  ready.catch(() => undefined);
  // Writing to a process that has just ended fails here too; the input's end tells.
  output.on("error", () => undefined);

  async function call<T>(method: Method, argument?: unknown): Promise<T> {
    const answer = await calls.make((id) => {
      output.write(`${JSON.stringify({ id, call: method, argument } satisfies Request)}\n`);
    });
    // The other end's method of this name returned it.
    return answer as T;
  }

  return {
    member: {
      name,
      hostname,
      lead: () => call("lead"),
      follow: (primary) => call("follow", primary),
      position: () => call("position"),
      apply: (transactions) => call("apply", transactions),
      install: (snapshot) => call("install", snapshot),
      snapshot: () => call("snapshot"),
      heartbeat: (time) => call("heartbeat", time),
    },
    ready,
  };
}
