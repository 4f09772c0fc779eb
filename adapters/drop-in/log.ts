import type { Decision } from "../../src/index.ts";
import { printable } from "./text.ts";

/** What a line of the log says beside its message. */
type Fields = Readonly<Record<string, string | number | boolean | undefined>>;

/** Writes one piece of text to the standard output or the standard error. */
export type Write = (stream: "out" | "error", text: string) => void;

/** The log of the drop-in. */
export interface Log {
  /** Says what the proxy does with a request, and why; undefined unless that is wanted, so that it costs nothing. */
  readonly decision: ((decision: Decision) => void) | undefined;
  /** Says what has changed. */
  info(message: string, fields?: Fields): void;
  /** Says what is not as it should be. */
  warn(message: string, fields?: Fields): void;
  /** Says what went wrong, with its causes. The same line comes once in ten seconds, with how often it would have. */
  error(error: unknown): void;
}

/** What {@linkcode createLog} takes. */
export interface LogOptions {
  /** As lines for people, or as one JSON object a line. */
  readonly format: "text" | "json";
  /** Whether each decision is logged. */
  readonly debug: boolean;
  /** Takes each line; what warns and what fails goes to the standard error. */
  readonly write: Write;
  /** Returns milliseconds since the Unix epoch. */
  readonly now: () => number;
}

/** How long the same error is not said again, in milliseconds. */
const QUIET = 10_000;

/** How many different errors are remembered. */
const REMEMBERED = 100;

/**
 * Creates the log.
 *
 * @param options How and where it is written.
 */
export function createLog(options: LogOptions): Log {
  const { format, write, now } = options;
  const errors = new Map<string, { until: number; unsaid: number }>();

  function line(level: string, message: string, fields: Fields): void {
    const stream = level === "warn" || level === "error" ? "error" : "out";
    if (format === "json") {
      const time = new Date(now()).toISOString();
      write(stream, `${JSON.stringify({ time, level, message, ...fields })}\n`);
      return;
    }
    const pairs = Object.entries(fields).flatMap(([name, value]) =>
      value === undefined ? [] : [` ${name}=${word(String(value))}`],
    );
    write(
      stream,
      `${level === "info" ? "" : `${level}: `}${printable(message)}${pairs.join("")}\n`,
    );
  }

  function decision(made: Decision): void {
    const { method, target, kind, outcome, reason, token } = made;
    const waited = made.waited === undefined ? undefined : Math.round(made.waited);
    line("debug", `${method} ${target}`, { kind, outcome, reason, token, waited });
  }

  return {
    decision: options.debug ? decision : undefined,
    info: (message, fields = {}) => line("info", message, fields),
    warn: (message, fields = {}) => line("warn", message, fields),
    error: (error) => {
      const message = describe(error);
      const time = now();
      const known = errors.get(message);
      if (known !== undefined && time < known.until) {
        known.unsaid++;
        return;
      }
      if (errors.size >= REMEMBERED) errors.clear();
      errors.set(message, { until: time + QUIET, unsaid: 0 });
      line(
        "error",
        message,
        known === undefined || known.unsaid === 0 ? {} : { unsaid: known.unsaid },
      );
    },
  };
}

/**
 * Says an error and its causes in one line.
 *
 * @param error What was thrown.
 */
export function describe(error: unknown): string {
  const parts: string[] = [];
  let cause = error;
  // An error can be its own cause; nobody reads further than this.
  for (let depth = 0; depth < 5 && cause !== undefined && cause !== null; depth++) {
    const text = cause instanceof Error ? cause.message || cause.name : String(cause);
    if (!parts.some((part) => part.includes(text))) parts.push(text);
    cause = cause instanceof Error ? cause.cause : undefined;
  }
  return printable(parts.join(": "));
}

function word(text: string): string {
  return /^[^\s"=\p{Cc}]+$/u.test(text) ? text : printable(JSON.stringify(text));
}
