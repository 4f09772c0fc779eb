import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { createClient } from "@libsql/client";
import { parse } from "yaml";
import { expandEnvironment } from "../adapters/drop-in/expand.ts";
import { keys } from "../adapters/drop-in/keys.ts";
import { startLibsqlPrimary } from "../cluster/libsql/primary.ts";
import type { LibsqlPrimary } from "../cluster/libsql/primary.ts";
import { freePort } from "../cluster/ports.ts";
import { createMount } from "./mount.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const litefs = join(root, "examples", "litefs");
const read = (name: string): string => readFileSync(join(litefs, name), "utf8");

/** The tests' own environment without what an example finds its primary by: on Fly.io, or in a shell that has tried one. */
const cleanEnvironment = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(?:FLY_APP_NAME|PRIMARY_PORT)$/.test(name)),
);

/** What the two deployments set in LiteFS's environment. */
const ENVIRONMENTS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "litefs.fly.yml": {
    HOSTNAME: "148e21ea",
    FLY_APP_NAME: "notes",
    FLY_REGION: "fra",
    PRIMARY_REGION: "fra",
    FLY_CONSUL_URL: "http://consul.test",
  },
  "litefs.compose.yml": { CANDIDATE: "false" },
};

/** The keys that LiteFS 0.5.14 knows; it refuses any other. */
const LITEFS_KEYS: ReadonlySet<string> = new Set([
  "fuse.dir",
  "data.dir",
  "lease.type",
  "lease.hostname",
  "lease.advertise-url",
  "lease.candidate",
  "lease.promote",
  "lease.consul.url",
  "lease.consul.key",
  "exec.cmd",
  "exec.if-candidate",
]);

/** A configuration of LiteFS, as far as the examples use it. */
interface LiteFSConfig {
  readonly fuse: { readonly dir: string };
  readonly data: { readonly dir: string };
  readonly lease: Readonly<Record<string, unknown>>;
  readonly exec: readonly { readonly cmd: string; readonly "if-candidate"?: boolean }[];
}

/** A Compose file, as far as the example uses it. */
interface Compose {
  readonly services: Readonly<
    Record<
      string,
      {
        readonly hostname: string;
        readonly build: { readonly args: { readonly LITEFS_CONFIG: string } };
        readonly environment: { readonly CANDIDATE: string };
        readonly ports: readonly string[];
        readonly volumes: readonly string[];
        readonly devices: readonly string[];
      }
    >
  >;
}

function litefsConfig(name: string): LiteFSConfig {
  const variables = ENVIRONMENTS[name] ?? {};
  const unknown: string[] = [];
  const text = expandEnvironment(read(name), (variable) => {
    if (variables[variable] === undefined) unknown.push(variable);
    return variables[variable];
  });
  assert.deepEqual(unknown, []);
  // The tests below look at every part of it.
  return parse(text) as LiteFSConfig;
}

// As above.
const compose = parse(read("compose.yaml"), { merge: true }) as Compose;
const proxy = parse(read("proxy.yml")) as { readonly proxy: Readonly<Record<string, string>> };
const fly = read("fly.toml");

/** Returns a value of a TOML file by its key, which is there once. */
function tomlValue(key: string): unknown {
  const [found, ...more] = fly.matchAll(new RegExp(`^\\s*${key} = (.*)$`, "gm"));
  assert.ok(found !== undefined && more.length === 0, key);
  return JSON.parse(found[1] ?? "");
}

/** The names of all values in a tree. */
function namesIn(tree: unknown, name = ""): string[] {
  if (Array.isArray(tree)) return tree.flatMap((one) => namesIn(one, name));
  if (typeof tree !== "object" || tree === null) return [name];
  const prefix = name === "" ? "" : `${name}.`;
  return Object.entries(tree).flatMap(([key, value]) => namesIn(value, `${prefix}${key}`));
}

const port = (address: string | undefined): string => address?.split(":").at(-1) ?? "";

