import { randomUUID } from "node:crypto";
import type { Clock } from "../../src/clock.ts";
import { hranaError, isBusy } from "./connection.ts";
import type { Connection, Outcome } from "./connection.ts";
import { HranaProtocolError } from "./protocol.ts";
import type {
  CursorRequest,
  HranaAnswer,
  HranaBatch,
  HranaBatchResult,
  HranaCondition,
  HranaError,
  HranaRequest,
  HranaResult,
  HranaStatement,
  PipelineRequest,
  PipelineResponse,
} from "./protocol.ts";

/** What a hrana server is made of. */
export interface HranaOptions {
  /** Opens a connection; each stream has one of its own. */
  connect(): Connection;
  /** Returns the replication index of the database now. */
  index(): number;
  /** Waits until the database has reached an index. */
  reach(index: number): Promise<void>;
  /** How long a stream lives without a request, in milliseconds; what it has open is rolled back then. */
  readonly streamTimeout: number;
  /** How long a statement waits for the one that writes, in milliseconds. */
  readonly busyTimeout: number;
  /** The time. */
  readonly clock: Clock;
}

/** A hrana server without its HTTP. */
export interface Hrana {
  /**
   * Answers a pipeline.
   *
   * @throws {HranaProtocolError} When its baton names no stream.
   */
  pipeline(body: PipelineRequest, ran?: () => void): Promise<PipelineResponse>;
  /**
   * Answers a cursor: one JSON text a line.
   *
   * @throws {HranaProtocolError} When its baton names no stream.
   */
  cursor(body: CursorRequest, ran?: () => void): Promise<string>;
  /** Closes every stream, as the end of the process does. */
  reset(): void;
}

interface Stream {
  connection: Connection | undefined;
  readonly texts: Map<number, string>;
  timer: unknown;
}

// How long until the next attempt when another stream writes, in milliseconds.
const busyPause = 2;

