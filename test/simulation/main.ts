// Lets worlds happen and judges them: `npm run simulate -- --seeds 100000 [--from 1]`. A seed that breaks a promise is
// made smaller and shown; `-- --seed 42 [--limits JSON]` shows one again.
import process from "node:process";
import { parseArgs } from "node:util";
import type { Limits } from "./plan.ts";
import { type Outcome, runSeed, shrink, trace } from "./run.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    from: { type: "string", default: "1" },
    seed: { type: "string" },
    limits: { type: "string", default: "{}" },
  },
});

/** Shows a world, and what was broken in it. */
function show(outcome: Outcome, limits: Limits): void {
  const { plan, hash } = outcome;
  console.log(trace(outcome));
  console.log(`seed ${plan.seed}, history ${hash}, limits '${JSON.stringify(limits)}'`);
}

function numberOf(text: string): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < 0)
    throw new RangeError(`Cannot simulate: "${text}" is no seed and no number of seeds`);
  return number;
}

async function search(from: number, count: number): Promise<void> {
  const start = performance.now();
  let requests = 0;
  for (let seed = from; seed < from + count; seed++) {
    const { violations, events } = await runSeed(seed);
    requests += events.filter(({ type }) => type === "answered").length;
    if (violations.length > 0) {
      const limits = await shrink(seed);
      show(await runSeed(seed, limits), limits);
      process.exitCode = 1;
      return;
    }
    if ((seed - from + 1) % 1000 === 0) console.log(`${seed - from + 1} seeds, nothing broken`);
  }
  const seconds = (performance.now() - start) / 1000;
  console.log(
    `${count} seeds, ${requests} answers, nothing broken, ${(count / seconds).toFixed(0)} seeds a second`,
  );
}

if (values.seed === undefined) await search(numberOf(values.from), numberOf(values.seeds));
else {
  // What somebody copies from what this program has written.
  const limits = JSON.parse(values.limits) as Limits;
  show(await runSeed(numberOf(values.seed), limits), limits);
}
