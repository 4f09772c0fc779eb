import { type Claims, NO_CLAIMS } from "./claims.ts";
import { allowTokenHeader } from "./cors.ts";
import { APP_WORD, filterLines, firstValue } from "./headers.ts";
import type { IncomingRequest, ResponseMessage } from "./message.ts";
import type { Decision, ResolvedOptions } from "./options.ts";
import type { Said } from "./word.ts";

/** What the policy has found out about one request. */
export interface Trail {
  readonly request: IncomingRequest;
  readonly kind: Decision["kind"];
  /** What its client has seen. */
  readonly claims: Claims;
  /** Whether this node has yet to apply some of the claims, whatever history the others are of. */
  readonly isBehind: boolean;
  /** How long the request has waited, in milliseconds; undefined: it has not. */
  readonly waited: number | undefined;
  /** What an app in this process says of the request. */
  readonly said: Said;
}

/** Begins the trail of a request. */
export function beginTrail(
  request: IncomingRequest,
  kind: Decision["kind"],
  claims: Claims = NO_CLAIMS,
): Trail {
  return { request, kind, claims, isBehind: false, waited: undefined, said: {} };
}

/** Tells what the proxy does with a request: the operator each decision, and the client on demand. */
export interface Reporter {
  /** Tells of a decision. */
  note(trail: Trail, outcome: Decision["outcome"], reason: string): void;
  /** Takes the app's word to the proxy off its response, and adds what its client is told. */
  finish(trail: Trail, reason: string, response: ResponseMessage): ResponseMessage;
  /** Tells of an answer of the proxy's own, and makes it ready. */
  own(trail: Trail, reason: string, response: ResponseMessage): ResponseMessage;
}

/** Creates the reporter of a proxy. */
export function createReporter({
  onDecision,
  serverTiming,
}: Pick<ResolvedOptions, "onDecision" | "serverTiming">): Reporter {
  function note(trail: Trail, outcome: Decision["outcome"], reason: string): void {
    if (onDecision === undefined) return;
    const { request, kind, claims, waited } = trail;
    onDecision({
      method: request.method,
      target: request.target,
      kind,
      outcome,
      reason,
      token: claims.claims.find((claim) => claim !== undefined)?.position,
      waited,
    });
  }

  function finish(trail: Trail, reason: string, response: ResponseMessage): ResponseMessage {
    const { request, waited } = trail;
    const hasWord = firstValue(response.headers, APP_WORD) !== undefined;
    const isCors = firstValue(request.headers, "origin") !== undefined;
    if (!hasWord && !isCors && !serverTiming) return response;
    // A Web response that hands the connection over cannot be made anew.
    if (response.status === 101 && response.source !== undefined) return response;
    const headers = filterLines(response.headers, (name) => name !== APP_WORD);
    if (isCors) allowTokenHeader(request.headers, headers);
    if (serverTiming) headers.push("Server-Timing", timing(reason, waited));
    const isSame = !hasWord && headers.length === response.headers.length;
    return isSame ? response : { ...response, headers, source: undefined };
  }

  return {
    note,
    finish,
    own: (trail, reason, response) => {
      note(trail, "answer", reason);
      const finished = finish(trail, reason, response);
      return trail.request.method === "HEAD" ? { ...finished, body: null } : finished;
    },
  };
}

/** Returns what the app has said to the proxy, if anything. */
export function appWord({ said }: Trail, response: ResponseMessage): string | undefined {
  return said.word ?? firstValue(response.headers, APP_WORD)?.toLowerCase();
}

/** Says what the proxy did, and for how long the request waited, in milliseconds (https://www.w3.org/TR/server-timing/). */
function timing(reason: string, waited: number | undefined): string {
  const duration = waited === undefined ? "" : `;dur=${Math.round(waited * 10) / 10}`;
  return `txid;desc="${reason}"${duration}`;
}
