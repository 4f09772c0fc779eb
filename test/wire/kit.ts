import assert from "node:assert/strict";
import { dial as dialPort, eventually, listen, type Origin, type Peer } from "../http1-wire.ts";

/** What the cases are about. */
export type Topic =
  | "requests"
  | "responses"
  | "streams"
  | "no write twice"
  | "ambiguity"
  | "WebSockets"
  | "errors"
  | "forwarding"
  | "random messages"
  | "corpus";

/** One thing that must be true of a proxy, whoever looks at it from outside. */
export interface Case {
  readonly topic: Topic;
  /** What the proxy does, in the present tense. */
  readonly name: string;
  /** `alone`: nothing else runs on the proxy meanwhile. */
  readonly alone?: boolean;
  /** A reset races an answer here, and may overtake it within the system: the native servers are asked three times. */
  readonly isRace?: boolean;
  /** It waits for seconds, as a rule for a time limit, and does nothing else: it runs beside the others. */
  readonly idle?: boolean;
  run(stage: Stage): Promise<void>;
}

/** What leads to the app. */
export interface Entrance {
  /** The ids of the processes of the proxies in between. */
  readonly pids: readonly number[];
  /** Connects to the first proxy. */
  dial(): Promise<Peer>;
  /** Sends a request, answers it, and resolves with what each end saw of it. */
  exchange(request: string, response: string): Promise<Exchange>;
}

/** What a case has in its hands: both ends of a started proxy. */
export interface Stage extends Entrance {
  /** The name by which the app tells the case's requests from those of other cases. */
  readonly host: string;
  /** Connects to a proxy that limits how long its target may take for an answer's head. */
  dialImpatient(): Promise<Peer>;
  /** Resolves with the next connection on which that proxy asks its target for this case, its head read. */
  askedImpatiently(): Promise<Peer>;
  /** Connects to a proxy whose target does not listen, and whose clients must send a head without delay. */
  dialLonely(): Promise<Peer>;
  /** A proxy on a replica, whose target is the app too. */
  readonly replica: Replica;
  /** A proxy on a replica that sends everything to the proxy, and whose own target does not listen. */
  readonly far: Entrance;
  /** A proxy on a replica whose primary is played by the case. */
  readonly outpost: Outpost;
  /** Resolves once the proxy's log holds a pattern. */
  logged(pattern: RegExp): Promise<void>;
  /** Resolves with the next connection on which the proxy asks the app for this case, its head read. */
  asked(): Promise<Peer>;
  /** Every connection on which the proxy has asked the app for this case. */
  readonly asking: readonly Peer[];
}

/** A proxy on a replica of the node `primary-node`; paths below `/forwarded/` run there. */
export interface Replica {
  /** Connects to it. */
  dial(): Promise<Peer>;
  /** Lets the node catch up with a position. */
  moveTo(position: string): void;
}

/**
 * A proxy on a replica that sends what belongs to the primary to the case, with counts that are signed. An answer must
 * end its connection, unless the case runs alone.
 */
export interface Outpost {
  /** Connects to it. */
  dial(): Promise<Peer>;
  /** Resolves with the next connection on which it asks the primary for this case, its head read. */
  asked(): Promise<Peer>;
  /** Every connection on which it has done so. */
  readonly asking: readonly Peer[];
  /** Makes another address the primary's. */
  follow(hostname: string): void;
}

/** What both ends saw. */
export interface Exchange {
  /** What the app got. */
  readonly request: Message;
  /** What the client got. */
  readonly response: Message;
}

/** The ends of one request. */
export interface Ends {
  readonly client: Peer;
  readonly app: Peer;
}

/** A message as it was on the wire, in latin-1. */
export interface Message {
  readonly text: string;
  readonly startLine: string;
  /** The field lines, as they came. */
  readonly lines: readonly string[];
  /** What came after the head. */
  readonly rest: string;
  /** The content, without chunks. */
  readonly content: string;
}

/** The date of every answer of the app, for a server adds one where there is none. */
export const DATE = "Date: Mon, 01 Jan 2024 00:00:00 GMT";

/** What begins the name of a case that is another case through a replica, too. */
export const FROM_AFAR = "from a replica: ";

/** A complete answer of the app. */
export const OK = `HTTP/1.1 200 OK\r\n${DATE}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok`;

