import { litefs } from "../adapters/litefs.ts";
import { serve } from "../adapters/serve.ts";
import type { Front } from "../cluster/cluster.ts";
import type { ClusterNode } from "../cluster/node.ts";
import { createProxy } from "../src/index.ts";

/** Starts the proxy in front of a node; it finds the primary's proxy by its hostname, which is its address. */
export async function openProxy(node: ClusterNode, port: number): Promise<Front> {
  const storage = litefs({ dir: node.directory, db: "app.db", api: node.apiUrl });
  const proxy = createProxy({
    target: node.url,
    storage,
    primaryUrl: (hostname) => `http://${hostname}`,
  });
  const server = await serve(proxy, { port, hostname: "127.0.0.1" });
  return {
    url: server.url,
    async close() {
      await server.close();
      proxy.close();
      storage.close();
    },
  };
}
