import { hranaError } from "./connection.ts";
import type { Connection } from "./connection.ts";
import { HranaProtocolError } from "./protocol.ts";
import type {
  CursorRequest,
  HranaAnswer,
  HranaBatchResult,
  HranaRequest,
  PipelineRequest,
  PipelineResponse,
} from "./protocol.ts";
import { createStatements } from "./statements.ts";
import type { StatementOptions, Statements } from "./statements.ts";
import { createStreams } from "./streams.ts";
import type { Stream } from "./streams.ts";

/** What a hrana server is made of. */
export interface HranaOptions extends StatementOptions {
  /** Opens a connection; each stream has one of its own. */
  connect(): Connection;
  /** How long a stream lives without a request, in milliseconds; what it has open is rolled back then. */
  readonly streamTimeout: number;
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

/** Creates a hrana server: versions 2 and 3 over HTTP, in JSON. */
export function createHrana(options: HranaOptions): Hrana {
  const streams = createStreams(options.connect, options.streamTimeout, options.clock);
  return {
    async pipeline({ baton, requests }, ran = () => undefined) {
      const stream = streams.take(baton);
      const statements = createStatements(stream, ran, options);
      const results: HranaAnswer[] = [];
      for (const request of requests) {
        try {
          const response = await answer(request, stream, statements);
          results.push({ type: "ok", response: { type: request.type, ...response } });
        } catch (error) {
          results.push({ type: "error", error: hranaError(error) });
        }
      }
      const isOver = requests.some(({ type }) => type === "close");
      return { baton: isOver ? null : streams.keep(stream), base_url: null, results };
    },
    async cursor(body, ran = () => undefined) {
      const stream = streams.take(body.baton);
      const result = await createStatements(stream, ran, options).batch(body.batch);
      const head = { baton: streams.keep(stream), base_url: null };
      return [head, ...entriesOf(result)].map((line) => `${JSON.stringify(line)}\n`).join("");
    },
    reset: streams.reset,
  };
}

/** Does what one request of a pipeline asks for, and returns what its answer has besides the type. */
async function answer(
  request: HranaRequest,
  stream: Stream,
  statements: Statements,
): Promise<Readonly<Record<string, unknown>>> {
  switch (request.type) {
    case "execute":
      return { result: await statements.execute(request.stmt) };
    case "batch":
      return { result: await statements.batch(request.batch) };
    case "sequence":
      await statements.sequence(request);
      return {};
    case "describe": {
      const cols = await statements.describe(request);
      return { result: { params: [], cols, is_explain: false, is_readonly: false } };
    }
    case "store_sql":
      stream.texts.set(request.sql_id, request.sql);
      return {};
    case "close_sql":
      stream.texts.delete(request.sql_id);
      return {};
    case "get_autocommit":
      return { is_autocommit: stream.isAutocommit() };
    case "close":
      stream.close();
      return {};
    default:
      throw new HranaProtocolError("There is no such request", "PROTOCOL_ERROR");
  }
}

/** Returns what a cursor tells of a batch, entry by entry. */
function entriesOf({ step_results: results, step_errors: errors }: HranaBatchResult): unknown[] {
  return results.flatMap((result, step): unknown[] => {
    const error = errors[step] ?? null;
    if (error !== null) {
      return [{ type: "step_error", step, error }];
    }
    if (result === null) {
      return [];
    }
    const { cols, rows, affected_row_count, last_insert_rowid } = result;
    return [
      { type: "step_begin", step, cols },
      ...rows.map((row) => ({ type: "row", row })),
      { type: "step_end", affected_row_count, last_insert_rowid },
    ];
  });
}
