/**
 * An app with one table of notes, on a database that LiteFS replicates, and no proxy in front: its own middleware sees
 * to it that writes come to the primary and that each client reads its own.
 */
import { serve } from "@hono/node-server";
import { getConnInfo } from "@hono/node-server/conninfo";
import { createClient } from "@libsql/client";
import { consistency, type TxidVariables } from "@txid/proxy/hono";
import { litefs } from "@txid/proxy/litefs";
import { type Context, Hono } from "hono";

const { LITEFS_DIR = "/litefs", DATABASE = `${LITEFS_DIR}/app.db` } = process.env;
const { PORT = "8080", PRIMARY_PORT = PORT, HOSTNAME = "this machine" } = process.env;
const { FLY_APP_NAME } = process.env;
// While LiteFS brings the next transaction the file is locked, for a moment.
const database = createClient({ url: `file:${DATABASE}`, timeout: 5000 });
const storage = litefs({ dir: LITEFS_DIR, db: "app.db" });

/** Where another node's app is, by the name that LiteFS has for it. */
function appOn(hostname: string): string {
  const host = FLY_APP_NAME === undefined ? hostname : `${hostname}.vm.${FLY_APP_NAME}.internal`;
  return `http://${host}:${PRIMARY_PORT}`;
}

const txid = consistency({
  storage,
  primaryUrl: appOn,
  clientAddress: (c: Context) => getConnInfo(c).remote.address,
  // Fly Proxy names the client in a field of its own.
  clientHeader: FLY_APP_NAME === undefined ? undefined : "Fly-Client-IP",
  onError: console.error,
});

const app = new Hono<{ Variables: TxidVariables }>();

app.use(async (c, next) => {
  await next();
  // Where it was not this node that answered, the primary has said so.
  if (!c.res.headers.has("App-Node")) c.header("App-Node", HOSTNAME);
});
app.use(txid);

app.get("/notes", async (c) => {
  const { rows } = await database.execute("SELECT name, text FROM notes ORDER BY name");
  return c.json(rows);
});

app.get("/notes/:name", async (c) => {
  const name = c.req.param("name");
  const { rows } = await database.execute({
    sql: "SELECT text FROM notes WHERE name = ?",
    args: [name],
  });
  const text = rows[0]?.["text"];
  if (typeof text === "string") return c.text(text);
  // Notes come into being when they are first looked at: this read must write, and only the primary can.
  if (c.var.txid.role !== "primary") return c.var.txid.primary();
  c.var.txid.wrote();
  await write(name, `This is ${name}`);
  return c.text(`This is ${name}`);
});

app.put("/notes/:name", async (c) => {
  await write(c.req.param("name"), await c.req.text());
  return c.text("Written");
});

async function write(name: string, text: string): Promise<void> {
  const sql = "INSERT OR REPLACE INTO notes (name, text) VALUES (?, ?)";
  await database.execute({ sql, args: [name, text] });
}

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
