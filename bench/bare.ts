// The server and the client that the drop-in stands on, and nothing in between: what it takes beyond them is what its
// guarantees cost. `bare.ts PORT TARGET_PORT`
import process from "node:process";
import { createHttp1Client } from "../adapters/http1/client.ts";
import { createHttp1Server } from "../adapters/http1/server.ts";
import { exchange, toUpstream } from "../src/forward.ts";

const [port, target] = process.argv.slice(2).map(Number);
const transport = createHttp1Client();
const server = createHttp1Server((request) =>
  exchange(
    toUpstream(request, `http://127.0.0.1:${target}`, () => true, false),
    transport,
  ),
);
await server.listen({ port: port ?? 0, hostname: "127.0.0.1" });
