// Several drop-ins on one port: `workers.ts cluster|reuse COUNT …the drop-in's own flags`. "cluster" is Node's own module;
// "reuse" has each process listen by itself, and the kernel share connections out (SO_REUSEPORT).
import { spawn } from "node:child_process";
import cluster from "node:cluster";
import process from "node:process";
import { fileURLToPath } from "node:url";

const [way, count, ...flags] = process.argv.slice(2);
const dropIn = fileURLToPath(new URL("../proxy.ts", import.meta.url));

if (way === "cluster") {
  cluster.setupPrimary({ exec: dropIn, args: flags });
  for (let index = 0; index < Number(count); index++) cluster.fork();
} else {
  const runtime = "deno" in process.versions ? ["run", "-A", "--unstable-net"] : process.execArgv;
  const command = [...runtime, dropIn, "--reuse-port", ...flags];
  for (let index = 0; index < Number(count); index++)
    spawn(process.execPath, command, { stdio: "inherit" });
}
