import { answer } from "./answer.ts";
import type { ResponseMessage } from "./message.ts";
import { createMinter } from "./minter.ts";
import type { Node } from "./node.ts";
import type { ResolvedOptions } from "./options.ts";
import { takesWrites } from "./storage.ts";
import type { Target } from "./target.ts";
import { appWord, type Reporter, type Trail } from "./trail.ts";

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
  minted(trail: Trail, reason: string, response: ResponseMessage): Promise<ResponseMessage>;
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

  async function minted(
    trail: Trail,
    reason: string,
    response: ResponseMessage,
  ): Promise<ResponseMessage> {
    const { request, kind, claims } = trail;
    const word = appWord(response);
    const wrote = word === "wrote" || (kind === "write" && word !== "unchanged");
    const ready = await minter.mint(response, { request, claims, wrote });
    return reporter.finish(trail, reason, ready);
  }

  return {
    minted,
    onPrimary: async (trail, reason) => {
      reporter.note(trail, "target", reason);
      const isHere = async (): Promise<boolean> => {
        const at = await node.primary();
        return trail.kind === "write" ? takesWrites(at) : at.at === "here";
      };
      const response = await target.send(trail.request, isHere);
      return response && minted(trail, reason, response);
    },
    run: async (trail, reason) => {
      reporter.note(trail, "target", reason);
      const response = await target.send(trail.request, () => Promise.resolve(true));
      return response ?? answer(502, UNAVAILABLE);
    },
    withdraw: ({ request, claims }, response) => minter.withdraw(response, request, claims),
  };
}
