import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { bodyText } from "../body-text.ts";
import { wallClock } from "../wall-clock.ts";
import { connect, isReadOnly } from "./connection.ts";
import { createHrana } from "./hrana.ts";
import { answering, forwardedBy, json } from "./http.ts";
import type { HranaRequest, PipelineRequest } from "./protocol.ts";

/** What a follower is made of. */
export interface FollowerOptions {
  /** The replica's name. */
  readonly name: string;
  /** The primary's origin. */
  readonly primary: string;
  /** The path of the replica's SQLite file. */
  readonly path: string;
  /** Returns how far the replica has come. */
  readonly index: () => number;
}

// How often the position is read while somebody waits for it, in milliseconds.
const pollInterval = 5;

/**
 * Makes what answers hrana as an sqld that follows another one: reads from the replica here, once it has the
 * `replication_index` that they ask for; everything else from the primary, to which it passes the whole stream on. What
 * it passes on is not the replica's own, so that the delay holds for it.
 */
export function createFollower(options: FollowerOptions): RequestListener {
  const { name, primary, index } = options;
  // Streams that were opened here; the others are the primary's.
  const batons = new Set<string>();
  const hrana = createHrana({
    connect: () => connect(options.path, true),
    index,
    // Without a time-out, as sqld does: whoever asks has to know how long to wait.
    async reach(wanted) {
      while (index() < wanted) {
        await new Promise((resolve) => setTimeout(resolve, pollInterval));
      }
    },
    streamTimeout: 10_000,
    busyTimeout: 5000,
    clock: wallClock,
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await bodyText(request);
    const where = request.url ?? "/";
    if (request.method !== "POST" || !where.endsWith("/pipeline")) {
      json(response, request.method === "GET" && where === "/v2" ? 200 : 404, {});
      return;
    }
    // A client of hrana; one that sends anything else gets the error that it deserves.
    const asked = JSON.parse(body) as PipelineRequest;
    const { baton = null, requests } = asked;
    if (baton === null ? requests.every(isRead) : batons.delete(baton)) {
      const answered = await hrana.pipeline(asked);
      if (answered.baton !== null) {
        batons.add(answered.baton);
      }
      json(response, 200, answered);
      return;
    }
    const forwarded = await fetch(new URL(where, primary), {
      method: "POST",
      headers: { [forwardedBy]: name },
      body,
    });
    json(response, forwarded.status, await forwarded.json());
  }

  return answering(answer);
}

function isRead(request: HranaRequest): boolean {
  switch (request.type) {
    case "execute":
      return isReadOnly(request.stmt.sql ?? "");
    case "batch":
      return request.batch.steps.every(({ stmt }) => isReadOnly(stmt.sql ?? ""));
    case "sequence":
      return false;
    default:
      return true;
  }
}
