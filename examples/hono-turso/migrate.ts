/** Creates the table, on the primary. Run it once, before the first app starts. */
import { createClient } from "@libsql/client";

const { TURSO_DATABASE_URL = "", TURSO_AUTH_TOKEN } = process.env;
const primary = createClient({
  url: TURSO_DATABASE_URL,
  ...(TURSO_AUTH_TOKEN !== undefined && { authToken: TURSO_AUTH_TOKEN }),
});
await primary.execute(
  "CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, text TEXT NOT NULL)",
);
primary.close();
