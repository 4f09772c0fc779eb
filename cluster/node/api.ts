import { createHash } from "node:crypto";
import type { RequestListener, ServerResponse } from "node:http";
import { infoText } from "../format.ts";
import type { Store } from "./store.ts";

/** What the API of a node is made of. */
export interface ApiOptions {
  /** The node's name. */
  readonly name: string;
  /** What the other nodes call it. */
  readonly hostname: string;
  /** The path of the node's own data, which `/info` tells. */
  readonly path: string;
  /** What it tells of. */
  readonly store: Store;
  /** Takes the wish to become the primary. */
  readonly promote: () => void;
}

/** One thing that the API answers. */
interface Route {
  readonly method: string;
  answer(response: ServerResponse): void;
}

/** The name of every cluster here, as `Litefs-Cluster-Id` gives it. */
const clusterId = "LFSC0000000000000001";

const plainText = "text/plain; charset=utf-8";

/** Makes what answers as LiteFS's own API does, with what a proxy and a person ask it for. */
export function createApi(options: ApiOptions): RequestListener {
  const { name, store } = options;
  const routes: Readonly<Record<string, Route>> = {
    "/info": {
      method: "GET",
      answer: (response) => send(response, plainText, info(options)),
    },
    "/events": {
      method: "GET",
      answer: (response) => stream(response, store),
    },
    "/metrics": {
      method: "GET",
      answer: (response) =>
        send(response, "text/plain; version=0.0.4; charset=utf-8", metrics(store)),
    },
    "/debug/vars": {
      method: "GET",
      answer: (response) => send(response, "application/json; charset=utf-8", variables(store)),
    },
    "/promote": {
      method: "POST",
      answer: (response) => {
        options.promote();
        response.writeHead(200, { "Content-Length": "0" }).end();
      },
    },
  };

  return (request, response) => {
    const route = routes[new URL(request.url ?? "/", "http://localhost").pathname];
    response.setHeader("Litefs-Id", nodeId(name));
    response.setHeader("Litefs-Cluster-Id", clusterId);
    if (route === undefined) {
      refuse(response, 404, "404 page not found\n");
      return;
    }
    if (route.method !== request.method) {
      refuse(response, 405, "method not allowed\n");
      return;
    }
    route.answer(response);
  };
}

function send(response: ServerResponse, type: string, text: string): void {
  response.writeHead(200, { "Content-Type": type }).end(text);
}

function refuse(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { "Content-Type": plainText, "X-Content-Type-Options": "nosniff" });
  response.end(text);
}

function stream(response: ServerResponse, store: Store): void {
  response.writeHead(200, { "Content-Type": "application/json" });
  response.once(
    "close",
    store.watch((line) => response.write(line)),
  );
}

function info({ hostname, path, store }: ApiOptions): string {
  const { isPrimary, hostname: primary = "" } = store.role();
  return infoText({
    clusterID: clusterId,
    isPrimary,
    candidate: true,
    path,
    hostname: isPrimary ? hostname : primary,
  });
}

function metrics(store: Store): string {
  const txid = BigInt(`0x${store.point().txid}`);
  return [
    `litefs_db_count 1`,
    `litefs_db_txid{db="${store.databaseName}"} ${Number(txid)}`,
    `litefs_is_primary ${store.role().isPrimary ? 1 : 0}`,
    `litefs_lag_seconds ${store.lag() / 1000}`,
    "",
  ].join("\n");
}

function variables({ databaseName: name, point, role }: Store): string {
  const { txid, checksum } = point();
  const dbs = { [name]: { name, txid, checksum, locks: {} } };
  const store = { isPrimary: role().isPrimary, candidate: true, dbs };
  return `{\n"cmdline": ["litefs","mount"],\n"store": ${JSON.stringify(store)}\n}\n`;
}

function nodeId(name: string): string {
  return createHash("sha256").update(name).digest("hex").slice(0, 16).toUpperCase();
}
