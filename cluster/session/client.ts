import type { NotesClient } from "../notes-client.ts";
import type { Tally } from "./tally.ts";

/** A client that writes growing numbers and holds every answer against what it knows already. */
export interface SessionClient {
  /** Writes a number, greater than all before, into its own key. */
  write(value: number): Promise<void>;
  /** Reads a key. */
  read(key: string): Promise<void>;
}

/**
 * Creates a client that knows nothing yet.
 *
 * @param own The key that this client writes, and nobody else.
 * @param client Sends its requests.
 * @param tally Counts what it sees.
 */
export function createSessionClient(own: string, client: NotesClient, tally: Tally): SessionClient {
  // The greatest number that it has read from each key.
  const seen = new Map<string, number>();
  let written = 0;

  return {
    async write(value) {
      const { status, text, node, runtime } = await client.ask("PUT", own, String(value));
      if (!isOk(status)) {
        tally.count("errors", runtime, `PUT ${own} at ${node}: ${status} ${text.trim()}`);
        return;
      }
      tally.count("writes", runtime);
      written = value;
    },
    async read(key) {
      const { status, text, node, runtime } = await client.ask("GET", key);
      const told = `GET ${key} from ${node}:`;
      const value = status === 404 ? 0 : Number(text.trim() || "none");
      if ((!isOk(status) && status !== 404) || Number.isNaN(value)) {
        tally.count("errors", runtime, `${told} ${status} ${text.trim()}`);
        return;
      }
      tally.count("reads", runtime);
      if (key === own && value < written) {
        tally.count("stale", runtime, `${told} ${value} after ${written} was written`);
      }
      const best = seen.get(key) ?? 0;
      if (value < best) {
        tally.count("back", runtime, `${told} ${value} after ${best} was read`);
      }
      seen.set(key, Math.max(best, value));
    },
  };
}

function isOk(status: number): boolean {
  return status >= 200 && status < 300;
}
