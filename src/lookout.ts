import type { Clock } from "./clock.ts";
import { type ResponseMessage, TransportError } from "./message.ts";
import type { Primary } from "./storage.ts";

/** Sees to it that nobody awaits the answer of a primary that is gone: a machine that vanishes closes no connection. */
export interface Lookout {
  /**
   * Awaits an answer.
   *
   * @param hostname The primary that is to answer.
   * @param watch What is done when it no longer is the primary.
   * @param signal Aborts when whoever waits for the answer is gone.
   * @param send Sends the request; its signal aborts with the other one, and when the primary is given up.
   * @throws {TransportError} What sending throws, or `"timeout"` when the primary is given up.
   */
  await(
    hostname: string,
    watch: Watch,
    signal: AbortSignal,
    send: (signal: AbortSignal) => Promise<ResponseMessage>,
  ): Promise<ResponseMessage>;
}

/** What is done about a primary that is none any more. */
export interface Watch {
  /** Is called then, for what has not been sent yet. */
  moved(): void;
  /** Tells whether its proxy answers: it may still run what it was sent, or have sent it on. */
  isAlive(): Promise<boolean>;
}

/** A request whose answer is awaited. */
interface Awaiting {
  readonly hostname: string;
  readonly watch: Watch;
  /** When that was the primary for the last time, as far as anybody looked. */
  seenAt: number;
  giveUp(): void;
}

/** How often the lookout asks who the primary is, in milliseconds. */
const INTERVAL = 1000;

/**
 * Creates a lookout.
 *
 * @param primary Tells who the primary is.
 * @param patience How long a primary that is none any more may still answer, in milliseconds.
 * @param clock The time.
 */
export function createLookout(
  primary: () => Promise<Primary>,
  patience: number,
  clock: Clock,
): Lookout {
  const awaiting = new Set<Awaiting>();
  let timer: unknown;

  async function look(): Promise<void> {
    const at = await primary();
    const now = clock.now();
    const asked = new Map<string, Promise<boolean>>();
    const late: Awaiting[] = [];
    for (const one of awaiting) {
      if (at.at === "elsewhere" && at.hostname === one.hostname) {
        one.seenAt = now;
        continue;
      }
      if (at.at !== "unknown") one.watch.moved();
      if (now - one.seenAt >= patience) late.push(one);
    }
    await Promise.all(
      late.map(async (one) => {
        const answer = asked.get(one.hostname) ?? one.watch.isAlive();
        asked.set(one.hostname, answer);
        if (await answer) one.seenAt = now;
        else one.giveUp();
      }),
    );
    timer = awaiting.size > 0 ? clock.setTimeout(() => void look(), INTERVAL) : undefined;
  }

  return {
    await: async (hostname, watch, signal, send) => {
      const own = new AbortController();
      const leave = (): void => own.abort();
      let isGivenUp = false;
      const one: Awaiting = {
        hostname,
        watch,
        seenAt: clock.now(),
        giveUp: () => {
          isGivenUp = true;
          own.abort();
        },
      };
      if (signal.aborted) leave();
      signal.addEventListener("abort", leave, { once: true });
      awaiting.add(one);
      timer ??= clock.setTimeout(() => void look(), INTERVAL);
      let isComing = false;
      try {
        const response = await send(own.signal);
        // The client may leave while the body is still coming.
        isComing = response.body !== null && !(response.body instanceof Uint8Array);
        return response;
      } catch (error) {
        if (!isGivenUp) throw error;
        throw new TransportError("timeout", `${hostname} is no longer the primary`, {
          cause: error,
        });
      } finally {
        awaiting.delete(one);
        if (!isComing) signal.removeEventListener("abort", leave);
      }
    },
  };
}
