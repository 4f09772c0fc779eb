/**
 * One node of the cluster in a process of its own, started by `main.ts` on any of the runtimes. It ends when its
 * standard input does, so that it cannot outlive the process that started it.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { createNotes, notesSchema } from "./app.ts";
import { createNode } from "./node.ts";
import { thisRuntimeVersion } from "./runtime.ts";
import { createNodeWire } from "./wire.ts";

const { values } = parseArgs({
  options: {
    name: { type: "string", default: "" },
    hostname: { type: "string", default: "" },
    root: { type: "string", default: "" },
    port: { type: "string", default: "0" },
    "api-port": { type: "string", default: "0" },
  },
});

// Ctrl-C reaches every process of the terminal; the one that started this one decides about the end.
process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => process.exit(0));

const wire = createNodeWire(process.stdin, process.stdout);
const runtime = thisRuntimeVersion();
const node = await createNode({
  name: values.name,
  hostname: values.hostname,
  root: values.root,
  port: Number(values.port),
  apiPort: Number(values["api-port"]),
  app: createNotes,
  schema: notesSchema,
  runtime,
  committed: (transaction) => wire.committed(transaction),
  promote: () => wire.promote(),
});
await wire.serve(node, runtime);
await node.close();
process.exit(0);
