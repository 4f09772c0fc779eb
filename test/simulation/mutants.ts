/**
 * Faults that the simulation must find: each is a change of the proxy's text by which a guarantee no longer holds.
 *
 * @module
 */
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Core } from "./core.ts";
import { simulate, type Verdict } from "./simulate.ts";

/** One change of the proxy's text. */
export interface Mutant {
  /** What no longer holds. */
  readonly name: string;
  readonly changes: readonly Change[];
  /** A seed that has found it; it is tried first. */
  readonly seed: number;
}

/** A change of one file. */
interface Change {
  /** The file, from the root of the project. */
  readonly file: string;
  /** The text to change, which must be there exactly once. */
  readonly text: string;
  readonly replacement: string;
}

function mutant(
  name: string,
  seed: number,
  file: string,
  text: string,
  replacement: string,
): Mutant {
  return { name, seed, changes: [{ file, text, replacement }] };
}

/** The faults. */
export const MUTANTS: readonly Mutant[] = [
  mutant(
    "reads mint nothing",
    4,
    "src/minter.ts",
    'return reads === "all" || (reads === "session" && (!claims.isEmpty || claims.byHeader));',
    "return false;",
  ),
  mutant(
    "a position that is equal counts as behind",
    7,
    "src/judge.ts",
    "|| token.position > position)",
    "|| token.position >= position)",
  ),
  mutant(
    "the last digit of a position does not count",
    10,
    "src/judge.ts",
    "|| token.position > position)",
    "|| token.position.slice(0, 15) > position.slice(0, 15))",
  ),
  mutant(
    "a node may lack one transaction",
    10,
    "src/judge.ts",
    "|| token.position > position)",
    '|| BigInt("0x" + token.position) > BigInt("0x" + position) + 1n)',
  ),
  mutant(
    "a read writes the cookie of writes",
    69,
    "src/minter.ts",
    "written: wrote || reset,",
    "written: true,",
  ),
  mutant(
    "an answer that may be stale lowers the cookies",
    11,
    "src/reads.ts",
    "return reporter.finish(trail, reason, await runner.run(trail, reason));",
    "return runner.minted(trail, reason, await runner.run(trail, reason));",
  ),
  mutant(
    "a lost past is not healed",
    14,
    "src/minter.ts",
    "const reset = found.some((one) => one?.covers === false);",
    "const reset = found.some((one) => one?.covers === false);\n    if (reset) return response;",
  ),
  mutant(
    "the client keeps what is of a lost past",
    123,
    "adapters/client.ts",
    "isReset || brought.length > 0 ? (carried.get(name) ?? []) : [];",
    "isReset ? [] : (carried.get(name) ?? []);",
  ),
  mutant(
    "the client keeps the last token",
    14,
    "adapters/client.ts",
    ".filter((token) => !gone.includes(token));",
    ".filter(() => false);",
  ),
  mutant(
    "the heap of waiters stands on its head",
    25,
    "src/waiters.ts",
    '(a.target ?? "") < (b.target ?? "")',
    '(a.target ?? "") > (b.target ?? "")',
  ),
  mutant(
    "waiters are woken too early",
    7,
    "src/waiters.ts",
    'if (!waiter.done && (waiter.target ?? "") > position) break;',
    'if (!waiter.done && (waiter.target ?? "").slice(0, 15) > position.slice(0, 15)) break;',
  ),
  mutant(
    "waiters wait for more than they need",
    7,
    "src/waiters.ts",
    'if (!waiter.done && (waiter.target ?? "") > position) break;',
    'if (!waiter.done && (waiter.target ?? "") >= position) break;',
  ),
  mutant(
    "waiters wait on where a node has become the primary",
    22,
    "src/waiters.ts",
    'if (primary.at !== "here") return;',
    "return;",
  ),
  {
    name: "the primary waits",
    seed: 14,
    changes: [
      {
        file: "src/waiters.ts",
        text: 'if (primary.at !== "here") return;',
        replacement: "return;",
      },
      {
        file: "src/reads.ts",
        text: 'if ((await node.primary()).at === "here") return lostPast(trail);',
        replacement: "",
      },
    ],
  },
  mutant(
    "waits do not end",
    3,
    "src/waiters.ts",
    "if (!waiter.done && waiter.deadline > time) return;",
    "if (!waiter.done) return;",
  ),
  mutant(
    "waiters see nothing but what they are told",
    13,
    "src/waiters.ts",
    "const interval = storage.subscribe === undefined ? POLL_INTERVAL : ROLE_INTERVAL;",
    "const interval = Infinity;",
  ),
  mutant(
    "histories are not told apart",
    185,
    "src/judge.ts",
    'if (own !== undefined) return own === token.history ? "caught up" : "foreign";',
    'if (own !== undefined) return "caught up";',
  ),
  mutant(
    "a token of another history does not count",
    185,
    "src/reads.ts",
    'if (foreignTokens === "primary") {',
    "if (false) {",
  ),
  mutant(
    "every path may be stale",
    11,
    "src/reads.ts",
    "if (path === undefined || !matchesEvery(settings.stale, path)) return undefined;",
    "",
  ),
  mutant("a replica runs writes", 1, "src/writes.ts", 'if (at.at === "here")', "if (true)"),
  mutant(
    "what may have reached the app is sent again",
    243,
    "src/upstream.ts",
    'const isRefused = error instanceof TransportError && error.failure === "refused";',
    'const isRefused = error instanceof TransportError && error.failure !== "aborted";',
  ),
  mutant(
    "the role is not asked again while the app is awaited",
    1069,
    "src/upstream.ts",
    "if (!(await stillHolds())) return undefined;",
    "",
  ),
  mutant(
    "the token is made before the app answers",
    4,
    "src/runner.ts",
    "const response = await target.send(trail, stillHolds, tell);",
    'const early = await minted(trail, reason, { status: 200, statusText: "", headers: [], body: null });\n      const sent = await target.send(trail, stillHolds, tell);\n      if (sent !== undefined) return reporter.finish(trail, reason, { ...sent, headers: [...sent.headers, ...early.headers] });\n      const response = sent;',
  ),
  mutant(
    "a GET that writes gets no token",
    10,
    "src/runner.ts",
    '(kind === "write" && word !== "unchanged");',
    '(kind === "write" && request.method !== "GET" && word !== "unchanged");',
  ),
  mutant(
    "the app's word for a write is not heard",
    12,
    "src/runner.ts",
    'word === "wrote" || ',
    "",
  ),
  mutant(
    "the app's word reaches the client",
    1,
    "src/trail.ts",
    "const headers = filterLines(response.headers, (name) => name !== APP_WORD);",
    "const headers = [...response.headers];",
  ),
  mutant(
    "the cookie of reads does not count",
    8,
    "src/claims.ts",
    "cookies.set(cookieName(SEEN_COOKIE_NAME, name), index);",
    "",
  ),
  mutant(
    "the cookie of writes does not count",
    10,
    "src/claims.ts",
    "cookies.set(cookieName(COOKIE_NAME, name), index);",
    "",
  ),
  mutant(
    "the last of many tokens is waited for",
    92,
    "src/claims.ts",
    "const position = token.position > claim.position ? token.position : claim.position;",
    "const { position } = token;",
  ),
  mutant(
    "the second database does not count",
    1,
    "src/judge.ts",
    "const judged = each(databases, ",
    "const judged = each(databases.slice(0, 1), ",
  ),
  mutant(
    "what the primary's proxy may have taken is sent again",
    3387,
    "src/direct.ts",
    "if (!isUnsent(error) || isLast || request.signal.aborted) throw error;",
    "if (isLast || request.signal.aborted) throw error;",
  ),
  mutant(
    "a replica puts its own token on the primary's answer",
    10,
    "src/writes.ts",
    'if (passed.is === "answered") return passed.response;',
    'if (passed.is === "answered") return runner.minted(trail, "", passed.response);',
  ),
  mutant(
    "how often a request was sent on is not counted",
    318,
    "src/passage.ts",
    "hops.write(request, sent.count + 1)",
    "hops.write(request, 1)",
  ),
  mutant(
    "a held write ends before its node has it",
    102,
    "src/direct.ts",
    "if (!claims.isEmpty) await node.waitFor(claims, hold, request);",
    "",
  ),
  mutant(
    "a write that the primary's proxy does not take is held in no place to wait",
    21220,
    "src/direct.ts",
    "leave ??= node.takeSeat(request);",
    "leave ??= () => {};",
  ),
  mutant(
    "a primary that was down once stays so",
    191,
    "src/breaker.ts",
    "if (now < door.closedUntil) return true;",
    "return true;",
  ),
  mutant(
    "a read that the primary does not take is served from a lost history",
    2791,
    "src/reads.ts",
    ' || there === "unreachable" || ',
    " || ",
  ),
  mutant(
    "waits have no caps",
    22,
    "src/seats.ts",
    "if (all >= total || own >= perClient) return undefined;",
    "",
  ),
];

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/**
 * Loads a copy of the proxy with a fault.
 *
 * @param mutant The fault.
 * @param use Gets the copy, which is gone afterwards.
 * @throws {Error} When the text to change is not there exactly once.
 */