describe("examples/litefs", () => {
  for (const name of Object.keys(ENVIRONMENTS)) {
    it(`has in ${name} what LiteFS, the proxy and the app agree on`, () => {
      const config = litefsConfig(name);
      const unknown = namesIn(config).filter((key) => !LITEFS_KEYS.has(key));
      assert.deepEqual(unknown, []);
      assert.equal(config.fuse.dir, keys.dir.standard.replace(/^.*else /, ""));
      assert.ok(read("app.ts").includes(`"${config.fuse.dir}/${proxy.proxy["db"]}"`));
      assert.ok(read("migrate.ts").includes(`"${config.fuse.dir}/${proxy.proxy["db"]}"`));
      assert.ok(read("app.ts").includes(`PORT = "${port(proxy.proxy["target"])}"`));
      const api = new URL(String(config.lease["advertise-url"]));
      assert.equal(`:${api.port}`, keys.api.standard.replace(/^.*else /, ""));
      assert.equal(typeof config.lease["candidate"], "boolean");
    });

    it(`starts with ${name} what the image has`, () => {
      const dockerfile = read("Dockerfile");
      const copied = dockerfile.matchAll(/^COPY ((?:[\w.]+ )+)\.\/$/gm);
      const files = [...copied].flatMap(([, names = ""]) => names.trim().split(" "));
      assert.ok(files.every((file) => existsSync(join(litefs, file))));
      const { exec } = litefsConfig(name);
      assert.deepEqual(
        exec.map((one) => one["if-candidate"] === true),
        [true, false],
      );
      for (const { cmd } of exec) {
        for (const [file] of cmd.matchAll(/[\w-]+\.(?:ts|yml)/g))
          assert.ok(files.includes(file), `${file} is not in the image`);
      }
      const { bin } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
      assert.equal(exec[1]?.cmd.split(" ")[0], `node_modules/.bin/${Object.keys(bin)[0]}`);
    });
  }

  it("installs what the project itself is tested with", () => {
    const { version, devDependencies } = JSON.parse(
      readFileSync(join(root, "package.json"), "utf8"),
    );
    const { dependencies } = JSON.parse(read("package.json"));
    const tested = { ...devDependencies, "@txid/proxy": version };
    for (const [name, range] of Object.entries<string>(dependencies)) {
      const [major = "", minor = ""] = range.slice(1).split(".");
      const fixed = major === "0" ? `0.${minor}.` : `${major}.`;
      assert.ok(String(tested[name]).startsWith(fixed), `${name} ${range}: ${tested[name]}`);
    }
  });

  it("opens in fly.toml the port of the proxy, checks its health, and keeps LiteFS's data", () => {
    assert.equal(String(tomlValue("internal_port")), port(proxy.proxy["addr"]));
    assert.equal(tomlValue("path"), keys["health-path"].standard);
    assert.equal(tomlValue("destination"), litefsConfig("litefs.fly.yml").data.dir);
    assert.ok(tomlValue("primary_region"));
    assert.ok(read("Dockerfile").includes("ARG LITEFS_CONFIG=litefs.fly.yml\n"));
  });

  it("has in compose.yaml one primary, whom all name, and two replicas", () => {
    const { lease, data } = litefsConfig("litefs.compose.yml");
    const services = Object.entries(compose.services);
    const candidates = services.filter(([, { environment }]) => environment.CANDIDATE === "true");
    assert.deepEqual(
      candidates.map(([name]) => name),
      [lease["hostname"]],
    );
    assert.equal(new URL(String(lease["advertise-url"])).hostname, lease["hostname"]);
    assert.equal(services.length, 3);
    for (const [name, service] of services) {
      assert.equal(service.hostname, name);
      assert.equal(service.build.args.LITEFS_CONFIG, "litefs.compose.yml");
      assert.deepEqual(service.devices, ["/dev/fuse"]);
      assert.deepEqual(service.volumes, [`${name}:${data.dir}`]);
      assert.equal(port(service.ports[0]), port(proxy.proxy["addr"]));
    }
    assert.equal(new Set(services.map(([, { ports }]) => ports[0])).size, 3);
  });
});

/** How a program of the project is run on this runtime. */
function programOf(file: string): [command: string, ...args: string[]] {
  if (process.versions.bun !== undefined) return [process.execPath, "run", file];
  if (process.versions.deno !== undefined) return [process.execPath, "run", "-A", file];
  return [process.execPath, "--import", import.meta.resolve("tsx"), file];
}

/** A node that a README reaches at a port of the machine. */
interface Published {
  readonly name: string;
  readonly url: string;
}

