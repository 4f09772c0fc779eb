/**
 * Runs worlds and judges them: `node --import tsx test/simulation/main.ts --seeds 5000`. A seed that fails is made
 * smaller and told step by step; `--seed 7` tells that of seed 7, `--mutants` hunts the faults that must be found,
 * `--hashes` prints what tells whether the same has happened.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { core } from "./core.ts";
import { hunt, MUTANTS } from "./mutants.ts";
import type { Limits } from "./plan.ts";
import { explain, shrink, simulate, type Verdict } from "./simulate.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    from: { type: "string", default: "1" },
    seed: { type: "string" },
    limits: { type: "string", default: "{}" },
    mutants: { type: "boolean", default: false },
    hashes: { type: "boolean", default: false },
  },
});

/** Tells a world step by step. */
async function replay(seed: number, limits: Limits): Promise<Verdict> {
  const verdict = await simulate(seed, core, limits, (at, text) =>
    say(`${at.toFixed(3).padStart(10)} ${text}`),
  );
  const { plan, hash } = verdict.history;
  say(JSON.stringify({ ...plan, faults: [...plan.faults] }, undefined, 2));
  for (const { known, rule, text } of verdict.known) say(`known (${known}): ${rule}: ${text}`);
  say(`${explain(verdict)}\nhash ${hash}`);
  return verdict;
}

/** Runs many worlds. */
async function runAll(from: number, count: number): Promise<boolean> {
  const start = performance.now();
  const known = new Map<string, number[]>();
  const failed: number[] = [];
  for (let seed = from; seed < from + count; seed++) {
    const verdict = await simulate(seed, core);
    for (const name of new Set(verdict.known.map((one) => one.known ?? "")))
      known.set(name, [...(known.get(name) ?? []), seed]);
    if (verdict.violations.length === 0) continue;
    failed.push(seed);
    say(explain(verdict));
    if (failed.length > 1) continue;
    const smallest = await shrink(verdict, core);
    await replay(seed, smallest.limits);
    say(`again: --seed ${seed} --limits '${JSON.stringify(smallest.limits)}'`);
  }
  const seconds = (performance.now() - start) / 1000;
  for (const [name, seeds] of known)
    say(`known: ${name}: ${seeds.length} seeds, such as ${seeds.slice(0, 5).join(", ")}`);
  say(
    `${count} seeds from ${from} in ${seconds.toFixed(1)} s (${(count / seconds).toFixed(0)} a second): ${failed.length} failed ${failed.slice(0, 20).join(", ")}`,
  );
  return failed.length === 0;
}

/** Tells of many worlds no more than whether they are the same as elsewhere. */
async function hashAll(from: number, count: number): Promise<boolean> {
  for (let seed = from; seed < from + count; seed++)
    say(`${seed} ${(await simulate(seed, core)).history.hash}`);
  return true;
}

/** Hunts all mutants. */
async function huntAll(seeds: number): Promise<boolean> {
  let isComplete = true;
  for (const mutant of MUTANTS) {
    const verdict = await hunt(mutant, seeds);
    isComplete &&= verdict !== undefined;
    const found = verdict?.violations[0]?.rule;
    say(
      `${mutant.name}: ${verdict === undefined ? "NOT FOUND" : `seed ${verdict.seed}, ${found}`}`,
    );
  }
  return isComplete;
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function main(): Promise<boolean> {
  if (values.mutants) return huntAll(Number(values.seeds));
  if (values.hashes) return hashAll(Number(values.from), Number(values.seeds));
  if (values.seed === undefined) return runAll(Number(values.from), Number(values.seeds));
  // What main() has printed is what it is given.
  const limits = JSON.parse(values.limits) as Limits;
  return (await replay(Number(values.seed), limits)).violations.length === 0;
}

process.exitCode = (await main()) ? 0 : 1;
