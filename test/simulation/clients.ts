import type { createSession } from "../../adapters/client.ts";
import type { HeaderLines } from "../../src/index.ts";
import { REQUEST, valueOf } from "./app.ts";
import type { Kind } from "./history.ts";
import type { ClientPlan, Plan } from "./plan.ts";
import type { Random } from "./random.ts";
import type { Timeline } from "./timeline.ts";

/** What a client sends. */
export interface Ask {
  readonly client: number;
  readonly kind: Kind;
  readonly method: string;
  readonly target: string;
  readonly headers: HeaderLines;
  readonly signal: AbortSignal;
}

/** What a client gets. */
export interface Answer {
  /** 0: the connection broke. */
  readonly status: number;
  readonly headers: HeaderLines;
}

/** One client of a world. */
export interface Client {
  /** Works until a time. */
  work(until: number): Promise<void>;
  /** Sends one read, and resolves with its answer. */
  readOnce(): Promise<void>;
}

/**
 * Creates a client.
 *
 * @param own Its plan.
 * @param plan The world's.
 * @param create Makes the session of a client that uses the header.
 * @param send Sends a request and resolves with its answer; the number of the request is in the field `X-Request`.
 */
export function createClient(
  own: ClientPlan,
  plan: Plan,
  timeline: Timeline,
  random: Random,
  create: typeof createSession,
  send: (ask: Ask) => Promise<Answer>,
): Client {
  const carry = carrierOf(own, plan, random, create);

  function choose(): { kind: Kind; method: string; target: string } {
    const database = random.below(plan.databases);
    if (random.chance(own.writes)) {
      const way = random.below(10);
      if (way === 0) return { kind: "upgrade", method: "GET", target: `/upgrade/${database}` };
      if (way === 1)
        return { kind: "write", method: "GET", target: `/forwarded/write/${database}` };
      return { kind: "write", method: "POST", target: `/write/${database}` };
    }
    const way = random.below(20);
    if (way === 0) return { kind: "post", method: "POST", target: "/nothing" };
    if (way === 1) return { kind: "stale", method: "GET", target: "/stale/read" };
    return { kind: "read", method: "GET", target: "/read" };
  }

  async function request(
    what: { kind: Kind; method: string; target: string },
    signal: AbortSignal,
  ): Promise<void> {
    await carry((headers) => send({ client: own.index, ...what, headers, signal }));
  }

  async function worker(until: number): Promise<void> {
    for (;;) {
      await timeline.sleep(1 + random.time(0, own.think));
      if (timeline.now() >= until) return;
      const controller = new AbortController();
      if (random.chance(own.aborts))
        timeline.after(random.time(0, plan.appTime + plan.transit), () => controller.abort());
      await request(choose(), controller.signal);
    }
  }

  return {
    work: async (until) => {
      await Promise.all(Array.from({ length: own.parallel }, () => worker(until)));
    },
    readOnce: () =>
      request({ kind: "read", method: "GET", target: "/read" }, new AbortController().signal),
  };
}

/** Sends a request with what its client carries, and takes in what the answer brings. */
type Carry = (send: (headers: HeaderLines) => Promise<Answer>) => Promise<void>;

function carrierOf(
  own: ClientPlan,
  plan: Plan,
  random: Random,
  create: typeof createSession,
): Carry {
  if (own.kind === "browser") return asBrowser();
  return own.kind === "api" ? asSession(create) : asForger(plan, random);
}

/** Carries cookies: whatever comes last under a name is kept. */
function asBrowser(): Carry {
  const jar = new Map<string, string>();
  return async (send) => {
    const cookies = [...jar].map(([name, value]) => `${name}=${value}`).join("; ");
    const answer = await send(cookies === "" ? [] : ["Cookie", cookies]);
    for (let index = 0; index < answer.headers.length; index += 2) {
      if (answer.headers[index]?.toLowerCase() !== "set-cookie") continue;
      const [pair = "", ...attributes] = (answer.headers[index + 1] ?? "").split("; ");
      const equals = pair.indexOf("=");
      const name = pair.slice(0, equals);
      if (attributes.includes("Max-Age=0")) jar.delete(name);
      else jar.set(name, pair.slice(equals + 1));
    }
  };
}

const ORIGIN = "http://app.test";

/** Carries the header, by the very function that clients use. */
function asSession(create: typeof createSession): Carry {
  let pending: ((headers: HeaderLines) => Promise<Answer>) | undefined;
  const session = create({
    origin: ORIGIN,
    fetch: async (request) => {
      const send = pending;
      if (send === undefined) throw new Error("Nothing to send");
      const { status, headers } = await send(["Txid", request.headers.get("txid") ?? ""]);
      const token = valueOf(headers, "txid");
      return new Response(null, {
        // A connection that broke brings nothing; a Response must have some status.
        status: status === 0 ? 599 : status,
        headers: token === undefined ? {} : { Txid: token },
      });
    },
  });
  return async (send) => {
    pending = send;
    await session(`${ORIGIN}/`);
  };
}

/** Carries what nobody has given it. */
function asForger(plan: Plan, random: Random): Carry {
  return async (send) => {
    const number = random.pick([
      random.below(64),
      random.below(2 ** 30),
      2 ** 40 + random.below(9),
    ]);
    const position = number.toString(16).padStart(16, "0");
    const token = random.pick([
      position,
      `${position}/${random.below(16).toString(16)}x${random.below(32).toString(16)}`,
      `${position}/`,
      `${position}/a/b/c/d/e`,
      position.slice(1),
      "ffffffffffffffff",
      "",
    ]);
    const name = plan.databases > 1 && random.chance(50) ? "second" : "";
    const cookie = `__txid${name === "" ? "" : `_${name}`}=${token}`;
    await send(
      random.pick([
        ["Cookie", cookie],
        ["Cookie", `${cookie}; ${cookie}; __txid_seen=${token}`],
        ["Txid", name === "" ? token : `${name}=${token}`],
        ["Txid", `${token}, ${token};reset, =, ;`],
      ]),
    );
  };
}

/** Returns the lines with which a request says its number. */
export function numbered(headers: HeaderLines, request: number): HeaderLines {
  return [...headers, REQUEST, String(request)];
}
