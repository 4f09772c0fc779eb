/** Creates the table. LiteFS runs it before the app, on the node that may write. */
import { createClient } from "@libsql/client";

const database = createClient({ url: `file:${process.env["DATABASE"] ?? "/litefs/app.db"}` });
await database.executeMultiple(`
  PRAGMA journal_mode = WAL;
  CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, text TEXT NOT NULL);
`);
database.close();
