import type { UpstreamConnection } from "./upstream-connection.ts";

/** The idle connections of a client. */
export interface Pool {
  /** Returns an open connection to an origin, the one that was used last, if there is any. */
  take(origin: string): UpstreamConnection | undefined;
  /** Keeps a connection for the next request, or closes it when there are enough. */
  put(origin: string, connection: UpstreamConnection): void;
  /** Forgets a connection that has closed. */
  remove(origin: string, connection: UpstreamConnection): void;
  /** Closes all, and from now on each that is put. */
  close(): void;
}

/** An idle connection. */
interface Idle {
  readonly connection: UpstreamConnection;
  /** Since when it is idle, on the clock of `performance.now()`. */
  readonly since: number;
}

/**
 * Creates an empty pool.
 *
 * @param keepAliveTimeout How long an idle connection is kept, in milliseconds.
 * @param maxAge How long after it was opened a connection is kept, in milliseconds.
 * @param maxIdle How many are kept for each origin.
 */
export function createPool(keepAliveTimeout: number, maxAge: number, maxIdle: number): Pool {
  // For each origin, the one that has been idle for longest first.
  const origins = new Map<string, Idle[]>();
  let closed = false;
  let sweeper: ReturnType<typeof setInterval> | undefined;

  /** Closes what has been idle for too long; one coarse timer serves all connections. */
  function sweep(): void {
    const oldest = performance.now() - keepAliveTimeout;
    for (const [origin, row] of origins) {
      while (row[0] !== undefined && row[0].since < oldest) row.shift()?.connection.destroy();
      if (row.length === 0) origins.delete(origin);
    }
    if (origins.size > 0) return;
    clearInterval(sweeper);
    sweeper = undefined;
  }

  return {
    take: (origin) => {
      const row = origins.get(origin);
      const oldest = performance.now() - keepAliveTimeout;
      for (let one = row?.pop(); one !== undefined; one = row?.pop()) {
        if (one.since >= oldest && one.connection.isOpen()) return one.connection;
        one.connection.destroy();
      }
      return undefined;
    },
    put: (origin, connection) => {
      let row = origins.get(origin);
      if (row === undefined) origins.set(origin, (row = []));
      const now = performance.now();
      if (closed || row.length >= maxIdle || now - connection.openedAt > maxAge) {
        connection.destroy();
        return;
      }
      row.push({ connection, since: now });
      if (sweeper !== undefined) return;
      sweeper = setInterval(sweep, 1000);
      sweeper.unref();
    },
    remove: (origin, connection) => {
      const row = origins.get(origin);
      const at = row?.findIndex((one) => one.connection === connection) ?? -1;
      if (at !== -1) row?.splice(at, 1);
    },
    close: () => {
      closed = true;
      clearInterval(sweeper);
      for (const row of origins.values())
        for (const { connection } of row.splice(0)) connection.destroy();
    },
  };
}
