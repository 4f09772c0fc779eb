import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { createNotes } from "../cluster/app.ts";
import type { App, AppContext } from "../cluster/app.ts";
import { createCluster } from "../cluster/cluster.ts";
import type { Cluster, ClusterOptions } from "../cluster/cluster.ts";
import type { EdgeOptions } from "../cluster/edge.ts";
import { describeUpheaval, hasHeld, shake } from "../cluster/upheaval.ts";
import type { UpheavalOptions, UpheavalReport } from "../cluster/upheaval.ts";
import { openProxy } from "./front.ts";

/** Makes an app that dawdles once it has written: a primary that dies then leaves a write behind that nobody has answered. */
function createSlowNotes(context: AppContext): App {
  const notes = createNotes(context);
  return async (request) => {
    const { method } = request;
    const response = await notes(request);
    if (method === "POST") await new Promise((resolve) => setTimeout(resolve, 150));
    return response;
  };
}

for (const [title, edge] of [
  ["with an edge", {}],
  ["without an edge", false],
] as const) {
  describe(`createProxy() on a cluster under load, ${title}`, { timeout: 120_000 }, () => {
    let cluster: Cluster;

    async function run(made: ClusterOptions, options: UpheavalOptions): Promise<UpheavalReport> {
      cluster = await createCluster({ ...made, front: openProxy, edge });
      const appUrl = (name: string): string => cluster.node(name).url;
      const report = await shake({ ...cluster, appUrl }, options);
      assert.ok(hasHeld(report), describeUpheaval(report));
      return report;
    }

    afterEach(() => cluster.close());

    it("loses no write and repeats none while the primary is handed over", async () => {
      const report = await run({ lag: 100 }, { moves: 3, crashes: 0 });
      assert.deepEqual(report.lost, []);
    });

    it("repeats no write when the primary crashes, and loses none but with it", async () => {
      await run({ lag: 5, app: createSlowNotes }, { moves: 0, crashes: 1 });
    });
  });
}

describe("shake()", () => {
  const insert =
    "INSERT INTO notes VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = value || ' ' || excluded.value";

  /** Makes an app that runs each write so many times. */
  function createFaultyNotes(count: number): (context: AppContext) => App {
    return (context) => {
      const notes = createNotes(context);
      return async (request) => {
        if (request.method !== "POST") return notes(request);
        const [key, value] = [new URL(request.url).pathname.slice(4), await request.text()];
        for (let i = 0; i < count; i += 1)
          await context.write([{ sql: insert, args: [key, value] }]);
        return new Response("Written\n");
      };
    };
  }

  for (const [title, fault, options] of [
    ["reads that are stale", "stale", { lag: 3_600_000 }],
    ["writes that ran twice", "twice", { app: createFaultyNotes(2) }],
    ["writes that never ran", "missing", { app: createFaultyNotes(0) }],
  ] as const) {
    it(`finds out ${title}`, async () => {
      let reads = 0;
      const choose: EdgeOptions["choose"] = (method, nodes) => {
        if (method !== "GET") return nodes[0];
        reads += 1;
        // Whoever of the three reads for the second time has been shown that its write is missing. The lag lasts until
        // then, however long that takes, and no longer: in the end all nodes must have everything.
        if (reads === 4) cluster.network.setLag(0);
        return nodes[1];
      };
      const cluster = await createCluster({ ...options, names: ["n1", "n2"], edge: { choose } });
      const nodes = { ...cluster, appUrl: (name: string) => cluster.node(name).url };
      const report = await shake(nodes, { moves: 0, crashes: 0, clients: 3 });
      await cluster.close();
      assert.ok(report[fault].length > 0, describeUpheaval(report));
      assert.equal(hasHeld(report), false);
    });
  }
});
