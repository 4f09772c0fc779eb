import {
  type Clock,
  type IncomingRequest,
  type ResponseMessage,
  type Storage,
  type Transport,
} from "../../src/index.ts";
import { valueOf } from "./app.ts";

/** What {@linkcode createOldProxy} stands on. */
interface OldProxyOptions {
  readonly storage: Storage;
  readonly transport: Transport;
  readonly clock: Clock;
  /** How long it waits for a position, and for a primary, in milliseconds. */
  readonly patience: number;
}

/** How often it looks, in milliseconds. */
const POLL = 1;

/**
 * Creates a model of LiteFS's own proxy, for clusters in which both are at work: it knows the cookie `__txid` alone, waits
 * on the primary too, mints on writes alone, and answers a write on a replica with an empty 200 that says where to go.
 */
export function createOldProxy({
  storage,
  transport,
  clock,
  patience,
}: OldProxyOptions): (request: IncomingRequest) => Promise<ResponseMessage> {
  function plain(status: number, headers: string[] = []): ResponseMessage {
    return { status, statusText: "", headers, body: null };
  }

  /** Looks until something holds; false when time is up or nobody waits any more. */
  async function until(check: () => Promise<boolean>, signal: AbortSignal): Promise<boolean> {
    const deadline = clock.now() + patience;
    while (!(await check())) {
      if (clock.now() >= deadline || signal.aborted) return false;
      await new Promise<void>((resolve) => void clock.setTimeout(resolve, POLL));
    }
    return true;
  }

  function send(request: IncomingRequest): Promise<ResponseMessage> {
    return transport({ ...request, origin: "http://app.test", upgrade: false });
  }

  async function read(request: IncomingRequest): Promise<ResponseMessage> {
    const cookie = valueOf(request.headers, "cookie") ?? "";
    const token = /(?:^|; )__txid=([0-9a-f]{16})(?:;|$)/.exec(cookie)?.[1];
    const isThere = async (): Promise<boolean> =>
      token === undefined || ((await storage.position()) ?? "") >= token;
    if (!(await until(isThere, request.signal))) return plain(504);
    return send(request);
  }

  async function write(request: IncomingRequest): Promise<ResponseMessage> {
    const isKnown = async (): Promise<boolean> => (await storage.primary()).at !== "unknown";
    await until(isKnown, request.signal);
    const primary = await storage.primary();
    if (primary.at === "unknown") return plain(503);
    if (primary.at === "elsewhere")
      return plain(200, ["fly-replay", `instance=${primary.hostname}`]);
    const response = await send(request);
    const position = await storage.position();
    if (position === undefined) return response;
    return {
      ...response,
      headers: [...response.headers, "Set-Cookie", `__txid=${position}; Path=/`],
    };
  }

  return async (request) => {
    try {
      const isWrite = request.method !== "GET" || request.target.startsWith("/forwarded/");
      return await (isWrite ? write(request) : read(request));
    } catch {
      return plain(502);
    }
  };
}
