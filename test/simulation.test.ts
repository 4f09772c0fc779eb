import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { core } from "./simulation/core.ts";
import { hunt, MUTANTS, withMutant } from "./simulation/mutants.ts";
import { show } from "./simulation/log.ts";
import { FAULTS, type Plan, planWorld } from "./simulation/plan.ts";
import { explain, shrink, simulate } from "./simulation/simulate.ts";
import { createTimeline } from "./simulation/timeline.ts";
import { type History, runWorld } from "./simulation/world.ts";

/** How many worlds are run; the first one is always 1. */
const SEEDS = Number(process.env["SIMULATION_SEEDS"] ?? 100);

/** From how many worlds on they are run by themselves: a test runner watches every promise, which takes as long again. */
const MANY = 1000;

const main = fileURLToPath(new URL("simulation/main.ts", import.meta.url));

describe("createProxy() in simulated worlds", () => {
  const few = Math.min(SEEDS, MANY / 4);

  it(`keeps its promises in ${few} of them`, { timeout: 60_000 + few * 500 }, async () => {
    let committed = 0;
    let lost = 0;
    for (let seed = 1; seed <= few; seed++) {
      const verdict = await simulate(seed, core);
      if (verdict.violations.length > 0) {
        const smallest = await shrink(verdict, core);
        assert.fail(`${explain(verdict)}\nand smaller: ${explain(smallest)}`);
      }
      const { exchanges, cluster } = verdict.history;
      committed += exchanges.filter(({ answer }) => answer?.committed !== undefined).length;
      lost += cluster.reigns.filter(({ isLossy }, index) => index > 0 && isLossy).length;
    }
    // Worlds in which nothing happens keep all promises.
    assert.ok(committed > few, `only ${committed} transactions`);
    assert.ok(few < 20 || lost > 0, "nothing was ever lost");
  });
});

describe("npm run simulate", () => {
  it(
    `finds no promise broken in ${SEEDS} worlds`,
    { timeout: 60_000 + SEEDS * 100, skip: SEEDS < MANY },
    async () => {
      // Two halves at once: nothing else takes as long, and whoever has one processor loses nothing.
      const half = Math.ceil(SEEDS / 2);
      const outputs = await Promise.all([runWorlds(1, half), runWorlds(half + 1, SEEDS - half)]);
      for (const output of outputs) assert.match(output, /: 0 failed/);
    },
  );
});

describe("npm run simulate with flags", () => {
  it("refuses what it does not know, for none of no worlds fails, and explains itself", async () => {
    const run = async (...flags: string[]): Promise<string> =>
      promisify(execFile)(process.execPath, [...process.execArgv, main, ...flags]).then(
        ({ stdout }) => stdout,
        (error: { readonly code: number; readonly stderr: string }) =>
          `${error.code} ${error.stderr}`,
      );
    assert.equal(
      await run("--seeds", "1e3x"),
      '2 --seeds: "1e3x" is not a number from 1 up, see --help\n',
    );
    assert.match(await run("--seeds", "0"), /^2 --seeds/);
    assert.match(await run("--speed"), /^2 .*--speed.*, see --help\n$/);
    assert.match(await run("--help"), /^Usage: npm run simulate/);
  });
});

/** Runs worlds in a process of their own, and returns what it tells of them. */
async function runWorlds(from: number, count: number): Promise<string> {
  const range = ["--from", String(from), "--seeds", String(count)];
  const { stdout } = await promisify(execFile)(process.execPath, [
    ...process.execArgv,
    main,
    ...range,
  ]);
  return stdout;
}

describe("createProxy() with forgers", () => {
  it("answers everybody else as if they were not there", { timeout: 60_000 }, async () => {
    let forged = 0;
    for (let seed = 1; seed <= 120; seed++) {
      const plan: Plan = {
        ...planWorld(seed, { without: ["storage error"] }),
        // What all share is large enough; then only a storage that tells what moves looks at the same moments in both.
        maxWaiters: 1000,
        primaryReadRate: 1000,
        wakeLimit: 1000,
        notifies: true,
        storageDelay: 0,
      };
      const clients = plan.clients.filter(({ kind }) => kind !== "forger");
      if (clients.length === plan.clients.length) continue;
      const withThem = await runWorld(plan, core);
      const without = await runWorld({ ...plan, clients }, core);
      assert.deepEqual(answersOf(withThem), answersOf(without), `seed ${seed}`);
      forged += withThem.exchanges.length - without.exchanges.length;
    }
    assert.ok(forged > 100, `only ${forged} requests of forgers`);
  });
});

