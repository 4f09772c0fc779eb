import { Hono } from "hono";
import type { MiddlewareHandler } from "hono";
import { streamSSE } from "hono/streaming";
import type { Point } from "./format.ts";
import type { Row, Statement, Value } from "./sql.ts";

/** What an app sees of the node that it runs on. */
export interface AppContext {
  /** The node's name. */
  readonly node: string;
  /** The runtime that the app runs on, with its version. */
  readonly runtime: string;
  /** Runs a statement that reads. */
  read(sql: string, args?: readonly Value[]): Promise<Row[]>;
  /**
   * Commits a transaction; the node's position has moved when it resolves.
   *
   * @throws {LibsqlError} With code `SQLITE_READONLY` anywhere but on the primary.
   */
  write(statements: readonly Statement[]): Promise<void>;
  /** Returns the node's position. */
  position(): Point;
  /** Calls `moved` after each transaction, until the returned function is called. */
  subscribe(moved: (point: Point) => void): () => void;
}

/** Answers a request, as any fetch-shaped app does. */
export type App = (request: Request) => Response | Promise<Response>;

/** What the notes app needs in an empty database. */
export const notesSchema: readonly Statement[] = [
  { sql: "CREATE TABLE notes (key TEXT PRIMARY KEY, value TEXT NOT NULL)", args: [] },
];

/**
 * Creates the app that runs on every node: notes under `/kv/:key`, which `PUT` replaces and `POST` adds a word to, a
 * greeting under `/`, and the node's positions as server-sent events under `/live`. Every answer says which node gave it,
 * in `X-Node` and `X-Runtime`. A write on a node that is not the primary is answered with 503: it may be tried again.
 *
 * @param context The node.
 * @param middleware What every request passes before it comes to the notes.
 */
export function createNotes(context: AppContext, ...middleware: readonly MiddlewareHandler[]): App {
  const app = new Hono();
  app.use(async (c, next) => {
    await next();
    c.header("X-Node", context.node);
    c.header("X-Runtime", context.runtime);
  });
  for (const one of middleware) app.use(one);
  app.onError((error, c) => {
    const isReadOnly = "code" in error && String(error.code).startsWith("SQLITE_READONLY");
    return c.text(`${error.message}\n`, isReadOnly ? 503 : 500);
  });
  app.get("/", (c) =>
    c.text(`Node ${context.node} on ${context.runtime} at ${context.position().txid}\n`),
  );
  app.get("/kv/:key", async (c) => {
    const found = await context.read("SELECT value FROM notes WHERE key = ?", [c.req.param("key")]);
    const row = found[0];
    return row === undefined ? c.text("No such note\n", 404) : c.text(String(row["value"]));
  });
  app.on(["PUT", "POST"], "/kv/:key", async (c) => {
    const value = c.req.method === "PUT" ? "excluded.value" : "value || ' ' || excluded.value";
    const sql = `INSERT INTO notes VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = ${value}`;
    await context.write([{ sql, args: [c.req.param("key"), await c.req.text()] }]);
    return c.text("Written\n");
  });
  app.delete("/kv/:key", async (c) => {
    const sql = "DELETE FROM notes WHERE key = ?";
    await context.write([{ sql, args: [c.req.param("key")] }]);
    return c.text("Deleted\n");
  });
  app.get("/live", (c) =>
    streamSSE(c, async (stream) => {
      await stream.writeSSE({ event: "position", data: context.position().txid });
      await new Promise<void>((resolve) => {
        const stop = context.subscribe((point) => {
          void stream.writeSSE({ event: "position", data: point.txid });
        });
        stream.onAbort(() => {
          stop();
          resolve();
        });
      });
    }),
  );
  return (request) => app.fetch(request);
}
