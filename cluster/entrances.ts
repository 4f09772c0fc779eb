import { sleep } from "./sleep.ts";

/** Where clients enter a cluster, and the nodes behind. */
export interface Entrances {
  /** Returns where clients go now. */
  urls(): readonly string[];
  /** Returns the names of the nodes that are up. */
  names(): readonly string[];
}

// How long all nodes together may take until they take writes, in milliseconds.
const patience = 15_000;
// How long a node that does not is left alone before it is asked again, in milliseconds.
const pause = 10;

/**
 * Resolves once every node takes writes, whichever of them runs these: the proxies have learned of the primary by then.
 * The nodes run the notes app, and a note `writable` is left in it.
 *
 * @throws {Error} When one does not within 15 seconds.
 */
export async function untilWritable({ urls, names }: Entrances): Promise<void> {
  const deadline = Date.now() + patience;
  // An edge takes a request to the node of that name; without one each URL is a node's own, and is asked by each name.
  const ways = urls().flatMap((url) => names().map((name) => ({ url, name })));
  const waits = ways.map(async ({ url, name }) => {
    while (!(await takesWrite(url, name, deadline))) {
      if (Date.now() >= deadline) {
        throw new Error(
          `Cannot write at ${url} by ${name}: it takes no write within ${patience} ms`,
        );
      }
      await sleep(pause);
    }
  });
  await Promise.all(waits);
}

async function takesWrite(url: string, name: string, deadline: number): Promise<boolean> {
  try {
    const response = await fetch(`${url}/kv/writable`, {
      method: "PUT",
      body: "yes",
      headers: { "fly-force-instance-id": name },
      signal: AbortSignal.timeout(Math.max(1, deadline - Date.now())),
    });
    await response.text();
    return response.ok;
  } catch {
    return false;
  }
}
