import type { HeaderLines, IncomingRequest, Primary, ResponseMessage } from "../../src/index.ts";
import type { Timeline } from "./timeline.ts";

/** What LiteFS's own proxy sees of its node. */
export interface OldNode {
  /** Returns the position of the one database that it knows. */
  position(): string | undefined;
  primary(): Primary;
  send(request: IncomingRequest): Promise<ResponseMessage>;
}

/** How long it waits, in milliseconds; not to be changed. */
const PATIENCE = 5000;

/** How often it looks while it waits, in milliseconds; it looks every millisecond, and the world has other work. */
const TICK = 5;

/**
 * Answers a request as LiteFS's own proxy does: one cookie, of 16 digits, minted by the method alone; no look at
 * histories; and a primary that waits like any other node.
 *
 * @param request The request.
 * @param node Its node.
 * @param timeline The time.
 */
export async function oldProxy(
  request: IncomingRequest,
  node: OldNode,
  timeline: Timeline,
): Promise<ResponseMessage> {
  const deadline = timeline.now() + PATIENCE;
  const isSafe = request.method === "GET" || request.method === "HEAD";
  if (isSafe && !request.target.startsWith("/visit")) {
    const token = tokenOf(request.headers);
    while (token !== undefined && (node.position() ?? "") < token) {
      if (timeline.now() >= deadline || request.signal.aborted) return own(504);
      await timeline.sleep(TICK);
    }
    return node.send(request);
  }
  for (;;) {
    const primary = node.primary();
    if (primary.at === "here") break;
    if (primary.at === "elsewhere") return own(200, ["Fly-Replay", `instance=${primary.hostname}`]);
    if (timeline.now() >= deadline || request.signal.aborted) return own(503);
    await timeline.sleep(TICK);
  }
  const response = await node.send(request);
  const position = node.position();
  if (isSafe || position === undefined) return response;
  const cookie = `__txid=${position}; Path=/; HttpOnly`;
  return { ...response, headers: ["Set-Cookie", cookie, ...response.headers] };
}

/** The first cookie of that name, if it is a position. */
function tokenOf(headers: HeaderLines): string | undefined {
  for (let index = 0; index < headers.length; index += 2) {
    if (headers[index]?.toLowerCase() !== "cookie") continue;
    const found = /(?:^|;)\s*__txid="?([^;"]*)/.exec(headers[index + 1] ?? "")?.[1];
    if (found === undefined) continue;
    return /^[0-9a-f]{16}$/i.test(found) && /[^0]/.test(found) ? found.toLowerCase() : undefined;
  }
  return undefined;
}

function own(status: number, headers: HeaderLines = []): ResponseMessage {
  return { status, statusText: "", headers, body: null };
}
