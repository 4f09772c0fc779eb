import { Buffer } from "node:buffer";
import Database from "libsql";
import type { HranaColumn, HranaError, HranaStatement, HranaValue } from "./protocol.ts";

/** What a statement gave, before it is told to a client. */
export interface Outcome {
  /** The columns; none when the statement gives no rows. */
  readonly columns: readonly HranaColumn[];
  /** The rows. */
  readonly rows: readonly (readonly HranaValue[])[];
  /** How many rows it wrote. */
  readonly affected: number;
  /** The id of the row that was inserted last. */
  readonly rowid: string;
}

/** One connection to a SQLite file. */
export interface Connection {
  /**
   * Prepares one statement and returns what runs it. Whoever runs it again after SQLITE_BUSY must run this one: SQLite
   * waits within the statement, and a connection does not commit before all of its statements are over.
   */
  prepare(sql: string, statement: HranaStatement): () => Outcome;
  /** Prepares one statement and runs it. */
  run(sql: string, statement?: HranaStatement): Outcome;
  /** Runs any number of statements, without values and without results; all of them again after SQLITE_BUSY. */
  sequence(sql: string): void;
  /** Returns the columns and the parameters that a statement has, without running it. */
  describe(sql: string): readonly HranaColumn[];
  /** Tells whether no transaction is open. */
  isAutocommit(): boolean;
  /** Closes it; what is open is rolled back. */
  close(): void;
}

// Through the native binding that @libsql/client has below itself: hrana's `describe` needs the columns of a statement
// that does not run, and a stream needs one connection of its own.
type Native = InstanceType<typeof Database>;

/**
 * Opens a connection to a SQLite file. It never checkpoints by itself: the write-ahead log is what replicas get.
 *
 * @param path The file's path.
 * @param isReadOnly Whether it refuses to write.
 */
export function connect(path: string, isReadOnly = false): Connection {
  const database: Native = new Database(path);
  // What ends here is a process, never the machine: nothing has to reach the disk.
  database.exec("PRAGMA synchronous = OFF");
  database.prepare("PRAGMA wal_autocheckpoint = 0").raw(true).all();
  if (isReadOnly) {
    database.exec("PRAGMA query_only = 1");
  }

  function first(sql: string): string {
    const [row] = database.prepare(sql).raw(true).safeIntegers(true).all();
    return Array.isArray(row) ? String(row[0]) : "0";
  }

  function prepare(sql: string, statement: HranaStatement): () => Outcome {
    const prepared = database.prepare(sql).safeIntegers(true);
    const values = boundValues(statement);
    if (!prepared.reader) {
      return () => {
        const { changes, lastInsertRowid } = prepared.run(values);
        return { columns: [], rows: [], affected: changes, rowid: String(lastInsertRowid) };
      };
    }
    prepared.raw(true);
    return () => {
      const before = first("SELECT total_changes()");
      const rows = prepared
        .all(values)
        .map((row) => (Array.isArray(row) ? row.map(hranaValue) : []));
      const affected = Number(first("SELECT total_changes()")) - Number(before);
      return {
        columns: columnsOf(prepared.columns()),
        rows: statement.want_rows === false ? [] : rows,
        affected,
        rowid: first("SELECT last_insert_rowid()"),
      };
    };
  }

  return {
    prepare,
    run: (sql, statement = {}) => prepare(sql, statement)(),
    sequence(sql) {
      const isOutside = !database.inTransaction;
      try {
        database.exec(sql);
      } catch (error) {
        // Nobody else runs meanwhile, so only the first write can find the database busy: at most a BEGIN has run.
        if (isBusy(error) && isOutside && database.inTransaction) {
          database.exec("ROLLBACK");
        }
        throw error;
      }
    },
    describe: (sql) => columnsOf(database.prepare(sql).columns()),
    isAutocommit: () => !database.inTransaction,
    close() {
      if (database.open) {
        if (database.inTransaction) {
          database.exec("ROLLBACK");
        }
        database.close();
      }
    },
  };
}

/** Returns the error of a statement as sqld words it. */
export function hranaError(error: unknown): HranaError {
  const message = error instanceof Error ? error.message : String(error);
  const code = error instanceof Error && "code" in error ? String(error.code) : "UNKNOWN";
  const [word = code] = /^SQLITE_[A-Z]+/.exec(code) ?? [];
  // SQLite has one code for every mistake in a statement; sqld tells it apart as this one.
  return word === "SQLITE_ERROR"
    ? { message: `SQLite input error: ${message}`, code: "SQL_INPUT_ERROR" }
    : { message: word === "UNKNOWN" ? message : `SQLite error: ${message}`, code: word };
}

/** Tells whether an error says that somebody else writes, so that a later attempt may succeed. */
export function isBusy(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "SQLITE_BUSY";
}

const readers = /^(?:select|values|explain|begin\s+(?:transaction\s+)?readonly)\b/i;
const ends = /^(?:commit|end|rollback)\b/i;
const writers = /\b(?:insert|update|delete|replace)\b/i;

/** Tells whether a statement reads only, by its words as sqld does: it may be wrong in one direction only. */
export function isReadOnly(sql: string): boolean {
  const text = sql.replace(/^(?:\s|--[^\n]*\n|\/\*[\s\S]*?\*\/)+/, "");
  return readers.test(text) || ends.test(text) || (/^with\b/i.test(text) && !writers.test(text));
}

function columnsOf(columns: readonly { name: string; type: string | null }[]): HranaColumn[] {
  return columns.map(({ name, type }) => ({ name, decltype: type }));
}

function boundValues(statement: HranaStatement): unknown[] | Record<string, unknown> {
  const { args = [], named_args: named = [] } = statement;
  if (named.length === 0) {
    return args.map(sqlValue);
  }
  return Object.fromEntries(
    named.map(({ name, value }) => [name.replace(/^[:@$]/, ""), sqlValue(value)]),
  );
}

function sqlValue(value: HranaValue): unknown {
  switch (value.type) {
    case "null":
      return null;
    case "integer":
      return BigInt(value.value);
    case "blob":
      return Buffer.from(value.base64, "base64");
    default:
      // The binding takes a number for REAL, whole or not.
      return value.value;
  }
}

function hranaValue(value: unknown): HranaValue {
  if (value === null || value === undefined) {
    return { type: "null" };
  }
  if (typeof value === "bigint") {
    return { type: "integer", value: value.toString() };
  }
  if (typeof value === "number") {
    return { type: "float", value };
  }
  if (typeof value === "string") {
    return { type: "text", value };
  }
  if (value instanceof Uint8Array) {
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    return { type: "blob", base64: bytes.toString("base64").replace(/=+$/, "") };
  }
  throw new TypeError(`Cannot tell a value of type ${typeof value} to a client`);
}
