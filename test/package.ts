/**
 * Packs the package, installs it into a project elsewhere and uses it there, on each runtime and with its types.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, it } from "node:test";

const root = resolve(import.meta.dirname, "..");
const bin = join(root, "node_modules", ".bin");
const { devDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

const user = `
import { createProxy, type Proxy } from "@txid/proxy";
import { libsql } from "@txid/proxy/libsql";
import { litefs } from "@txid/proxy/litefs";
import { memory } from "@txid/proxy/memory";
import { serve } from "@txid/proxy/serve";

const storage = memory({ position: "0000000000000007" });
const proxy: Proxy = createProxy({ target: async (request) => new Response("app " + (await request.text())), storage });
const server = await serve(proxy, { port: 0, hostname: "127.0.0.1" });
const response = await fetch(server.url + "/a", { method: "POST", body: "hello" });
console.log(response.status, await response.text(), response.headers.get("set-cookie")?.slice(0, 23));
await server.close();
libsql({ info: "/nowhere/app.db-info" }).close();
await litefs({ dir: "/nowhere", db: "app.db" }).close?.();
`;

const types = `
import { createProxy } from "@txid/proxy";
import { memory } from "@txid/proxy/memory";
import { serve as serveBun } from "@txid/proxy/bun";
import { serve as serveDeno } from "@txid/proxy/deno";
import { serve as serveNode } from "@txid/proxy/node";
import { consistency, type TxidVariables } from "@txid/proxy/hono";
import { consistency as wrapper, txidOf } from "@txid/proxy/fetch";
import { Hono } from "hono";

const inside = new Hono<{ Variables: TxidVariables }>();
inside.use(consistency({ storage: memory() }));
inside.get("/", (context) => context.text(String(context.var.txid.position)));
export const wrapped = wrapper({ storage: memory() })((request: Request) => new Response(txidOf(request)?.role));
const app = new Hono();
const proxy = createProxy({ target: app.fetch, storage: memory() });
app.all("/api/*", (context) => proxy.fetch(context.req.raw));
app.mount("/", proxy.fetch);
export default { port: 8080, ...proxy };
export const ways = [serveBun, serveDeno, serveNode];
`;

describe("the packed package", () => {
  let project: string;

  function run(command: string, ...args: string[]): string {
    return execFileSync(command, args, {
      cwd: project,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"],
    });
  }

  before(() => {
    project = mkdtempSync(join(tmpdir(), "package-"));
    const tarball = execFileSync("npm", ["pack", "--silent", "--pack-destination", project], {
      cwd: root,
      encoding: "utf8",
    })
      .trim()
      .split("\n")
      .at(-1);
    mkdirSync(join(project, "src"));
    writeFileSync(
      join(project, "package.json"),
      JSON.stringify({ name: "user", private: true, type: "module" }),
    );
    writeFileSync(join(project, "user.ts"), user);
    writeFileSync(
      join(project, "user.mjs"),
      user.replace(", type Proxy", "").replace("proxy: Proxy", "proxy"),
    );
    writeFileSync(join(project, "src", "types.ts"), types);
    run(
      "npm",
      "install",
      "--no-audit",
      "--no-fund",
      "--silent",
      `./${tarball}`,
      // What is the newest one today is not what this commit was tried with.
      ...["hono", "@hono/node-server"].map((name) => `${name}@${devDependencies[name]}`),
    );
  });
  after(() => rmSync(project, { recursive: true, force: true }));

  const expected = "200 app hello __txid=0000000000000007\n";
  it("runs on Node", () => assert.equal(run(process.execPath, "user.mjs"), expected));
  it("runs on Bun", () => assert.equal(run(join(bin, "bun"), "run", "user.ts"), expected));
  it("runs on Deno", () => assert.equal(run(join(bin, "deno"), "run", "-A", "user.ts"), expected));

  it("brings its types", () => {
    const strict = [
      "--noEmit",
      "--strict",
      "--module",
      "nodenext",
      "--target",
      "es2023",
      "--types",
      "",
    ];
    run(join(bin, "tsc"), ...strict, "--lib", "es2023,dom,dom.iterable", "src/types.ts", "user.ts");
  });

  it("brings the command", () => {
    assert.match(run("npx", "txid-proxy", "--version"), /^txid-proxy \d+\.\d+\.\d+ on node /);
    const check = run(
      "npx",
      "txid-proxy",
      "--check",
      "--addr",
      ":8080",
      "--target",
      "localhost:8081",
      "--db",
      "app.db",
    );
    assert.match(check, /app\.db/);
  });
});
