import { parentPort } from "node:worker_threads";
import { freePort } from "../cluster/ports.ts";

// Who listens here keeps the thread, and with it the ports, until it is terminated.
parentPort?.on("message", () => {});
const ports: number[] = [];
for (let count = 0; count < 150; count += 1) {
  ports.push(await freePort());
}
parentPort?.postMessage(ports);
