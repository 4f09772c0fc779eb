import { run, scriptCommand } from "./children.ts";
import type { Sample } from "./metrics.ts";
import type { Section } from "./report.ts";

/** What bench/waiters.ts tells of one place and number; it writes null for what it cannot tell. */
interface Told {
  readonly place: string;
  readonly waiting: number;
  readonly core: number;
  readonly bystander: number;
  readonly answered: number;
  readonly ok: number;
  readonly each: number;
}

const HEADS = { core: "core", bystander: "p99", answered: "answered", each: "each" } as const;

/** How many reads wait. */
const COUNTS = [1, 1000, 10_000];

/** Has reads wait on each runtime. */
export async function measureWaiting(seconds: number): Promise<Section> {
  const [command, ...args] = scriptCommand("waiters.ts");
  const flags = ["--json", "--rounds", "1", "--counts", COUNTS.join(","), "--hold", `${seconds}`];
  const text = await run(command, [...args, ...flags], 300_000);
  // The script is of this folder.
  const all = JSON.parse(text.slice(text.indexOf("["))) as Told[];
  const rows = COUNTS.flatMap((count) =>
    all
      .filter(({ waiting }) => waiting === count)
      .map((one) => {
        const sample: Sample = Object.fromEntries(
          Object.entries(HEADS).map(([from, to]) => [to, Number(one[from as keyof Told])]),
        );
        const errors = one.waiting - one.ok;
        return { peer: `${one.place}, ${count} waiting`, samples: [{ ...sample, errors }] };
      }),
  );
  return {
    name: "waiting",
    title: "Reads that wait",
    says: "Reads wait on a replica for what their token names, then one commit comes. The latency is that of a bystander whose requests do not wait.",
    metrics: ["core", "p99", "answered", "each", "errors"],
    rows,
  };
}
