import { type Clock, timeOfDay } from "../../src/clock.ts";
import type { Position, Primary } from "../../src/storage.ts";
import { isNodeName, primaryNamed } from "../storage/primary.ts";
import type { History } from "../storage/history.ts";
import { type AnswerRow, type Asker, createShared, type LibSQLClient } from "./client.ts";
import { epochOf, formatPosition, gapWithin, LAST_EPOCH, ROW } from "./position.ts";
import type { Source } from "./source.ts";

/** The row that is the position. */
export interface Row extends Source {
  /** Returns where writes run, as the row names the primary. */
  primary(): Promise<Primary>;
  commit(): Promise<Position | undefined>;
  historyAt(position: Position): string | undefined;
  /** Begins an epoch in which this node is the primary, and returns its first position. */
  promote(): Promise<Position>;
}

/** What the row is kept with. */
export interface RowOptions {
  /** The client of this node's database. */
  readonly client: () => LibSQLClient;
  /** The client of the primary, where that is another one than this node's database, and a remote one. */
  readonly writer: (() => LibSQLClient) | undefined;
  /** Whether the client has one connection and is used for nothing else, so that it tells when others have committed. */
  readonly dedicated: boolean;
  readonly table: string;
  /** This node's name. */
  readonly node: string | undefined;
  /** Returns where writes run; undefined: where the row says. */
  readonly primary: (() => Promise<Primary>) | undefined;
}

/** What the row says. */
interface State {
  readonly position: Position;
  readonly history: string;
  readonly primary: string | undefined;
}

/** When the count of epochs begins. */
const BEGIN = Date.UTC(2026, 0, 1);

/** The least time that an epoch stands for, in milliseconds: 2 ** 24 of them are 319 years. */
const EPOCH = 600_000;

/**
 * How long the primary that the row names is used again, in milliseconds; and the longest time for which a node that
 * was demoted takes itself for the primary.
 */
const KEEP = 100;

/**
 * Creates the keeper of the row. It is bumped on the primary after the app's commit. What a replica has is a prefix of
 * the primary's commits, so that where the bump is, everything is that was committed before it.
 *
 * Each bump writes a random word as well, for a database that was restored counts on from the past.
 *
 * @param options What the row is kept with.
 * @param asker Asks the clients.
 * @param clock The time.
 * @param history Learns each position with its word.
 */
