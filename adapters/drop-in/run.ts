import { formatAddress } from "./address.ts";
import { type Config, type ConfigFile, configure, type Settings } from "./config.ts";
import { ConfigError } from "./error.ts";
import { type Flags, help, parseFlags } from "./flags.ts";
import { createLog, describe, type Log } from "./log.ts";
import { type Child, type End, type Host, systemHost } from "./system.ts";
import { VERSION } from "./version.ts";

/** A proxy that listens. */
interface Running {
  /** Where a client on this machine reaches it. */
  readonly url: string;
  /** Lets the health check fail from now on. */
  drain(): void;
  /** Stops listening, lets requests end for at most `timeout` milliseconds, and gives everything back. */
  close(timeout: number): Promise<void>;
}

/** Starts what the settings say; rejects when it cannot. */
export type Start = (settings: Settings, log: Log) => Promise<Running>;

/**
 * Runs the drop-in from its command line to its end: reads the configuration, starts the proxy and then the command,
 * and on a signal drains the proxy before the command gets it.
 *
 * @param start Starts the proxy.
 * @param host The runtime's side: arguments, files, output, signals, processes.
 * @returns The code to exit with: the command's, else 0; 1 when the proxy cannot start, 2 when its configuration is
 *   wrong.
 */
export async function run(start: Start, host: Host = systemHost()): Promise<number> {
  try {
    const flags = readFlags(host.argv);
    if (flags.instead === "help") return answer(host, help());
    if (flags.instead === "version")
      return answer(host, `txid-proxy ${VERSION} on ${host.runtime}\n`);
    const file = findFile(flags, host);
    const config = configure(flags, file, (name) => variable(name, host));
    if (flags.instead === "check") return answer(host, checked(flags, file, config));
    return await live(start, host, flags, file, config.settings);
  } catch (error) {
    host.write("error", `${describe(error)}\n`);
    return error instanceof ConfigError ? 2 : 1;
  }
}

/** Reads the command line; what is wrong with it ends with where the flags are explained. */
function readFlags(argv: readonly string[]): Flags {
  try {
    return parseFlags(argv);
  } catch (error) {
    if (!(error instanceof ConfigError) || error.message.endsWith("see --help")) throw error;
    throw new ConfigError(`${error.message}, see --help`);
  }
}

function answer(host: Host, text: string): number {
  host.write("out", text);
  return 0;
}

function checked(flags: Flags, file: ConfigFile | undefined, config: Config): string {
  const command = flags.command === undefined ? "" : `# then runs: ${flags.command.join(" ")}\n`;
  return `# ${file === undefined ? "the flags are" : `${file.name} is`} fine\n${config.shown}${command}`;
}

/** Returns an environment variable; the machine has a name even where none is set, as for LiteFS. */
function variable(name: string, host: Host): string | undefined {
  return host.variable(name) || (name === "HOSTNAME" ? host.hostname() : undefined);
}

/** Reads the file that was named, else the first one that is there. */
function findFile(flags: Flags, host: Host): ConfigFile | undefined {
  if (flags.config !== undefined) {
    const text = host.readFile(flags.config, true);
    if (text === undefined) throw new ConfigError(`${flags.config}: no such file`);
    return { name: flags.config, text };
  }
  const home = host.variable("HOME");
  const names = [
    "proxy.yml",
    "litefs.yml",
    ...(home ? [`${home}/litefs.yml`] : []),
    "/etc/litefs.yml",
  ];
  for (const name of names) {
    const text = host.readFile(name, false);
    if (text !== undefined) return { name, text };
  }
  return undefined;
}

/** Runs the proxy and the command until one of them ends or a signal comes. */
async function live(
  start: Start,
  host: Host,
  flags: Flags,
  file: ConfigFile | undefined,
  settings: Settings,
): Promise<number> {
  const log = createLog({ ...settings.log, write: host.write, now: host.now });
  let child: Child | undefined;
  const signal = firstSignal(host, () => child?.kill("SIGKILL"));
  const running = await started(start, settings, log);
  const { hostname = "", port } = settings.server;
  log.info(`listening on ${running.url}`, {
    addr: formatAddress({ host: hostname, port }),
    target: settings.proxy.target,
    db: settings.storage.db,
    dir: settings.storage.dir,
    api: settings.storage.api,
    config: file?.name,
    runtime: host.runtime,
    version: VERSION,
  });

  if (flags.command !== undefined) {
    log.info(`starting ${flags.command.join(" ")}`);
    child = host.spawn(flags.command);
  }
  const ended = child?.ended ?? new Promise<never>(() => {});
  const cause = await Promise.race([signal, ended]);
  await stop(running, cause, ended, host, settings, log);
  if (typeof cause === "string") child?.kill(cause);
  const end = await child?.ended;
  log.info("stopped");
  if (end === undefined) return 0;
  // The signal that this process passed on is the end that was asked for.
  if (typeof cause === "string" && end.signal === cause) return 0;
  return end.code;
}

/**
 * Stops the proxy: at a signal once whoever looks at its health may have seen it fail, unless the command ends before.
 *
 * @param cause The signal, or how the command has ended.
 */
async function stop(
  running: Running,
  cause: NodeJS.Signals | End,
  ended: Promise<End>,
  host: Host,
  { drain }: Settings,
  log: Log,
): Promise<void> {
  running.drain();
  if (typeof cause === "string") {
    log.info(`${cause}: draining`, { delay: drain.delay, timeout: drain.timeout });
    await Promise.race([host.sleep(drain.delay), ended]);
  } else if (cause.error !== undefined) {
    log.warn(`cannot start the command: ${cause.error}`);
  } else {
    log.info("the command has ended: draining", { code: cause.code, signal: cause.signal });
  }
  try {
    await running.close(drain.timeout);
  } catch (error) {
    log.error(error);
  }
}

async function started(start: Start, settings: Settings, log: Log): Promise<Running> {
  try {
    return await start(settings, log);
  } catch (error) {
    // What the parts refuse is configuration; all else is the machine's refusal.
    if (error instanceof TypeError || error instanceof RangeError) {
      if (!("code" in error)) throw new ConfigError(describe(error));
    }
    const { hostname = "", port } = settings.server;
    const addr = formatAddress({ host: hostname, port });
    throw new Error(`cannot listen on ${addr}: ${reason(error)}`);
  }
}

function reason(error: unknown): string {
  const text = describe(error);
  const code = error instanceof Error && "code" in error ? String(error.code) : text;
  if (code.includes("EADDRINUSE")) return "the address is in use";
  if (code.includes("EACCES")) return "not allowed to listen there";
  if (code.includes("EADDRNOTAVAIL")) return "this machine has no such address";
  return text;
}

/** How long a signal after the first one is taken for the same one, in milliseconds. */
const ECHO = 300;

/** Resolves to the first signal; at the second the process ends at once, and with it the command. */
function firstSignal(host: Host, kill: () => void): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let first: number | undefined;
    host.onSignal((signal, number) => {
      if (first === undefined) {
        first = host.now();
        resolve(signal);
        return;
      }
      // A terminal's Ctrl-C reaches this process by itself, and once more through npm.
      if (host.now() - first < ECHO) return;
      kill();
      host.exit(128 + number);
    });
  });
}
