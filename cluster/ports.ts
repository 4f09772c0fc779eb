import { randomInt } from "node:crypto";
import { createServer, type Server } from "node:net";

/**
 * The ports below those that systems hand out by themselves, so that no connection takes them meanwhile; and above 20202,
 * LiteFS's own, where a storage that is told of no other API would take whoever listens for LiteFS.
 */
const FIRST_PORT = 20_300;
/** They are shared out in blocks, up to 32299, for Linux begins at 32768; who holds a block's first port has the others. */
const BLOCKS = 120;
const BLOCK = 100;

/** The first ports of the blocks that are had here. */
const held: Server[] = [];
let nextPort = FIRST_PORT;
let lastTaken: Promise<unknown> = Promise.resolve();

/**
 * Returns a port on 127.0.0.1 that is free, for who must know it before, or have it again after a crash. It is given
 * away once, by whatever process or thread: who has it need not listen yet.
 *
 * @throws {Error} When there is none.
 */
export function freePort(): Promise<number> {
  const port = lastTaken.then(takePort);
  lastTaken = port.catch(() => {});
  return port;
}

async function takePort(): Promise<number> {
  for (let attempt = 0; attempt < BLOCKS * BLOCK; attempt += 1) {
    if (nextPort % BLOCK === 0) {
      nextPort = 1 + (await takeBlock());
    }
    const port = nextPort;
    nextPort += 1;
    const server = await hold(port);
    if (server !== undefined) {
      await new Promise((resolve) => server.close(resolve));
      return port;
    }
  }
  throw new Error(`Cannot find a free port from ${FIRST_PORT} on`);
}

/** Takes a block that nobody has until this thread ends, and returns its first port. */
async function takeBlock(): Promise<number> {
  const first = randomInt(BLOCKS);
  for (let count = 0; count < BLOCKS; count += 1) {
    const port = FIRST_PORT + ((first + count) % BLOCKS) * BLOCK;
    const server = await hold(port);
    if (server !== undefined) {
      held.push(server.unref());
      return port;
    }
  }
  throw new Error(`Cannot find a block of free ports from ${FIRST_PORT} on`);
}

/** Listens on a port, unless somebody else does. */
function hold(port: number): Promise<Server | undefined> {
  const server = createServer((socket) => socket.destroy());
  return new Promise((resolve) => {
    server.once("error", () => resolve(undefined));
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => resolve(server));
  });
}
