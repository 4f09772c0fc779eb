// Several drop-ins on one port: `workers.ts cluster|reuse COUNT …the drop-in's own flags`. "cluster" is Node's own module;
// "reuse" has each process listen by itself, and the kernel share connections out (SO_REUSEPORT).
import { spawn } from "node:child_process";
import cluster from "node:cluster";
import { Server } from "node:net";
import process from "node:process";
import { fileURLToPath } from "node:url";

const [way, count, ...flags] = process.argv.slice(2);
const self = fileURLToPath(import.meta.url);
const dropIn = fileURLToPath(new URL("../proxy.ts", import.meta.url));

/** Has every server of this process share its port. */
function sharePorts(): void {
  const listen = Server.prototype.listen;
  // The engine listens with an object alone; node:net has more forms than one type can say.
  Server.prototype.listen = function (this: Server, options: object): Server {
    return Reflect.apply(listen, this, [{ ...options, reusePort: true }]);
  } as typeof listen;
}

if (way === "cluster") {
  cluster.setupPrimary({ exec: dropIn, args: flags });
  for (let index = 0; index < Number(count); index++) cluster.fork();
} else if (Number(count) > 0) {
  const runtime = "deno" in process.versions ? ["run", "-A"] : process.execArgv;
  for (let index = 0; index < Number(count); index++)
    spawn(process.execPath, [...runtime, self, "reuse", "0", ...flags], { stdio: "inherit" });
} else {
  sharePorts();
  process.argv.splice(2, 2);
  await import("../proxy.ts");
}
