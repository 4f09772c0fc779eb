import { Agent, request as send } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { pipeline } from "node:stream";
import { wallClock } from "./wall-clock.ts";
import type { Clock } from "../src/clock.ts";
import { listen } from "./listen.ts";
import { parseReplay, parseReplayBody, replayType } from "./replay.ts";
import type { Replay } from "./replay.ts";
import { sleep } from "./sleep.ts";

/** A node as the edge reaches it. */
export interface EdgeNode {
  /** The node's name: what `instance=` in `fly-replay` means. */
  readonly name: string;
  /** What the other nodes call it, which `instance=` may say too. @default the name */
  readonly hostname?: string | undefined;
  /** The origin that gets the requests. */
  readonly url: string;
}

/** How an edge behaves. */
export interface EdgeOptions {
  /** Returns the nodes that are there now. */
  readonly nodes: () => readonly EdgeNode[];
  /** Returns the node that gets a fresh request first. @default a random one */
  readonly choose?:
    | ((method: string, nodes: readonly EdgeNode[]) => EdgeNode | undefined)
    | undefined;
  /** The port. @default 0, a free one */
  readonly port?: number | undefined;
  /** The region that `fly-replay-src` and `Fly-Region` tell. @default "local" */
  readonly region?: string | undefined;
  /** The app that the nodes run. @default "app" */
  readonly app?: string | undefined;
  /** The greatest body that can be sent again, in bytes. @default 1 MiB */
  readonly bodyLimit?: number | undefined;
  /** How often one request may be replayed. @default 10 */
  readonly replays?: number | undefined;
  /** How long the edge tries to reach a node that a replay names without a `timeout`, in milliseconds. @default 7500 */
  readonly reachTimeout?: number | undefined;
  /** How long it waits before it tries such a node again, in milliseconds. @default 50 */
  readonly retryDelay?: number | undefined;
  /**
   * True when connections to the nodes are kept; Deno's client repeats a POST on a connection that the other side has
   * closed meanwhile, so leave it off there.
   *
   * @default false
   */
  readonly keepAlive?: boolean | undefined;
  /** The time. @default the runtime's */
  readonly clock?: Clock | undefined;
}

/** An edge that listens. */
export interface Edge {
  /** Its origin. */
  readonly url: string;
  /** Its port. */
  readonly port: number;
  /** How many answers asked for a replay so far. */
  replays(): number;
  /** Stops listening and breaks every connection. */
  close(): Promise<void>;
}

interface Attempt {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly body: Held;
  readonly path: string;
  readonly headers: readonly string[];
  readonly count: number;
  readonly isFallback: boolean;
}

interface Held {
  readonly start: Buffer;
  /** True when there is more than the limit, which is still on its way. */
  readonly isLonger: boolean;
}

// The status codes and texts are this stand-in's own: Fly documents the codes, not how a client sees them.
const errors = {
  PA01: "PA01 Replay buffer exceeded: the body is too large to be sent again\n",
  PA02: "PA02 Too many replays\n",
  PA03: "PA03 Malformed replay\n",
  PA04: "PA04 Unknown app in a replay\n",
};

/**
 * Starts a stand-in for Fly.io's edge: it sends each request to one of the nodes and honours `fly-replay`, as header
 * and as body, the way Fly documents it (https://fly.io/docs/networking/dynamic-request-routing/). `fly-force-instance-id` and
 * `fly-prefer-instance-id` of a client count too.
 */
