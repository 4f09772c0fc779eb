import { createSession } from "../../adapters/client.ts";
import { createProxy, TransportError } from "../../src/index.ts";

/** What is put to the test: the proxy and its client, or a copy of them with a fault. */
export interface Core {
  readonly createProxy: typeof createProxy;
  readonly TransportError: typeof TransportError;
  readonly createSession: typeof createSession;
}

/** The proxy and its client as they are. */
export const core: Core = { createProxy, TransportError, createSession };
