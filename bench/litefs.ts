import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "@libsql/client";
import { freePort } from "../cluster/ports.ts";
import { listening, start, untilExit } from "./children.ts";
import { litefs } from "./configs.ts";
import type { Running, Setting } from "./peers.ts";

/** Mounts LiteFS with its own proxy and a database, so that there are tokens. */
export async function startLitefs(program: string, { target }: Setting): Promise<Running> {
  const dir = mkdtempSync(join(tmpdir(), "bench-litefs-"));
  const mount = join(dir, "mount");
  const file = join(dir, "litefs.yml");
  mkdirSync(mount);
  const [port, api] = [await freePort(), await freePort()];
  writeFileSync(file, litefs({ port, target, dir, api, connections: 0 }));
  const child = start(program, ["mount", "-config", file]);
  const stop = untilExit(() => {
    child.stop();
    spawnSync("fusermount3", ["-uz", mount]);
    rmSync(dir, { recursive: true, force: true });
  });
  try {
    await listening(port, child);
    const client = createClient({ url: `file:${join(mount, "app.db")}` });
    await client.execute("CREATE TABLE IF NOT EXISTS bench (id INTEGER PRIMARY KEY)");
    client.close();
    const position = readFileSync(join(mount, "app.db-pos"), "latin1").slice(0, 16);
    return { port, pids: [child.pid], token: `__txid=${position}`, stop };
  } catch (error) {
    stop();
    throw error;
  }
}
