import type { Storage } from "../../src/storage.ts";
import { NotMountedError } from "../litefs/role.ts";
import { formatDuration } from "./duration.ts";
import { describe, type Log } from "./log.ts";

/** What is known of a storage, as a text for each thing that is logged when it changes. */
interface State {
  readonly database: string;
  readonly primary: string;
}

/** How often the storage is looked at for the log, in milliseconds. */
const INTERVAL = 1000;

/**
 * Logs what is known of a storage now and whenever it changes: whether the database is there, and where the primary is.
 *
 * @param storage The storage.
 * @param log Where it is logged.
 * @returns A function that stops it.
 */
export function watchState(storage: Storage, log: Log): () => void {
  let isOver = false;
  let isLooking = false;
  const look = createStateLog(storage, {
    // A look that is under way when it is stopped finds a closed storage.
    info: (message) => {
      if (!isOver) log.info(message);
    },
    warn: (message) => {
      if (!isOver) log.warn(message);
    },
  });
  const lookOnce = (): void => {
    if (isLooking) return;
    isLooking = true;
    void look().finally(() => {
      isLooking = false;
    });
  };
  lookOnce();
  const timer = setInterval(lookOnce, INTERVAL);
  return () => {
    isOver = true;
    clearInterval(timer);
  };
}

/**
 * Creates a function that looks at a storage, logs what has changed since the last time, and never rejects.
 *
 * @param storage The storage.
 * @param log Where it is logged.
 */
export function createStateLog(
  storage: Storage,
  log: Pick<Log, "info" | "warn">,
): () => Promise<void> {
  let last: State = { database: "", primary: "" };

  function say(text: string, isGood: boolean): void {
    if (isGood) log.info(text);
    else log.warn(text);
  }

  return async () => {
    const state = { database: await database(storage), primary: await primary(storage) };
    if (state.database !== last.database) say(state.database, state.database === FOUND);
    if (state.primary !== last.primary) say(state.primary, state.primary !== UNKNOWN);
    last = state;
  };
}

/**
 * Creates a function that logs what goes wrong behind a storage. That LiteFS is not there is a state and no error: it
 * may come later.
 *
 * @param dir The directory where LiteFS should be mounted.
 * @param isFirst Whether the storage is the one that speaks for all of that directory.
 * @param log Where it is logged.
 */
export function createStorageLog(
  dir: string,
  isFirst: boolean,
  log: Pick<Log, "warn" | "error">,
): (error: unknown) => void {
  return (error) => {
    if (!(error instanceof NotMountedError)) log.error(error);
    else if (isFirst)
      log.warn(`no LiteFS at ${dir} (there is no .lag): is it mounted? "dir" names the directory`);
  };
}

/**
 * Creates a function that logs whether the app listens.
 *
 * @param target The app's origin.
 * @param patience How long a request waits for it, in milliseconds.
 * @param log Where it is logged.
 */
export function createTargetLog(
  target: string,
  patience: number,
  log: Pick<Log, "info" | "warn">,
): (isListening: boolean) => void {
  const consequence =
    patience > 0
      ? `requests wait for it for up to ${formatDuration(patience)}`
      : "requests are answered with 502";
  return (isListening) => {
    if (isListening) log.info(`the app listens on ${target}`);
    else log.warn(`the app does not listen on ${target}: ${consequence}`);
  };
}

const FOUND = "database found";
const UNKNOWN = "no primary known";

async function database(storage: Storage): Promise<string> {
  try {
    return (await storage.position()) === undefined ? "no database yet" : FOUND;
  } catch (error) {
    return `database not readable: ${describe(error)}`;
  }
}

async function primary(storage: Storage): Promise<string> {
  try {
    const found = await storage.primary();
    if (found.at === "here") return "this node is the primary";
    if (found.at === "everywhere") return "every node takes writes";
    return found.at === "elsewhere" ? `the primary is ${found.hostname}` : UNKNOWN;
  } catch {
    return UNKNOWN;
  }
}