/** What all but forgers were answered, by client. */
function answersOf({ exchanges }: History): string[] {
  const honest = exchanges.filter(({ kind }) => kind !== "forger");
  honest.sort((a, b) => a.client - b.client || a.at - b.at);
  return honest.map(({ client, action, at, end, status, answer }) => {
    const seen = answer?.seen?.map(show).join(" ") ?? "nothing";
    return `${client} at ${at}: ${action}: ${status} at ${end}, ${seen}`;
  });
}

describe("simulate()", () => {
  it(
    "does the same for the same seed, on this runtime and on Bun",
    { timeout: 60_000 },
    async () => {
      const hashes: string[] = [];
      for (let seed = 1; seed <= 20; seed++) {
        const { history } = await simulate(seed, core);
        assert.equal((await simulate(seed, core)).history.hash, history.hash);
        hashes.push(`${seed} ${history.hash}`);
      }
      // Each runtime is held to Bun, and so to all others.
      const bun = fileURLToPath(new URL("../node_modules/.bin/bun", import.meta.url));
      const { stdout } = await promisify(execFile)(bun, [main, "--seeds", "20", "--hashes"]);
      assert.deepEqual(stdout.trim().split("\n"), hashes);
    },
  );

  it("does something else for another seed", async () => {
    const hashes = await Promise.all(
      [1, 2, 3].map(async (seed) => (await simulate(seed, core)).history.hash),
    );
    assert.equal(new Set(hashes).size, 3);
  });

  it("leaves the rest of a world as it is when a client is taken away", () => {
    const whole = planWorld(7);
    const less = planWorld(7, { clients: [1] });
    assert.deepEqual(
      less.clients,
      whole.clients.filter(({ index }) => index === 1),
    );
    assert.deepEqual({ ...less, clients: [] }, { ...whole, clients: [] });
  });
});

describe("shrink()", () => {
  it("finds a smaller world that fails in the same way", { timeout: 60_000 }, async () => {
    const mutant = MUTANTS.find(({ name }) => name === "reads mint nothing");
    assert.ok(mutant);
    await withMutant(mutant, async (faulty) => {
      const failing = await simulate(mutant.seed, faulty);
      const smallest = await shrink(failing, faulty);
      const rules = new Set(failing.violations.map(({ rule }) => rule));
      assert.ok(smallest.violations.some(({ rule }) => rules.has(rule)));
      assert.ok(smallest.history.exchanges.length < failing.history.exchanges.length);
      const again = await simulate(mutant.seed, faulty, smallest.limits);
      assert.equal(again.history.hash, smallest.history.hash);
    });
  });
});

describe("check()", () => {
  for (const mutant of MUTANTS) {
    // Once is enough: where there is time for many worlds.
    it(`sees that ${mutant.name}`, { timeout: 60_000, skip: SEEDS < MANY }, async () => {
      const verdict = await hunt(mutant, 400);
      assert.ok(verdict, "no world shows it");
    });
  }

  it("is not asked about a mutant whose text is gone", async () => {
    const lost = {
      name: "x",
      seed: 1,
      changes: [{ file: "src/proxy.ts", text: "no such text", replacement: "" }],
    };
    await assert.rejects(
      withMutant(lost, () => Promise.resolve()),
      /exactly once/,
    );
  });
});

describe("planWorld()", () => {
  it("plans every fault in some world, and none in some", () => {
    const plans = Array.from({ length: 200 }, (_, seed) => planWorld(seed));
    for (const fault of FAULTS)
      assert.ok(
        plans.some(({ faults }) => faults.has(fault)),
        fault,
      );
    for (const fault of FAULTS)
      assert.ok(
        plans.some(({ faults }) => !faults.has(fault)),
        fault,
      );
  });
});

describe("createTimeline()", () => {
  it("calls in the order of time, and of planning at the same time", async () => {
    const timeline = createTimeline();
    const calls: string[] = [];
    timeline.at(5, () => calls.push("c"));
    timeline.at(1, () => calls.push("a"));
    timeline.at(5, () => calls.push("d"));
    timeline.at(2, () => {
      void Promise.resolve().then(() => timeline.at(3, () => calls.push("b")));
    });
    timeline.cancel(timeline.at(4, () => calls.push("never")));
    assert.equal(await timeline.run(10), true);
    assert.deepEqual(calls, ["a", "b", "c", "d"]);
    assert.equal(timeline.now(), 10);
  });

  it("gives up on a world that never comes to rest", async () => {
    const timeline = createTimeline();
    const again = (): void => void timeline.after(0, again);
    again();
    assert.equal(await timeline.run(10), false);
  });
});
