import { randomUUID } from "node:crypto";
import type { Clock } from "../../src/clock.ts";
import type { Connection } from "./connection.ts";
import { HranaProtocolError } from "./protocol.ts";

/** What a client has open on a server: hrana has no connections, but requests that name the stream they go on with. */
export interface Stream {
  /** Returns its connection to the database, which it opens when it is wanted first. */
  connection(): Connection;
  /** Tells whether no transaction is open. */
  isAutocommit(): boolean;
  /** The SQL texts that the client has stored, by their numbers. */
  readonly texts: Map<number, string>;
  /** Closes its connection; what is open is rolled back. */
  close(): void;
}

/** The streams of a server. */
export interface Streams {
  /**
   * Takes the stream that a request names by its baton, or a new one when it names none.
   *
   * @throws {HranaProtocolError} When the baton names no stream.
   */
  take(baton: string | null | undefined): Stream;
  /** Keeps a stream for the next request and returns the baton that names it until then. */
  keep(stream: Stream): string;
  /** Closes every stream that is kept. */
  reset(): void;
}

/**
 * Creates an empty set of streams.
 *
 * @param connect Opens a connection; each stream has one of its own.
 * @param timeout How long a stream is kept without a request, in milliseconds.
 */
export function createStreams(connect: () => Connection, timeout: number, clock: Clock): Streams {
  const kept = new Map<string, { readonly stream: Stream; readonly timer: unknown }>();
  return {
    take(baton) {
      if (baton === null || baton === undefined) {
        return createStream(connect);
      }
      const found = kept.get(baton);
      if (found === undefined) {
        throw new HranaProtocolError("The stream has expired due to inactivity", "STREAM_EXPIRED");
      }
      // A baton is good for one request, so that two of them cannot run on one stream at once.
      kept.delete(baton);
      clock.clearTimeout(found.timer);
      return found.stream;
    },
    keep(stream) {
      const baton = randomUUID();
      const timer = clock.setTimeout(() => {
        kept.delete(baton);
        stream.close();
      }, timeout);
      kept.set(baton, { stream, timer });
      return baton;
    },
    reset() {
      for (const { stream, timer } of kept.values()) {
        clock.clearTimeout(timer);
        stream.close();
      }
      kept.clear();
    },
  };
}

function createStream(connect: () => Connection): Stream {
  let connection: Connection | undefined;
  return {
    connection() {
      connection ??= connect();
      return connection;
    },
    isAutocommit: () => connection?.isAutocommit() ?? true,
    texts: new Map(),
    close() {
      connection?.close();
      connection = undefined;
    },
  };
}
