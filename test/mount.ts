import { mkdtempSync, realpathSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lagText, notReady, positionText as pointText } from "../cluster/format.ts";
import type { Position, Primary } from "../src/index.ts";

/** A directory with the files of a LiteFS mount, which no LiteFS keeps. */
export interface Mount {
  readonly dir: string;
  /** The path of `-pos`. */
  readonly file: string;
  write(name: string, content: string | Uint8Array): void;
  remove(name: string): void;
  setPosition(position: Position, checksum?: string): void;
  /** Puts a new file in the place of `-pos`, as a mount that was replaced does. */
  replacePosition(position: Position): void;
  /** Shows a role; where the primary is here or unknown, the lag that goes with it as well. */
  setPrimary(primary: Primary): void;
  setLag(lag: number | undefined): void;
  cleanup(): void;
}

/** What is in a mount at first; what is left out is not there. */
export interface MountOptions {
  /** The directory in which the mount is made. @default the one for temporary files */
  readonly parent?: string;
  /** The name of the database. @default "app.db" */
  readonly database?: string;
  readonly position?: Position;
  /** Where writes run; a replica has no lag. */
  readonly primary?: Primary;
}

/** The checksum of every position that is given none. */
export const CHECKSUM = "f630f5ae3060002c";

/** Makes a mount. */
export function createMount(options: MountOptions = {}): Mount {
  const { parent = tmpdir(), database = "app.db", position, primary } = options;
  // The directory of temporary files may be a link, and the system names open files by where they really are.
  const dir = realpathSync(mkdtempSync(join(parent, "litefs-mount-")));
  const file = join(dir, `${database}-pos`);
  const write = (name: string, content: string | Uint8Array): void =>
    writeFileSync(join(dir, name), content);
  const remove = (name: string): void => rmSync(join(dir, name), { force: true });
  const setLag = (lag: number | undefined): void => {
    if (lag === undefined) return remove(".lag");
    write(".lag", lagText(Math.min(lag, notReady)));
  };
  const mount: Mount = {
    dir,
    file,
    write,
    remove,
    setLag,
    setPosition: (next, checksum) => writeFileSync(file, positionText(next, checksum)),
    replacePosition: (next) => {
      write("next", positionText(next));
      renameSync(join(dir, "next"), file);
    },
    setPrimary: (next) => {
      if (next.at === "elsewhere") write(".primary", `${next.hostname}\n`);
      else remove(".primary");
      if (next.at === "here") setLag(0);
      if (next.at === "unknown") setLag(1234);
    },
    cleanup: () => rmSync(dir, { recursive: true, force: true }),
  };
  if (position !== undefined) mount.setPosition(position);
  if (primary?.at === "elsewhere") setLag(0);
  if (primary !== undefined) mount.setPrimary(primary);
  return mount;
}

/** Returns what is in `-pos`. */
export function positionText(position: Position, checksum: string = CHECKSUM): string {
  return pointText({ txid: position, checksum });
}