export async function createEdge(options: EdgeOptions): Promise<Edge> {
  const { bodyLimit = 1 << 20, replays = 10, clock = wallClock } = options;
  const { region = "local", app = "app", reachTimeout = 7500, retryDelay = 50 } = options;
  const choose = options.choose ?? ((_method, nodes) => random(nodes));
  const agent = new Agent({ keepAlive: options.keepAlive ?? false, maxSockets: Infinity });
  let replayed = 0;

  function fresh(request: IncomingMessage): EdgeNode | undefined {
    const nodes = options.nodes();
    const forced = one(request.headers["fly-force-instance-id"]);
    if (forced !== undefined) {
      return nodes.find((node) => node.name === forced);
    }
    const preferred = one(request.headers["fly-prefer-instance-id"]);
    return nodes.find((node) => node.name === preferred) ?? choose(request.method ?? "GET", nodes);
  }

  async function accept(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await hold(request, bodyLimit);
    const node = fresh(request);
    const attempt: Attempt = {
      request,
      response,
      body,
      path: request.url ?? "/",
      headers: [
        ...endToEnd(request.rawHeaders),
        ...lines({
          "Fly-Region": region,
          "Fly-Client-IP": request.socket.remoteAddress ?? "",
          "X-Forwarded-For": request.socket.remoteAddress ?? "",
          "X-Forwarded-Proto": "http",
        }),
      ],
      count: 0,
      isFallback: false,
    };
    const others = options.nodes().filter((other) => other !== node);
    const forced = request.headers["fly-force-instance-id"] !== undefined;
    for (const candidate of [node, ...(forced ? [] : others)]) {
      const result = candidate && (await run(candidate, attempt));
      if (result === "answered") {
        return;
      }
    }
    fail(response, "");
  }

  /** Sends the request to a node and passes the answer on, or returns "refused" when nobody listens there. */
  async function run(node: EdgeNode, attempt: Attempt): Promise<"answered" | "refused"> {
    const answer = await ask(agent, node, attempt).catch((error: unknown) => {
      if (codeOf(error) === "ECONNREFUSED" && !attempt.body.isLonger) {
        return "refused" as const;
      }
      return undefined;
    });
    if (answer === "refused") {
      return "refused";
    }
    if (answer === undefined) {
      fail(attempt.response, "");
      return "answered";
    }
    const header = one(answer.headers["fly-replay"]);
    const isBody = answer.headers["content-type"]?.startsWith(replayType) === true;
    if (header === undefined && !isBody) {
      pass(answer, attempt.response);
      return "answered";
    }
    const replay = isBody ? parseReplayBody(await textOf(answer)) : parseReplay(header ?? "");
    answer.resume();
    replayed += 1;
    await follow(node, attempt, replay);
    return "answered";
  }

  async function follow(
    from: EdgeNode,
    attempt: Attempt,
    replay: Replay | undefined,
  ): Promise<void> {
    const { response } = attempt;
    if (replay === undefined || attempt.isFallback) {
      fail(response, errors.PA03);
      return;
    }
    if (replay.app !== undefined && replay.app !== app) {
      fail(response, errors.PA04);
      return;
    }
    if (attempt.body.isLonger) {
      fail(response, errors.PA01);
      return;
    }
    if (attempt.count >= replays) {
      fail(response, errors.PA02);
      return;
    }
    const began = clock.now();
    const next = again(attempt, from, replay);
    const timeout = replay.timeout ?? reachTimeout;
    let reason = "no_candidate";
    for (;;) {
      const found = candidate(from, replay);
      if (found === undefined) {
        break;
      }
      if (
        (await run(found.node, found.isOther ? withUnavailable(next, replay) : next)) === "answered"
      ) {
        return;
      }
      reason = replay.timeout === undefined ? "retries_exhausted" : "timeout";
      if (clock.now() - began + retryDelay >= timeout) {
        break;
      }
      await sleep(retryDelay, clock);
    }
    await fallBack(from, attempt, replay, { reason, elapsed: clock.now() - began });
  }

  async function fallBack(
    from: EdgeNode,
    attempt: Attempt,
    replay: Replay,
    failure: { reason: string; elapsed: number },
  ): Promise<void> {
    const self = options.nodes().find((node) => node.name === from.name);
    const node = replay.fallback === "prefer_self" ? (self ?? random(options.nodes())) : self;
    if (replay.fallback === undefined || node === undefined) {
      fail(attempt.response, "");
      return;
    }
    const fields = [
      ...(replay.instance === undefined ? [] : [`instance=${replay.instance}`]),
      `app=${app}`,
      `region=${region}`,
      `replay_source=${from.name}`,
      `reason=${failure.reason}`,
      `elapsed_ms=${Math.round(failure.elapsed)}`,
    ];
    const headers = [...attempt.headers, "fly-replay-failed", fields.join(";")];
    const result = await run(node, { ...attempt, headers, isFallback: true });
    if (result === "refused") {
      fail(attempt.response, "");
    }
  }

  function candidate(
    from: EdgeNode,
    replay: Replay,
  ): { node: EdgeNode; isOther: boolean } | undefined {
    const nodes = options.nodes().filter((node) => !(replay.elsewhere && node.name === from.name));
    if (replay.instance !== undefined) {
      const node = nodes.find((one) => isCalled(one, replay.instance));
      return node && { node, isOther: false };
    }
    const isHere = (code: string): boolean => code === region || code === "any";
    const reachable = replay.regions.length === 0 || replay.regions.some(isHere) ? nodes : [];
    const preferred = reachable.find((one) => isCalled(one, replay.preferInstance));
    const node = preferred ?? random(reachable);
    return (
      node && { node, isOther: replay.preferInstance !== undefined && preferred === undefined }
    );
  }

  function again(attempt: Attempt, from: EdgeNode, replay: Replay): Attempt {
    const source = [
      `instance=${from.name}`,
      `region=${region}`,
      `t=${Math.round(clock.now() * 1000)}`,
      ...(replay.state === undefined ? [] : [`state=${replay.state}`]),
    ];
    const gone = new Set([
      "fly-replay-src",
      ...replay.deleteHeaders.map((name) => name.toLowerCase()),
    ]);
    for (const [name] of replay.setHeaders) {
      gone.add(name.toLowerCase());
    }
    return {
      ...attempt,
      path: replay.path ?? attempt.path,
      count: attempt.count + 1,
      headers: [
        ...without(attempt.headers, gone),
        ...replay.setHeaders.flat(),
        ...lines({ "fly-replay-src": source.join(";") }),
      ],
    };
  }

  const listener = await listen((request, response) => {
    accept(request, response).catch(() => response.destroy());
  }, options.port);

  return {
    url: listener.url,
    port: listener.port,
    replays: () => replayed,
    async close() {
      await listener.close();
      agent.destroy();
    },
  };
}

