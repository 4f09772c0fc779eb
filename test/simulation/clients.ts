import type { HeaderLines, ResponseMessage } from "../../src/index.ts";
import type { Core } from "./core.ts";
import { type Action, type Exchange, ON_PRIMARY, WRITES } from "./history.ts";
import type { ClientPlan, Plan } from "./plan.ts";
import { createRandom, type Random } from "./random.ts";
import { valueOf, type Visit } from "./server.ts";
import type { Timeline } from "./timeline.ts";

/** What the clients of a world share. */
export interface Network {
  readonly plan: Plan;
  readonly core: Core;
  readonly timeline: Timeline;
  /** Sends a request; resolves with the answer's head. */
  send(visit: Visit): Promise<ResponseMessage>;
  /** Begins the record of a request. */
  begin(client: ClientPlan, action: Action, database: number, isCalm: boolean): Exchange;
  /** Notes that the head of an answer is there. */
  onHead(exchange: Exchange, head: ResponseMessage): void;
  /** Notes that a request is over for its client. */
  onEnd(exchange: Exchange): void;
}

/** How many requests a tab sends at most. */
const MAX_REQUESTS = 14;

/** How many requests a client sends when all is over. */
const CLOSING: readonly Action[] = ["read", "read", "write", "read"];

/** How a client carries tokens; the send function gets what it adds to a request and returns the head. */
type Carrier = (
  exchange: Exchange,
  send: (headers: HeaderLines) => Promise<ResponseMessage>,
) => Promise<void>;

/**
 * Lets a client do its work.
 *
 * @param client The client.
 * @param calmAt When all is mended and at rest, in milliseconds.
 * @param network What it shares with the others.
 */
export async function runClient(
  client: ClientPlan,
  calmAt: number,
  network: Network,
): Promise<void> {
  const { plan, timeline } = network;
  const random = createRandom(plan.seed, `client ${client.index}`);
  const carry = carrierOf(client, network);
  let count = 0;

  async function request(action: Action, isCalm: boolean): Promise<void> {
    const own = createRandom(plan.seed, `client ${client.index} request ${count++}`);
    const database = own.below(plan.databases);
    const exchange = network.begin(client, action, database, isCalm);
    const leaves = !isCalm && own.chance(client.aborts) ? own.time(0, 60) : undefined;
    await exchangeOnce(exchange, own, leaves, carry, network);
  }

  async function tab(end: number): Promise<void> {
    for (let sent = 0; sent < MAX_REQUESTS; sent++) {
      await timeline.sleep(random.time(0, client.think));
      if (timeline.now() >= end) return;
      await request(actionOf(client, random), false);
    }
  }

  const begins = random.time(0, plan.duration / 4);
  const end = client.returns ? begins + plan.duration / 6 : plan.duration;
  await timeline.sleep(begins);
  await Promise.all(Array.from({ length: client.parallel }, () => tab(end)));
  if (client.kind === "forger") return;
  await timeline.sleep(Math.max(0, calmAt - timeline.now()) + random.time(0, 20));
  for (const action of CLOSING) await request(action, true);
}

function actionOf(client: ClientPlan, random: Random): Action {
  if (client.kind === "forger") return "read";
  if (random.chance(client.writes))
    return random.pick<Action>(["write", "write", "write", "visit", "discover", "look"]);
  return random.chance(85) ? "read" : random.pick<Action>(["stream", "stale", "shared"]);
}