/** Reads a message. */
export function parse(text: string): Message {
  const end = text.indexOf("\r\n\r\n");
  const [startLine = "", ...lines] = (end === -1 ? text : text.slice(0, end)).split("\r\n");
  const rest = end === -1 ? "" : text.slice(end + 4);
  const chunked = values(lines, "transfer-encoding").length > 0;
  return { text, startLine, lines, rest, content: chunked ? unchunk(rest).content : rest };
}

/** The values of the lines with a name, in lower case. */
export function values(lines: readonly string[], name: string): string[] {
  const found: string[] = [];
  for (const line of lines) {
    const colon = line.indexOf(":");
    if (line.slice(0, colon).toLowerCase() === name) found.push(line.slice(colon + 1).trim());
  }
  return found;
}

/** Takes chunks apart; `isWhole` is false when the last one is not there. */
export function unchunk(text: string): { content: string; trailers: string; isWhole: boolean } {
  let content = "";
  for (let at = 0; ;) {
    const lineEnd = text.indexOf("\r\n", at);
    if (lineEnd === -1) return { content, trailers: "", isWhole: false };
    const size = Number.parseInt(text.slice(at, lineEnd), 16);
    if (size === 0) {
      const trailers = text.slice(lineEnd + 2);
      return { content, trailers, isWhole: /(?:^|\r\n)\r\n$/.test(trailers) };
    }
    content += text.slice(lineEnd + 2, lineEnd + 2 + size);
    at = lineEnd + 4 + size;
    if (at > text.length) return { content, trailers: "", isWhole: false };
  }
}

/** Tells whether text is a whole request or response, as far as its own framing says. */
export function isWhole(text: string): boolean {
  const message = parse(text);
  if (!text.includes("\r\n\r\n")) return false;
  if (values(message.lines, "transfer-encoding").length > 0) return unchunk(message.rest).isWhole;
  return message.rest.length >= Number(values(message.lines, "content-length")[0] ?? 0);
}

/** The status of an answer. */
export function statusOf(text: string): number {
  return Number(/^HTTP\/1\.[01] (\d{3})/.exec(text)?.[1]);
}

/** Resolves once exactly `bytes` have come to one end since what came before was forgotten. */
export async function passes(to: Peer, bytes: string): Promise<void> {
  await to.until((text) => text.length >= bytes.length);
  assert.equal(to.text(), bytes);
}

/**
 * The time limits with which the proxies are started, in milliseconds. Each leaves a machine that is busy with other things
 * the time to stand still in the middle of a case that is not about the limit.
 */
export const LIMITS = {
  /** How long a client may take for a head, and between two requests. */
  client: 5000,
  /** How long a client of the lonely proxy may take for a head: one case is about that, the others send it in one piece. */
  head: 1000,
  /** How long the target may take for a head, where that is limited at all. */
  target: 5000,
  /** How long a replica waits until it has what a client has seen. */
  wait: 5000,
} as const;

/** Longer than any of these limits, and than a proxy that looks only now and then takes to act on one, in milliseconds. */
export const SILENCE = 8000;

/** How long a case may wait for a limit to be acted on, in milliseconds. */
const PATIENCE = 12_000;

/** Resolves with what a client has got once that is a whole answer or its connection is over, which takes a time limit. */
export async function outlast(client: Peer): Promise<string> {
  await eventually(
    () => isWhole(client.text()) || client.isOver(),
    () => `for a time limit after ${JSON.stringify(client.text())}`,
    PATIENCE,
  );
  return client.text();
}

/** How long a proxy may take to let go of what a case has left, in milliseconds. */
const LETTING_GO = 3000;

/** An app that serves many cases at once: it knows each by the Host of its requests. */
export interface App {
  readonly origin: Origin;
  /**
   * Makes the ends of one case; `close` ends its connections, and resolves once the proxy has let go of them: it must
   * not ask for the next case on one that it does not know to be closed yet.
   */
  enter(host: string): { asking: Peer[]; asked(): Promise<Peer>; close(): Promise<void> };
}

