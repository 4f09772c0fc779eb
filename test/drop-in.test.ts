import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { createServer, get, request, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { createLog, type Log } from "../adapters/drop-in/log.ts";
import { run, type Start } from "../adapters/drop-in/run.ts";
import { createStateLog, createTargetLog } from "../adapters/drop-in/state.ts";
import type { End, Host } from "../adapters/drop-in/system.ts";
import { freePort } from "../cluster/ports.ts";
import type { Storage } from "../src/index.ts";
import { createMount, type Mount } from "./mount.ts";
import { until } from "./until.ts";

const flags = ["--addr=:8080", "--target=localhost:8081", "--db=my.db"];

/** A process that does not exist: what it is told, it writes down in `events`. */
function createHost(given: {
  argv?: string[];
  files?: Record<string, string>;
  variables?: Record<string, string>;
}) {
  const events: string[] = [];
  const output = { out: "", error: "" };
  const read: string[] = [];
  let onSignal: (signal: NodeJS.Signals, number: number) => void = () => {};
  let endChild: (end: End) => void = () => {};
  let wake: () => void = () => {};
  let now = 0;
  const start: Start = () => {
    events.push("start");
    return Promise.resolve({
      url: "http://localhost:8080",
      drain: () => void events.push("drain"),
      close: (timeout) => {
        events.push(`close ${timeout}`);
        return Promise.resolve();
      },
    });
  };
  const host: Host = {
    argv: given.argv ?? flags,
    runtime: "test 1.0",
    variable: (name) => given.variables?.[name],
    hostname: () => "machine",
    now: () => now,
    sleep: (ms) => {
      events.push(`sleep ${ms}`);
      return new Promise((resolve) => {
        wake = resolve;
      });
    },
    readFile: (name) => {
      read.push(name);
      return given.files?.[name];
    },
    write: (stream, text) => {
      output[stream] += text;
    },
    onSignal: (listener) => {
      onSignal = listener;
    },
    spawn: (command) => {
      events.push(`spawn ${command.join(" ")}`);
      const ended = new Promise<End>((resolve) => {
        endChild = resolve;
      });
      return { ended, kill: (signal) => void events.push(`kill ${signal}`) };
    },
    exit: (code) => void events.push(`exit ${code}`),
  };
  return {
    host,
    events,
    output,
    read,
    signal: (signal: NodeJS.Signals, number: number) => onSignal(signal, number),
    endChild: (code: number, signal?: string, error?: string) => endChild({ code, signal, error }),
    wake: () => wake(),
    pass: (ms: number) => {
      now += ms;
    },
    start,
  };
}

/** Lets everything happen that waits for nothing but its turn. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}

describe("run()", () => {
  it("answers --help, --version and --check, and starts nothing", async () => {
    for (const [flag, expected] of [
      ["--help", /^Usage: txid-proxy/],
      ["--version", /^txid-proxy \d+\.\d+\.\d+ on test 1\.0\n$/],
      ["--check", /^# the flags are fine\nproxy:\n {2}addr: ":8080" /],
    ] as const) {
      const { host, start, events, output } = createHost({ argv: [...flags, flag] });
      assert.equal(await run(start, host), 0);
      assert.match(output.out, expected);
      assert.deepEqual(events, []);
      assert.equal(output.error, "");
    }
  });

  it("looks for the file where LiteFS does, after our own", async () => {
    const nothing = createHost({ argv: ["--check"], variables: { HOME: "/home/me" } });
    assert.equal(await run(nothing.start, nothing.host), 2);
    assert.deepEqual(nothing.read, [
      "proxy.yml",
      "litefs.yml",
      "/home/me/litefs.yml",
      "/etc/litefs.yml",
    ]);
    const files = { "litefs.yml": "proxy: {}", "/etc/litefs.yml": "nope" };
    const found = createHost({ argv: [...flags, "--check"], files });
    assert.equal(await run(found.start, found.host), 0);
    assert.match(found.output.out, /^# litefs\.yml is fine\n/);
  });

  it("reads the named file alone, and refuses when it is not there", async () => {
    const { host, start, output, read } = createHost({
      argv: ["--config", "x.yml"],
      files: { "proxy.yml": "proxy: {}" },
    });
    assert.equal(await run(start, host), 2);
    assert.equal(output.error, "x.yml: no such file\n");
    assert.deepEqual(read, ["x.yml"]);
  });

  it("fills HOSTNAME in when nobody has set it", async () => {
    for (const [variables, expected] of [
      [{}, "machine"],
      [{ HOSTNAME: "" }, "machine"],
      [{ HOSTNAME: "set" }, "set"],
    ] as const) {
      const files = { "proxy.yml": "proxy: {db: $HOSTNAME}" };
      const { host, start, output } = createHost({
        argv: ["--addr=:1", "--target=a:2", "--check"],
        files,
        variables,
      });
      await run(start, host);
      assert.match(output.out, new RegExp(`^ {2}db: ${expected} `, "m"));
    }
  });

  it("ends with 2 and one line when the configuration is wrong", async () => {
    const files = { "proxy.yml": "proxy:\n  max-lag: 5\n" };
    const { host, start, output, events } = createHost({ files });
    assert.equal(await run(start, host), 2);
    assert.equal(
      output.error,
      'proxy.yml:2: proxy.max-lag: 5 is not a duration, write a unit such as "5s"\n',
    );
    assert.deepEqual(events, []);
  });

  it("names everything that is missing at once, and where the flags are explained", async () => {
    const nothing = createHost({ argv: [] });
    assert.equal(await run(nothing.start, nothing.host), 2);
    assert.equal(
      nothing.output.error,
      '--target: missing or empty, write the app\'s host and port such as "localhost:8081"; --addr: missing or empty, write the address to listen on such as ":8080"; --db: missing or empty, write the name of the database such as "my.db" (and there is no configuration file), see --help\n',
    );
    const wrong = createHost({ argv: ["--adr=:1"] });
    assert.equal(await run(wrong.start, wrong.host), 2);
    assert.equal(wrong.output.error, "--adr: unknown flag, did you mean --addr, see --help\n");
  });

  it("names the variable that is not set where its line is wrong", async () => {
    const files = { "proxy.yml": 'proxy:\n  addr: ":$PORT"\n' };
    const { host, start, output } = createHost({ argv: [], files });
    assert.equal(await run(start, host), 2);
    assert.match(
      output.error,
      /^proxy\.yml:2: proxy\.addr: ":" is not an address, .* \(\$PORT is not set\)\n$/,
    );
  });

  it("ends with 2 when a part refuses what it is given", async () => {
    const { host, output } = createHost({});
    const start: Start = () => Promise.reject(new TypeError("Cannot create proxy: no"));
    assert.equal(await run(start, host), 2);
    assert.equal(output.error, "Cannot create proxy: no\n");
  });

  it("ends with 1 and one line when it cannot listen", async () => {
    const { host, output } = createHost({});
    const start: Start = () =>
      Promise.reject(
        Object.assign(new Error("listen EADDRINUSE :::8080\n  at"), { code: "EADDRINUSE" }),
      );
    assert.equal(await run(start, host), 1);
    assert.equal(output.error, "cannot listen on :8080: the address is in use\n");
  });

  it("says where it listens and for whom", async () => {
    const { host, start, output, signal, wake } = createHost({});
    const code = run(start, host);
    await settle();
    assert.match(
      output.out,
      /^listening on http:\/\/localhost:8080 addr=:8080 target=http:\/\/localhost:8081 db=my\.db dir=\/litefs api=http:\/\/127\.0\.0\.1:20202 runtime="test 1\.0" version=\S+\n$/,
    );
    signal("SIGTERM", 15);
    await settle();
    wake();
    assert.equal(await code, 0);
  });

  it("lets health fail first, then closes, and ends with 0", async () => {
    const { host, start, events, signal, wake } = createHost({
      argv: [...flags, "--drain-delay=2s", "--drain-timeout=7s"],
    });
    const code = run(start, host);
    await settle();
    signal("SIGTERM", 15);
    await settle();
    assert.deepEqual(events, ["start", "drain", "sleep 2000"]);
    wake();
    assert.equal(await code, 0);
    assert.deepEqual(events, ["start", "drain", "sleep 2000", "close 7000"]);
  });

  it("drains when the signal comes while it starts", async () => {
    const { host, start, events, signal, wake } = createHost({});
    let listen: () => void = () => {};
    const code = run(async (...args) => {
      await new Promise<void>((resolve) => {
        listen = resolve;
      });
      return start(...args);
    }, host);
    signal("SIGTERM", 15);
    listen();
    await settle();
    wake();
    assert.equal(await code, 0);
    assert.deepEqual(events, ["start", "drain", "sleep 1000", "close 10000"]);
  });

  it("starts the command once it listens, and passes the signal on after the drain", async () => {
    const { host, start, events, signal, wake, endChild } = createHost({
      argv: [...flags, "--", "node", "app.js"],
    });
    const code = run(start, host);
    await settle();
    assert.deepEqual(events, ["start", "spawn node app.js"]);
    signal("SIGINT", 2);
    await settle();
    wake();
    await settle();
    assert.deepEqual(events.slice(2), ["drain", "sleep 1000", "close 10000", "kill SIGINT"]);
    endChild(7);
    assert.equal(await code, 7);
  });

  it("ends with 0 when the command ends of the signal that was passed on", async () => {
    const { host, start, signal, wake, endChild } = createHost({ argv: [...flags, "--", "app"] });
    const code = run(start, host);
    await settle();
    signal("SIGTERM", 15);
    await settle();
    wake();
    await settle();
    endChild(143, "SIGTERM");
    assert.equal(await code, 0);
  });

  it("drains without a delay when the command ends, and ends with its code", async () => {
    const { host, start, events, endChild } = createHost({ argv: [...flags, "--", "app"] });
    const code = run(start, host);
    await settle();
    endChild(3);
    assert.equal(await code, 3);
    assert.deepEqual(events, ["start", "spawn app", "drain", "close 10000"]);
  });

  it("waits no longer for the delay when the command ends meanwhile", async () => {
    const { host, start, signal, endChild } = createHost({ argv: [...flags, "--", "app"] });
    const code = run(start, host);
    await settle();
    signal("SIGINT", 2);
    await settle();
    endChild(5);
    assert.equal(await code, 5);
  });

  it("says why the command cannot start", async () => {
    const { host, start, output, endChild } = createHost({ argv: [...flags, "--", "app"] });
    const code = run(start, host);
    await settle();
    endChild(127, undefined, "no such file");
    assert.equal(await code, 127);
    assert.match(output.error, /^warn: cannot start the command: no such file$/m);
  });

  it("ends at once at the second signal, and the command with it", async () => {
    const { host, start, events, signal, pass } = createHost({ argv: [...flags, "--", "app"] });
    void run(start, host);
    await settle();
    signal("SIGTERM", 15);
    pass(1000);
    signal("SIGTERM", 15);
    assert.deepEqual(events.slice(2), ["kill SIGKILL", "exit 143"]);
  });

  it("takes the same Ctrl-C, come twice, for one", async () => {
    const { host, start, events, signal, pass } = createHost({});
    void run(start, host);
    await settle();
    signal("SIGINT", 2);
    pass(50);
    signal("SIGINT", 2);
    await settle();
    assert.deepEqual(events, ["start", "drain", "sleep 1000"]);
  });

  it("reports a failed close and ends all the same", async () => {
    const { host, start, output, signal, wake } = createHost({});
    const code = run(async (...args) => {
      const running = await start(...args);
      return { ...running, close: () => Promise.reject(new Error("broken")) };
    }, host);
    await settle();
    signal("SIGTERM", 15);
    await settle();
    wake();
    assert.equal(await code, 0);
    assert.equal(output.error, "error: broken\n");
  });
});

/** A log that keeps its lines. */
function createMemoryLog(format: "text" | "json", debug = false) {
  const lines: string[] = [];
  const clock = { now: 0 };
  const log = createLog({
    format,
    debug,
    write: (stream, text) => void lines.push(`${stream === "out" ? "" : "! "}${text}`),
    now: () => clock.now,
  });
  return { log, lines, clock };
}

describe("createLog()", () => {
  it("writes one line each, what is wrong to the standard error", () => {
    const { log, lines } = createMemoryLog("text");
    log.info("ready", { port: 80, name: "a b", empty: "", left: undefined, quote: 'x"y' });
    log.warn("no primary known");
    log.error(new Error("outer", { cause: new Error("inner") }));
    assert.deepEqual(lines, [
      'ready port=80 name="a b" empty="" quote="x\\"y"\n',
      "! warn: no primary known\n",
      "! error: outer: inner\n",
    ]);
  });

  it("writes JSON with the time", () => {
    const { log, lines } = createMemoryLog("json");
    log.warn("look\nout", { lag: 3 });
    assert.deepEqual(JSON.parse(lines[0]?.slice(2) ?? ""), {
      time: "1970-01-01T00:00:00.000Z",
      level: "warn",
      message: "look\nout",
      lag: 3,
    });
    assert.match(lines[0] ?? "", /^[^\n]*\n$/);
  });

  it("logs a decision with its reason, in one line whatever the target holds", () => {
    const { log, lines } = createMemoryLog("text", true);
    log.decision?.({
      method: "GET",
      target: "/a\u009b2J\nx",
      kind: "read",
      outcome: "target",
      reason: "caught up after waiting",
      token: "000000000000000a",
      waited: 12.345,
    });
    assert.deepEqual(lines, [
      'debug: GET /a\\x9b2J\\x0ax kind=read outcome=target reason="caught up after waiting" token=000000000000000a waited=12\n',
    ]);
  });

  it("makes decisions cost nothing unless they are wanted", () => {
    assert.equal(createMemoryLog("text").log.decision, undefined);
  });

  it("says the same error once in ten seconds, and how often it came", () => {
    const { log, lines, clock } = createMemoryLog("text");
    for (let time = 0; time < 1000; time++) log.error(new Error("refused"));
    log.error(new Error("other"));
    clock.now = 10_000;
    log.error(new Error("refused"));
    assert.deepEqual(lines, [
      "! error: refused\n",
      "! error: other\n",
      "! error: refused unsaid=999\n",
    ]);
  });

  it("says an error that has itself for its cause", () => {
    const { log, lines } = createMemoryLog("text");
    const error = new Error("loop");
    error.cause = error;
    log.error(error);
    assert.deepEqual(lines, ["! error: loop\n"]);
  });
});

describe("createStateLog()", () => {
  /** A storage whose answers can be changed. */
  function createStorage() {
    const state: { position: string | undefined | Error; primary: ReturnType<Storage["primary"]> } =
      {
        position: undefined,
        primary: { at: "unknown" },
      };
    const storage: Storage = {
      position: () => {
        if (state.position instanceof Error) throw state.position;
        return state.position;
      },
      primary: () => state.primary,
    };
    return { state, storage };
  }

  async function looks(
    log: Log,
    changes: ((state: ReturnType<typeof createStorage>["state"]) => void)[],
  ): Promise<void> {
    const { state, storage } = createStorage();
    const look = createStateLog(storage, log);
    for (const change of changes) {
      change(state);
      await look();
      await look();
    }
  }

  it("says each state once", async () => {
    const { log, lines } = createMemoryLog("text");
    await looks(log, [
      () => {},
      (state) => (state.position = "0000000000000001"),
      (state) => (state.position = "0000000000000002"),
      (state) => (state.primary = { at: "elsewhere", hostname: "node-b" }),
      (state) => (state.primary = { at: "here" }),
      (state) => (state.position = new Error("not mounted")),
      (state) => (state.primary = Promise.reject(new Error("no"))),
      (state) => (state.position = "0000000000000003"),
    ]);
    assert.deepEqual(lines, [
      "! warn: no database yet\n",
      "! warn: no primary known\n",
      "database found\n",
      "the primary is node-b\n",
      "this node is the primary\n",
      "! warn: database not readable: not mounted\n",
      "! warn: no primary known\n",
      "database found\n",
    ]);
  });
});

describe("createTargetLog()", () => {
  it("says that the app does not listen, what that does to requests, and that it listens again", () => {
    const { log, lines } = createMemoryLog("text");
    const tell = createTargetLog("http://localhost:8081", 30_000, log);
    tell(false);
    tell(true);
    createTargetLog("http://localhost:8081", 0, log)(false);
    assert.deepEqual(lines, [
      "! warn: the app does not listen on http://localhost:8081: requests wait for it for up to 30s\n",
      "the app listens on http://localhost:8081\n",
      "! warn: the app does not listen on http://localhost:8081: requests are answered with 502\n",
    ]);
  });
});

const root = fileURLToPath(new URL("..", import.meta.url));

/** What the current runtime needs to run the drop-in. */
function command(): string[] {
  if (process.versions.bun !== undefined) return ["run", "proxy.ts"];
  return process.versions.deno === undefined
    ? ["--import", "tsx", "proxy.ts"]
    : ["run", "-A", "proxy.ts"];
}

/** A drop-in in a process of its own. */
interface Running {
  /** Sends it a signal. */
  kill(signal: NodeJS.Signals): void;
  /** What it has written to its standard output and its standard error. */
  readonly output: { out: string; error: string };
  /** Resolves to its exit code, or to the signal that ended it, when all its output is there. */
  readonly ended: Promise<number | string | null>;
}

describe("proxy.ts", { timeout: 120_000 }, () => {
  const running = new Set<ChildProcess>();
  let mount: Mount;
  let directory: string;
  let app: Server;
  /** The answers that the app holds back. */
  let held: ServerResponse[];

  function launch(...args: string[]): Running {
    const child = spawn(process.execPath, [...command(), ...args], {
      cwd: root,
      stdio: ["ignore", "pipe", "pipe"],
    });
    running.add(child);
    const output = { out: "", error: "" };
    child.stdout.setEncoding("utf8").on("data", (text: string) => (output.out += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (output.error += text));
    const ended = new Promise<number | string | null>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code, signal) => {
        running.delete(child);
        resolve(signal ?? code);
      });
    });
    // Deno 2.9 takes a signal sent by child.kill() for the end, whatever code the process exits with.
    const kill = (signal: NodeJS.Signals): void => {
      if (child.pid !== undefined && running.has(child)) process.kill(child.pid, signal);
    };
    return { kill, output, ended };
  }

  /** Writes a configuration file for a primary on `directory`, and returns its path. */
  function configure(lines = ""): string {
    const { port } = app.address() as AddressInfo; // A server on TCP has no other kind of address.
    const path = join(directory, "proxy.yml");
    writeFileSync(
      path,
      `proxy:\n  addr: "127.0.0.1:0"\n  target: "127.0.0.1:${port}"\n  db: my.db\n  api: false\n  drain-delay: 0s\nfuse:\n  dir: "${directory}"\n`.replace(
        "fuse:",
        `${lines}fuse:`,
      ),
    );
    return path;
  }

  function listening({ output }: Running): Promise<string> {
    return until("the address", () => /listening on (http:\/\/\S+)/.exec(output.out)?.[1]);
  }

  before(async () => {
    app = createServer((message, response) => {
      if (message.url === "/hold") held.push(response);
      else response.end(`${message.method} ${message.url}`);
    });
    await new Promise<void>((resolve) => void app.listen(0, "127.0.0.1", resolve));
  });
  after(() => {
    app.closeAllConnections();
    app.close();
  });
  beforeEach(() => {
    held = [];
    mount = createMount({
      database: "my.db",
      position: "000000000000002a",
      primary: { at: "here" },
    });
    directory = mount.dir;
  });
  afterEach(() => {
    for (const child of running) child.kill("SIGKILL");
    mount.cleanup();
  });

  it("serves an app, mints tokens, and ends with 0 at SIGTERM", async () => {
    const proxy = launch("--config", configure());
    const url = await listening(proxy);
    assert.deepEqual(await fetchText(`${url}/a?b`), {
      status: 200,
      text: "GET /a?b",
      cookie: undefined,
    });
    const { text, cookie } = await fetchText(`${url}/a`, "POST");
    assert.equal(text, "POST /a");
    assert.match(cookie ?? "", /^__txid=000000000000002a;/);
    await until("the role", () => proxy.output.out.includes("\nthis node is the primary\n"));
    proxy.kill("SIGTERM");
    assert.equal(await proxy.ended, 0);
    assert.ok(proxy.output.out.endsWith("\nSIGTERM: draining delay=0 timeout=10000\nstopped\n"));
    assert.equal(proxy.output.error, "");
  });

  it("sends what writes from a replica to the primary, over IPv6 as well", async () => {
    const path = configure();
    for (const [addr, hostname] of [
      ["127.0.0.1:0", "127.0.0.1"],
      ["[::1]:0", "::1"],
      [":0", "localhost"],
    ] as const) {
      // Some containers have no IPv6 at all.
      const addresses = Object.values(networkInterfaces()).flat();
      if (hostname === "::1" && !addresses.some((one) => one?.address === "::1")) continue;
      const primary = launch("--config", path, "--addr", addr);
      const { port } = new URL(await listening(primary));
      const replica = createMount({
        database: "my.db",
        position: "0000000000000029",
        primary: { at: "elsewhere", hostname },
      });
      try {
        const primaryUrl = `http://{hostname}:${port}`;
        const far = launch("--config", path, "--dir", replica.dir, "--primary-url", primaryUrl);
        const { status, text, cookie } = await fetchText(`${await listening(far)}/a`, "POST");
        assert.equal(status, 200, text);
        assert.equal(text, "POST /a");
        assert.match(cookie ?? "", /^__txid=000000000000002a;/);
      } finally {
        replica.cleanup();
      }
    }
  });

  it("says that the app does not listen while a request waits for it, and that it listens again", async () => {
    const late = createServer((_, response) => response.end("late"));
    const port = await freePort();
    const proxy = launch("--config", configure(), "--target", `127.0.0.1:${port}`);
    const answer = fetchText(`${await listening(proxy)}/a`);
    const line = `warn: the app does not listen on http://127.0.0.1:${port}: requests wait for it for up to 30s\n`;
    await until("the line", () => proxy.output.error === line);
    late.listen(port, "127.0.0.1");
    try {
      assert.equal((await answer).text, "late");
      const good = `\nthe app listens on http://127.0.0.1:${port}\n`;
      await until("the other line", () => proxy.output.out.includes(good));
      assert.equal(proxy.output.error, line);
    } finally {
      late.closeAllConnections();
      late.close();
    }
  });

  it("warns once that LiteFS is not there, and names the directory", async () => {
    const path = configure("  databases: [other.db]\n");
    const dir = join(directory, "nowhere");
    const proxy = launch("--config", path, "--dir", dir);
    const url = await listening(proxy);
    await until("the role", () => proxy.output.error.includes("no primary known"));
    await fetchText(`${url}/litefs/health`);
    const lines = proxy.output.error.split("\n").filter((line) => line.includes(dir));
    assert.deepEqual(lines, [
      `warn: no LiteFS at ${dir} (there is no .lag): is it mounted? "dir" names the directory`,
    ]);
  });

  it("lets health fail first and requests in flight end", async () => {
    const proxy = launch("--config", configure(), "--drain-delay", "1h");
    const url = await listening(proxy);
    assert.equal((await fetchText(`${url}/litefs/health`)).status, 200);
    proxy.kill("SIGTERM");
    await until("the drain", () => proxy.output.out.includes("draining"));
    assert.equal((await fetchText(`${url}/litefs/health`)).status, 503);
    assert.equal((await fetchText(`${url}/still`)).status, 200);
  });

  it("stops to listen while a request in flight ends", async () => {
    const proxy = launch("--config", configure());
    const url = await listening(proxy);
    const answer = fetchText(`${url}/hold`);
    const response = await until("the request", () => held[0]);
    proxy.kill("SIGTERM");
    await until("the drain", () => proxy.output.out.includes("draining"));
    await untilRefused(url);
    response.end("late");
    assert.deepEqual(await answer, { status: 200, text: "late", cookie: undefined });
    assert.equal(await proxy.ended, 0);
  });

  it("cuts a request that does not end within the drain timeout", async () => {
    const proxy = launch("--config", configure(), "--drain-timeout", "50ms");
    const url = await listening(proxy);
    const answer = fetchText(`${url}/hold`).then(
      () => "answered",
      () => "cut",
    );
    await until("the request", () => held[0]);
    proxy.kill("SIGTERM");
    assert.equal(await proxy.ended, 0);
    assert.equal(await answer, "cut");
  });

  it("ends at once at the second signal", async () => {
    const proxy = launch("--config", configure(), "--drain-delay", "1h");
    await listening(proxy);
    proxy.kill("SIGTERM");
    await until("the drain", () => proxy.output.out.includes("draining"));
    // Sent until it counts: shortly after the first one it is taken for its echo.
    const again = setInterval(() => proxy.kill("SIGTERM"), 100);
    assert.equal(await proxy.ended, 143);
    clearInterval(again);
  });

  it("runs the app as its command, and ends with the app's code", async () => {
    const script = 'trap "echo bye; exit 7" TERM; echo "app $1"; while :; do sleep 0.05; done';
    const proxy = launch("--config", configure(), "--", "sh", "-c", script, "app", "a b");
    // On a line of its own: what is logged before names the command with its arguments.
    await until("the app", () => /^app a b$/m.test(proxy.output.out));
    assert.match(proxy.output.out, /^listening on [^]*^app a b$/m);
    proxy.kill("SIGTERM");
    assert.equal(await proxy.ended, 7);
    assert.match(proxy.output.out, /draining[^]*^bye$[^]*^stopped$/m);
  });

  it("ends with 0 when the app ends of the signal", async () => {
    const proxy = launch("--config", configure(), "--", "sh", "-c", "echo up; exec sleep 60");
    await until("the app", () => proxy.output.out.includes("up\n"));
    proxy.kill("SIGTERM");
    assert.equal(await proxy.ended, 0);
  });

  it("ends with the app", async () => {
    const proxy = launch("--config", configure(), "--", "sh", "-c", "exit 3");
    assert.equal(await proxy.ended, 3);
    assert.match(proxy.output.out, /^the command has ended: draining code=3$[^]*^stopped$/m);
  });

  it("gives the app a HOSTNAME", async () => {
    const proxy = launch("--config", configure(), "--", "sh", "-c", 'test -n "$HOSTNAME"');
    assert.equal(await proxy.ended, 0);
  });

  it("ends with 127 when there is no such command", async () => {
    const proxy = launch("--config", configure(), "--", join(directory, "nothing"));
    assert.equal(await proxy.ended, 127);
    assert.match(proxy.output.error, /^warn: cannot start the command: .+$/m);
  });

  it("logs decisions as JSON", async () => {
    const proxy = launch("--config", configure("  debug: yes\n  log: json\n"));
    const url = await until("the address", () => {
      const line = proxy.output.out.split("\n", 1)[0] ?? "";
      return (
        proxy.output.out.includes("\n") && /http:\/\/[\d.:]+/.exec(JSON.parse(line).message)?.[0]
      );
    });
    await fetchText(`${url}/x`);
    const line = await until("the decision", () =>
      proxy.output.out.split("\n").find((text) => text.includes('"GET /x"')),
    );
    const { level, kind, outcome, reason } = JSON.parse(line);
    assert.deepEqual([level, kind, outcome, reason], ["debug", "read", "target", "no token"]);
  });

  it("starts without a database, and says once when it comes", async () => {
    rmSync(mount.file);
    const proxy = launch("--config", configure());
    const url = await listening(proxy);
    await until("the warning", () => proxy.output.error.includes("warn: no database yet\n"));
    assert.equal((await fetchText(`${url}/a`)).text, "GET /a");
    mount.setPosition("0000000000000001");
    await until("the database", () => proxy.output.out.includes("\ndatabase found\n"));
    assert.equal(proxy.output.error.split("no database yet").length, 2);
  });

  it("ends with 1 and one line when the address is in use", async () => {
    const { port } = app.address() as AddressInfo; // A server on TCP has no other kind of address.
    const proxy = launch(
      "--config",
      configure(),
      "--addr",
      `127.0.0.1:${port}`,
      "--target",
      "app:1",
    );
    assert.equal(await proxy.ended, 1);
    const line = `cannot listen on 127.0.0.1:${port}: the address is in use\n`;
    assert.equal(proxy.output.error, line);
    assert.equal(proxy.output.out, "");
  });

  it("ends with 2 and one line at a mistake, without a stack trace", async () => {
    const path = configure("  max-lag: 5\n");
    const proxy = launch("--config", path);
    assert.equal(await proxy.ended, 2);
    assert.equal(
      proxy.output.error,
      `${path}:7: proxy.max-lag: 5 is not a duration, write a unit such as "5s"\n`,
    );
    assert.equal(proxy.output.out, "");
  });

  it("refuses files that are no text", async () => {
    const path = join(directory, "bad.yml");
    writeFileSync(path, new Uint8Array([0x70, 0xff, 0xfe]));
    for (const [file, message] of [
      [path, "the file is not UTF-8 text"],
      [directory, "is a directory, name a file"],
    ] as const) {
      const proxy = launch("--config", file);
      assert.equal(await proxy.ended, 2);
      assert.equal(proxy.output.error, `${file}: ${message}\n`);
    }
  });

  it("checks a file and ends", async () => {
    const path = configure();
    const proxy = launch("--config", path, "--check");
    assert.equal(await proxy.ended, 0);
    assert.ok(proxy.output.out.startsWith(`# ${path} is fine\nproxy:\n`));
    assert.equal(proxy.output.error, "");
  });
});

/** Makes a request on a connection of its own. */
function fetchText(
  url: string,
  method = "GET",
): Promise<{ status: number | undefined; text: string; cookie: string | undefined }> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (part: string) => (text += part));
      response.on("error", reject);
      response.on("end", () => {
        resolve({ status: response.statusCode, text, cookie: response.headers["set-cookie"]?.[0] });
      });
    });
    sent.on("error", reject);
    sent.end();
  });
}

/** Polls until nobody listens there. */
async function untilRefused(url: string): Promise<void> {
  let isRefused = false;
  await until("a refusal", () => {
    get(url, { agent: false }, (response) => response.resume()).on("error", () => {
      isRefused = true;
    });
    return isRefused;
  });
}
