import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../../src/clock.ts";
import type { MaybePromise, Primary } from "../../src/storage.ts";
import { isMissing } from "../storage/error.ts";
import { primaryNamed } from "../storage/primary.ts";

/** LiteFS's files are not in the directory, most likely because nothing is mounted there. */
export class NotMountedError extends Error {
  /**
   * Makes the error.
   *
   * @param path The file that every mount has.
   */
  constructor(path: string) {
    super(`Cannot read role: no such file (${path}); is LiteFS mounted there?`);
    this.name = "NotMountedError";
  }
}

/** What `.primary` and `.lag` tell. */
export interface RoleFiles {
  /** Returns where writes run, as the files tell; never throws. */
  primary(): MaybePromise<Primary>;
  /** Returns the lag in milliseconds, or `undefined` when there is no readable file; never throws. */
  lag(): number | undefined;
  /** Takes the word of a better source that this node was the primary until this moment. */
  wasHere(): void;
}

/**
 * How long an answer is used again, in milliseconds. Reading it costs up to a millisecond of the event loop; and it is
 * the longest time for which a node that was demoted takes itself for the primary.
 */
const KEEP = 100;

/** How far apart the two looks are that tell a primary from a replica with no lag, in milliseconds. */
const PAUSE = 5;

/** How long a node that was certainly the primary needs one look only, in milliseconds. */
const CERTAIN = 1000;

/** What `.lag` says before the first synchronisation. */
const NOT_READY = 2_147_483_647;

// The file claims one byte less than the largest value needs, so that the line feed may be cut off.
const LAG = /^([+-]\d{9,})\n?$/;

const UNKNOWN: Primary = { at: "unknown" };
const HERE: Primary = { at: "here" };

/**
 * Creates the reader of the role files.
 *
 * `.primary` exists on a connected replica only, so its absence means primary or lost. `.lag` decides: it is always 0
 * on the primary, the largest 32-bit number on a node that has not synchronised or was demoted, and the age of the last
 * transaction or heartbeat on a replica, connected or not. A lost replica thus counts up, but it may be seen at 0: in
 * the very millisecond of its last heartbeat, or later when its clock is behind. To take it for the primary would run
 * writes on a read-only database and let reads skip their wait; so "here" takes two looks some milliseconds apart, or
 * one where this node was certainly the primary less than a second ago, for it cannot have been demoted, become
 * another's replica and lost that one too since then and be seen at 0.
 *
 * @param directory The mount.
 * @param clock The time.
 * @param onError Gets the reason when the files cannot be read, once until they can.
 */
export function createRoleFiles(
  directory: string,
  clock: Clock,
  onError: (error: unknown) => void,
): RoleFiles {
  const primaryPath = join(directory, ".primary");
  const lagPath = join(directory, ".lag");
  let role: Primary = UNKNOWN;
  let roleAt = -Infinity;
  let hereAt = -Infinity;
  let pending: Promise<Primary> | undefined;
  let lastLag: number | undefined;
  let lagAt = -Infinity;
  let failing = false;

  function primary(): MaybePromise<Primary> {
    const now = clock.now();
    if (isWithin(now, roleAt, KEEP)) return role;
    if (pending !== undefined) return pending;
    const found = look();
    if (found !== HERE) return keep(found, now);
    if (isWithin(now, hereAt, CERTAIN)) {
      hereAt = now;
      return keep(HERE, now);
    }
    pending = confirm();
    return pending;
  }

  /** Looks once; here means that the files look as they do on the primary. */
  function look(): Primary {
    try {
      const hostname = readText(primaryPath)?.trim();
      if (hostname !== undefined) return primaryNamed(hostname);
      const behind = readLag();
      if (behind === undefined) throw new NotMountedError(lagPath);
      failing = false;
      return behind === 0 ? HERE : UNKNOWN;
    } catch (error) {
      report(error);
      return UNKNOWN;
    }
  }

  function confirm(): Promise<Primary> {
    return new Promise((resolve) => {
      // This timer is not unreferenced: somebody awaits it.
      clock.setTimeout(() => {
        pending = undefined;
        const now = clock.now();
        const found = look();
        if (found === HERE) hereAt = now;
        resolve(keep(found, now));
      }, PAUSE);
    });
  }

  function keep(found: Primary, now: number): Primary {
    role = found;
    roleAt = now;
    return found;
  }

  function lag(): number | undefined {
    const now = clock.now();
    if (isWithin(now, lagAt, KEEP)) return lastLag;
    lagAt = now;
    try {
      lastLag = cook(readLag());
    } catch (error) {
      lastLag = undefined;
      report(error);
    }
    return lastLag;
  }

  function readLag(): number | undefined {
    const text = readText(lagPath);
    if (text === undefined) return undefined;
    const digits = LAG.exec(text)?.[1];
    if (digits === undefined) {
      throw new Error(
        `Cannot read lag: expected a sign and at least nine digits, received ${JSON.stringify(text.slice(0, 40))} (${lagPath})`,
      );
    }
    return Number(digits);
  }

  function report(error: unknown): void {
    if (!failing) onError(error);
    failing = true;
  }

  return {
    primary,
    lag,
    wasHere: () => {
      hereAt = clock.now();
    },
  };
}

// A clock that stepped back must not prolong what is kept.
function isWithin(now: number, since: number, duration: number): boolean {
  return now >= since && now - since < duration;
}

function cook(lag: number | undefined): number | undefined {
  if (lag === undefined) return undefined;
  if (lag >= NOT_READY) return Infinity;
  // Below zero the primary's clock is ahead of this node's; nobody is ahead of the primary.
  return Math.max(0, lag);
}

function readText(path: string): string | undefined {
  try {
    // LiteFS answers from the first read of each open file, so that a held descriptor would show the past.
    return readFileSync(path, "utf8");
  } catch (error) {
    // The kernel remembers names for a while: "no such file" may come from the read as well as from the open.
    if (isMissing(error)) return undefined;
    throw error;
  }
}
