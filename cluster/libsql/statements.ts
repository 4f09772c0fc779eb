import type { Clock } from "../../src/clock.ts";
import { runSteps } from "./batch.ts";
import { isBusy } from "./connection.ts";
import type { Outcome } from "./connection.ts";
import { HranaProtocolError } from "./protocol.ts";
import type {
  HranaBatch,
  HranaBatchResult,
  HranaColumn,
  HranaResult,
  HranaStatement,
} from "./protocol.ts";
import type { Stream } from "./streams.ts";

/** What statements run with. */
export interface StatementOptions {
  /** Returns the replication index of the database now. */
  index(): number;
  /** Waits until the database has reached an index. */
  reach(index: number): Promise<void>;
  /** How long a statement waits for the one that writes, in milliseconds. */
  readonly busyTimeout: number;
  /** The time. */
  readonly clock: Clock;
}

/** What runs the statements of a request on its stream, each of them once the database has reached the index it asks for. */
export interface Statements {
  /** Runs one statement. */
  execute(statement: HranaStatement): Promise<HranaResult>;
  /** Runs the steps of a batch whose conditions hold. */
  batch(batch: HranaBatch): Promise<HranaBatchResult>;
  /** Runs any number of statements, without results. */
  sequence(statement: HranaStatement): Promise<void>;
  /** Returns the columns that a statement has, without running it. */
  describe(statement: HranaStatement): Promise<readonly HranaColumn[]>;
}

// How long until the next attempt when another stream writes, in milliseconds.
const busyPause = 2;

// What would cut the write-ahead log behind the back of the one who ships it.
const unsupported = /^\s*pragma\s+(?:\w+\.)?(?:wal_|journal_mode\s*[=(]|page_size\s*[=(])/i;

/**
 * Makes what runs the statements of a request.
 *
 * @param ran Is called when one has run, before any other one does.
 */
export function createStatements(
  stream: Stream,
  ran: () => void,
  options: StatementOptions,
): Statements {
  const { index, reach, busyTimeout, clock } = options;

  async function reached(wanted: string | number | null | undefined): Promise<void> {
    if (wanted !== null && wanted !== undefined) {
      await reach(Number(wanted));
    }
  }

  // One process and no threads: the stream that writes can only go on while this one waits.
  async function patiently<T>(work: () => T): Promise<T> {
    const end = clock.now() + busyTimeout;
    for (;;) {
      try {
        const result = work();
        ran();
        return result;
      } catch (error) {
        if (!isBusy(error) || clock.now() >= end) {
          throw error;
        }
      }
      await new Promise<void>((resolve) => clock.setTimeout(resolve, busyPause));
    }
  }

  async function outcomeOf(statement: HranaStatement): Promise<Outcome> {
    await reached(statement.replication_index);
    const text = textOf(stream, statement);
    return patiently(stream.connection().prepare(text, statement));
  }

  return {
    execute: async (statement) => resultOf(await outcomeOf(statement), String(index())),
    async batch({ steps, replication_index: wanted }) {
      await reached(wanted);
      const { results, errors } = await runSteps(
        steps,
        async (statement) => resultOf(await outcomeOf(statement), null),
        stream.isAutocommit,
      );
      return { step_results: results, step_errors: errors, replication_index: String(index()) };
    },
    async sequence(statement) {
      await reached(statement.replication_index);
      const text = textOf(stream, statement);
      await patiently(() => stream.connection().sequence(text));
    },
    async describe(statement) {
      await reached(statement.replication_index);
      return stream.connection().describe(textOf(stream, statement));
    },
  };
}

/** Returns the text of a statement, which may be one that the stream has stored. */
function textOf(stream: Stream, { sql, sql_id: id }: HranaStatement): string {
  const text = sql ?? (typeof id === "number" ? stream.texts.get(id) : undefined);
  if (text === undefined) {
    throw new HranaProtocolError("SQL text or a stored one is required", "SQL_NO_STATEMENT");
  }
  if (unsupported.test(text)) {
    throw new HranaProtocolError(`Unsupported statement: ${text}`, "SQL_PARSE_ERROR");
  }
  return text;
}

function resultOf(outcome: Outcome, index: string | null): HranaResult {
  return {
    cols: outcome.columns,
    rows: outcome.rows,
    affected_row_count: outcome.affected,
    last_insert_rowid: outcome.rowid,
    replication_index: index,
  };
}
