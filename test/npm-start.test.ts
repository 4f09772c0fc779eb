import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { afterEach, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { until } from "./until.ts";

// Six processes start here, and again after they were killed: that takes long on a machine that is busy.
const patience = { timeout: 180_000 };

/** How long one step of a test may take, in milliseconds: a test has more, so that it fails by what it has waited for. */
const STEP = 75_000;

const isNode = process.versions.bun === undefined && process.versions.deno === undefined;

// The lines are for people, who have curl; the tests ask for nothing but Node, npm and the shell that npm runs.
const hasCurl = isNode && spawnSync("curl", ["--version"]).status === 0;
const WITHOUT_CURL = "curl is missing: the lines that are printed were not tried";

describe("npm start", { skip: isNode ? false : "the command itself always runs on Node" }, () => {
  interface Run {
    readonly output: () => string;
    readonly ended: Promise<number | null>;
    signal(name: NodeJS.Signals): void;
  }

  const running = new Set<Run>();

  // Whoever is still there when a test has failed would keep its file, and with it all tests, from ending.
  afterEach(async () => {
    for (const one of running) one.signal("SIGINT");
    await Promise.all(Array.from(running, ({ ended }) => ended));
  });

  function run(...args: string[]): Run {
    const script = fileURLToPath(new URL("../cluster/main.ts", import.meta.url));
    const child = spawn(process.execPath, ["--import", "tsx", script, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk: Buffer) => {
        output += chunk.toString();
      });
    }
    const started: Run = {
      output: () => output,
      ended: new Promise((resolve) => child.once("close", resolve)),
      signal: (name) => child.kill(name),
    };
    running.add(started);
    void started.ended.then(() => running.delete(started));
    return started;
  }

  function isAlive(pid: number): boolean {
    try {
      return process.kill(pid, 0);
    } catch {
      return false;
    }
  }

  function pidsIn(output: string): number[] {
    return [...output.matchAll(/\(pid (\d+)\)/g)].map((match) => Number(match[1]));
  }

  /** Returns the numbers in a line of a table. */
  function numbersIn(output: string, line: string): number[] {
    const found = new RegExp(`^${line}((?: +\\d+)+)$`, "m").exec(output)?.[1] ?? "";
    return found.trim().split(/ +/).map(Number);
  }

  /** Waits until a start says what to try, and returns what it has printed. */
  async function untilInvited({ output, ended }: Run): Promise<string> {
    let isOver = false;
    void ended.then(() => (isOver = true));
    await until("it says what to try", () => isOver || output().includes("# and more"), STEP);
    assert.ok(!isOver, output());
    return output();
  }

  /** Runs the lines that were printed for people to try, and returns what they print. */
  function tryLines(output: string): string {
    const input = output.slice(output.indexOf("in another terminal:") + 20);
    const { status, stdout, stderr } = spawnSync("sh", ["-e"], {
      input,
      encoding: "utf8",
      timeout: STEP,
    });
    assert.equal(status, 0, stderr);
    return stdout;
  }

  for (const [title, mode] of [
    ["with an edge", []],
    ["without an edge", ["--no-edge"]],
  ] as const) {
    describe(title, () => {
      it(
        "shows what the proxy prevents, on three runtimes, while the primary moves and dies, and ends with 0",
        patience,
        async () => {
          const flags = ["--once", "--seconds", "1", "--moves", "1", "--crashes", "1"];
          const start = run(...flags, ...mode);
          const code = await start.ended;
          const output = start.output();
          assert.equal(code, 0, output);
          const [, , staleWithout = 0] = numbersIn(output, "without the proxy");
          const [reads = 0, writes = 0, stale, , errors] = numbersIn(output, "through the proxy");
          assert.ok(staleWithout > 0 && reads > 0 && writes > 0, output);
          assert.deepEqual([stale, errors], [0, 0]);
          assert.match(
            output,
            /^With the proxy 0 of [\d,]+ reads were stale; without it [1-9][\d,]* of [\d,]+ were\.$/m,
          );
          for (const runtime of ["node", "bun", "deno"]) {
            const lines = output.match(new RegExp(`^  ${runtime} [0-9.]+ `, "gm"));
            assert.equal(lines?.length, 2, runtime);
          }
          assert.match(output, /^  n1 hands over to n2 in \d+ ms\n  n2 is killed, n3 takes over /m);
          assert.match(output, /^  [1-9]\d* writes acknowledged: 0 missing, 0 twice, /m);
          assert.match(output, /^  [1-9]\d* reads: 0 stale$/m);
          assert.equal(/PUT n2 +200 "Written" from n1 /.test(output), mode.length > 0);
          assert.deepEqual(pidsIn(output).filter(isAlive), []);
        },
      );

      it(
        "prints lines that work, and leaves nothing behind, a process that hangs included",
        patience,
        async (test) => {
          if (!hasCurl) test.diagnostic(WITHOUT_CURL);
          const start = run("--seconds", "0.5", ...mode);
          const output = await untilInvited(start);
          if (hasCurl) {
            const said = tryLines(output);
            const urls = [...output.matchAll(/proxy (\S+) \(pid/g)].map((match) => match[1]);
            for (const node of mode.length > 0 ? urls : ["n1", "n2", "n3"]) {
              assert.ok(said.includes(`hello again from ${node}\n`), said);
            }
            assert.match(said, /No such note\n from /);
            assert.match(said, /^  [1-9]\d* writes acknowledged: 0 missing, 0 twice, /m);
            assert.match(said, /n2 is the primary\nn2 is down\nn2 is up\n$/);
          }

          // The nodes that were killed have come back as other processes.
          const pids = pidsIn(output);
          const [hung = 0] = pids;
          const directory = /\S+(?=\/cookies)/.exec(output)?.[0] ?? "";
          assert.ok(pids.length === 6 && existsSync(directory), output);
          process.kill(hung, "SIGSTOP");
          start.signal("SIGINT");
          assert.equal(await start.ended, 0);
          assert.deepEqual(pids.filter(isAlive), []);
          assert.equal(existsSync(directory), false);
        },
      );
    });
  }

  it(
    "shows with --libsql what the middleware prevents on embedded replicas, prints lines that work, and ends",
    patience,
    async (test) => {
      if (!hasCurl) test.diagnostic(WITHOUT_CURL);
      const start = run("--libsql", "--seconds", "1");
      const output = await untilInvited(start);
      const [, , staleWithout = 0] = numbersIn(output, "without the middleware");
      const [reads = 0, writes = 0, ...violations] = numbersIn(output, "with the middleware");
      assert.ok(staleWithout > 0 && reads > 0 && writes > 0, output);
      assert.deepEqual(violations, [0, 0, 0], output);
      for (const runtime of ["node", "bun", "deno"]) {
        assert.equal(output.match(new RegExp(`^  ${runtime} [0-9.]+ `, "gm"))?.length, 2, runtime);
      }
      if (hasCurl) {
        const said = tryLines(output);
        assert.match(said, /No such note\n from n/);
        for (const node of ["n1", "n2", "n3"]) {
          assert.ok(said.includes(`hello again from ${node}\n`), said);
        }
        assert.match(said, /^Node n2 on bun [0-9.]+ at [0-9a-f]{16}$/m);
      }
      const pids = pidsIn(output);
      assert.equal(pids.length, 4);
      start.signal("SIGINT");
      assert.equal(await start.ended, 0);
      assert.deepEqual(pids.filter(isAlive), []);
    },
  );

  it("ends when whoever started it is gone", patience, async () => {
    const shell = spawn("sh", ["-c", `"${process.execPath}" --import tsx cluster/main.ts; true`], {
      cwd: fileURLToPath(new URL("..", import.meta.url)),
      stdio: ["ignore", "pipe", "inherit"],
    });
    let output = "";
    shell.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
    try {
      await until("the nodes are there", () => output.includes("clients write and read"), STEP);
      assert.equal(pidsIn(output).filter(isAlive).length, 6);
    } finally {
      shell.kill("SIGKILL");
    }
    const pids = pidsIn(output);
    await until("every process is gone", () => !pids.some(isAlive));
  });

  it("refuses flags that it does not know, and explains itself", async () => {
    const wrong = run("--speed");
    assert.equal(await wrong.ended, 2);
    assert.match(wrong.output(), /--speed.*, see --help\n$/);
    const text = run("--lag", "soon");
    assert.equal(await text.ended, 2);
    assert.equal(text.output(), '--lag: "soon" is not a number from 0 up, see --help\n');
    const both = run("--libsql", "--moves", "1");
    assert.equal(await both.ended, 2);
    assert.match(both.output(), /^--libsql: there is no proxy/);
    const help = run("--help");
    assert.equal(await help.ended, 0);
    assert.match(help.output(), /^Usage: npm start -- /);
  });
});
