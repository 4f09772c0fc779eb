import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
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
  | "random messages"
  | "corpus";

/** One thing that must be true of a proxy, whoever looks at it from outside. */
export interface Case {
  readonly topic: Topic;
  /** What the proxy does, in the present tense. */
  readonly name: string;
  /** `alone`: nothing else runs on the proxy meanwhile. */
  readonly alone?: boolean;
  run(stage: Stage): Promise<void>;
}

/** What a case has in its hands: both ends of a started proxy. */
export interface Stage {
  /** The name by which the app tells the case's requests from those of other cases. */
  readonly host: string;
  /** The id of the proxy's process. */
  readonly pid: number;
  /** Connects to the proxy. */
  dial(): Promise<Peer>;
  /** Connects to a proxy whose target gives its answers half a second, and whose target can be closed. */
  dialImpatient(): Promise<Peer>;
  /** Closes the target of that proxy. */
  closeImpatientTarget(): Promise<void>;
  /** Resolves with the next connection on which the proxy asks the app for this case, its head read. */
  asked(): Promise<Peer>;
  /** Every connection on which the proxy has asked the app for this case. */
  readonly asking: readonly Peer[];
  /** Sends a request, answers it, and resolves with what each end saw of it. */
  exchange(request: string, response: string): Promise<Exchange>;
}

/** What both ends saw. */
export interface Exchange {
  /** What the app got. */
  readonly request: Message;
  /** What the client got. */
  readonly response: Message;
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
      return { content, trailers, isWhole: trailers.endsWith("\r\n") };
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

/** Takes what a connection brings away from its peer, for a case that brings more than text can hold. */
export function takeBytes(peer: Peer, onBytes: (bytes: Buffer) => void): void {
  peer.socket.removeAllListeners("data");
  peer.socket.on("data", onBytes);
}

/** Writes bytes until the socket takes no more, and so on, until `count` are out or the socket is gone. */
export async function pump(peer: Peer, count: number, stop: () => boolean): Promise<number> {
  const piece = Buffer.alloc(64 * 1024, "x");
  let sent = 0;
  while (sent < count && !stop() && !peer.socket.destroyed) {
    const bytes = count - sent < piece.length ? piece.subarray(0, count - sent) : piece;
    sent += bytes.length;
    if (!peer.socket.write(bytes)) {
      await eventually(
        () => !peer.socket.writableNeedDrain || stop() || peer.socket.destroyed,
        () => `for room after ${sent} bytes`,
        60_000,
      );
    }
  }
  return sent;
}

/** An app that serves many cases at once: it knows each by the Host of its requests. */
export interface App {
  readonly origin: Origin;
  /** Makes the ends of one case; `close` gives its connections back. */
  enter(host: string): { asking: Peer[]; asked(): Promise<Peer>; close(): void };
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
        close: () => {
          cases.delete(host);
          for (const peer of asking) peer.socket.destroy();
        },
      };
    },
  };
}

/** What a stage stands on. */
export interface Ground {
  readonly pid: number;
  readonly port: number;
  readonly app: App;
  readonly impatientPort: number;
  readonly impatientApp: App;
}

/** Runs one case. */
export async function play(one: Case, ground: Ground, host: string): Promise<void> {
  const front = ground.app.enter(one.alone === true ? "*" : host);
  const back = ground.impatientApp.enter(host);
  const dialled: Peer[] = [];
  const dial = async (port: number): Promise<Peer> => {
    const peer = await dialPort(port);
    dialled.push(peer);
    return peer;
  };
  const stage: Stage = {
    host,
    pid: ground.pid,
    asking: front.asking,
    asked: front.asked,
    dial: () => dial(ground.port),
    dialImpatient: () => dial(ground.impatientPort),
    closeImpatientTarget: () => ground.impatientApp.origin.close(),
    exchange: async (request, response) => {
      const client = await dial(ground.port);
      client.send(request);
      const app = await front.asked();
      await app.until(isWhole);
      app.send(response);
      app.socket.end();
      return { request: parse(app.text()), response: parse(await client.over()) };
    },
  };
  try {
    await one.run(stage);
  } finally {
    for (const peer of dialled) peer.socket.destroy();
    front.close();
    back.close();
  }
}
