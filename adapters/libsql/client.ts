import type { Clock } from "../../src/clock.ts";

/**
 * The part of `@libsql/client`'s `Client` that is used. Every entry of that package fits, and so does any other client
 * that runs statements and returns rows by the names of their columns.
 */
export interface LibSQLClient {
  /** Runs one statement outside of transactions. */
  execute(sql: string): Promise<{
    /** What the statement returns. */
    readonly rows: readonly Readonly<Record<string, unknown>>[];
  }>;
  /** Runs statements that return nothing outside of transactions. */
  executeMultiple(sql: string): Promise<void>;
  /** Opens the connections anew. */
  reconnect?(): unknown;
}

/** A row of an answer. */
export type AnswerRow = Readonly<Record<string, unknown>>;

/** Asks databases. One that is busy is asked again, after pauses that leave the event loop alone. */
export interface Asker {
  /**
   * Runs a statement and returns its rows.
   *
   * @throws When the database stays busy or silent for too long, and whatever else the client throws.
   */
  read(client: LibSQLClient, sql: string): Promise<readonly AnswerRow[]>;
  /**
   * Runs a statement that writes. A client of files must write in this way: `@libsql/client` 0.18 keeps a statement that
   * has found the database busy open until its memory is collected, and while one is open its connection holds the lock
   * and commits nothing, although it says that it has. What runs several statements closes each.
   *
   * @throws When the database stays busy or silent for too long, and whatever else the client throws.
   */
  write(client: LibSQLClient, sql: string): Promise<void>;
}

/** The pauses before a busy database is asked again: the first and the longest, in milliseconds. */
const FIRST_PAUSE = 1;
const LONGEST_PAUSE = 50;

/**
 * Creates what asks databases.
 *
 * @param timeout How long an answer may take, in milliseconds.
 * @param isDedicated Whether nobody else uses the clients, so that what they keep open can be closed.
 * @param clock The time.
 */
export function createAsker(timeout: number, isDedicated: boolean, clock: Clock): Asker {
  async function again<T>(ask: () => Promise<T>, recover: () => void): Promise<T> {
    const deadline = clock.now() + timeout;
    for (let delay = FIRST_PAUSE; ; delay = Math.min(2 * delay, LONGEST_PAUSE)) {
      try {
        return await within(ask(), Math.max(0, deadline - clock.now()), clock);
      } catch (error) {
        if (!isBusy(error)) throw error;
        recover();
        if (clock.now() + delay > deadline) throw error;
      }
      await new Promise<void>((resolve) => {
        clock.setTimeout(resolve, delay);
      });
    }
  }

  return {
    read: async (client, sql) => {
      const { rows } = await again(
        () => client.execute(sql),
        // The statement is still open, and so would the lock be that the next one takes.
        () => void (isDedicated && client.reconnect?.()),
      );
      return rows;
    },
    write: (client, sql) =>
      again(
        () => client.executeMultiple(sql),
        () => {},
      ),
  };
}

/** Settles as a promise does, or rejects when that takes too long: remote clients have no time-out of their own. */
async function within<T>(answer: Promise<T>, delay: number, clock: Clock): Promise<T> {
  let timer: unknown;
  const late = new Promise<never>((_resolve, reject) => {
    const giveUp = (): void => reject(new Error(`Cannot read database: no answer in ${delay} ms`));
    timer = clock.setTimeout(giveUp, delay);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clock.clearTimeout(timer);
  }
}

/** Tells whether somebody else holds what a statement needs: a lock of the file, or the only connection of a client. */
function isBusy(error: unknown): boolean {
  if (!(error instanceof Error) || !("code" in error) || typeof error.code !== "string")
    return false;
  return /^SQLITE_(BUSY|LOCKED)|^TRANSACTION_ACTIVE$/.test(error.code);
}

/**
 * Makes callers share what one of them asks for. Each gets an answer to a question that was asked after its call, so
 * that it covers what was there then; whoever calls while a question is under way waits for the next one.
 *
 * @param ask Asks the question.
 */
export function createShared<T>(ask: () => Promise<T>): () => Promise<T> {
  let running: Promise<unknown> = Promise.resolve();
  let next: Promise<T> | undefined;
  return () => {
    next ??= running.then(() => {
      next = undefined;
      const answer = ask();
      running = answer.then(nothing, nothing);
      return answer;
    });
    return next;
  };
}

function nothing(): void {}