/** Starts the app. */
export async function startApp(): Promise<App> {
  const cases = new Map<string, Peer[]>();
  const origin = await listen((peer) => {
    const find = (): void => {
      const head = peer.text().split("\r\n\r\n");
      if (head.length === 1) return;
      peer.socket.off("data", find);
      // A request that names nobody is for the one case that runs alone.
      const host = /\r\nhost:[ \t]*([^\r\n]*)/i.exec(head[0] ?? "")?.[1] ?? "";
      (cases.get(host) ?? cases.get("*"))?.push(peer);
    };
    peer.socket.on("data", find);
  });
  return {
    origin,
    enter: (host) => {
      const asking: Peer[] = [];
      let taken = 0;
      cases.set(host, asking);
      return {
        asking,
        asked: async () => {
          const index = taken++;
          await eventually(
            () => asking.length > index,
            () => `for request ${index + 1} to reach the app`,
          );
          const peer = asking[index];
          assert.ok(peer !== undefined);
          return peer;
        },
        close: async () => {
          cases.delete(host);
          // What is left unread would hide the end that stands behind it.
          for (const peer of asking) peer.socket.resume().end();
          // Some servers never let go of the app when their client leaves; that is for the cases about it.
          await eventually(
            () => asking.every((peer) => peer.isOver()),
            () => "for the proxy to let go",
            LETTING_GO,
          ).catch(() => {});
          for (const peer of asking) peer.socket.destroy();
        },
      };
    },
  };
}

/** Says of a response that the connection ends with it: another case must not be asked for on it. */
function asLast(response: string): string {
  if (/\r\nConnection:/i.test(response)) return response;
  const final = response.search(/HTTP\/1\.[01] [2-9]/);
  const lineEnd = response.indexOf("\r\n", final);
  if (final === -1 || lineEnd === -1) return response;
  return `${response.slice(0, lineEnd)}\r\nConnection: close${response.slice(lineEnd)}`;
}

/** What a stage stands on. */
export interface Ground {
  readonly pid: number;
  readonly port: number;
  readonly app: App;
  readonly replica: { readonly port: number; moveTo(position: string): void };
  readonly far: { readonly pid: number; readonly port: number };
  readonly outpost: { readonly port: number; follow(hostname: string): void };
  /** What the outpost takes for the primary's proxy. */
  readonly primary: App;
  readonly impatientPort: number;
  readonly impatientApp: App;
  readonly lonelyPort: number;
  /** Returns what the proxy has written. */
  log(): string;
}

/** Runs one case. */
export async function play(one: Case, ground: Ground, host: string): Promise<void> {
  const front = ground.app.enter(one.alone === true ? "*" : host);
  const back = ground.impatientApp.enter(host);
  const primary = ground.primary.enter(host);
  const dialled: Peer[] = [];
  const dial = async (port: number): Promise<Peer> => {
    const peer = await dialPort(port);
    dialled.push(peer);
    return peer;
  };
  const entrance = (port: number, pids: readonly number[]): Entrance => ({
    pids,
    dial: () => dial(port),
    exchange: async (request, response) => {
      const client = await dial(port);
      client.send(request);
      const app = await front.asked().catch((error: Error) => {
        throw new Error(`${error.message}; the client got ${JSON.stringify(client.text())}`);
      });
      await app.until(isWhole);
      app.send(asLast(response));
      app.socket.end();
      return { request: parse(app.text()), response: parse(await client.over()) };
    },
  });
  const stage: Stage = {
    ...entrance(ground.port, [ground.pid]),
    host,
    asking: front.asking,
    asked: front.asked,
    dialImpatient: () => dial(ground.impatientPort),
    askedImpatiently: back.asked,
    replica: { dial: () => dial(ground.replica.port), moveTo: ground.replica.moveTo },
    far: entrance(ground.far.port, [ground.far.pid, ground.pid]),
    outpost: {
      dial: () => dial(ground.outpost.port),
      asked: primary.asked,
      asking: primary.asking,
      follow: ground.outpost.follow,
    },
    dialLonely: () => dial(ground.lonelyPort),
    logged: (pattern) =>
      eventually(
        () => pattern.test(ground.log()),
        () => `for ${String(pattern)} in ${ground.log()}`,
      ),
  };
  try {
    await one.run(stage);
  } finally {
    for (const peer of dialled) peer.socket.destroy();
    await Promise.all([front, back, primary].map((ends) => ends.close()));
  }
}
