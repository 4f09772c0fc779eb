import { createHash } from "node:crypto";
import { type IncomingHttpHeaders, request } from "node:http";
import { freePort } from "../cluster/ports.ts";
import { sleep } from "../cluster/sleep.ts";
import type { Request } from "./load.ts";
import type { Peer, Running } from "./peers.ts";

/** An answer. */
interface Answer {
  readonly status: number | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly length: number;
  /** The hash of what was looked at. */
  readonly hash: string;
}

/** How long an answer may take, in milliseconds. */
const TIMEOUT = 20_000;

/** How much of a body is looked at: of a very large one the rest would take as long as all that is to be measured. */
const ENOUGH = 2 ** 24;

/** Sends a request on a connection of its own. */
function ask(port: number, { method, path, length = 0, token }: Request): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers: Record<string, string | number> = {};
    if (token !== undefined) headers["Cookie"] = token;
    if (length > 0) headers["Content-Length"] = length;
    const sent = request({ port, host: "127.0.0.1", agent: false, method, path, headers });
    sent.setTimeout(TIMEOUT, () => sent.destroy(new Error("No answer came")));
    sent.once("error", reject);
    sent.once("response", (response) => {
      const hash = createHash("md5");
      let taken = 0;
      let isOver = false;
      const end = (): void => {
        if (isOver) return;
        isOver = true;
        const { statusCode: status, headers: lines } = response;
        resolve({ status, headers: lines, length: taken, hash: hash.digest("hex") });
        response.destroy();
      };
      response.on("data", (piece: Buffer) => {
        const seen = piece.subarray(0, ENOUGH - taken);
        taken += seen.length;
        hash.update(seen);
        if (taken === ENOUGH) end();
      });
      response.once("error", reject);
      response.once("end", end);
    });
    sent.end("x".repeat(length));
  });
}

/**
 * Fails unless an answer is the app's own: status, length, body and the header lines that the app sets.
 *
 * @param mayChunk Whether the length of a body may be left out, as a runtime's own server may do.
 */
export async function checkAnswer(
  port: number,
  target: number,
  what: Request,
  mayChunk = false,
): Promise<void> {
  const [got, wanted] = [await ask(port, what), await ask(target, what)];
  const told = (answer: Answer): string =>
    [
      answer.status,
      answer.headers["content-type"],
      mayChunk ? "" : answer.headers["content-length"],
      answer.length,
      answer.hash,
    ].join(", ");
  if (wanted.status !== 200) throw new Error(`The app answers ${wanted.status}`);
  if (told(got) !== told(wanted))
    throw new Error(`answers "${told(got)}" instead of "${told(wanted)}"`);
}

/** Fails unless a write is answered with the node's token. */
export async function checkMint({ port, token }: Running): Promise<void> {
  const { headers } = await ask(port, { method: "POST", path: "/1k", length: 1 });
  const cookies = headers["set-cookie"] ?? [];
  if (!cookies.some((cookie) => cookie.startsWith(token)))
    throw new Error(`answers a write with "${cookies.join(", ")}" instead of "${token}"`);
}

/** Fails unless a replica holds a read until it has what the read's token names. */
export async function checkWait(peer: Peer, target: number): Promise<void> {
  const running = await peer.start({ target, primary: await freePort() });
  try {
    if (running.moveTo === undefined) return;
    let isAnswered = false;
    const token = "__txid=0000000000000002";
    const answer = ask(running.port, { method: "GET", path: "/1k", token }).finally(
      () => (isAnswered = true),
    );
    await Promise.race([answer, sleep(150)]);
    if (isAnswered) throw new Error("answers a read that the node is behind");
    const start = performance.now();
    running.moveTo("0000000000000002");
    const { status } = await answer;
    const took = performance.now() - start;
    if (status !== 200 || took > 1000)
      throw new Error(`answers ${status} ${Math.round(took)} ms after the node has caught up`);
  } finally {
    running.stop();
  }
}
