/**
 * A stand-in for a libSQL server: it speaks hrana over HTTP, versions 2 and 3 in JSON, and the second sync protocol, so
 * that unmodified clients and embedded replicas work with it. Written from what the clients ask for; of sqld itself it
 * has the words of errors and the way `replication_index` is told.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { join } from "node:path";
import { wallClock } from "../wall-clock.ts";
import type { Clock } from "../../src/clock.ts";
import { bodyText } from "../body-text.ts";
import { listen } from "../listen.ts";
import type { Listener } from "../listen.ts";
import { createHrana } from "./hrana.ts";
import { openLog } from "./log.ts";
import type { Place } from "./log.ts";
import { HranaProtocolError } from "./protocol.ts";
import type { CursorRequest, PipelineRequest } from "./protocol.ts";

/** How a server treats a replica that is cut off: it breaks its connections, answers 503, or does not answer. */
type Cut = "break" | "unavailable" | "hang";

/** Where the server is. */
interface PrimaryStatus extends Place {
  /** The place as one number: what `replication_index` says. */
  readonly index: number;
}

/** What can be changed while a server runs. */
export interface PrimaryControls {
  /**
   * Sets how long a transaction takes until replicas can have it, in milliseconds. What a replica has written itself it
   * gets at once, and all before it: an embedded replica asks for it before it answers, and a log has no gaps.
   *
   * @param ms The delay.
   * @param replica The replica, by its token. @default all that have none of their own
   */
  setDelay(ms: number, replica?: string): Promise<void>;
  /**
   * Cuts a replica off.
   *
   * @param replica The replica, by its token.
   * @param cut How. @default "break"
   */
  partition(replica: string, cut?: Cut): Promise<void>;
  /** Ends every partition. */
  heal(): Promise<void>;
  /**
   * Begins a new generation, as a checkpoint does.
   *
   * @throws {Error} While a transaction is open.
   */
  roll(): Promise<void>;
  /** Saves the database under a name. */
  save(name: string): Promise<void>;
  /** Goes back to a database that was saved, in a new generation: every write since then is lost. */
  restore(name: string): Promise<void>;
  /** Returns where the server is; for a replica, where the server lets it be. */
  status(replica?: string): Promise<PrimaryStatus>;
}

/** What a server is made of. */
export interface ServerOptions {
  /** The directory of its files. */
  readonly directory: string;
  /** How long a transaction takes until replicas can have it, in milliseconds. */
  readonly delay: number;
  /** How long a stream lives without a request, in milliseconds. */
  readonly streamTimeout: number;
  /** How long a statement waits for the one that writes, in milliseconds. */
  readonly busyTimeout: number;
  /** The port; 0 takes a free one. */
  readonly port: number;
  /** The time. @default the runtime's */
  readonly clock?: Clock;
}

/** The header in which a replica that forwards a request for somebody else names itself. */
export const forwardedBy = "x-forwarded-by";

/** Returns a place as one number, the generation in its upper half. Frames alone begin anew in each generation. */
export function indexOf({ generation, frame }: Place): number {
  return generation * 2 ** 32 + frame;
}

