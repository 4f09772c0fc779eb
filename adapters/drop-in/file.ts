import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  type Pair,
  parseAllDocuments,
  visit,
  type YAMLError,
  type YAMLMap,
} from "yaml";
import { nearest } from "../../src/nearest.ts";
import { at, ConfigError } from "./error.ts";
import { isKey, keyNames, keys, type Values } from "./keys.ts";
import type { FileValue } from "./kinds.ts";

/** What a configuration file says. */
export interface FileSettings {
  /** The values of the `proxy:` section. */
  readonly values: Partial<Values>;
  /** The line of each key that the file gives, of `http.addr`, and of the `proxy:` section under the empty name. */
  readonly lines: ReadonlyMap<string, number>;
  /** LiteFS's `fuse.dir`; undefined: not given. */
  readonly fuseDir: string | undefined;
  /** LiteFS's `http.addr`; undefined: not given. */
  readonly httpAddr: string | undefined;
}

/** The names that LiteFS knows at the top of its file. */
const sections: readonly string[] = [
  "exit-on-error",
  "skip-sync",
  "strict-verify",
  "exec",
  "data",
  "fuse",
  "http",
  "proxy",
  "lease",
  "backup",
  "log",
  "tracing",
];

const fuseKeys: readonly string[] = ["dir", "allow-other", "debug"];
const httpKeys: readonly string[] = ["addr", "snapshot-timeout"];

/** A parsed file, and what is needed to name a place in it. */
interface Source {
  readonly name: string;
  readonly document: Document.Parsed;
  readonly lines: LineCounter;
}

/** One key of a section. */
interface Entry {
  readonly name: string;
  readonly value: unknown;
  readonly line: number;
}

/**
 * Reads a configuration file: LiteFS's own, or one with a `proxy:` section that holds our keys as well. It is as strict
 * as LiteFS: unknown keys, keys given twice and values of another type are errors.
 *
 * @param name The file's name, for the messages.
 * @param text The file's text, environment variables expanded.
 * @throws {ConfigError} At the first thing that is not fit, naming file, line and key.
 */
export function parseFile(name: string, text: string): FileSettings {
  const source = parseYaml(name, text);
  const top = new Map<string, Entry>();
  const root = fileValue(source, source.document.contents);
  if (root.is !== "null") {
    for (const entry of entries(source, source.document.contents, "", sections))
      top.set(entry.name, entry);
  }
  const values: Partial<Values> = {};
  const lines = new Map<string, number>();
  const proxy = top.get("proxy");
  if (proxy !== undefined) lines.set("", proxy.line);
  const fill = <Name extends keyof Values>(key: Name, value: FileValue): void => {
    values[key] = keys[key].fromFile(value);
  };
  for (const entry of section(source, proxy, keyNames())) {
    if (!isKey(entry.name)) continue;
    const key = entry.name;
    const value = fileValue(source, entry.value);
    lines.set(key, entry.line);
    // Nothing after the colon leaves the default, as in LiteFS.
    if (value.is !== "null") at(`${name}:${entry.line}: proxy.${key}`, () => fill(key, value));
  }
  const fuse = section(source, top.get("fuse"), fuseKeys);
  const http = section(source, top.get("http"), httpKeys);
  for (const { name: key, line } of http) lines.set(`http.${key}`, line);
  return {
    values,
    lines,
    fuseDir: textOf(source, "fuse.dir", fuse),
    httpAddr: textOf(source, "http.addr", http),
  };
}

function parseYaml(name: string, text: string): Source {
  // YAML's line breaks (CR LF, CR) are one to LiteFS, but the parser used here knows no lone CR.
  const normal = text.replace(/\r\n?/g, "\n");
  const control = /[^\P{Cc}\t\n\u0085]/u.exec(normal);
  if (control !== null) {
    const line = normal.slice(0, control.index).split("\n").length;
    throw new ConfigError(
      `${name}:${line}: the control character ${control[0]} is not allowed, remove it`,
    );
  }
  const lines = new LineCounter();
  const documents = parseAllDocuments(normal, { lineCounter: lines, prettyErrors: false });
  // LiteFS reads the first document and does not look at the others.
  const document = documents[0];
  if (!Array.isArray(documents) || document === undefined) {
    throw new ConfigError(`${name}: the file is empty, write a "proxy:" section`);
  }
  const error = document.errors[0];
  if (error !== undefined) throw new ConfigError(`${name}:${explain(error, normal, lines)}`);
  visit(document, {
    Alias: (_key, alias: Alias, ancestors) => {
      const line = lineOf(lines, alias.range?.[0] ?? 0);
      const meant = alias.resolve(document);
      if (meant === undefined) {
        throw new ConfigError(
          `${name}:${line}: *${alias.source} is an alias to YAML, write it in quotes: "*${alias.source}"`,
        );
      }
      // Whoever followed it would never come to an end; LiteFS refuses it, too.
      if (ancestors.includes(meant)) {
        throw new ConfigError(
          `${name}:${line}: *${alias.source} stands for what it is a part of, remove it`,
        );
      }
    },
  });
  return { name, document, lines };
}