function isCalled(node: EdgeNode, name: string | undefined): boolean {
  return name !== undefined && (node.name === name || node.hostname === name);
}

function withUnavailable(attempt: Attempt, replay: Replay): Attempt {
  const name = "fly-preferred-instance-unavailable";
  return { ...attempt, headers: [...attempt.headers, name, replay.preferInstance ?? ""] };
}

function ask(agent: Agent, node: EdgeNode, attempt: Attempt): Promise<IncomingMessage> {
  const { request, response, body } = attempt;
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(node.url);
    const outgoing = send({
      agent,
      hostname,
      port,
      method: request.method ?? "GET",
      path: attempt.path,
      headers: framed(attempt.headers, body),
      setHost: false,
    });
    outgoing.once("response", resolve);
    outgoing.once("error", reject);
    // A client that is gone gets no answer, and a node must learn of it.
    function stop(): void {
      if (!response.writableFinished) {
        outgoing.destroy();
      }
    }
    response.once("close", stop);
    outgoing.once("close", () => response.off("close", stop));
    if (body.isLonger) {
      outgoing.write(body.start);
      request.pipe(outgoing);
      return;
    }
    outgoing.end(body.start.length > 0 ? body.start : undefined);
  });
}

function framed(headers: readonly string[], body: Held): string[] {
  if (body.isLonger || body.start.length === 0) {
    return [...headers];
  }
  const gone = new Set(["content-length", "transfer-encoding"]);
  return [...without(headers, gone), "Content-Length", String(body.start.length)];
}

async function hold(request: IncomingMessage, limit: number): Promise<Held> {
  const chunks: Buffer[] = [];
  let length = 0;
  return new Promise((resolve, reject) => {
    function settle(isLonger: boolean): void {
      request.off("data", take);
      request.off("end", finish);
      resolve({ start: Buffer.concat(chunks), isLonger });
    }
    function take(chunk: Buffer): void {
      chunks.push(chunk);
      length += chunk.length;
      if (length > limit) {
        request.pause();
        settle(true);
      }
    }
    function finish(): void {
      settle(false);
    }
    request.on("data", take);
    request.once("end", finish);
    request.once("error", reject);
    request.once("close", () => reject(new Error("The client is gone")));
  });
}

async function textOf(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of answer) {
    chunks.push(Buffer.from(chunk));
  }
  return Buffer.concat(chunks).toString("utf8");
}

function pass(answer: IncomingMessage, response: ServerResponse): void {
  const gone = new Set(["fly-replay-cache", "fly-replay-cache-ttl-secs"]);
  const headers = without(endToEnd(answer.rawHeaders), gone);
  response.writeHead(answer.statusCode ?? 502, answer.statusMessage, headers);
  response.flushHeaders();
  pipeline(answer, response, (error) => {
    if (error) {
      response.destroy();
    }
  });
}

function fail(response: ServerResponse, text: string): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  response.writeHead(502, {
    "Content-Length": String(text.length),
    ...(text === "" ? {} : { "Content-Type": "text/plain; charset=utf-8" }),
  });
  response.end(text);
}

// The connection's own headers end at each hop (RFC 9110 section 7.6.1); what frames the body is made anew by Node.
function endToEnd(raw: readonly string[]): string[] {
  return without(raw, new Set(["connection", "keep-alive", "proxy-connection", "upgrade"]));
}

function without(headers: readonly string[], gone: ReadonlySet<string>): string[] {
  return headers.filter((_text, index) => {
    const name = headers[index - (index % 2)];
    return name === undefined || !gone.has(name.toLowerCase());
  });
}

function lines(headers: Readonly<Record<string, string>>): string[] {
  return Object.entries(headers).flat();
}

function one(value: string | string[] | undefined): string | undefined {
  return typeof value === "string" ? value : value?.[0];
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}

function random<T>(list: readonly T[]): T | undefined {
  return list[Math.floor(Math.random() * list.length)];
}
