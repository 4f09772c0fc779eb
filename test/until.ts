import type { MaybePromise } from "../src/index.ts";

/**
 * Polls until something holds, or something is found.
 *
 * @param what What is waited for, for the error.
 * @param find Returns false or undefined until then.
 * @param patience How long it may take, in milliseconds; it is only waited out when a test fails.
 * @returns What was found.
 */
export async function until<T>(
  what: string,
  find: () => MaybePromise<T | undefined | false>,
  patience = 20_000,
): Promise<T> {
  const end = Date.now() + patience;
  for (;;) {
    const found = await find();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > end) throw new Error(`Waited in vain for ${patience} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
