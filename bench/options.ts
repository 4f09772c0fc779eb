import { parseArgs } from "node:util";
import { parseDuration } from "../adapters/drop-in/duration.ts";

/** What is asked of a run. */
export interface Options {
  /** The scenarios, by name; none named: all, or those of the short run. */
  readonly scenarios: readonly string[];
  /** The peers, by name; none named: all. */
  readonly peers: readonly string[];
  readonly isQuick: boolean;
  readonly rounds: number;
  readonly seconds: number;
  /** How long the soak lasts, in milliseconds; 0: there is none, and nothing else when there is one. */
  readonly soak: number;
  /** Where LiteFS's binary is. */
  readonly litefs: string | undefined;
  /** The file that gets all samples. */
  readonly json: string | undefined;
  /** The file whose marked block gets the report. */
  readonly write: string | undefined;
  readonly isList: boolean;
}

/** Reads the command line. */
export function parseOptions(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      scenario: { type: "string", multiple: true, default: [] },
      peer: { type: "string", multiple: true, default: [] },
      quick: { type: "boolean", default: false },
      rounds: { type: "string" },
      seconds: { type: "string", default: "1" },
      soak: { type: "string", default: "0s" },
      litefs: { type: "string" },
      json: { type: "string" },
      write: { type: "string" },
      list: { type: "boolean", default: false },
    },
  });
  return {
    scenarios: values.scenario,
    peers: values.peer,
    isQuick: values.quick,
    rounds: whole("rounds", values.rounds ?? (values.quick ? "1" : "3")),
    seconds: whole("seconds", values.seconds),
    soak: duration(values.soak),
    litefs: values.litefs,
    json: values.json,
    write: values.write,
    isList: values.list,
  };
}

function whole(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new Error(`Cannot use --${name} "${text}": give a whole number above 0`);
  return value;
}

function duration(text: string): number {
  const value = parseDuration(text);
  if (value === undefined || value < 0)
    throw new Error(`Cannot use --soak "${text}": give a duration such as 10m`);
  return value;
}

/** Writes the command that does the same elsewhere: without the paths of this machine. */
export function commandOf(args: readonly string[]): string {
  const kept: string[] = [];
  for (let index = 0; index < args.length; index++) {
    const arg = args[index] ?? "";
    const name = arg.split("=")[0] ?? "";
    if (["--json", "--write"].includes(name)) index += arg.includes("=") ? 0 : 1;
    else if (name === "--litefs") {
      index += arg.includes("=") ? 0 : 1;
      kept.push("--litefs PATH");
    } else kept.push(/\s/.test(arg) ? JSON.stringify(arg) : arg);
  }
  return ["npm run bench", ...(kept.length > 0 ? ["--", ...kept] : [])].join(" ");
}
