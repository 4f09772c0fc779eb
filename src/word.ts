import { answer, RETRY } from "./answer.ts";
import type { MaybePromise, Position } from "./storage.ts";
import { toResponse } from "./web.ts";

/** What the app says of a request, for the proxy cannot see it. */
type AppWord = "wrote" | "unchanged" | "primary";

/** What this node is: where writes run, where they do not, or nobody knows. */
export type Role = "primary" | "replica" | "unknown";

/**
 * What an app in this process is told of a request as it begins to run, and what it can say of it until it answers. The
 * last word counts, and more than a `Txid-App` field. On `passthrough` paths nothing is known and no word counts.
 */
export interface Txid {
  /** What this node is. */
  readonly role: Role;
  /** How long the request has waited before, in milliseconds; undefined: it has not. */
  readonly waited: number | undefined;
  /**
   * What this node has applied, asked when it is read here for the first time: a promise where the storage takes time.
   * Undefined: there is no such database (yet), or it cannot be read.
   */
  readonly position: MaybePromise<Position | undefined>;
  /** Says that the request wrote although its method is safe: its client gets a token. */
  wrote(): void;
  /** Says that the request wrote nothing although its method is not safe: its client gets no token. */
  unchanged(): void;
  /**
   * Says that this read must write: it is run on the primary instead, and nobody sees what the app answers here. On the
   * primary itself nothing happens: the app's answer counts.
   *
   * @returns What the app can answer with.
   */
  primary(): Response;
}

/** Where the word of an app is kept until it has answered. */
export interface Said {
  word?: AppWord;
}

const told = new WeakMap<Request, Txid>();
const running = new WeakSet<Request>();

/**
 * Makes what an app is told of a request.
 *
 * @param known What is known of it.
 * @param ask Asks for the position.
 * @param said Keeps what the app says.
 */
export function createTxid(
  known: Pick<Txid, "role" | "waited">,
  ask: () => MaybePromise<Position | undefined>,
  said: Said,
): Txid {
  let asked: { readonly position: MaybePromise<Position | undefined> } | undefined;
  return {
    ...known,
    get position() {
      asked ??= { position: ask() };
      return asked.position;
    },
    wrote: () => {
      said.word = "wrote";
    },
    unchanged: () => {
      said.word = "unchanged";
    },
    primary: () => {
      said.word = "primary";
      return toResponse(answer(503, "The request must run on the primary", RETRY));
    },
  };
}

/** Runs a request on an app in this process, which can ask meanwhile what is known of it. */
export async function runTold<T>(
  request: Request,
  txid: Txid,
  run: (request: Request) => T | Promise<T>,
): Promise<T> {
  told.set(request, txid);
  running.add(request);
  try {
    return await run(request);
  } finally {
    running.delete(request);
  }
}

/**
 * Returns what is known of a request that runs on an app in this process, and takes the app's word.
 *
 * @param request The request as the app got it.
 * @returns The facts; undefined: no proxy in this process has this request, or the app has replaced it by another one.
 */
export function txidOf(request: Request): Txid | undefined {
  return told.get(request);
}

/** Tells whether a proxy in this process has let a request in and waits for the app's answer. */
export function isRunning(request: Request): boolean {
  return running.has(request);
}
