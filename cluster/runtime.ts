/** A runtime that nodes run on. */
export type Runtime = "node" | "bun" | "deno";

/** All of them. */
const runtimes: readonly Runtime[] = ["node", "bun", "deno"];

/** Returns the runtime of a node when they take turns, the first of which has 0. */
export function runtimeInTurn(turn: number): Runtime {
  return runtimes[turn % runtimes.length] ?? "node";
}

/** Returns the runtime of this process. */
export function thisRuntime(): Runtime {
  if (process.versions.bun !== undefined) {
    return "bun";
  }
  return process.versions.deno === undefined ? "node" : "deno";
}

/** Returns the runtime of this process with its version, such as `node 20.19.5`. */
export function thisRuntimeVersion(): string {
  const runtime = thisRuntime();
  return `${runtime} ${process.versions[runtime] ?? ""}`;
}
