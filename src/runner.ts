import { answer } from "./answer.ts";
import { andThen } from "./maybe-promise.ts";
import type { ResponseMessage } from "./message.ts";
import { createMinter } from "./minter.ts";
import type { Node } from "./node.ts";
import type { ResolvedOptions } from "./options.ts";
import { type MaybePromise, type Position, type Primary, takesWrites } from "./storage.ts";
import type { Target } from "./target.ts";
import { appWord, type Reporter, type Trail } from "./trail.ts";
import { createTxid, type Role, type Txid } from "./word.ts";

/** What a client is told of a target that does not answer. */
export const UNAVAILABLE = "Proxy error: target unavailable";

/** Runs requests on this node's app, and puts tokens on its answers. */
export interface Runner {
  /**
   * Runs a request here because this is the primary, or because it writes and every node takes writes; undefined: that
   * has changed, and nothing was sent.
   */
  onPrimary(trail: Trail, reason: string): Promise<ResponseMessage | undefined>;
  /** Runs a request here, whatever the role, and returns the app's answer as it is. */
  run(trail: Trail, reason: string): Promise<ResponseMessage>;
  /** Puts what the client has written and seen on the app's answer, and makes it ready. */
  minted(trail: Trail, reason: string, response: ResponseMessage): MaybePromise<ResponseMessage>;
  /** Takes its tokens away from a client. */
  withdraw(trail: Trail, response: ResponseMessage): ResponseMessage;
}

/** Creates the runner of a node. */
export function createRunner(
  settings: ResolvedOptions,
  node: Node,
  target: Target,
  reporter: Reporter,
): Runner {
  const minter = createMinter(node.databases, settings, node.orReport);

  function minted(
    trail: Trail,
    reason: string,
    response: ResponseMessage,
  ): MaybePromise<ResponseMessage> {
    const { request, kind, claims } = trail;
    const word = appWord(trail, response);
    const wrote = word === "wrote" || (kind === "write" && word !== "unchanged");
    return andThen(minter.mint(response, { request, claims, wrote }), (ready) =>
      reporter.finish(trail, reason, ready),
    );
  }

  /** Makes what an app in this process is told of a request. */
  function told({ kind, said, ...trail }: Trail, at: Primary): Txid {
    // To ask who the primary is takes a moment, too, and is no wait.
    const waited = (trail.waited ?? 0) < 1 ? undefined : trail.waited;
    const position = (): MaybePromise<Position | undefined> =>
      kind === "passthrough" ? undefined : node.orReport(() => settings.storage.position());
    return createTxid({ role: roleOf(at), waited }, position, said);
  }

  return {
    minted,
    onPrimary: async (trail, reason) => {
      reporter.note(trail, "target", reason);
      const isHere = (at: Primary): boolean =>
        trail.kind === "write" ? takesWrites(at) : at.at === "here";
      const stillHolds = async (): Promise<boolean> => isHere(await node.primary());
      const tell = async (): Promise<Txid | undefined> => {
        const at = await node.primary();
        return isHere(at) ? told(trail, at) : undefined;
      };
      const response = await target.send(trail, stillHolds, tell);
      return response && minted(trail, reason, response);
    },
    run: async (trail, reason) => {
      reporter.note(trail, "target", reason);
      const tell = async (): Promise<Txid> =>
        told(trail, trail.kind === "passthrough" ? NOBODY : await node.primary());
      const response = await target.send(trail, always, tell);
      return response ?? answer(502, UNAVAILABLE);
    },
    withdraw: ({ request, claims }, response) => minter.withdraw(response, request, claims),
  };
}

/** Who is the primary where nobody asks. */
const NOBODY: Primary = { at: "unknown" };

function always(): boolean {
  return true;
}

/** Returns what a node is, in a word. */
function roleOf({ at }: Primary): Role {
  if (at === "unknown") return at;
  return at === "elsewhere" ? "replica" : "primary";
}
