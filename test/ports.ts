import { createServer } from "node:net";

/** A port at which nobody listens: no system gives one of the first thousand away, and what this one was for is forgotten. */
export const NOBODY = 2;

/** Below this, systems give no port away: 32768 is the least on Linux, and others begin higher. */
const GIVEN_AWAY = 30_000;

/** How many ports there are to choose from. */
const CHOICE = 10_000;

/**
 * Finds a port of this machine at which nobody listens, and which nobody gets who asks for any port: it can be left and
 * listened at again while other tests run.
 */
export async function quietPort(): Promise<number> {
  const port = GIVEN_AWAY - 1 - Math.floor(Math.random() * CHOICE);
  const isFree = await new Promise<boolean>((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
  return isFree ? port : quietPort();
}
