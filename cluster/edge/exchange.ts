import { request as send } from "node:http";
import type { Agent, IncomingMessage, ServerResponse } from "node:http";
import { pipeline } from "node:stream";
import type { Attempt } from "./attempt.ts";
import { framed } from "./body.ts";
import type { EdgeNode } from "./choice.ts";
import { endToEnd, without } from "./headers.ts";

/**
 * Sends an attempt to a node and returns its answer; "refused" when nobody listens there, so that the request can go to
 * another one, and "broken" when no answer came.
 */
export async function exchange(
  agent: Agent,
  node: EdgeNode,
  attempt: Attempt,
): Promise<IncomingMessage | "refused" | "broken"> {
  try {
    return await ask(agent, node, attempt);
  } catch (error) {
    const isRefused = error instanceof Error && "code" in error && error.code === "ECONNREFUSED";
    return isRefused && !attempt.body.isLonger ? "refused" : "broken";
  }
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

/** Passes the answer of a node on to the client. */
export function pass(answer: IncomingMessage, response: ServerResponse): void {
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

/** Answers the client with 502; when it has a part of an answer already, its connection breaks. */
export function fail(response: ServerResponse, text = ""): void {
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