/** Starts the nodes of the Compose files, the primary first, and returns them by the ports that are published. */
async function startComposed(
  start: (hostname: string, primary: { url: string } | undefined) => Promise<string>,
): Promise<ReadonlyMap<string, Published>> {
  const url = await start("primary", undefined);
  const nodes = Object.entries(compose.services).map(async ([name, { ports }]) => {
    const own = name === "primary" ? url : await start(name, { url });
    return [ports[0]?.split(":")[0] ?? "", { name, url: own }] as const;
  });
  return new Map(await Promise.all(nodes));
}

/** Ends processes, and waits until they have ended. */
async function endAll(running: Set<ChildProcess>): Promise<void> {
  const ended = Array.from(running, async (child) => {
    const closed = once(child, "close");
    child.kill("SIGTERM");
    await closed;
  });
  running.clear();
  await Promise.all(ended);
}

/** Makes what LiteFS shows on a node; a replica's primary is on this machine. */
function makeMount(directory: string, isReplica: boolean): string {
  const { dir } = createMount({
    parent: directory,
    position: "0000000000000002",
    primary: isReplica ? { at: "elsewhere", hostname: "127.0.0.1" } : { at: "here" },
  });
  return dir;
}

/** Does what the `curl` lines of a README say, on the nodes whose ports are published, and tells what they answer. */
async function followCurls(
  text: string,
  nodes: ReadonlyMap<string, Published>,
): Promise<{ readonly lines: readonly string[]; readonly jar: ReadonlyMap<string, string> }> {
  const jar = new Map<string, string>();
  const lines: string[] = [];
  for (const [line] of text.matchAll(/^curl .*$/gm)) {
    const [, published = "", path = ""] = /http:\/\/localhost:(\d+)(\S+)/.exec(line) ?? [];
    const body = /-d "(.*?)"/.exec(line)?.[1];
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join("; ");
    const response = await fetch(`${nodes.get(published)?.url}${path}`, {
      method: /-X (\w+)/.exec(line)?.[1] ?? "GET",
      ...(body !== undefined && { body }),
      ...(line.includes("-b jar") && { headers: { Cookie: cookie } }),
    });
    for (const set of response.headers.getSetCookie()) {
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(set) ?? [];
      jar.set(name, value);
    }
    const answer = `${response.status} ${await response.text()}`;
    lines.push(`${nodes.get(published)?.name}: ${answer} from ${response.headers.get("app-node")}`);
  }
  return { lines, jar };
}

/** Writes while somebody else holds the database, as LiteFS does for a moment when it brings a transaction. */
async function writesPastLock(nodes: readonly Published[], file: string): Promise<void> {
  const other = createClient({ url: `file:${file}` });
  const held = await other.transaction("write");
  const writing = fetch(`${nodes[0]?.url}/notes/locked`, { method: "PUT", body: "x" });
  await new Promise((resolve) => setTimeout(resolve, 300));
  await held.rollback();
  other.close();
  const response = await writing;
  assert.deepEqual([response.status, await response.text()], [200, "Written"]);
}

describe("examples/litefs, started", { timeout: 120_000 }, () => {
  const running = new Set<ChildProcess>();
  let directory: string;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "txid-example-"));
  });
  afterEach(async () => {
    // The proxy ends the app, too.
    await endAll(running);
    rmSync(directory, { recursive: true, force: true });
  });

  /** Starts the proxy with the app behind it, as `exec:` does, on a node that has what LiteFS shows there. */
  async function start(hostname: string, primary: { url: string } | undefined): Promise<string> {
    const mount = makeMount(directory, primary !== undefined);
    const appPort = await freePort();
    const own = ["--addr", "127.0.0.1:0", "--dir", mount, "--api", "false", "--drain-delay", "0s"];
    own.push("--target", `127.0.0.1:${appPort}`);
    if (primary !== undefined)
      own.push("--primary-url", `http://{hostname}:${new URL(primary.url).port}`);
    const [command, ...args] = programOf("proxy.ts");
    const app = programOf(join("examples", "litefs", "app.ts"));
    const config = join(litefs, "proxy.yml");
    const child = spawn(command, [...args, "--config", config, ...own, "--", ...app], {
      cwd: root,
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...cleanEnvironment, ...environment(), PORT: String(appPort), HOSTNAME: hostname },
    });
    running.add(child);
    return urlOf(child);
  }

  function environment(): Record<string, string> {
    return { DATABASE: join(directory, "app.db") };
  }

  it("writes by way of a replica and reads on another one, as the README does", async () => {
    const [command, ...args] = programOf(join("examples", "litefs", "migrate.ts"));
    const env = { ...cleanEnvironment, ...environment() };
    await promisify(execFile)(command, args, { cwd: root, env });
    const nodes = await startComposed(start);
    const answers = await followCurls(read("README.md"), nodes);
    assert.deepEqual(answers.lines, [
      "replica-1: 200 Written from primary",
      "replica-2: 200 hello from replica-2",
    ]);
    assert.equal(answers.jar.get("__txid"), "0000000000000002");
    await writesPastLock([...nodes.values()], join(directory, "app.db"));
  });
});

