import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { createSession } from "../../adapters/client.ts";
import { runSeed } from "./run.ts";
import type { Subject } from "./world.ts";

/** A fault that is put in on purpose: the simulation must find it. */
export interface Mutant {
  /** What is wrong. */
  readonly name: string;
  /** The file, from the project's root. */
  readonly file: string;
  /** A text that is in the file exactly once. */
  readonly text: string;
  /** What stands there instead. */
  readonly instead: string;
  /** The seed to begin with, for what shows in few. */
  readonly from?: number;
}

/** Each switches one part off that upholds a guarantee. */
export const MUTANTS: readonly Mutant[] = [
  {
    name: "reads give no token",
    file: "src/minter.ts",
    text: `const seen = reads === "all" || (reads === "session" && (!claims.isEmpty || claims.byHeader));`,
    instead: `const seen = false;`,
  },
  {
    name: "writes give no token",
    file: "src/proxy.ts",
    text: `appWord(response) === "wrote" || (kind === "write" && appWord(response) !== "unchanged");`,
    instead: `false;`,
  },
  {
    name: "a read that finds that it must write gives no token of a write",
    file: "src/proxy.ts",
    text: `appWord(response) === "wrote" || (kind === "write"`,
    instead: `(kind === "write" && request.method !== "GET"`,
  },
  {
    name: "a position counts as reached one too early",
    file: "src/judge.ts",
    text: `token.position > position) return "behind";`,
    instead: `(token.position > position && gap(token.position, position) > 1)) return "behind";`,
  },
  {
    name: "what a read has seen overwrites what was written",
    file: "src/minter.ts",
    text: `written: wrote || reset,`,
    instead: `written: true,`,
  },
  {
    name: "a token from a lost past is never replaced",
    file: "src/minter.ts",
    text: `if (reset ? !(await mayLower()) : !wrote && !seen) return response;`,
    instead: `if (reset || (!wrote && !seen)) return response;`,
  },
  {
    name: "histories are not compared",
    file: "src/judge.ts",
    text: `return own === undefined || own === token.history ? "caught up" : "foreign";`,
    instead: `return "caught up";`,
  },
  {
    name: "tokens say nothing of their history",
    file: "src/minter.ts",
    text: `const history = await orReport(() => storage.historyAt?.(position));`,
    instead: `const history = undefined;`,
  },
  {
    name: "a read may be stale on every path",
    file: "src/proxy.ts",
    text: `if (isStaleAllowed(request)) return onStale(waited);`,
    instead: `return onStale(waited);`,
  },
  {
    name: "what comes in is given out again, whatever has been written",
    file: "src/minter.ts",
    text: `const token: Token = { position, history, cluster, proof: undefined };`,
    instead: `const token: Token = claim?.tokens[0] ?? { position, history, cluster, proof: undefined };`,
  },
  {
    name: "the last database alone decides",
    file: "src/judge.ts",
    text: `standing = worse(standing, found.standing);`,
    instead: `standing = found.standing;`,
  },
  {
    name: "the last token alone counts",
    file: "src/claims.ts",
    text: `if (claim === undefined) return { position: token.position, tokens: [token] };`,
    instead: `if (claim !== null) return { position: token.position, tokens: [token] };`,
  },
  {
    name: "a read of another history runs on a node that was taken for the primary",
    file: "src/proxy.ts",
    text: `const isLost = at.at === "unknown" || isBehind || wasReplayed(request.headers);`,
    instead: `const isLost = at.at === "unknown";`,
    from: 1600,
  },
  {
    name: "a write that may have run is sent again",
    file: "src/forward.ts",
    text: `error.failure === "refused";`,
    instead: `error.failure !== "aborted";`,
  },
  {
    name: "what nobody has run is answered with 200",
    file: "src/replay.ts",
    text: `return answer(409,`,
    instead: `return answer(200,`,
  },
  {
    name: "those who wait stand in the wrong order",
    file: "src/waiters.ts",
    text: `(a.target ?? "") < (b.target ?? "")`,
    instead: `(a.target ?? "") > (b.target ?? "")`,
  },
  {
    name: "those who wait are not woken",
    file: "src/waiters.ts",
    text: `if (reached !== undefined) wake(reached);`,
    instead: ``,
  },
  {
    name: "a client keeps what came last",
    file: "adapters/client.ts",
    text: `.filter((token) => !gone.includes(token));`,
    instead: `.filter(() => false);`,
  },
  {
    name: "a client keeps what is of a lost past",
    file: "adapters/client.ts",
    text: `isReset || brought.length > 0 ? (carried.get(name) ?? []) : [];`,
    instead: `isReset ? [] : (carried.get(name) ?? []);`,
  },
];

const root = fileURLToPath(new URL("../../", import.meta.url));

/** A mutant that runs. */
export interface Hatched {
  readonly subject: Subject;
  /** Removes its files. */
  remove(): void;
}

/** Makes a copy of the code with a mutant's change in it. */
export async function hatch({ name, file, text, instead }: Mutant): Promise<Hatched> {
  const source = readFileSync(join(root, file), "utf8");
  assert.equal(source.split(text).length, 2, `"${name}": ${file} must hold exactly once: ${text}`);
  const dir = mkdtempSync(join(tmpdir(), "mutant-"));
  writeFileSync(join(dir, "package.json"), '{ "type": "module" }');
  cpSync(join(root, "src"), join(dir, "src"), { recursive: true });
  cpSync(join(root, "adapters/client.ts"), join(dir, "adapters/client.ts"));
  writeFileSync(
    join(dir, file),
    source.replace(text, () => instead),
  );
  const load = (path: string): Promise<unknown> => import(pathToFileURL(join(dir, path)).href);
  // What is loaded has the shape of the code that it is a copy of.
  const core = (await load("src/index.ts")) as Omit<Subject, "createSession">;
  const client = (await load("adapters/client.ts")) as { createSession: typeof createSession };
  return {
    subject: {
      createProxy: core.createProxy,
      TransportError: core.TransportError,
      createSession: client.createSession,
    },
    remove: () => rmSync(dir, { recursive: true }),
  };
}

/**
 * Looks for the seed in which a mutant is found out.
 *
 * @param most How many seeds are tried.
 * @returns The seed and what was broken, or undefined when nothing was.
 */
export async function findOut(
  mutant: Mutant,
  most: number,
): Promise<{ seed: number; promise: string } | undefined> {
  const { from = 1 } = mutant;
  const { subject, remove } = await hatch(mutant);
  try {
    for (let seed = from; seed < from + most; seed++) {
      const { violations } = await runSeed(seed, {}, subject);
      const [first] = violations;
      if (first !== undefined) return { seed, promise: first.promise };
    }
    return undefined;
  } finally {
    remove();
  }
}