/** Sends one request, waits for its answer, and notes both. */
async function exchangeOnce(
  exchange: Exchange,
  random: Random,
  leaves: number | undefined,
  carry: Carrier,
  network: Network,
): Promise<void> {
  const { timeline } = network;
  const controller = new AbortController();
  const gone = new Promise<never>((_, reject) => {
    if (leaves === undefined) return;
    timeline.after(leaves, () => {
      if (exchange.end !== undefined) return;
      exchange.left = true;
      controller.abort();
      reject(new Error("The client has left"));
    });
  });
  const isSafe = !ON_PRIMARY.has(exchange.action) || exchange.action === "visit";
  const send = async (headers: HeaderLines): Promise<ResponseMessage> => {
    const head = await network.send({
      exchange,
      random,
      method: isSafe ? "GET" : "POST",
      headers: ["Host", "app.test", "X-Exchange", String(exchange.id), ...headers],
      clientAddress: `203.0.113.${exchange.client + 1}`,
      signal: controller.signal,
    });
    if (exchange.left) throw new Error("The client has left");
    network.onHead(exchange, head);
    return head;
  };
  let body: ResponseMessage["body"] = null;
  const answered = carry(exchange, async (headers) => {
    const head = await send(headers);
    body = head.body;
    return head;
  });
  try {
    await Promise.race([answered, gone]);
    await Promise.race([drain(body), gone]);
  } catch {
    // It has left; how its request ends, nobody sees.
  }
  network.onEnd(exchange);
}

async function drain(body: ResponseMessage["body"]): Promise<void> {
  if (body === null || body instanceof Uint8Array) return;
  for await (const _ of body);
}

function carrierOf(client: ClientPlan, network: Network): Carrier {
  if (client.kind === "browser") return browser();
  if (client.kind === "api") return api(network.core);
  return forger(createRandom(network.plan.seed, `forger ${client.index}`));
}

/** A cookie jar in which the last response wins. */
function browser(): Carrier {
  const jar = new Map<string, string>();
  return async (_, send) => {
    const pairs = [...jar].map(([name, value]) => `${name}=${value}`);
    const { headers } = await send(pairs.length === 0 ? [] : ["Cookie", pairs.join("; ")]);
    for (let at = 0; at < headers.length; at += 2) {
      if (headers[at]?.toLowerCase() !== "set-cookie") continue;
      const line = headers[at + 1] ?? "";
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      if (/;\s*max-age=0/i.test(line)) jar.delete(name);
      else jar.set(name, value);
    }
  };
}

/** The client of the package, which keeps the greatest. */
function api(core: Core): Carrier {
  let sender: ((headers: HeaderLines) => Promise<ResponseMessage>) | undefined;
  const session = core.createSession({
    origin: "http://app.test",
    fetch: async (request) => {
      // The session calls this before its own first pause, so that nobody else has come between.
      const send = sender;
      const token = request.headers.get("txid");
      const response = await send?.(token === null ? [] : ["Txid", token]);
      const answered = response && valueOf(response.headers, "txid");
      return new Response(null, answered === undefined ? {} : { headers: { Txid: answered } });
    },
  });
  return async (_, send) => {
    sender = send;
    await session("http://app.test/");
  };
}

/** Tokens that nobody has minted, and what is none at all. */
function forger(random: Random): Carrier {
  const digits = (value: number): string => value.toString(16).padStart(16, "0");
  const token = (): string =>
    random.pick([
      "ffffffffffffffff",
      digits(random.below(2 ** 40)),
      digits(random.between(1, 60)),
      `${digits(random.between(1, 60))}/0.1`,
      `${digits(random.between(1, 2 ** 30))}/forged/other`,
      "0000000000000000",
      "-1",
      "",
      `${digits(7)}/${"x".repeat(400)}`,
    ]);
  return async (_, send) => {
    const count = random.pick([1, 1, 2, 20]);
    const tokens = Array.from({ length: count }, token);
    if (random.chance(30)) {
      await send(["Txid", tokens.join(random.pick([",", ", ,", ";"]))]);
      return;
    }
    const names = ["__txid", "__txid_seen", "__txid_second"] as const;
    const cookies = tokens.map((value) => `${random.pick(names)}=${value}`);
    await send(["Cookie", cookies.join("; ")]);
  };
}

/** Tells whether a request was meant to write. */
export function isWrite(exchange: Exchange): boolean {
  return WRITES.has(exchange.action);
}