const hono = join(root, "examples", "hono-litefs");
const readHono = (name: string): string => readFileSync(join(hono, name), "utf8");

describe("examples/hono-litefs", () => {
  it("differs from examples/litefs in nothing but what the app does itself", () => {
    for (const name of ["migrate.ts", "package.json"]) assert.equal(readHono(name), read(name));
    /** What is left when the proxy, and words about it, are taken away. */
    const without = (text: string): string =>
      text
        .replaceAll(/^ *#.*\n/gm, "")
        .replace(/^app = .*$/m, "")
        .replace("node_modules/.bin/txid-proxy --config proxy.yml -- node app.ts", "node app.ts")
        .replace(" proxy.yml", "");
    for (const name of [...Object.keys(ENVIRONMENTS), "Dockerfile", "compose.yaml", "fly.toml"])
      assert.equal(without(readHono(name)), without(read(name)), name);
  });

  it("has in app.ts what LiteFS and the image agree on", () => {
    const { fuse } = litefsConfig("litefs.fly.yml");
    assert.ok(readHono("app.ts").includes(`LITEFS_DIR = "${fuse.dir}"`));
    assert.ok(readHono("app.ts").includes(`PORT = "${String(tomlValue("internal_port"))}"`));
    assert.ok(readHono("Dockerfile").includes(`EXPOSE ${String(tomlValue("internal_port"))}\n`));
  });
});

/** Makes a project of an example that needs no proxy, with the package as it is here for the one that it installs. */
function install(example: string, project: string): void {
  for (const name of ["app.ts", "migrate.ts", "package.json"])
    copyFileSync(join(example, name), join(project, name));
  const { dependencies } = JSON.parse(readFileSync(join(example, "package.json"), "utf8"));
  for (const name of Object.keys(dependencies)) {
    const at = join(project, "node_modules", name);
    mkdirSync(dirname(at), { recursive: true });
    if (name !== "@txid/proxy") symlinkSync(join(root, "node_modules", name), at);
    else installOwn(at);
  }
}

function installOwn(at: string): void {
  mkdirSync(at);
  for (const name of ["adapters", "src"]) symlinkSync(join(root, name), join(at, name));
  const { name, version, type } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const { exports } = JSON.parse(readFileSync(join(root, "deno.json"), "utf8"));
  writeFileSync(join(at, "package.json"), JSON.stringify({ name, version, type, exports }));
}

describe("examples/hono-litefs, started", { timeout: 120_000 }, () => {
  const running = new Set<ChildProcess>();
  let directory: string;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "txid-example-"));
    install(hono, directory);
  });
  afterEach(async () => {
    await endAll(running);
    rmSync(directory, { recursive: true, force: true });
  });

  /** Starts the app on a node that has what LiteFS shows there. */
  async function start(hostname: string, primary: { url: string } | undefined): Promise<string> {
    const mount = makeMount(directory, primary !== undefined);
    const [command, ...args] = programOf("app.ts");
    const child = spawn(command, args, {
      cwd: directory,
      stdio: ["ignore", "pipe", "inherit"],
      env: {
        ...cleanEnvironment,
        DATABASE: join(directory, "app.db"),
        LITEFS_DIR: mount,
        PORT: "0",
        ...(primary && { PRIMARY_PORT: new URL(primary.url).port }),
        HOSTNAME: hostname,
      },
    });
    running.add(child);
    return urlOf(child);
  }

  it("writes by way of a replica and reads on another one, as the README does", async () => {
    const [command, ...args] = programOf("migrate.ts");
    const env = { ...cleanEnvironment, DATABASE: join(directory, "app.db") };
    await promisify(execFile)(command, args, { cwd: directory, env });
    const nodes = await startComposed(start);
    const answers = await followCurls(readHono("README.md"), nodes);
    assert.deepEqual(answers.lines, [
      "replica-1: 200 Written from primary",
      "replica-2: 200 hello from replica-2",
      "replica-2: 200 This is b from primary",
    ]);
    assert.equal(answers.jar.get("__txid"), "0000000000000002");
    const replica = [...nodes.values()].find(({ name }) => name === "replica-2");
    const health = await fetch(`${replica?.url}/litefs/health`);
    assert.deepEqual([health.status, await health.text()], [200, "OK\n"]);
    await writesPastLock([...nodes.values()], join(directory, "app.db"));
  });
});

