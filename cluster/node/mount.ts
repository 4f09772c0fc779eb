import { Buffer } from "node:buffer";
import {
  closeSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { lagText, positionText } from "../format.ts";
import type { Point } from "../format.ts";

/** The directory of a node that stands in for LiteFS's mount, and the files in it that LiteFS makes by itself. */
export interface Mount {
  /** The directory. */
  readonly directory: string;
  /** The path of the database file, which is not the mount's own. */
  readonly databasePath: string;
  /** Writes `-pos`. */
  writePosition(point: Point): void;
  /** Writes `.primary`; undefined: there is none, as on the primary itself. */
  writePrimary(hostname: string | undefined): void;
  /** Writes `.lag`, in milliseconds. */
  writeLag(lag: number): void;
  /** Takes the mount's own files away. */
  clear(): void;
  /** Closes what is open. */
  close(): void;
}

/**
 * Creates a mount and its directory.
 *
 * @param root The directory of the node, which the mount is below.
 * @param database The database's name.
 */
export function createMount(root: string, database: string): Mount {
  const directory = join(root, "litefs");
  mkdirSync(directory, { recursive: true });
  let positionFile: number | undefined;

  function remove(file: string): void {
    rmSync(join(directory, file), { force: true });
  }

  // Whoever reads a file by opening it must find the old content or the new one, never none.
  function replace(file: string, content: string): void {
    const fresh = join(root, `${file}.new`);
    writeFileSync(fresh, content);
    renameSync(fresh, join(directory, file));
  }

  return {
    directory,
    databasePath: join(directory, database),
    // In place, since readers hold the file open and read it at offset 0.
    writePosition(point) {
      positionFile ??= openSync(join(directory, `${database}-pos`), "w+");
      // As bytes: Deno 2.9 ignores the offset beside a text and writes at the file's end.
      const bytes = Buffer.from(positionText(point));
      writeSync(positionFile, bytes, 0, bytes.length, 0);
    },
    writePrimary(hostname) {
      if (hostname === undefined) {
        remove(".primary");
      } else {
        replace(".primary", `${hostname}\n`);
      }
    },
    writeLag: (lag) => replace(".lag", lagText(lag)),
    clear() {
      for (const file of [`${database}-pos`, ".primary", ".lag"]) {
        remove(file);
      }
    },
    close() {
      if (positionFile !== undefined) {
        closeSync(positionFile);
      }
    },
  };
}