/** Says where the YAML is wrong, and how to mend what is probably meant. */
function explain(error: YAMLError, text: string, lines: LineCounter): string {
  const start = error.pos[0];
  // After a key without a value the parser points at the end of that line.
  const at = start + (/^\s*/.exec(text.slice(start))?.[0].length ?? 0);
  if (error.code === "DUPLICATE_KEY") {
    const key = /^[^:\n]*/.exec(text.slice(at))?.[0].trim();
    return `${lineOf(lines, at)}: ${key}: the key is given twice, remove one`;
  }
  return `${lineOf(lines, start)}: ${complaint(error)}`;
}

function complaint({ code, message }: YAMLError): string {
  if (code === "BAD_ALIAS") return 'a * alone is an alias to YAML, write it in quotes: "*"';
  if (code === "TAB_AS_INDENT") return "a tab indents the line, write spaces";
  const isUnquoted = code === "BAD_SCALAR_START" || code === "BLOCK_AS_IMPLICIT_KEY";
  const mend = isUnquoted ? ", write the value in quotes" : "";
  return `the file is not YAML: ${message.replaceAll("\n", " ")}${mend}`;
}

/** Returns the keys of a section; none when it is not given or null. */
function section(source: Source, entry: Entry | undefined, known: readonly string[]): Entry[] {
  if (entry === undefined || fileValue(source, entry.value).is === "null") return [];
  return entries(source, entry.value, entry.name, known);
}

/** Returns the entries of a mapping, those that are merged into it (`<<`) after its own. */
function entries(
  source: Source,
  node: unknown,
  path: string,
  known: readonly string[],
  what = "is not",
): Entry[] {
  const map = resolve(source, node);
  if (!isMap(map)) {
    const place = `${source.name}:${nodeLine(source, node)}`;
    if (path === "") {
      throw new ConfigError(`${place}: the file holds no keys, write a "proxy:" section`);
    }
    throw new ConfigError(`${place}: ${path}: ${what} a section, write keys below it`);
  }
  const found = new Map<string, Entry>();
  for (const entry of ownEntries(source, map, path, known)) found.set(entry.name, entry);
  for (const merged of mergedMaps(source, map)) {
    for (const entry of entries(source, merged, path, known, 'a merge ("<<") takes'))
      if (!found.has(entry.name)) found.set(entry.name, entry);
  }
  return [...found.values()];
}

function ownEntries(source: Source, map: YAMLMap, path: string, known: readonly string[]): Entry[] {
  return map.items.flatMap((pair: Pair) => {
    const key = resolve(source, pair.key);
    const name = isScalar(key) ? String(key.source ?? key.value) : "";
    if (isMerge(key)) return [];
    const line = nodeLine(source, pair.key);
    if (known.includes(name)) return [{ name, value: pair.value, line }];
    const label = [path, name || "(no name)"].filter((part) => part !== "").join(".");
    const meant = name === "" ? undefined : nearest(name, known);
    const mend = meant === undefined ? hint(name, path) : `did you mean "${meant}"`;
    throw new ConfigError(`${source.name}:${line}: ${label}: unknown key, ${mend}`);
  });
}

/** Says where an unknown key with no near neighbour belongs. */
function hint(name: string, path: string): string {
  if (path === "" && isKey(name)) return `write it below "proxy:"`;
  return path === "" ? "remove it" : `remove it or see --help`;
}

function mergedMaps(source: Source, map: YAMLMap): unknown[] {
  const pair = map.items.find((item) => isMerge(item.key));
  const value = resolve(source, pair?.value);
  if (isSeq(value)) return value.items;
  return pair === undefined ? [] : [pair.value];
}

function isMerge(key: unknown): boolean {
  return isScalar(key) && key.value === "<<" && key.type === "PLAIN";
}

/** Reads a text of a section that is LiteFS's alone. */
function textOf(source: Source, path: string, found: readonly Entry[]): string | undefined {
  const entry = found.find(({ name }) => path.endsWith(`.${name}`));
  const value = entry === undefined ? undefined : fileValue(source, entry.value);
  if (entry === undefined || value === undefined || value.is === "null") return undefined;
  if (value.is === "scalar") return value.text;
  throw new ConfigError(`${source.name}:${entry.line}: ${path}: not one value, write a text`);
}

function fileValue(source: Source, value: unknown): FileValue {
  const node = resolve(source, value);
  if (isSeq(node)) return { is: "list", items: node.items.map((item) => fileValue(source, item)) };
  if (isMap(node)) return { is: "section" };
  if (!isScalar(node) || node.value === null) return { is: "null" };
  if (typeof node.value === "string") return { is: "scalar", text: node.value, type: "text" };
  const text = node.source ?? String(node.value);
  return { is: "scalar", text, type: typeof node.value === "boolean" ? "boolean" : "other" };
}

/** Follows an alias to what it stands for. */
function resolve(source: Source, node: unknown): unknown {
  return isAlias(node) ? node.resolve(source.document) : node;
}

function nodeLine(source: Source, node: unknown): number {
  return lineOf(source.lines, (isNode(node) ? node.range?.[0] : undefined) ?? 0);
}

function lineOf(lines: LineCounter, offset: number): number {
  return Math.max(lines.linePos(offset).line, 1);
}
