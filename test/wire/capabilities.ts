// Writes what passes where into the README: `npm run capabilities`. What it writes is tested: each mark is that of the
// cases in test/wire, and each exception must fail where it is said to.
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { CASES } from "./cases.ts";
import { EXCEPTIONS, exceptionOf } from "./exceptions.ts";
import { PLACE_NAMES } from "./places.ts";

const readme = new URL("../../README.md", import.meta.url);
const manifest = new URL("../../package.json", import.meta.url);
const BEGIN = "<!-- capabilities:begin -->";
const END = "<!-- capabilities:end -->";

/** The places that have exceptions. */
const NATIVE = ["Bun.serve", "Deno.serve"] as const;

/** Returns the tables: how many cases of each topic pass where, and what does not. */
export function capabilities(): string {
  const topics = [...new Set(CASES.map(({ topic }) => topic))];
  const counts = topics.map((topic) => {
    const cases = CASES.filter((one) => one.topic === topic);
    const cells = PLACE_NAMES.map((place) => {
      const passing = cases.filter(({ name }) => exceptionOf(name, place) === undefined).length;
      return passing === cases.length ? "all" : String(passing);
    });
    return [topic, String(cases.length), ...cells];
  });
  const exceptions = EXCEPTIONS.map(({ what, where }) => [
    what,
    ...NATIVE.map((place) => where[place] ?? "passes"),
  ]);
  return [
    table(
      ["", "cases", ...PLACE_NAMES.map((name) => (isNative(name) ? `\`${name}\`` : name))],
      counts,
    ),
    table(["what the exact server passes", ...NATIVE.map(withVersion)], exceptions),
  ].join("\n\n");
}

/** Returns the name of a native server and what it is part of: the next version may pass more. */
function withVersion(name: (typeof NATIVE)[number]): string {
  const runtime = name === "Bun.serve" ? "Bun" : "Deno";
  const { devDependencies } = JSON.parse(readFileSync(manifest, "utf8")) as {
    devDependencies: Record<string, string>;
  };
  return `\`${name}\` of ${runtime} ${devDependencies[runtime.toLowerCase()]}`;
}

function isNative(name: string): boolean {
  return NATIVE.some((native) => native === name);
}

function table(head: string[], rows: string[][]): string {
  const line = (cells: string[]): string => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

/** Returns the README's tables. */
export function writtenCapabilities(): string {
  const text = readFileSync(readme, "utf8");
  return text.slice(text.indexOf(BEGIN) + BEGIN.length, text.indexOf(END)).trim();
}

/** Takes away what only aligns the cells of tables. */
export function unaligned(tables: string): string {
  return tables.replaceAll(/ +\|/g, " |").replaceAll(/-{3,}/g, "---");
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const text = readFileSync(readme, "utf8");
  const before = text.slice(0, text.indexOf(BEGIN) + BEGIN.length);
  writeFileSync(readme, `${before}\n\n${capabilities()}\n\n${text.slice(text.indexOf(END))}`);
}
