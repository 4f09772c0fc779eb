import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { systemClock } from "../../src/clock.ts";
import { TransportError, type TransportFailure } from "../../src/index.ts";
import { PROBE_DELAY } from "./limits.ts";

/**
 * Opens a connection to an origin.
 *
 * @param origin Its scheme, host and port.
 * @param signal Gives up when it aborts.
 * @param timeout How long it may take, in milliseconds; 0 means no limit.
 * @param connecting Gives up as well, but as what leads nowhere.
 * @returns The connection, once it is up.
 * @throws {TransportError} When it does not come up; nothing has been sent then.
 */
export function openSocket(
  origin: string,
  signal: AbortSignal,
  timeout: number,
  connecting?: AbortSignal,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const { socket, readyEvent } = begin(new URL(origin));
    // An error that comes while nobody else listens must not end the process.
    socket.on("error", () => {});
    const late = (): void => give(new TransportError("unreachable", "Connect timed out"));
    const timer = timeout > 0 ? systemClock.setTimeout(late, timeout) : undefined;
    connecting?.addEventListener("abort", late);
    const abort = (): void => give(new TransportError("aborted", "Request aborted"));
    const fail = (error: Error): void =>
      give(new TransportError(failureOf(error), "Connect failed", { cause: error }));
    function leave(): void {
      systemClock.clearTimeout(timer);
      signal.removeEventListener("abort", abort);
      connecting?.removeEventListener("abort", late);
      socket.off("error", fail);
    }
    function give(error: TransportError): void {
      leave();
      socket.destroy();
      reject(error);
    }
    signal.addEventListener("abort", abort);
    socket.on("error", fail);
    if (signal.aborted) abort();
    if (connecting?.aborted === true) late();
    socket.once(readyEvent, () => {
      leave();
      socket.setNoDelay(true);
      socket.setKeepAlive(true, PROBE_DELAY);
      resolve(socket);
    });
  });
}

function begin(url: URL): { socket: Socket; readyEvent: "connect" | "secureConnect" } {
  const host = url.hostname.startsWith("[") ? url.hostname.slice(1, -1) : url.hostname;
  if (url.protocol !== "https:") {
    const port = Number(url.port) || 80;
    return { socket: connectTcp({ host, port, allowHalfOpen: true }), readyEvent: "connect" };
  }
  // RFC 6066 section 3: an address is no server name.
  const name = isIP(host) === 0 ? { servername: host } : {};
  const port = Number(url.port) || 443;
  const socket = connectTls({ host, port, ...name, ALPNProtocols: ["http/1.1"] });
  return { socket, readyEvent: "secureConnect" };
}

function failureOf(error: Error): TransportFailure {
  const errors: unknown[] = error instanceof AggregateError ? error.errors : [error];
  const codes = errors.map((one) => (one instanceof Error && "code" in one ? one.code : undefined));
  return codes.includes("ECONNREFUSED") ? "refused" : "unreachable";
}
