import { LONGEST_DELAY } from "../../src/clock.ts";
import { formatDuration, parseDuration } from "./duration.ts";
import { ConfigError } from "./error.ts";

/** What a file holds for a key. */
export type FileValue =
  | {
      readonly is: "scalar";
      /** The value as it is written, without quotes. */
      readonly text: string;
      /** What YAML takes it for; a value in quotes is a text. */
      readonly type: "text" | "boolean" | "other";
    }
  | { readonly is: "list"; readonly items: readonly FileValue[] }
  | { readonly is: "section" }
  | { readonly is: "null" };

/** How one key is read, shown and explained, wherever it is given. */
export interface Key<T> {
  /** The value when nobody gives one. */
  readonly fallback: T;
  /** What the value looks like in the help, such as `DURATION`; empty for a switch. */
  readonly sign: string;
  /** What the key does, for the help. */
  readonly help: string;
  /** What the help calls the default. */
  readonly standard: string;
  /** Whether the flag stands alone, takes a value, or takes one each time it is given. */
  readonly flag: "switch" | "value" | "values";
  /** Whether `--no-KEY` means something. */
  readonly canBeOff: boolean;
  /**
   * Reads the file's value, which is not null.
   *
   * @throws {ConfigError} When it is not fit.
   */
  fromFile(value: FileValue): T;
  /**
   * Reads the values of all flags of this key, in order.
   *
   * @throws {ConfigError} When one is not fit.
   */
  fromFlags(texts: readonly string[]): T;
  /** Writes a value as YAML. */
  show(value: T): string;
}

/** What the table says of a key that takes a word. */
export interface Word<T> {
  /** The value when nobody gives one. */
  readonly fallback: T;
  /** What the value looks like in the help. */
  readonly sign: string;
  /** What the key does, for the help. */
  readonly help: string;
  /** What the help calls the default; left out: the default itself. */
  readonly standard?: string;
  /** Whether `false` and `--no-KEY` mean something. */
  readonly canBeOff?: boolean;
  /** Reads the word; throws a `ConfigError` when it is not fit. */
  readonly parse: (text: string) => T;
  /** Writes the value as YAML; left out: as a text. */
  readonly show?: (value: T) => string;
}

/**
 * Makes a key whose value is one word; a number or a boolean in a file is the text it is written with, as in LiteFS.
 *
 * @param word What the table says.
 */
export function word<T>(word: Word<T>): Key<T> {
  const show = word.show ?? ((value: T) => quoted(String(value)));
  return {
    fallback: word.fallback,
    sign: word.sign,
    help: word.help,
    standard: word.standard ?? show(word.fallback),
    flag: "value",
    canBeOff: word.canBeOff ?? false,
    fromFile: (value) => {
      if (value.is === "scalar") return word.parse(value.text);
      throw new ConfigError(`found ${article(value)}, write one value`);
    },
    fromFlags: (texts) => word.parse(texts.at(-1) ?? ""),
    show,
  };
}

/**
 * Makes a key whose value is a duration in Go's grammar, in milliseconds. More than 24 days count as 24 days.
 *
 * @param fallback The default, as it is written in a file.
 * @param help What the key does.
 * @param least The shortest fit duration, in milliseconds.
 */
export function duration(fallback: string, help: string, least = 0): Key<number> {
  function parse(text: string): number {
    const value = parseDuration(text);
    if (value === undefined) {
      const isNumber = /^[-+]?\d+(\.\d+)?$/.test(text);
      const mend = isNumber ? `write a unit such as "${text}s"` : 'write one such as "1m30s"';
      throw new ConfigError(`${JSON.stringify(text)} is not a duration, ${mend}`);
    }
    if (value < least) {
      throw new ConfigError(`"${text}" is too short, write "${formatDuration(least)}" or more`);
    }
    return Math.min(value, LONGEST_DELAY);
  }
  const key = word({
    fallback: parse(fallback),
    sign: "DURATION",
    help,
    parse,
    show: formatDuration,
  });
  return {
    ...key,
    fromFile: (value) => {
      // LiteFS takes "0" in quotes for a duration, and the number 0 for none.
      if (value.is === "scalar" && value.type !== "text") {
        throw new ConfigError(
          `${value.text} is not a duration, write a unit such as "${value.text}s"`,
        );
      }
      return key.fromFile(value);
    },
  };
}

