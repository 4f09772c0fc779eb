import { fetchTransport } from "./fetch-transport.ts";
import { sendOnceListening, toUpstream } from "./upstream.ts";
import { endToEnd } from "./headers.ts";
import { type IncomingRequest, type ResponseMessage, TransportError } from "./message.ts";
import type { ResolvedOptions } from "./options.ts";
import type { MaybePromise } from "./storage.ts";
import type { Trail } from "./trail.ts";
import { fromRequest, fromResponse, toRequest } from "./web.ts";
import { runTold, type Txid } from "./word.ts";

/** The app behind the proxy. */
export interface Target {
  /**
   * Sends a request to the app, if need be once it listens.
   *
   * @param trail The request.
   * @param stillHolds Asked before each new try: whether what sent the request here is still so.
   * @param tell Returns what an app in this process is told; undefined: what sent the request here is no longer so.
   * @returns The answer, or undefined when that is no longer so; then nothing was sent.
   * @throws {TransportError} When the app does not answer.
   */
  send(
    trail: Trail,
    stillHolds: () => MaybePromise<boolean>,
    tell: () => Promise<Txid | undefined>,
  ): Promise<ResponseMessage | undefined>;
  /** Asks the app for a path, as a client without a body and without patience, and returns the status. */
  probe(path: string): Promise<number>;
}

/** How long the app may take to tell that it is healthy, in milliseconds. */
const PROBE_TIMEOUT = 5000;

/** Creates the way to the app. */
export function createTarget(settings: ResolvedOptions): Target {
  const { app, origin, isTrusted, clock, onTarget } = settings;
  let wasListening = true;
  const defaultTransport = fetchTransport();
  const ownApp = app && (async (request: Request) => fromApp(await app(request)));

  function heard(isListening: boolean): void {
    if (isListening === wasListening) return;
    wasListening = isListening;
    onTarget?.(isListening);
  }

  return {
    send: ({ request, kind }, stillHolds, tell) => {
      const inside = request.app ?? ownApp;
      if (inside !== undefined) return runInside(request, inside, tell);
      const transport = settings.transport ?? request.transport ?? defaultTransport;
      const upstream = toUpstream(request, origin, isTrusted, kind === "write");
      return sendOnceListening(
        upstream,
        transport,
        settings.targetConnectTimeout,
        clock,
        stillHolds,
        heard,
      );
    },
    probe: async (path) => {
      const request = new Request(`${origin || "http://localhost"}${path}`, {
        signal: AbortSignal.timeout(PROBE_TIMEOUT),
      });
      if (app !== undefined) return (await app(request)).status;
      const message = fromRequest(request, undefined);
      if (message === undefined) throw new TypeError(`Cannot probe target: "${path}" is no path`);
      const transport = settings.transport ?? defaultTransport;
      const response = await transport(toUpstream(message, origin, isTrusted, false));
      await dispose(response);
      return response.status;
    },
  };
}

/** Runs a request on an app in this process. */
async function runInside(
  request: IncomingRequest,
  app: (request: Request) => Promise<ResponseMessage>,
  tell: () => Promise<Txid | undefined>,
): Promise<ResponseMessage | undefined> {
  const txid = await tell();
  return txid && runTold(toRequest(request), txid, app);
}

/** Reads what an app in this process answered, without what belongs to a connection that it does not have. */
function fromApp(response: Response): ResponseMessage {
  if (response.type === "error" || response.bodyUsed) {
    throw new TypeError(
      "Cannot answer: the app gave an error response or one that was used before",
    );
  }
  const message = fromResponse(response);
  const headers = endToEnd(message.headers);
  const isWhole = response.status === 101 || headers.length === message.headers.length;
  return isWhole ? message : { ...message, headers, source: undefined };
}

/** Lets go of a response that nobody will read, so that its source stops. */
export async function dispose({ body, tunnel }: ResponseMessage): Promise<void> {
  tunnel?.destroy();
  if (body === null || body instanceof Uint8Array) return;
  try {
    await body[Symbol.asyncIterator]().return?.();
  } catch {
    // Nobody is left to whom it would matter.
  }
}

/** Tells whether a request failed before anything of it was sent. */
export function isUnsent(error: unknown): boolean {
  return (
    error instanceof TransportError &&
    (error.failure === "refused" || error.failure === "unreachable")
  );
}
