/**
 * A stand-in for a libSQL server: it speaks hrana over HTTP, versions 2 and 3 in JSON, and the second sync protocol, so
 * that unmodified clients and embedded replicas work with it. Written from what the clients ask for; of sqld itself it
 * has the words of errors and the way `replication_index` is told.
 *
 * @module
 */
import type { ServerResponse } from "node:http";
import type { Clock } from "../../src/clock.ts";
import { bodyText } from "../body-text.ts";
import { listen } from "../listen.ts";
import type { Listener } from "../listen.ts";
import { wallClock } from "../wall-clock.ts";
import { createControls, runControl } from "./controls.ts";
import { createHorizon } from "./horizon.ts";
import { createHrana } from "./hrana.ts";
import { answering, forwardedBy, json, tokenOf, wordsOf } from "./http.ts";
import { indexOf, openLog } from "./log.ts";
import { createPartitions } from "./partitions.ts";
import type { CursorRequest, PipelineRequest } from "./protocol.ts";
import { sendBase, sendFrames } from "./sync.ts";

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

/** A request that a route answers. */
interface Call {
  /** The token of who sends it. */
  readonly replica: string;
  /** The numbers in its path. */
  readonly numbers: readonly number[];
  readonly body: string;
}

/** Answers the requests with one method and one path, whatever numbers are in it. */
type Route = (response: ServerResponse, call: Call) => void | Promise<void>;

/** Starts the server. */
export async function serveLibsql(options: ServerOptions): Promise<Listener> {
  const { directory, streamTimeout, busyTimeout, clock = wallClock } = options;
  const log = openLog(directory, clock);
  const horizon = createHorizon(log, options.delay);
  const partitions = createPartitions();
  const hrana = createHrana({
    connect: () => log.connect(),
    index: () => indexOf(log.collect()),
    // Here is where everything is first.
    reach: () => Promise.resolve(),
    streamTimeout,
    busyTimeout,
    clock,
  });
  const controls = createControls({ directory, log, horizon, partitions, hrana });

  // The bodies are from clients of hrana; one that sends anything else gets the error that it deserves.
  const pipeline: Route = async (response, { replica, body }) => {
    const asked = JSON.parse(body) as PipelineRequest;
    json(response, 200, await hrana.pipeline(asked, horizon.ranFor(replica)));
  };
  const cursor: Route = async (response, { replica, body }) => {
    const asked = JSON.parse(body) as CursorRequest;
    response.writeHead(200, { "Content-Type": "application/json" });
    response.end(await hrana.cursor(asked, horizon.ranFor(replica)));
  };
  const nothing: Route = (response) => void response.writeHead(200).end();

  const routes: Readonly<Record<string, Route>> = {
    "GET info": (response, { replica }) =>
      json(response, 200, { current_generation: horizon.of(replica).generation }),
    "GET export": (response, { numbers }) => sendBase(response, log, numbers),
    "GET sync": (response, { replica, numbers }) =>
      sendFrames(response, log, horizon.of(replica), numbers),
    "POST v2/pipeline": pipeline,
    "POST v3/pipeline": pipeline,
    "POST v3/cursor": cursor,
    "GET v2": nothing,
    "GET v3": nothing,
    "GET health": nothing,
  };

  const handler = answering(async (request, response) => {
    const body = await bodyText(request);
    const words = wordsOf(request);
    if (words[0] === "control") {
      const command = words.slice(1).join("/");
      json(response, 200, { result: await runControl(controls, command, body) });
      return;
    }
    const replica = tokenOf(request);
    const by = request.headers[forwardedBy];
    if (partitions.meet(typeof by === "string" ? by : replica, response)) {
      return;
    }
    const isNumber = (word: string): boolean => /^\d/.test(word);
    const path = words.filter((word) => !isNumber(word)).join("/");
    const route = routes[`${request.method} ${path}`];
    if (route === undefined) {
      json(response, 404, { error: "Not found" });
      return;
    }
    await route(response, { replica, numbers: words.filter(isNumber).map(Number), body });
  });
  return listen(handler, options.port);
}
