// The server and the client that the drop-in stands on, and nothing in between: what it takes beyond them is what its
// guarantees cost. `bare.ts PORT TARGET_PORT FOLDER SUFFIX`, where the folder has the sources, or the JavaScript made of
// them.
import process from "node:process";
import type * as Client from "../adapters/http1/client.ts";
import type * as Server from "../adapters/http1/server.ts";
import type * as Forward from "../src/upstream.ts";

const [port = "0", target, folder = "..", suffix = ".ts"] = process.argv.slice(2);

const load = (path: string): Promise<unknown> => import(`${folder}/${path}${suffix}`);
// A module that is made of another one has its types.
const { createHttp1Client } = (await load("adapters/http1/client")) as typeof Client;
const { createHttp1Server } = (await load("adapters/http1/server")) as typeof Server;
const { exchange, toUpstream } = (await load("src/upstream")) as typeof Forward;

const transport = createHttp1Client();
const server = createHttp1Server((request) =>
  exchange(
    toUpstream(request, `http://127.0.0.1:${target}`, () => true, false),
    transport,
  ),
);
await server.listen({ port: Number(port), hostname: "127.0.0.1" });