// What would cut the write-ahead log behind the back of the one who ships it.
const unsupported = /^\s*pragma\s+(?:\w+\.)?(?:wal_|journal_mode\s*[=(]|page_size\s*[=(])/i;

/** Creates a hrana server: versions 2 and 3 over HTTP, in JSON. */
export function createHrana(options: HranaOptions): Hrana {
  const { clock } = options;
  const streams = new Map<string, Stream>();

  function take(baton: string | null | undefined): Stream {
    if (baton === null || baton === undefined) {
      return { connection: undefined, texts: new Map(), timer: undefined };
    }
    const stream = streams.get(baton);
    if (stream === undefined) {
      throw new HranaProtocolError("The stream has expired due to inactivity", "STREAM_EXPIRED");
    }
    // A baton is good for one request, so that two of them cannot run on one stream at once.
    streams.delete(baton);
    clock.clearTimeout(stream.timer);
    return stream;
  }

  function put(stream: Stream): string {
    const baton = randomUUID();
    streams.set(baton, stream);
    stream.timer = clock.setTimeout(() => {
      streams.delete(baton);
      stream.connection?.close();
    }, options.streamTimeout);
    return baton;
  }

  function connectionOf(stream: Stream): Connection {
    stream.connection ??= options.connect();
    return stream.connection;
  }

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

  // One process and no threads: the stream that writes can only go on while this one waits.
  async function patiently<T>(work: () => T): Promise<T> {
    const end = clock.now() + options.busyTimeout;
    for (;;) {
      try {
        return work();
      } catch (error) {
        if (!isBusy(error) || clock.now() >= end) {
          throw error;
        }
      }
      await new Promise<void>((resolve) => clock.setTimeout(resolve, busyPause));
    }
  }

  async function reached(index: string | number | null | undefined): Promise<void> {
    if (index !== null && index !== undefined) {
      await options.reach(Number(index));
    }
  }

  async function execute(
    stream: Stream,
    statement: HranaStatement,
    ran: () => void,
  ): Promise<Outcome> {
    await reached(statement.replication_index);
    const text = textOf(stream, statement);
    const run = connectionOf(stream).prepare(text, statement);
    return patiently(() => {
      const outcome = run();
      ran();
      return outcome;
    });
  }

  async function batch(
    stream: Stream,
    { steps, replication_index: index }: HranaBatch,
    ran: () => void,
  ): Promise<HranaBatchResult> {
    const results: (HranaResult | null)[] = [];
    const errors: (HranaError | null)[] = [];

    function holds(condition: HranaCondition): boolean {
      switch (condition.type) {
        case "ok":
          return (results[condition.step] ?? null) !== null;
        case "error":
          return (errors[condition.step] ?? null) !== null;
        case "not":
          return !holds(condition.cond);
        case "and":
          return condition.conds.every(holds);
        case "or":
          return condition.conds.some(holds);
        default:
          return connectionOf(stream).isAutocommit();
      }
    }

    await reached(index);
    for (const { condition, stmt } of steps) {
      let result: HranaResult | null = null;
      let error: HranaError | null = null;
      if (condition === null || condition === undefined || holds(condition)) {
        try {
          result = resultOf(await execute(stream, stmt, ran), null);
        } catch (thrown) {
          error = hranaError(thrown);
        }
      }
      results.push(result);
      errors.push(error);
    }
    return {
      step_results: results,
      step_errors: errors,
      replication_index: String(options.index()),
    };
  }

  async function answer(
    stream: Stream,
    request: HranaRequest,
    ran: () => void,
  ): Promise<Readonly<Record<string, unknown>>> {
    switch (request.type) {
      case "execute": {
        const outcome = await execute(stream, request.stmt, ran);
        return { result: resultOf(outcome, String(options.index())) };
      }
      case "batch":
        return { result: await batch(stream, request.batch, ran) };
      case "sequence": {
        await reached(request.replication_index);
        const text = textOf(stream, request);
        await patiently(() => {
          connectionOf(stream).sequence(text);
          ran();
        });
        return {};
      }
      case "describe": {
        await reached(request.replication_index);
        const cols = connectionOf(stream).describe(textOf(stream, request));
        return { result: { params: [], cols, is_explain: false, is_readonly: false } };
      }
      case "store_sql":
        stream.texts.set(request.sql_id, request.sql);
        return {};
      case "close_sql":
        stream.texts.delete(request.sql_id);
        return {};
      case "get_autocommit":
        return { is_autocommit: stream.connection?.isAutocommit() ?? true };
      case "close":
        stream.connection?.close();
        stream.connection = undefined;
        return {};
      default:
        throw new HranaProtocolError("There is no such request", "PROTOCOL_ERROR");
    }
  }

  return {
    async pipeline({ baton, requests }, ran = () => undefined) {
      const stream = take(baton);
      const results: HranaAnswer[] = [];
      for (const request of requests) {
        try {
          const response = await answer(stream, request, ran);
          results.push({ type: "ok", response: { type: request.type, ...response } });
        } catch (error) {
          results.push({ type: "error", error: hranaError(error) });
        }
      }
      const isOver = requests.some(({ type }) => type === "close");
      return { baton: isOver ? null : put(stream), base_url: null, results };
    },
    async cursor(body, ran = () => undefined) {
      const stream = take(body.baton);
      const { step_results: results, step_errors: errors } = await batch(stream, body.batch, ran);
      const lines: unknown[] = [{ baton: put(stream), base_url: null }];
      results.forEach((result, step) => {
        const error = errors[step] ?? null;
        if (error !== null) {
          lines.push({ type: "step_error", step, error });
        }
        if (result !== null) {
          const { cols, rows, affected_row_count, last_insert_rowid } = result;
          lines.push({ type: "step_begin", step, cols });
          lines.push(...rows.map((row) => ({ type: "row", row })));
          lines.push({ type: "step_end", affected_row_count, last_insert_rowid });
        }
      });
      return lines.map((line) => `${JSON.stringify(line)}\n`).join("");
    },
    reset() {
      for (const stream of streams.values()) {
        clock.clearTimeout(stream.timer);
        stream.connection?.close();
      }
      streams.clear();
    },
  };
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
