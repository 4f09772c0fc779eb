import { createClient } from "@libsql/client";
import type { Client } from "@libsql/client";
import { createHash } from "node:crypto";
import { nextTxid, origin } from "./format.ts";
import type { Point } from "./format.ts";
import { queryRows, runBatch } from "./sql.ts";
import type { Row, Statement, Value } from "./sql.ts";

/** One committed transaction as it travels from the primary to the replicas. */
export interface Transaction extends Point {
  /** The checksum before it: it fits only on a database that has that one. */
  readonly previous: string;
  /** When the primary committed it, in milliseconds since the Unix epoch. */
  readonly time: number;
  /** The statements, in order. */
  readonly statements: readonly Statement[];
}

/** A whole database at one position. */
export interface Snapshot extends Point {
  /** When the last transaction in it was committed, in milliseconds since the Unix epoch. */
  readonly time: number;
  /** The statements that build it in an empty file. */
  readonly statements: readonly Statement[];
}

/** The SQLite file of a node, with the position that it has. */
export interface Database {
  /** Returns the position of the last transaction in the file. */
  position(): Point;
  /** Returns the size of the file in pages. */
  pages(): Promise<number>;
  /** Runs a statement that may read only. */
  read(sql: string, args?: readonly Value[]): Promise<Row[]>;
  /** Commits a new transaction, its position with it, and returns it. */
  commit(statements: readonly Statement[], time: number): Promise<Transaction>;
  /**
   * Tries to write as an app on a replica does.
   *
   * @throws {LibsqlError} Always, with code `SQLITE_READONLY`.
   */
  refuse(statements: readonly Statement[]): Promise<never>;
  /**
   * Applies a transaction that came from the primary.
   *
   * @throws {Error} When it does not follow the last one.
   */
  apply(transaction: Transaction): Promise<void>;
  /** Replaces everything in the file. */
  install(snapshot: Snapshot): Promise<void>;
  /** Returns everything in the file. */
  snapshot(): Promise<Snapshot>;
  /** Closes the file. */
  close(): void;
}

// The position lies in the file itself and moves in the same transaction, so that no crash can part the two.
const positionTable = "_cluster_position";

/**
 * Opens the SQLite file of a node and creates it when it is missing.
 *
 * @param path The file's path.
 */
export async function openDatabase(path: string): Promise<Database> {
  // One connection each: a PRAGMA belongs to the connection that ran it.
  const writer = createClient({ url: `file:${path}`, concurrency: 1 });
  await writer.execute("PRAGMA journal_mode = WAL");
  await writer.execute("PRAGMA synchronous = NORMAL");
  await writer.execute(
    `CREATE TABLE IF NOT EXISTS ${positionTable} (id INTEGER PRIMARY KEY CHECK (id = 1), txid TEXT, checksum TEXT, time INTEGER)`,
  );
  const reader = createClient({ url: `file:${path}`, concurrency: 1 });
  await reader.execute("PRAGMA query_only = ON");
  let { point, time } = await readPosition(writer);

  async function write(
    statements: readonly Statement[],
    next: Point,
    stamp: number,
  ): Promise<void> {
    const move = {
      sql: `INSERT INTO ${positionTable} VALUES (1, ?, ?, ?)
            ON CONFLICT (id) DO UPDATE SET txid = excluded.txid, checksum = excluded.checksum, time = excluded.time`,
      args: [next.txid, next.checksum, stamp],
    };
    await runBatch(writer, [...statements, move]);
    point = { txid: next.txid, checksum: next.checksum };
    time = stamp;
  }

  return {
    position: () => point,
    async pages() {
      const result = await reader.execute("PRAGMA page_count");
      return Number(result.rows[0]?.[0] ?? 0);
    },
    read: (sql, args) => queryRows(reader, sql, args),
    async commit(statements, stamp) {
      const txid = nextTxid(point.txid);
      const previous = point.checksum;
      const checksum = chain(previous, txid, statements);
      await write(statements, { txid, checksum }, stamp);
      return { txid, checksum, previous, time: stamp, statements };
    },
    async refuse(statements) {
      await runBatch(reader, statements);
      throw new Error("Cannot refuse the write: SQLite took it");
    },
    async apply(transaction) {
      if (transaction.previous !== point.checksum) {
        throw new Error(`Cannot apply ${transaction.txid}: it does not follow ${point.txid}`);
      }
      await write(transaction.statements, transaction, transaction.time);
    },
    async install(snapshot) {
      const drop = (await tables(writer)).map((name) => ({
        sql: `DROP TABLE ${quoted(name)}`,
        args: [],
      }));
      await write([...drop, ...snapshot.statements], snapshot, snapshot.time);
    },
    async snapshot() {
      return { ...point, time, statements: await dump(writer) };
    },
    close() {
      reader.close();
      writer.close();
    },
  };
}

async function readPosition(client: Client): Promise<{ point: Point; time: number }> {
  const result = await client.execute(`SELECT txid, checksum, time FROM ${positionTable}`);
  const row = result.rows[0];
  if (row === undefined) {
    return { point: origin, time: 0 };
  }
  return {
    point: { txid: String(row["txid"]), checksum: String(row["checksum"]) },
    time: Number(row["time"]),
  };
}

// Two histories that part at some transaction have different checksums from there on, as LiteFS's have, which are
// computed from the pages. LiteFS sets the top bit of each, so that a checksum is never zero.
function chain(checksum: string, txid: string, statements: readonly Statement[]): string {
  const hash = createHash("sha256").update(JSON.stringify([checksum, txid, statements]));
  const bits = BigInt(`0x${hash.digest("hex").slice(0, 16)}`) | (1n << 63n);
  return bits.toString(16);
}

async function tables(client: Client): Promise<string[]> {
  const result = await client.execute({
    sql: "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> ?",
    args: [positionTable],
  });
  return result.rows.map((row) => String(row["name"]));
}

async function dump(client: Client): Promise<Statement[]> {
  const statements: Statement[] = [];
  for (const name of await tables(client)) {
    const schema = await client.execute({
      sql: "SELECT sql FROM sqlite_schema WHERE tbl_name = ? AND sql IS NOT NULL ORDER BY type <> 'table'",
      args: [name],
    });
    statements.push(...schema.rows.map((row) => ({ sql: String(row["sql"]), args: [] })));
    const content = await client.execute(`SELECT * FROM ${quoted(name)}`);
    const marks = content.columns.map(() => "?").join(", ");
    const sql = `INSERT INTO ${quoted(name)} VALUES (${marks})`;
    statements.push(
      ...content.rows.map((row) => ({
        sql,
        args: content.columns.map((_, index) => plain(row[index])),
      })),
    );
  }
  return statements;
}

function plain(value: unknown): Value {
  if (typeof value === "string" || typeof value === "number" || value === null) {
    return value;
  }
  throw new TypeError("Cannot take a snapshot: a column holds neither text nor number");
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
