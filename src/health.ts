import { answer, answerWith } from "./answer.ts";
import type { ResponseMessage } from "./message.ts";
import type { ResolvedOptions } from "./options.ts";
import type { Position, Primary } from "./storage.ts";

/** What is known of this node's health. */
export interface Health {
  /** Whether this node should get requests. */
  readonly healthy: boolean;
  /** The verdict in a line. */
  readonly text: string;
  /** Where writes run. */
  readonly primary: Primary;
  /** The position that this node has applied; null when there is no database or it cannot be read. */
  readonly position: Position | null;
  /** Milliseconds behind the primary; null when not known. */
  readonly lag: number | null;
}

/**
 * Asks the storage, and the target where that is wanted, whether this node should get requests.
 *
 * @param settings How the proxy behaves.
 * @param draining Whether the proxy is about to stop.
 * @param probe Asks the target for a path and returns the status; throws when there is no answer.
 */
export async function checkHealth(
  settings: ResolvedOptions,
  draining: boolean,
  probe: (path: string) => Promise<number>,
): Promise<Health> {
  const { storage, maxLag, healthTarget, onError } = settings;
  const known: { primary: Primary; position: Position | null; lag: number | null } = {
    primary: { at: "unknown" },
    position: null,
    lag: null,
  };
  const judge = async (): Promise<string | undefined> => {
    try {
      known.primary = await storage.primary();
      known.lag = (await storage.lag?.()) ?? null;
      known.position = (await storage.position()) ?? null;
    } catch (error) {
      onError(error);
      return "Storage unavailable";
    }
    if (draining) return "Shutting down";
    // A node without a role and without a lag sees no cluster at all; LiteFS calls it healthy.
    if (known.primary.at === "unknown" && known.lag === null) return "No primary known";
    if (maxLag > 0 && known.primary.at !== "here" && known.lag !== null) {
      if (known.lag === Infinity) return "Replica not ready";
      if (known.lag > maxLag) return "Replication lag exceeded";
    }
    if (healthTarget === undefined) return undefined;
    try {
      const status = await probe(healthTarget);
      return status >= 200 && status < 400 ? undefined : "Target unhealthy";
    } catch (error) {
      onError(error);
      return "Target unavailable";
    }
  };
  const complaint = await judge();
  return { healthy: complaint === undefined, text: complaint ?? "OK", ...known };
}

/**
 * Says a node's health: 200 or 503, with LiteFS's text, or with everything known as JSON.
 *
 * @param health What is known.
 * @param detail Whether to say everything.
 */
export function healthAnswer(health: Health, detail: boolean): ResponseMessage {
  const status = health.healthy ? 200 : 503;
  if (!detail) return answer(status, health.text);
  const { healthy, text, primary, position, lag } = health;
  // JSON has no infinity: a replica that was never synchronised has no lag to tell.
  const facts = { healthy, text, primary, position, lag: lag === Infinity ? null : lag };
  return answerWith(status, "application/json", `${JSON.stringify(facts)}\n`);
}
