/**
 * An app with one table of notes, on a database that LiteFS replicates. It knows nothing of replication: the proxy in
 * front sees to it that writes come to the primary and that each client reads its own.
 */
import { serve } from "@hono/node-server";
import { createClient } from "@libsql/client";
import { Hono } from "hono";

const { DATABASE = "/litefs/app.db", PORT = "8081", HOSTNAME = "this machine" } = process.env;
// While LiteFS brings the next transaction the file is locked, for a moment.
const database = createClient({ url: `file:${DATABASE}`, timeout: 5000 });

const app = new Hono();

app.get("/notes", async (c) => {
  const { rows } = await database.execute("SELECT name, text FROM notes ORDER BY name");
  return c.json(rows);
});

app.get("/notes/:name", async (c) => {
  const args = [c.req.param("name")];
  const { rows } = await database.execute({ sql: "SELECT text FROM notes WHERE name = ?", args });
  const text = rows[0]?.["text"];
  c.header("App-Node", HOSTNAME);
  return typeof text === "string" ? c.text(text) : c.text("No such note", 404);
});

app.put("/notes/:name", async (c) => {
  const args = [c.req.param("name"), await c.req.text()];
  await database.execute({ sql: "INSERT OR REPLACE INTO notes (name, text) VALUES (?, ?)", args });
  c.header("App-Node", HOSTNAME);
  return c.text("Written");
});

serve({ fetch: app.fetch, port: Number(PORT), hostname: "127.0.0.1" });
