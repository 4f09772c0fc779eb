/// <reference types="@types/deno" />
import { Hono } from "hono";
import { consistency } from "../../adapters/fetch.ts";
import { memory } from "../../adapters/memory.ts";

const plain = consistency({ storage: memory() });
const consistent = consistency({
  storage: memory(),
  clientAddress: (_, info: Deno.ServeHandlerInfo<Deno.NetAddr>) => info.remoteAddr.hostname,
});

/** Serves handlers as apps on Deno do. */
export const servers = [
  Deno.serve(plain(() => new Response("x"))),
  Deno.serve(consistent(() => new Response("x"))),
  Deno.serve(consistent(new Hono().fetch)),
];
