/** A value as hrana writes it. */
export type HranaValue =
  | { readonly type: "null" }
  | { readonly type: "integer"; readonly value: string }
  | { readonly type: "float"; readonly value: number }
  | { readonly type: "text"; readonly value: string }
  | { readonly type: "blob"; readonly base64: string };

/** A statement of a request: its text, or the number of a stored one, and its values. */
export interface HranaStatement {
  /** The SQL text. */
  readonly sql?: string | null;
  /** The number of a stored text. */
  readonly sql_id?: number | null;
  /** The values by their place. */
  readonly args?: readonly HranaValue[];
  /** The values by their name. */
  readonly named_args?: readonly { readonly name: string; readonly value: HranaValue }[];
  /** Whether rows are wanted. @default true */
  readonly want_rows?: boolean | null;
  /** The index that the database must have reached before. */
  readonly replication_index?: string | number | null;
}

/** What must hold for a step of a batch to run. */
export type HranaCondition =
  | { readonly type: "ok" | "error"; readonly step: number }
  | { readonly type: "not"; readonly cond: HranaCondition }
  | { readonly type: "and" | "or"; readonly conds: readonly HranaCondition[] }
  | { readonly type: "is_autocommit" };

/** Statements that run one after the other, each under a condition. */
export interface HranaBatch {
  /** The steps. */
  readonly steps: readonly {
    readonly condition?: HranaCondition | null;
    readonly stmt: HranaStatement;
  }[];
  /** The index that the database must have reached before. */
  readonly replication_index?: string | number | null;
}

/** One request of a pipeline. */
export type HranaRequest =
  | { readonly type: "close" | "get_autocommit" }
  | { readonly type: "execute"; readonly stmt: HranaStatement }
  | { readonly type: "batch"; readonly batch: HranaBatch }
  | ({ readonly type: "sequence" | "describe" } & Pick<
      HranaStatement,
      "sql" | "sql_id" | "replication_index"
    >)
  | { readonly type: "store_sql"; readonly sql_id: number; readonly sql: string }
  | { readonly type: "close_sql"; readonly sql_id: number };

/** What `POST /v2/pipeline` and `/v3/pipeline` take. */
export interface PipelineRequest {
  /** Names the stream that goes on; null opens one. */
  readonly baton?: string | null;
  /** What is asked for, in order. */
  readonly requests: readonly HranaRequest[];
}

/** What `POST /v3/cursor` takes. */
export interface CursorRequest {
  /** Names the stream that goes on; null opens one. */
  readonly baton?: string | null;
  /** What is asked for. */
  readonly batch: HranaBatch;
}

/** Why something failed. */
export interface HranaError {
  /** A sentence for people. */
  readonly message: string;
  /** A word for programs, such as `SQLITE_CONSTRAINT`. */
  readonly code: string;
}

/** A column of a result. */
export interface HranaColumn {
  /** Its name. */
  readonly name: string;
  /** Its declared type. */
  readonly decltype: string | null;
}

/** What a statement gave. */
export interface HranaResult {
  /** The columns. */
  readonly cols: readonly HranaColumn[];
  /** The rows. */
  readonly rows: readonly (readonly HranaValue[])[];
  /** How many rows it wrote. */
  readonly affected_row_count: number;
  /** The id of the row that was inserted last. */
  readonly last_insert_rowid: string | null;
  /** The index that the database had after it; null within a batch, which has one for all. */
  readonly replication_index: string | null;
}

/** What a batch gave, step by step. */
export interface HranaBatchResult {
  /** What the steps gave; null where one failed or did not run. */
  readonly step_results: (HranaResult | null)[];
  /** Why steps failed; null where one did not. */
  readonly step_errors: (HranaError | null)[];
  /** The index that the database had after them. */
  readonly replication_index: string | null;
}

/** What a request gave. */
export type HranaAnswer =
  | { readonly type: "ok"; readonly response: Readonly<Record<string, unknown>> }
  | { readonly type: "error"; readonly error: HranaError };

/** What a pipeline gives. */
export interface PipelineResponse {
  /** Names the stream from here on; null when it is closed. */
  readonly baton: string | null;
  /** Where the stream goes on; null: at the same address. */
  readonly base_url: null;
  /** What each request gave. */
  readonly results: readonly HranaAnswer[];
}

/** A request that cannot be served at all, with the status that says so. */
export class HranaProtocolError extends Error {
  /** A word for programs. */
  readonly code: string;

  /** Makes the error that `message` and `code` tell. */
  constructor(message: string, code: string) {
    super(message);
    this.name = "HranaProtocolError";
    this.code = code;
  }
}
