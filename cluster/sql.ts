import type { Client } from "@libsql/client";

/** A value that a statement binds; it survives JSON. */
export type Value = string | number | null;

/** One SQL statement with its values. */
export interface Statement {
  /** The SQL text, `?` for each value. It must give the same result on every node. */
  readonly sql: string;
  /** The values, in order. */
  readonly args: readonly Value[];
}

/** One row of a result; columns by name. */
export type Row = Readonly<Record<string, unknown>>;

/** Runs a statement that gives rows. */
export async function queryRows(
  client: Client,
  sql: string,
  args: readonly Value[] = [],
): Promise<Row[]> {
  const result = await client.execute({ sql, args: [...args] });
  return result.rows.map((row) =>
    Object.fromEntries(result.columns.map((column, index) => [column, row[index]])),
  );
}

/** Runs statements in one transaction. */
export async function runBatch(client: Client, statements: readonly Statement[]): Promise<void> {
  await client.batch(
    statements.map(({ sql, args }) => ({ sql, args: [...args] })),
    "write",
  );
}
