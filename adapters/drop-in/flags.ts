import { nearest } from "../../src/nearest.ts";
import { at, ConfigError } from "./error.ts";
import { isKey, keyNames, keys, type Values } from "./keys.ts";

/** A command line, taken apart. */
export interface Flags {
  /** The configuration file; undefined: search for one. */
  readonly config: string | undefined;
  /** Whether environment variables are expanded in the file. */
  readonly expandEnvironment: boolean;
  /** What to do instead of running. */
  readonly instead: "check" | "help" | "version" | undefined;
  /** The values that the flags give; they win over the file. */
  readonly values: Partial<Values>;
  /** The command after `--` and its arguments; undefined when there is none. */
  readonly command: readonly [string, ...string[]] | undefined;
}

/** The flags that are no keys, with their help. */
const others: ReadonlyMap<string, string> = new Map([
  ["config", "Configuration file"],
  ["no-expand-env", "Leave environment variables in the file as they are"],
  ["check", "Check the configuration, show what would run, and exit"],
  ["help", "Show this help and exit"],
  ["version", "Show the version and exit"],
]);

/**
 * Reads a command line. Flags are spelt `--flag value` or `--flag=value`, with one hyphen or two; everything after `--`
 * is a command.
 *
 * @param argv The arguments, without the program's own name.
 * @throws {ConfigError} At the first one that is not fit, naming it.
 */
export function parseFlags(argv: readonly string[]): Flags {
  const end = argv.indexOf("--");
  const texts = new Map<string, string[]>();
  const rest = end === -1 ? [...argv] : argv.slice(0, end);
  while (true) {
    const argument = rest.shift();
    if (argument === undefined) break;
    readFlag(argument, rest, texts);
  }
  const [command, ...args] = end === -1 ? [] : argv.slice(end + 1);
  if (end !== -1 && command === undefined) {
    throw new ConfigError("--: no command follows, write one such as -- node app.js");
  }
  return {
    config: texts.get("config")?.at(-1),
    expandEnvironment: !texts.has("no-expand-env"),
    instead: (["help", "version", "check"] as const).find((name) => texts.has(name)),
    values: readValues(texts),
    command: command === undefined ? undefined : [command, ...args],
  };
}

/** Reads one flag, and its value from the rest of the arguments where it needs one. */
function readFlag(argument: string, rest: string[], texts: Map<string, string[]>): void {
  const [, spelt, , inline] = /^--?([^-=][^=]*)(=([^]*))?$/.exec(argument) ?? [];
  if (spelt === undefined) {
    throw new ConfigError(`${argument}: not a flag, write -- before the app's command`);
  }
  const flag = spelt === "h" ? "help" : spelt;
  const off = flag.startsWith("no-") ? flag.slice(3) : "";
  if (isKey(off) && keys[off].canBeOff) {
    if (inline !== undefined)
      throw new ConfigError(`--${flag}: takes no value, write --${flag} alone`);
    texts.set(off, keys[off].flag === "values" ? [] : ["false"]);
    return;
  }
  if (!isKey(flag) && !others.has(flag)) {
    throw new ConfigError(`--${flag}: ${unknown(flag)}`);
  }
  const takes = isKey(flag) ? keys[flag].flag : "nothing";
  const takesValue = takes === "value" || takes === "values" || flag === "config";
  if (takes === "nothing" && flag !== "config" && inline !== undefined) {
    throw new ConfigError(`--${flag}: takes no value, write --${flag} alone`);
  }
  const value = inline ?? (takesValue ? rest.shift() : "true");
  if (value === undefined || (inline === undefined && value.startsWith("--"))) {
    throw new ConfigError(`--${flag}: has no value, write --${flag}=${sign(flag)}`);
  }
  texts.set(flag, takes === "values" ? [...(texts.get(flag) ?? []), value] : [value]);
}

function readValues(texts: ReadonlyMap<string, readonly string[]>): Partial<Values> {
  const values: Partial<Values> = {};
  const fill = <Name extends keyof Values>(name: Name, given: readonly string[]): void => {
    values[name] = at(`--${name}`, () => keys[name].fromFlags(given));
  };
  for (const [name, given] of texts) if (isKey(name)) fill(name, given);
  return values;
}

/** Says that a flag is not known, and which one was meant. */
function unknown(flag: string): string {
  const meant = nearest(flag, [...keyNames(), ...others.keys()]);
  return meant === undefined ? "unknown flag, see --help" : `unknown flag, did you mean --${meant}`;
}

function sign(flag: string): string {
  return isKey(flag) ? keys[flag].sign : "FILE";
}

/** Returns the help: every flag and every key with its default, from the table that defines them. */
export function help(): string {
  const rows = keyNames().map((name): [string, string] => {
    const { sign: value, help: text, standard, flag } = keys[name];
    const again = flag === "values" ? ", repeatable" : "";
    return [value === "" ? `--${name}` : `--${name} ${value}`, `${text} (${standard}${again})`];
  });
  const own = [...others].map(([name, text]): [string, string] => [
    name === "config" ? "--config FILE" : `--${name}`,
    text,
  ]);
  const width = Math.max(...[...rows, ...own].map(([flag]) => flag.length));
  const table = (lines: [string, string][]): string =>
    lines.map(([flag, text]) => `  ${flag.padEnd(width)}  ${text}\n`).join("");
  return `Usage: txid-proxy [flags] [-- COMMAND [ARGUMENT...]]

Puts LiteFS's HTTP proxy in front of an app. The keys of the file's "proxy:" section
are the flags without their hyphens; flags win over the file. The file is --config,
else the first of ./proxy.yml, ./litefs.yml, ~/litefs.yml and /etc/litefs.yml.
COMMAND is started once the proxy listens, and stopped after it has drained.

${table(own)}
${table(rows)}
Durations are written as 500ms, 5s or 1m30s. --no-KEY turns a switch off, or a list empty.
`;
}