export async function withMutant<T>(
  { name, changes }: Mutant,
  use: (core: Core) => Promise<T>,
): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), "mutant-"));
  try {
    await writeFile(join(directory, "package.json"), '{ "type": "module" }\n');
    await cp(join(ROOT, "src"), join(directory, "src"), { recursive: true });
    await mkdir(join(directory, "adapters"));
    const client = join("adapters", "client.ts");
    for (const part of [client, join("adapters", "client")])
      await cp(join(ROOT, part), join(directory, part), { recursive: true });
    for (const { file, text, replacement } of changes) {
      const old = await readFile(join(directory, file), "utf8");
      const [before = "", after, ...more] = old.split(text);
      if (after === undefined || more.length > 0)
        throw new Error(`Mutant "${name}" must find its text exactly once in ${file}: ${text}`);
      await writeFile(join(directory, file), `${before}${replacement}${after}`);
    }
    const proxy: unknown = await import(pathToFileURL(join(directory, "src", "index.ts")).href);
    const session: unknown = await import(pathToFileURL(join(directory, client)).href);
    // A copy has the types of what it was copied from.
    return await use({ ...(proxy as Core), ...(session as Core) });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/**
 * Looks for a fault.
 *
 * @param mutant The fault.
 * @param seeds How many seeds are tried, from the first one on.
 * @returns The verdict that found it, or undefined.
 */
export function hunt(mutant: Mutant, seeds: number): Promise<Verdict | undefined> {
  return withMutant(mutant, async (core) => {
    const own = await simulate(mutant.seed, core);
    if (own.violations.length > 0) return own;
    for (let seed = 1; seed <= seeds; seed++) {
      const verdict = await simulate(seed, core);
      if (verdict.violations.length > 0) return verdict;
    }
    return undefined;
  });
}