const yes: ReadonlySet<string> = new Set(["y", "Y", "yes", "Yes", "YES", "on", "On", "ON"]);
const no: ReadonlySet<string> = new Set(["n", "N", "no", "No", "NO", "off", "Off", "OFF"]);

/**
 * Reads a boolean from a file as LiteFS does: `true` and `false` without quotes, `yes`, `no` and the like in any form.
 *
 * @param value The file's value.
 * @returns The boolean, or undefined when it is none.
 */
function booleanOf(value: FileValue): boolean | undefined {
  if (value.is !== "scalar") return undefined;
  if (value.type === "boolean") return value.text.toLowerCase() === "true";
  if (value.type === "text" && yes.has(value.text)) return true;
  return value.type === "text" && no.has(value.text) ? false : undefined;
}

/**
 * Reads a boolean from a flag.
 *
 * @param text The flag's value.
 * @returns The boolean, or undefined when it is none.
 */
export function booleanFrom(text: string): boolean | undefined {
  if (text === "true" || yes.has(text)) return true;
  return text === "false" || no.has(text) ? false : undefined;
}

/**
 * Makes a key that is true or false, false unless it is given.
 *
 * @param help What the key does.
 */
export function boolean(help: string): Key<boolean> {
  return {
    fallback: false,
    sign: "",
    help,
    standard: "false",
    flag: "switch",
    canBeOff: true,
    fromFile: (value) => {
      const found = booleanOf(value);
      if (found !== undefined) return found;
      if (value.is !== "scalar")
        throw new ConfigError(`found ${article(value)}, write true or false`);
      const mend = /^(true|false)$/i.test(value.text)
        ? `is a text, write ${value.text.toLowerCase()} without quotes`
        : "is not a boolean, write true or false";
      throw new ConfigError(`${JSON.stringify(value.text)} ${mend}`);
    },
    fromFlags: (texts) => {
      const text = texts.at(-1) ?? "";
      const found = booleanFrom(text);
      if (found !== undefined) return found;
      throw new ConfigError(`${JSON.stringify(text)} is not a boolean, write true or false`);
    },
    show: String,
  };
}

/**
 * Makes a key that holds a whole number.
 *
 * @param fallback The default.
 * @param help What the key does.
 * @param least The least fit number.
 */
export function count(fallback: number, help: string, least = 0): Key<number> {
  return word({
    fallback,
    sign: "NUMBER",
    help,
    parse: (text) => {
      const value = Number(text);
      if (/^\d{1,15}$/.test(text) && value >= least) return value;
      throw new ConfigError(
        `${JSON.stringify(text)} is no number of ${least} or more, write one such as ${fallback}`,
      );
    },
    show: String,
  });
}

/**
 * Makes a key that holds a list of words.
 *
 * @param fallback The default.
 * @param sign What one word looks like in the help.
 * @param help What the key does.
 * @param parse Reads one word.
 * @param standard What the help calls the default.
 */
export function list(
  fallback: readonly string[],
  sign: string,
  help: string,
  parse: (text: string) => string = (text) => text,
  standard = "none",
): Key<readonly string[]> {
  const show = (value: readonly string[]): string => `[${value.map(quoted).join(", ")}]`;
  return {
    fallback,
    sign,
    help,
    standard,
    flag: "values",
    canBeOff: true,
    fromFile: (value) => {
      if (value.is === "scalar") {
        throw new ConfigError(
          `${JSON.stringify(value.text)} is not a list, write [${quoted(value.text)}]`,
        );
      }
      if (value.is !== "list")
        throw new ConfigError(`found ${article(value)}, write a list such as ["a", "b"]`);
      return value.items.flatMap((item) => {
        if (item.is === "scalar") return [parse(item.text)];
        // LiteFS leaves empty entries out.
        if (item.is === "null") return [];
        throw new ConfigError(`found ${article(item)} in the list, write one value an entry`);
      });
    },
    fromFlags: (texts) => texts.map(parse),
    show,
  };
}

/** Names what was found in place of a value. */
function article(value: FileValue): string {
  return value.is === "list" ? "a list" : "a section";
}

/** Writes a text so that YAML reads it back as that text, with quotes only where they are needed. */
function quoted(text: string): string {
  if (/^[A-Za-z_./][\w./-]*$/.test(text) && !yes.has(text) && !no.has(text)) {
    if (!/^(true|false|null)$/i.test(text)) return text;
  }
  return JSON.stringify(text);
}