/** Starts the server. */
export async function serveLibsql(options: ServerOptions): Promise<Listener> {
  const { directory, clock = wallClock } = options;
  const log = openLog(directory, clock);
  const delays = new Map<string, number>();
  const cuts = new Map<string, Cut>();
  const shown = new Map<string, Place>();
  const hanging = new Set<ServerResponse>();
  let common = options.delay;
  let end = log.collect();

  const hrana = createHrana({
    connect: () => log.connect(),
    index: () => indexOf(log.collect()),
    // Here is where everything is first.
    reach: () => Promise.resolve(),
    streamTimeout: options.streamTimeout,
    busyTimeout: options.busyTimeout,
    clock,
  });

  // A longer delay takes nothing back.
  function show(replica: string, place: Place): Place {
    const known = shown.get(replica);
    const further = known === undefined || indexOf(place) > indexOf(known) ? place : known;
    shown.set(replica, further);
    return further;
  }

  function visible(replica: string): Place {
    log.collect();
    return show(replica, log.ago(delays.get(replica) ?? common));
  }

  // Statements run without a pause between them and this, so whatever is new is this replica's own.
  function ranFor(replica: string): () => void {
    return () => {
      const before = indexOf(end);
      end = log.collect();
      if (indexOf(end) > before) {
        show(replica, end);
      }
    };
  }

  function savedPath(name: string): string {
    return join(directory, `saved-${encodeURIComponent(name)}.db`);
  }

  const controls: PrimaryControls = {
    async setDelay(ms, replica) {
      if (replica === undefined) {
        common = ms;
      } else {
        delays.set(replica, ms);
      }
    },
    async partition(replica, cut = "break") {
      cuts.set(replica, cut);
    },
    async heal() {
      cuts.clear();
      for (const response of hanging) {
        response.destroy();
      }
      hanging.clear();
    },
    async roll() {
      if (!log.roll()) {
        throw new Error("Cannot begin a new generation: a transaction is open");
      }
    },
    async save(name) {
      log.save(savedPath(name));
    },
    async restore(name) {
      hrana.reset();
      log.restore(savedPath(name));
    },
    async status(replica) {
      const { generation, frame } = replica === undefined ? log.collect() : visible(replica);
      return { generation, frame, index: indexOf({ generation, frame }) };
    },
  };

  function isCut(replica: string, response: ServerResponse): boolean {
    const cut = cuts.get(replica);
    if (cut === "break") {
      response.destroy();
    } else if (cut === "unavailable") {
      json(response, 503, { error: "cut off" });
    } else if (cut === "hang") {
      hanging.add(response);
    }
    return cut !== undefined;
  }

  function sync(response: ServerResponse, replica: string, words: readonly string[]): void {
    const place = visible(replica);
    const [generation = 0, from = 0, to = 0] = words.map(Number);
    const end = log.end(generation);
    const reach = place.generation === generation ? place.frame : (end ?? 0);
    if (generation > place.generation || from > reach) {
      // The end of a generation, or of the log: a replica goes on to the next one when it is not there yet.
      json(response, 400, { generation: Math.max(place.generation, generation) });
      return;
    }
    send(response, log.frames(generation, from, Math.min(to - 1, reach)));
  }

  function exported(response: ServerResponse, generation: number): void {
    const path = log.base(generation);
    if (path === undefined) {
      json(response, 404, { error: "There is no such generation" });
      return;
    }
    send(response, readFileSync(path));
  }

  async function control(command: string, body: string): Promise<unknown> {
    const work = Object.entries(controls).find(([name]) => name === command)?.[1];
    if (work === undefined) {
      throw new RangeError(`Cannot ${command}: there is no such command`);
    }
    // What comes from the other end is a call that `primary.ts` wrote; the method checks nothing.
    const run = work as (...values: unknown[]) => Promise<unknown>;
    return run(...(JSON.parse(body) as unknown[]));
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await bodyText(request);
    const [first = "", ...rest] = pathOf(request);
    if (first === "control") {
      json(response, 200, { result: await control(rest.join("/"), body) });
      return;
    }
    const replica = tokenOf(request);
    const by = request.headers[forwardedBy];
    if (isCut(typeof by === "string" ? by : replica, response)) {
      return;
    }
    switch (`${request.method} ${[first, ...rest.filter((word) => !/^\d/.test(word))].join("/")}`) {
      case "GET info":
        json(response, 200, { current_generation: visible(replica).generation });
        return;
      case "GET export":
        exported(response, Number(rest[0]));
        return;
      case "GET sync":
        sync(response, replica, rest);
        return;
      case "POST v2/pipeline":
      case "POST v3/pipeline": {
        // A client of hrana; one that sends anything else gets the error that it deserves.
        const asked = JSON.parse(body) as PipelineRequest;
        json(response, 200, await hrana.pipeline(asked, ranFor(replica)));
        return;
      }
      case "POST v3/cursor": {
        const asked = JSON.parse(body) as CursorRequest;
        response.writeHead(200, { "Content-Type": "application/json" });
        response.end(await hrana.cursor(asked, ranFor(replica)));
        return;
      }
      case "GET v2":
      case "GET v3":
      case "GET health":
        response.writeHead(200).end();
        return;
      default:
        json(response, 404, { error: "Not found" });
    }
  }

  return listen(answering(answer), options.port);
}

/** Makes what answers a request out of what may fail to. */
export function answering(
  answer: (request: IncomingMessage, response: ServerResponse) => Promise<void>,
): RequestListener {
  return (request, response) => {
    answer(request, response).catch((error: unknown) => {
      const status = error instanceof HranaProtocolError || error instanceof RangeError ? 400 : 500;
      const message = error instanceof Error ? error.message : String(error);
      const code = error instanceof HranaProtocolError ? error.code : "INTERNAL";
      if (response.headersSent) {
        response.destroy();
      } else {
        json(response, status, { message, code });
      }
    });
  };
}

/** Answers with JSON. */
export function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(body));
}

function send(response: ServerResponse, bytes: Buffer): void {
  response.writeHead(200, {
    "Content-Type": "application/octet-stream",
    "Content-Length": bytes.length,
  });
  response.end(bytes);
}

function pathOf(request: IncomingMessage): string[] {
  return new URL(request.url ?? "/", "http://localhost").pathname.split("/").filter(Boolean);
}

function tokenOf(request: IncomingMessage): string {
  return /^Bearer (\S+)$/.exec(request.headers.authorization ?? "")?.[1] ?? "";
}
