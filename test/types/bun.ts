/// <reference types="bun-types" />
import { Hono } from "hono";
import { upgradeWebSocket, websocket } from "hono/bun";
import { consistency } from "../../adapters/fetch.ts";
import { memory } from "../../adapters/memory.ts";

const consistent = consistency({
  storage: memory(),
  clientAddress: (request, server: Pick<Bun.Server<unknown>, "requestIP">) =>
    server.requestIP(request)?.address,
});
const app = new Hono().get(
  "/",
  upgradeWebSocket(() => ({})),
);

/** Serves handlers as apps on Bun do. */
export const servers = [
  Bun.serve({ fetch: consistent(() => new Response("x")) }),
  Bun.serve({ fetch: consistent((request, server) => app.fetch(request, server)), websocket }),
  Bun.serve({
    fetch: consistent((request, server: Bun.Server<undefined>) => {
      if (server.upgrade(request)) return undefined;
      return new Response("x");
    }),
    websocket: { message: () => {} },
  }),
];
