/**
 * Runs worlds and judges them: `node --import tsx test/simulation/main.ts --seeds 5000`.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { core } from "./core.ts";
import { hunt, MUTANTS } from "./mutants.ts";
import type { Limits } from "./plan.ts";
import { explain, shrink, simulate, type Verdict } from "./simulate.ts";

const USAGE = `Usage: npm run simulate -- [options]

Lets simulated clusters happen and judges what their clients were shown. The first one that breaks a promise is made
smaller and told step by step.

  --seeds N      how many (1000)
  --from N       the first one (1)
  --seed N       tells this one alone, step by step
  --limits JSON  makes it smaller, as a run has said that it may be ({})
  --mutants      looks for each of the faults that must be found, in so many seeds
  --hashes       prints for each seed what tells whether the same has happened elsewhere
  --help         this text
`;

const options = {
  seeds: { type: "string", default: "1000" },
  from: { type: "string", default: "1" },
  seed: { type: "string" },
  limits: { type: "string", default: "{}" },
  mutants: { type: "boolean", default: false },
  hashes: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;

type Values = ReturnType<typeof parseArgs<{ options: typeof options }>>["values"];

/** Reads the command line; what is wrong with it is said, and there is nothing to do then. */
function readValues(): Values | undefined {
  try {
    const { values } = parseArgs({ options });
    checkNumbers(values);
    return values;
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
    process.stderr.write(`${error.message}, see --help\n`);
    return undefined;
  }
}

/** Refuses what is no number: none of no worlds fails. */
function checkNumbers(values: Values): void {
  for (const name of ["seeds", "from", "seed"] as const) {
    const text = values[name];
    if (text !== undefined && !/^[1-9]\d{0,14}$/.test(text))
      throw new RangeError(`--${name}: "${text}" is not a number from 1 up`);
  }
}

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

async function main(values: Values): Promise<boolean> {
  if (values.help) {
    process.stdout.write(USAGE);
    return true;
  }
  if (values.mutants) return huntAll(Number(values.seeds));
  if (values.hashes) return hashAll(Number(values.from), Number(values.seeds));
  if (values.seed === undefined) return runAll(Number(values.from), Number(values.seeds));
  // What main() has printed is what it is given.
  const limits = JSON.parse(values.limits) as Limits;
  return (await replay(Number(values.seed), limits)).violations.length === 0;
}

const values = readValues();
if (values === undefined) process.exitCode = 2;
else process.exitCode = (await main(values)) ? 0 : 1;
