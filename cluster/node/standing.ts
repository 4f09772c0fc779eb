import type { Clock } from "../../src/clock.ts";
import { notReady } from "../format.ts";
import type { Role } from "../format.ts";
import type { Mount } from "./mount.ts";

/** How a node stands to the primary: its role, in `.primary`, and how far it is behind, in `.lag`. */
export interface Standing {
  /** Returns the role. */
  role(): Role;
  /** Changes the role. */
  setRole(role: Role): void;
  /** Returns how far the node is behind, in milliseconds. */
  lag(): number;
  /** Takes what the primary said last, by its time in milliseconds since the Unix epoch; `show()` writes it down. */
  hear(time: number): void;
  /** Writes `.lag`. */
  show(): void;
  /** Stops writing it as time passes. */
  close(): void;
}

// LiteFS computes `.lag` when it is read; a file has to be written again.
const lagInterval = 250;

/** Creates the standing of a replica that has not heard of a primary. */
export function createStanding(mount: Mount, clock: Clock): Standing {
  let role: Role = { isPrimary: false };
  let heard: number | undefined;
  let timer: unknown;

  function lag(): number {
    if (role.isPrimary) {
      return 0;
    }
    return heard === undefined ? notReady : clock.now() - heard;
  }

  function show(): void {
    mount.writeLag(lag());
  }

  function keepShowing(): void {
    show();
    timer = clock.setTimeout(keepShowing, lagInterval);
  }

  keepShowing();
  return {
    role: () => role,
    setRole(next) {
      // What was heard before it led is of an old time.
      if (role.isPrimary && !next.isPrimary) {
        heard = undefined;
      }
      role = next;
      mount.writePrimary(role.hostname);
      show();
    },
    lag,
    hear(time) {
      heard = time;
    },
    show,
    close: () => clock.clearTimeout(timer),
  };
}
