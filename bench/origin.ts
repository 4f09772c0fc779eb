import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Served, serveScript, untilExit } from "./children.ts";
import { nginxApp } from "./configs.ts";
import { findProgram, nginxArgs, startScript } from "./peers.ts";
import { openFiles } from "./process.ts";

/** Which app answers: one that is much faster than any proxy, or one of ours that reads bodies, and has events and echoes. */
export type OriginName = "fast" | "own";

/** Starts an app: the fast one is nginx, where it is installed. */
export async function startOrigin(name: OriginName): Promise<Served> {
  const nginx = findProgram("nginx");
  if (name === "own" || nginx === undefined) return serveScript("app.ts");
  const dir = mkdtempSync(join(tmpdir(), "bench-app-"));
  const remove = untilExit(() => rmSync(dir, { recursive: true, force: true }));
  writeFileSync(join(dir, "64k"), "x".repeat(2 ** 16));
  writeFileSync(join(dir, "1m"), "x".repeat(2 ** 20));
  // A file with nothing in it takes no room.
  writeFileSync(join(dir, "1g"), "");
  truncateSync(join(dir, "1g"), 2 ** 30);
  const file = join(dir, "config");
  return startScript(
    [nginx],
    (port) => {
      const connections = Math.min(40_000, openFiles() - 100);
      writeFileSync(file, nginxApp({ port, dir, connections }));
      return nginxArgs(file);
    },
    remove,
  );
}
