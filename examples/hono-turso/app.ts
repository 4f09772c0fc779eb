/**
 * An app with one table of notes on Turso: each node reads from an embedded replica of its own, writes go to the primary,
 * and a middleware sees to it that each client reads its own writes and never less than before, on whatever node.
 */
import { serve } from "@hono/node-server";
import { getConnInfo } from "@hono/node-server/conninfo";
import { createClient } from "@libsql/client";
import { consistency, type TxidVariables } from "@txid/proxy/hono";
import { libsql } from "@txid/proxy/libsql";
import { type Context, Hono } from "hono";

const { TURSO_DATABASE_URL = "", TURSO_AUTH_TOKEN, DATABASE = "app.db" } = process.env;
const { PORT = "8080", HOSTNAME = "this machine" } = process.env;
const token = TURSO_AUTH_TOKEN !== undefined && { authToken: TURSO_AUTH_TOKEN };

// Whatever the replica's own client sends to the primary stops the event loop until the answer comes, so that it gets
// nothing but plain SELECTs, and never sync(): it syncs by itself, in the background.
const replica = createClient({
  url: `file:${DATABASE}`,
  syncUrl: TURSO_DATABASE_URL,
  syncInterval: 0.2,
  ...token,
});
const primary = createClient({ url: TURSO_DATABASE_URL, ...token });

const txid = consistency({
  // What a client has written: a row that is bumped on the primary after each write.
  storage: libsql({ client: replica, writer: primary, primary: { at: "everywhere" } }),
  // What it has seen: where the replica was.
  databases: { replica: libsql({ info: `${DATABASE}-info` }) },
  clientAddress: (c: Context) => getConnInfo(c).remote.address,
  onError: console.error,
});

const app = new Hono<{ Variables: TxidVariables }>();

app.use(async (c, next) => {
  await next();
  c.header("App-Node", HOSTNAME);
});
app.use(txid);

app.get("/notes", async (c) => {
  const { rows } = await replica.execute("SELECT name, text FROM notes ORDER BY name");
  return c.json(rows);
});

app.get("/notes/:name", async (c) => {
  const { rows } = await replica.execute({
    sql: "SELECT text FROM notes WHERE name = ?",
    args: [c.req.param("name")],
  });
  const text = rows[0]?.["text"];
  return typeof text === "string" ? c.text(text) : c.text("No such note", 404);
});

app.put("/notes/:name", async (c) => {
  const sql = "INSERT OR REPLACE INTO notes (name, text) VALUES (?, ?)";
  await primary.execute({ sql, args: [c.req.param("name"), await c.req.text()] });
  return c.text("Written");
});

const server = serve({ fetch: app.fetch, port: Number(PORT) }, ({ port }) =>
  console.log(`listening on http://localhost:${port}`),
);

process.once("SIGTERM", () => {
  // Whoever looks at the health stops sending requests; then those in flight end, for 10 s at most.
  txid.drain();
  setTimeout(() => {
    server.close(() => process.exit());
    setTimeout(() => process.exit(), 10_000);
  }, 1000);
});
