import { run, scriptCommand } from "./children.ts";
import type { Sample } from "./metrics.ts";
import type { Section } from "./report.ts";
import type { Result } from "./waiters.ts";

/** How many reads wait. */
const COUNT = 10_000;

/** Has reads wait in each place. */
export async function measureWaiting(places: readonly string[], seconds: number): Promise<Section> {
  const [command, ...args] = scriptCommand("waiters.ts");
  const chosen = places.flatMap((place) => ["--place", place]);
  const flags = [
    ...chosen,
    "--json",
    "--rounds",
    "1",
    "--counts",
    `${COUNT}`,
    "--hold",
    `${seconds}`,
  ];
  const text = await run(command, [...args, ...flags], 300_000);
  // The script is of this folder.
  const all = JSON.parse(text.slice(text.indexOf("["))) as Result[];
  const rows = all.map(({ place, waiting, ok, core, bystander, answered, each }) => {
    const sample: Sample = { core, p99: bystander, answered, each, errors: waiting - ok };
    return { peer: place, samples: [sample] };
  });
  return {
    name: "waiting",
    title: "Reads that wait",
    says: "10,000 reads wait on a replica for what their token names, then one commit comes. `npm run bench:waiters` has other numbers. The latency is that of a bystander whose requests do not wait.",
    metrics: ["core", "p99", "answered", "each", "errors"],
    rows,
  };
}