export function createRow(options: RowOptions, asker: Asker, clock: Clock, history: History): Row {
  const { client, dedicated, table, node } = options;
  const writer = options.writer ?? client;
  const name = `"${table}"`;
  const columns = "epoch, n, primary_node, history";
  const select = `SELECT ${columns} FROM ${name} WHERE id = 1`;
  const create = `CREATE TABLE IF NOT EXISTS ${name} (id INTEGER PRIMARY KEY CHECK (id = 1), epoch INTEGER NOT NULL, n INTEGER NOT NULL, primary_node TEXT, history TEXT NOT NULL, written_at INTEGER NOT NULL)`;
  // A name of a node has no quotation marks.
  const owner = node === undefined ? "NULL" : `'${node}'`;
  // Where the row decides who the primary is, it does so in the very moment of the bump.
  const where = options.primary === undefined ? ` AND primary_node = ${owner}` : "";
  const read = createShared(readOnce);
  const bump = createShared(bumpOnce);
  let role: Primary = { at: "unknown" };
  let roleAt = -Infinity;
  let passed: { readonly signs: string; readonly position: Position } | undefined;

  async function readOnce(): Promise<State | undefined> {
    const state = await stateIn(client(), select);
    if (state !== undefined) history.at(state.position, state.history);
    return state;
  }

  /** Returns what a statement says of the row; where there is no such table or no such row it says nothing. */
  async function stateIn(of: LibSQLClient, statement: string): Promise<State | undefined> {
    const [row] = (await unlessMissing(() => asker.read(of, statement))) ?? [];
    return row && stateOf(row);
  }

  async function unlessMissing<T>(ask: () => Promise<T>): Promise<T | undefined> {
    try {
      return await ask();
    } catch (error) {
      if (error instanceof Error && error.message.includes(`no such table: ${table}`))
        return undefined;
      throw error;
    }
  }

  async function primary(): Promise<Primary> {
    if (options.primary !== undefined) return options.primary();
    const now = clock.now();
    // A clock that stepped back must not prolong what is kept.
    if (now >= roleAt && now - roleAt < KEEP) return role;
    const state = await read();
    role = roleOf(state?.primary);
    roleAt = now;
    return role;
  }

  function roleOf(named: string | undefined): Primary {
    if (named === undefined) return { at: "unknown" };
    return named === node ? { at: "here" } : primaryNamed(named);
  }

  async function bumpOnce(): Promise<Position | undefined> {
    const { at } = await primary();
    // A write into a replica's file would lead it away from its primary for ever.
    if (at !== "here" && at !== "everywhere") return (await read())?.position;
    const signs = dedicated ? await signsOf(client()) : undefined;
    if (passed !== undefined && passed.signs === signs?.before) return passed.position;
    const position = (await write())?.position;
    passed = signs && position !== undefined ? { signs: signs.after, position } : undefined;
    return position;
  }

  /**
   * Reads what moves when somebody else commits, and says what it will be if nobody does while this connection writes
   * one row. The version of the data is the connection's own count: one that was opened anew could count as far again,
   * but it has not written as many rows.
   */
  async function signsOf(one: LibSQLClient): Promise<{ before: string; after: string }> {
    const [row] = await asker.read(one, SIGNS);
    const version = integer(row?.["version"]);
    const changes = integer(row?.["changes"]);
    return { before: `${version}/${changes}`, after: `${version}/${changes + 1}` };
  }

  /** Bumps the row where this node may, and returns what it says then. */
  async function write(): Promise<State | undefined> {
    const state = await update();
    if (state !== undefined || options.primary === undefined) return state;
    await asker.write(writer(), create);
    await asker.write(writer(), `${insert()} ON CONFLICT (id) DO NOTHING`);
    return update();
  }

  async function update(): Promise<State | undefined> {
    const statement = `UPDATE ${name} SET n = n + 1, history = ${WORD}, written_at = ${date()} WHERE id = 1${where}`;
    // A remote client keeps no lock, and this takes it one way instead of two.
    if (options.writer !== undefined)
      return written(await stateIn(writer(), `${statement} RETURNING ${columns}`));
    await unlessMissing(() => asker.write(writer(), statement));
    return written(await stateIn(writer(), select));
  }

  /** Takes note of what was written, which may be later here than where it was. */
  function written(state: State | undefined): State | undefined {
    if (state !== undefined) history.passed(state.position, state.history);
    return state;
  }

  function insert(): string {
    const epoch = Math.max(1, Math.floor((date() - BEGIN) / EPOCH));
    // A row that nobody can read any more would be worse than none.
    if (epoch > LAST_EPOCH)
      throw new RangeError(`Cannot begin epoch: the clock says ${new Date(date()).toUTCString()}`);
    return `INSERT INTO ${name} (id, epoch, n, primary_node, history, written_at) VALUES (1, ${epoch}, 0, ${owner}, ${WORD}, ${date()})`;
  }

  function date(): number {
    return Math.round(timeOfDay(clock));
  }

  return {
    primary,
    position: async () => (await read())?.position,
    commit: bump,
    historyAt: history.checksum,
    gap: (ahead, behind) => gapWithin(ROW, ahead, behind),
    promote: async () => {
      const beginning = insert();
      await asker.write(writer(), create);
      const last = await stateIn(writer(), select);
      if (last !== undefined && epochOf(ROW, last.position) >= LAST_EPOCH)
        throw new RangeError("Cannot promote: the row is in the last epoch that there is");
      await asker.write(writer(), `${beginning} ON CONFLICT (id) DO UPDATE SET ${RAISE}`);
      roleAt = -Infinity;
      passed = undefined;
      const state = written(await stateIn(writer(), select));
      if (state === undefined) throw new Error("Cannot promote: the row is not there");
      return state.position;
    },
    close: () => {},
  };
}

/** What moves when a database is written; in a table, for a client may not return what a pragma does. */
const SIGNS = "SELECT data_version AS version, total_changes() AS changes FROM pragma_data_version";

/** How a promotion changes the row. The words are random: two nodes that are promoted at once can be told apart. */
const RAISE =
  "epoch = max(epoch + 1, excluded.epoch), n = 0, primary_node = excluded.primary_node, history = excluded.history, written_at = excluded.written_at";

/** A random word in SQL. */
const WORD = "lower(hex(randomblob(8)))";

function stateOf(row: AnswerRow): State {
  const { primary_node: primary, history } = row;
  if (typeof history !== "string" || !/^[\w.~-]{1,64}$/.test(history))
    throw new Error("Cannot read position: the row has no history");
  return {
    position: formatPosition(ROW, integer(row["epoch"]), integer(row["n"])),
    history,
    primary: typeof primary === "string" && isNodeName(primary) ? primary : undefined,
  };
}

/** Reads an integer, in whatever of its three ways the client gives it. */
function integer(value: unknown): number {
  const isInteger = typeof value === "number" || typeof value === "bigint";
  if (isInteger || (typeof value === "string" && /^\d+$/.test(value))) return Number(value);
  throw new Error(`Cannot read position: expected an integer, received ${typeof value}`);
}
