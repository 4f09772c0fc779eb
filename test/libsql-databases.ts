import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Client, createClient } from "@libsql/client";

/** A SQLite file that is written, and another one that follows it by copies, as a restore in a loop does. */
export interface Databases {
  readonly dir: string;
  /** The address of the file that is written. */
  url(): string;
  /** The client of the file that is written. */
  primary(): Client;
  /** The client of the copy. */
  replica(): Client;
  /** Opens one more client, which ends with the others. */
  open(config?: { readonly concurrency?: number }): Client;
  /** Runs a write of the app. */
  write(): Promise<void>;
  /** Brings the replica to where the primary is. */
  ship(): Promise<void>;
  /** Puts a copy that was shipped in the place of the primary's file; the first one is 0. */
  restore(copy: number): Promise<void>;
  /** Breaks the client of the copy until the next one is shipped. */
  breakReplica(): void;
  cleanup(): void;
}

/** Creates both, with an empty table of the app's. */
export async function createDatabases(mode: "delete" | "wal" = "wal"): Promise<Databases> {
  const dir = mkdtempSync(join(tmpdir(), "libsql-test-"));
  const clients = new Set<Client>();
  const copies: string[] = [];
  let file = join(dir, "primary.db");
  let primary = await connect();
  await primary.execute("CREATE TABLE items (id INTEGER PRIMARY KEY)");
  let replica = primary;

  function open(url: string, concurrency?: number): Client {
    const client = createClient({ url, ...(concurrency !== undefined && { concurrency }) });
    clients.add(client);
    return client;
  }

  async function connect(): Promise<Client> {
    const client = open(`file:${file}`);
    await client.execute(`PRAGMA journal_mode = ${mode}`);
    // Nothing here is to outlive a power failure.
    await client.execute("PRAGMA synchronous = off");
    return client;
  }

  function close(client: Client): void {
    client.close();
    clients.delete(client);
  }

  async function ship(): Promise<void> {
    const copy = join(dir, `copy-${copies.length}.db`);
    await primary.execute({ sql: "VACUUM INTO ?", args: [copy] });
    copies.push(copy);
    const last = replica;
    replica = open(`file:${copy}`);
    if (last !== primary) close(last);
  }

  return {
    dir,
    url: () => `file:${file}`,
    primary: () => primary,
    replica: () => replica,
    open: ({ concurrency } = {}) => open(`file:${file}`, concurrency),
    write: async () => void (await primary.execute("INSERT INTO items DEFAULT VALUES")),
    ship,
    restore: async (copy) => {
      close(primary);
      file = join(dir, `restored-${copies.length}.db`);
      cpSync(copies[copy] ?? "", file);
      primary = await connect();
    },
    breakReplica: () => replica.close(),
    cleanup: () => {
      for (const client of clients) client.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
