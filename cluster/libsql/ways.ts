import { createClient } from "@libsql/client";
import { consistency } from "../../adapters/hono.ts";
import type { ConsistencyOptions } from "../../adapters/hono.ts";
import { libsql, track } from "../../adapters/libsql.ts";
import type { Primary } from "../../src/storage.ts";
import { createNotes } from "../app.ts";
import type { App, AppContext } from "../app.ts";
import { queryRows, runBatch } from "../sql.ts";
import type { Embedded } from "./embedded.ts";

/**
 * How an app is consistent beside an embedded replica: with the position of its `-info`, which the app must write
 * through; with a row, and writes of a remote client; with the row for what was written and `-info` for what was seen;
 * or with the replication index of a server in front of the replica.
 */
export type LibsqlWay = "info" | "row" | "both" | "tracker";

/** All of them. */
export const libsqlWays: readonly LibsqlWay[] = ["info", "row", "both", "tracker"];

/** What they stand on. */
export interface Ground {
  /** The embedded replica. */
  readonly embedded: Embedded;
  /** The primary's origin. */
  readonly primary: string;
  /** The origin of the server that speaks hrana in front of the replica. */
  readonly apiUrl: string;
}

// Each node takes writes, and none of them ends up in its own file: they run on the primary.
const primary: Primary = { at: "everywhere" };

const common: Pick<ConsistencyOptions, "onError" | "waitTimeout"> = {
  // Whoever started this process can look at what it has written there.
  onError: console.error,
  // Replication is delayed by up to four seconds here, and a machine that is busy adds to that.
  waitTimeout: 10_000,
};

/** Creates the notes app, consistent in one of the ways. */
export function createConsistent(way: LibsqlWay, ground: Ground): App {
  const { embedded } = ground;
  const { client, context, path } = embedded;
  if (way === "info") {
    return createNotes(
      context,
      consistency({ ...common, storage: libsql({ info: `${path}-info` }) }),
    );
  }
  if (way === "tracker") {
    const tracker = track();
    const own = createClient({ url: ground.apiUrl, fetch: tracker.fetch });
    const storage = libsql({ client: own, tracker });
    return createNotes(remote(context, ground.apiUrl, true), consistency({ ...common, storage }));
  }
  // What goes to the primary through the replica's own client stops the event loop meanwhile.
  const writer = createClient({ url: ground.primary });
  const storage = libsql({ client, writer, primary });
  const databases = way === "both" ? { replica: libsql({ info: `${path}-info` }) } : undefined;
  const own = remote(context, ground.primary, false);
  return createNotes(own, consistency({ ...common, storage, databases }));
}

/** Lets an app write, and read as well, by a client of its own. */
function remote(context: AppContext, url: string, reads: boolean): AppContext {
  const client = createClient({ url });
  return {
    ...context,
    write: (statements) => runBatch(client, statements),
    read: reads ? (sql, args) => queryRows(client, sql, args) : context.read,
  };
}