const turso = join(root, "examples", "hono-turso");
const readTurso = (name: string): string => readFileSync(join(turso, name), "utf8");

describe("examples/hono-turso, started", { timeout: 120_000 }, () => {
  const running = new Set<ChildProcess>();
  let directory: string;
  let primary: LibsqlPrimary;

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), "txid-example-"));
    install(turso, directory);
    // What one node has written the other one has later, for to the stand-in a token is a replica.
    primary = await startLibsqlPrimary({ directory: join(directory, "primary"), delay: 200 });
  });
  afterEach(async () => {
    await endAll(running);
    await primary.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  /** Runs a line of the README, which sets variables and then runs a program on Node, on this runtime. */
  function runLine(line: string, variables: Readonly<Record<string, string>>): ChildProcess {
    const words = line.split(" ");
    const at = words.indexOf("node");
    const own = Object.fromEntries(words.slice(0, at).map((word) => word.split("=")));
    const [command, ...args] = programOf(words[at + 1] ?? "");
    const child = spawn(command, args, {
      cwd: directory,
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...cleanEnvironment, TURSO_DATABASE_URL: primary.url, ...own, ...variables },
    });
    running.add(child);
    child.once("close", () => running.delete(child));
    return child;
  }

  it("has the dependencies of the other examples", () => {
    assert.equal(readTurso("package.json"), read("package.json"));
  });

  it("writes on one node and reads on the other one, as the README does", async () => {
    const text = readTurso("README.md");
    const [migrate = "", ...apps] = [...text.matchAll(/^(?:\w+=\S+ )*node .*$/gm)].map(String);
    const [code] = await once(runLine(migrate, {}), "close");
    assert.equal(code, 0);
    const nodes = new Map<string, Published>();
    for (const line of apps) {
      const [, published = "", name = ""] = /^PORT=(\d+) HOSTNAME=(\w+) /.exec(line) ?? [];
      const child = runLine(line, { PORT: "0", TURSO_AUTH_TOKEN: name });
      nodes.set(published, { name, url: await urlOf(child) });
    }
    const answers = await followCurls(text, nodes);
    assert.deepEqual(answers.lines, [
      "one: 200 Written from one",
      "two: 200 hello from two",
      "two: 200 Written from two",
      "one: 200 hello again from one",
    ]);
    assert.ok(answers.jar.has("__txid") && answers.jar.has("__txid_replica"));
    // And without the cookies it may be too early.
    await primary.setDelay(60_000);
    const [one = "", two = ""] = Array.from(nodes.values(), ({ url }) => url);
    const written = await fetch(`${one}/notes/b`, { method: "PUT", body: "hello" });
    assert.equal(written.status, 200);
    assert.equal((await fetch(`${two}/notes/b`)).status, 404);
  });
});

/** Waits until an app, or the proxy in front of one, tells at which port it listens. */
function urlOf(child: ChildProcess): Promise<string> {
  let written = "";
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => reject(new Error(`It ended with ${code}: ${written}`)));
    child.stdout?.on("data", (bytes: Uint8Array) => {
      written += String(bytes);
      const port = /listening on http:\/\/(?:localhost|127\.0\.0\.1):(\d+)/.exec(written)?.[1];
      if (port !== undefined) resolve(`http://127.0.0.1:${port}`);
    });
  });
}
