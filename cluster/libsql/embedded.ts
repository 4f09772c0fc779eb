import { createClient } from "@libsql/client";
import type { Client } from "@libsql/client";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { AppContext } from "../app.ts";
import { thisRuntimeVersion } from "../runtime.ts";
import { queryRows } from "../sql.ts";
import { indexOf } from "./log.ts";

/** What an embedded replica is made of. */
export interface EmbeddedOptions {
  /** Its name, which is also the token that the primary knows it by. */
  readonly name: string;
  /** The primary's origin. */
  readonly primary: string;
  /** A directory of its own, which exists. */
  readonly directory: string;
  /** How often it asks the primary for more, in milliseconds. */
  readonly interval: number;
}

/** An embedded replica in this process, and what an app needs of it. */
export interface Embedded {
  /** The native client; what it sends to the primary blocks this thread. */
  readonly client: Client;
  /** The path of its SQLite file. */
  readonly path: string;
  /** What the app sees of it. */
  readonly context: AppContext;
  /** Returns how far it has come, as `replication_index` tells it here. */
  index(): number;
}

// How often the position is read while somebody waits for it, in milliseconds.
const pollInterval = 5;

/** Opens an embedded replica; the primary must be up, and in another process. */
export function openEmbedded(options: EmbeddedOptions): Embedded {
  const { name, directory } = options;
  const path = join(directory, "replica.db");
  const client = createClient({
    url: `file:${path}`,
    syncUrl: options.primary,
    authToken: name,
    syncInterval: options.interval / 1000,
  });

  // The native client replaces this file after each transaction that it has applied.
  function index(): number {
    const info = JSON.parse(readFileSync(`${path}-info`, "utf8")) as Record<string, number>;
    return indexOf({ generation: info["generation"] ?? 0, frame: info["durable_frame_num"] ?? 0 });
  }

  const context: AppContext = {
    node: name,
    runtime: thisRuntimeVersion(),
    read: (sql, args) => queryRows(client, sql, args),
    // One statement, which is a transaction by itself. Where one of several cannot begin on the primary, the native client
    // reads from there until the next one, and what it shows then is ahead of this node's position.
    async write([statement, ...more]) {
      if (statement === undefined || more.length > 0) {
        throw new RangeError("Cannot write: expected one statement");
      }
      await client.execute({ sql: statement.sql, args: [...statement.args] });
    },
    position: () => ({ txid: index().toString(16).padStart(16, "0"), checksum: "0".repeat(16) }),
    subscribe(moved) {
      let known = index();
      const timer = setInterval(() => {
        if (index() !== known) {
          known = index();
          moved(context.position());
        }
      }, pollInterval);
      return () => clearInterval(timer);
    },
  };
  return { client, path, context, index };
}
