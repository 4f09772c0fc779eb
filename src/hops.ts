import { type Clock, timeOfDay } from "./clock.ts";
import { firstValue } from "./headers.ts";
import type { IncomingRequest } from "./message.ts";
import { isBelieved } from "./peer.ts";
import { stateOf } from "./replay.ts";
import type { Keyring } from "./signature.ts";
import type { Trust } from "./trust.ts";

/** The header field in which one node's proxy tells the next how often a request has been sent on. */
export const HOPS_FIELD = "Txid-Hops";

/** How often a request has been sent from node to node. */
export interface Hops {
  /** How often, as the request says: whoever makes it up ends nothing but that request. */
  readonly count: number;
  /** How often, as far as somebody of the cluster has said so. */
  readonly proven: number;
  /** Whether another node's proxy has sent it here itself, and not an edge that was asked to. */
  readonly isForwarded: boolean;
}

/** Counts how often requests are sent from node to node, so that none goes round for ever. */
export interface HopCounter {
  /** Returns how often a request has been sent on. */
  read(request: IncomingRequest): Promise<Hops>;
  /** Returns the text that says so to the next node: a count, and its proof where there are keys. */
  write(request: IncomingRequest, count: number): Promise<string>;
}

/** How long a count is believed, in milliseconds: a request is sent on in far less, and clocks differ. */
const MAX_AGE = 120_000;

/**
 * Creates the counter of a node.
 *
 * @param keyring What counts are signed with; undefined: those of trusted peers count.
 * @param isTrusted Who these are.
 * @param clock The time.
 */
export function createHopCounter(
  keyring: Keyring | undefined,
  isTrusted: Trust,
  clock: Clock,
): HopCounter {
  /** Returns a count if somebody of the cluster has written it, else 0. */
  async function prove(request: IncomingRequest, text: string): Promise<number> {
    const [count = "", issued = "", key = "", signature = ""] = text.split("/");
    if (claimed(text) === 0 || keyring === undefined) return claimed(text);
    const age = Math.abs(timeOfDay(clock) - Number(issued) * 1000);
    if (!/^\d{1,12}$/.test(issued) || age > MAX_AGE) return 0;
    const message = signedText(request, count, issued);
    return (await keyring.verify(message, { key, signature })) ? Number(count) : 0;
  }

  return {
    read: async (request) => {
      const field = firstValue(request.headers, "txid-hops");
      const source = firstValue(request.headers, "fly-replay-src");
      if (field === undefined && source === undefined) return NONE;
      // Without keys anybody could write a count: outsiders get none.
      const isHeard = keyring !== undefined || isBelieved(request, isTrusted);
      const state = source === undefined ? "" : (stateOf(source) ?? "");
      const forwarded = isHeard ? await prove(request, field ?? "") : 0;
      const proven = Math.max(forwarded, await prove(request, state));
      // LiteFS's own proxy replays without a state, and so do apps, for which any node will do.
      const replayed = source === undefined ? 0 : 1;
      const count = Math.max(proven, replayed, claimed(field ?? ""), claimed(state));
      return { count, proven, isForwarded: forwarded > 0 };
    },
    write: async (request, count) => {
      if (keyring === undefined) return String(count);
      const issued = String(Math.floor(timeOfDay(clock) / 1000));
      const { key, signature } = await keyring.sign(signedText(request, String(count), issued));
      return [count, issued, key, signature].join("/");
    },
  };
}

const NONE: Hops = { count: 0, proven: 0, isForwarded: false };

/** Returns the count that a text begins with, proven or not; 0: there is none. */
function claimed(text: string): number {
  return Number(/^(\d{1,2})(?:\/|$)/.exec(text)?.[1] ?? 0);
}

/** Returns what is signed; no field can hold a line feed. */
function signedText({ method, target }: IncomingRequest, count: string, issued: string): string {
  return ["txid-hops-1", method, target, count, issued].join("\n");
}
