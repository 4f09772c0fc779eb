import { sleep } from "./sleep.ts";

/** What clients reach a cluster by. */
export interface Entrances {
  /** Returns where clients go now. */
  urls(): readonly string[];
  /** Returns the names of the nodes that are up. */
  names(): readonly string[];
}

// How long a node may take until it takes a write, and until it is asked again, in milliseconds.
const patience = 15_000;
const pause = 10;

/**
 * Resolves once every node takes writes, whichever runs them: whoever stands in front of it has learned of the primary.
 *
 * @throws {Error} When one does not in time.
 */
export async function untilWritable({ urls, names }: Entrances): Promise<void> {
  const end = Date.now() + patience;
  // An edge knows the nodes by their names; without one each URL is a node's own.
  const ways = urls().flatMap((url) => names().map((name) => ({ url, name })));
  const works = ways.map(async ({ url, name }) => {
    while (!(await takesWrite(url, name))) {
      if (Date.now() > end) throw new Error(`Cannot write at ${url} by ${name} in ${patience} ms`);
      await sleep(pause);
    }
  });
  await Promise.all(works);
}

async function takesWrite(url: string, name: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/kv/writable`, {
      method: "PUT",
      body: "yes",
      headers: { "fly-force-instance-id": name },
      signal: AbortSignal.timeout(patience),
    });
    await response.text();
    return response.ok;
  } catch {
    return false;
  }
}
