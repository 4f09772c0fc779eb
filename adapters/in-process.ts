import { internalError, noHost } from "../src/answer.ts";
import { checkFunction } from "../src/check.ts";
import {
  connectionInfo,
  createProxy,
  type Proxy,
  type ProxyOptions,
  type ResponseMessage,
  type Transport,
} from "../src/index.ts";
import { UNKNOWN_PEER } from "../src/peer.ts";
import { fromRequest, toResponse } from "../src/web.ts";
import { type Given, readGiven } from "./in-process/given.ts";
import { createLazyTransport } from "./in-process/transport.ts";

/**
 * How an app behaves that is consistent by itself: as a proxy in front of it would, with the same options but those that
 * are about reaching the app. The health path is answered as well, where requests for it come by here.
 */
export interface ConsistencyOptions extends Omit<
  ProxyOptions,
  "target" | "targetConnectTimeout" | "healthTarget" | "onTarget"
> {
  /**
   * Sends what belongs to the primary there.
   *
   * @default the exact HTTP/1.1 client of `@txid/proxy/serve`; where there is no `node:net`, WHATWG fetch
   */
  readonly transport?: Transport | undefined;
}

/**
 * Makes what tells the address of a request's peer. One that does not tell it any more is not believed; where nobody
 * tells, nothing says that the request came over a wire.
 *
 * @param clientAddress What the app's author has given.
 * @throws {TypeError} When that is no function.
 */
export function createPeerReader<Args extends readonly unknown[]>(
  clientAddress: ((...args: Args) => string | undefined) | undefined,
): (...args: Args) => string | undefined {
  checkFunction("clientAddress", clientAddress);
  return (...args) => clientAddress && (clientAddress(...args) ?? UNKNOWN_PEER);
}

/** What a consistent app has beside its answers. */
export type Controls = Pick<Proxy, "health" | "drain" | "close">;

/** The policy of a proxy, around an app that is in the same process. */
export interface InProcess extends Controls {
  /**
   * Answers a request, as a rule by running it on the app.
   *
   * @param request The request.
   * @param clientAddress The address of the connection's peer, where it is known.
   * @param run Runs the request on the app; undefined: the app has answered in a way of its own.
   * @returns What the app has given, the very same object wherever its runtime lets its header lines be changed, or an
   *   answer of the proxy's.
   * @throws What `run` throws.
   */
  answer<T extends Response | void>(
    request: Request,
    clientAddress: string | undefined,
    run: () => Promise<T>,
  ): Promise<T | Response>;
}

/**
 * Creates the policy of a proxy around an app in the same process.
 *
 * @param options How it behaves.
 */
export function createInProcess(options: ConsistencyOptions): InProcess {
  const failures = new WeakSet<Error>();
  const transport = createLazyTransport();
  const { health, drain, close, handle } = createProxy({
    ...options,
    // Every request brings its own.
    target: () => toResponse(internalError()),
    onError: (error) => {
      // What the app throws is not for the proxy to report: whoever runs the app gets it.
      if (!(error instanceof Error && failures.has(error))) options.onError?.(error);
    },
  });

  async function answerTo<T extends Response | void>(
    request: Request,
    clientAddress: string | undefined,
    run: () => Promise<T>,
  ): Promise<T | Response> {
    // Without an address nothing says that the request came over a wire.
    const info = clientAddress === undefined ? undefined : connectionInfo({ clientAddress });
    const message = fromRequest(request, info);
    if (message === undefined) return toResponse(noHost());
    const outcome: { given?: Given<T>; thrown?: { readonly error: unknown } } = {};

    async function app(): Promise<ResponseMessage> {
      try {
        const given = await run().then(readGiven);
        outcome.given = given;
        return given.message;
      } catch (error) {
        outcome.thrown = { error };
        const failure = new Error("The app failed", { cause: error });
        failures.add(failure);
        throw failure;
      }
    }

    const result = await handle({ ...message, transport: transport.send, app });
    const { given, thrown } = outcome;
    if (thrown !== undefined) throw thrown.error;
    if (given === undefined || given.message.body !== result.body) return toResponse(result);
    return given.withLines(result);
  }

  return {
    answer: answerTo,
    health,
    drain,
    close: () => {
      close();
      transport.close();
    },
  };
}
