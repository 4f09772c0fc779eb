import { fetchTransport, type Transport } from "../../src/index.ts";

/** A transport that is there when it is needed. */
export interface LazyTransport {
  readonly send: Transport;
  /** Closes what it has opened, as soon as that is idle. */
  close(): void;
}

/** Makes a transport that is loaded when something is sent for the first time: many an app never sends anything. */
export function createLazyTransport(): LazyTransport {
  let loaded: Promise<{ readonly send: Transport; close?(): void }> | undefined;
  let isClosed = false;

  async function load(): Promise<{ readonly send: Transport; close?(): void }> {
    try {
      const { createHttp1Client } = await import("../http1/client.ts");
      const send = createHttp1Client();
      if (isClosed) send.close();
      return { send, close: send.close };
    } catch {
      // Not every runtime that runs apps has sockets.
      return { send: fetchTransport() };
    }
  }

  return {
    send: async (request) => {
      loaded ??= load();
      const { send } = await loaded;
      return send(request);
    },
    close: () => {
      isClosed = true;
      void loaded?.then(({ close }) => close?.());
    },
  };
}
