import { type Clock, pause } from "./clock.ts";
import {
  allValues,
  APP_WORD,
  endToEnd,
  filterLines,
  firstValue,
  welcomesTrailers,
} from "./headers.ts";
import { countForward } from "./max-forwards.ts";
import {
  type HeaderLines,
  type IncomingRequest,
  type ResponseMessage,
  type Transport,
  TransportError,
  type UpstreamRequest,
} from "./message.ts";
import { isBelieved } from "./peer.ts";
import type { MaybePromise } from "./storage.ts";
import type { Trust } from "./trust.ts";

/** How often a target that does not listen yet is tried, in milliseconds; LiteFS's interval. */
const RETRY_INTERVAL = 100;

/**
 * Makes the request that an upstream gets: the client's, without what ends at this connection, and with what the
 * connection knows and the upstream cannot (RFC 9110 section 7.6).
 *
 * @param request The client's request.
 * @param origin The upstream's scheme, host and port.
 * @param isTrusted Whose forwarding headers are believed.
 * @param once Whether it must not be sent again, whatever its method.
 */
export function toUpstream(
  request: IncomingRequest,
  origin: string,
  isTrusted: Trust,
  once: boolean,
): UpstreamRequest {
  const headers = endToEnd(request.headers);
  const upgrade = request.canUpgrade ? allValues(request.headers, "upgrade").filter(isPassed) : [];
  const options: string[] = [];
  if (upgrade.length > 0) {
    headers.push("Upgrade", upgrade.join(", "));
    options.push("Upgrade");
  }
  if (welcomesTrailers(request.headers)) {
    headers.push("TE", "trailers");
    options.push("TE");
  }
  if (options.length > 0) headers.push("Connection", options.join(", "));
  const lines = withForwarded(headers, request, isTrusted);
  countForward(request.method, lines);
  // HTTP/1.0 may leave Host out, and HTTP/1.1, which the upstream gets, may not (RFC 9112 section 3.2).
  if (firstValue(lines, "host") === undefined)
    lines.unshift("Host", origin.slice(origin.indexOf("//") + 2));
  const { inform, trailers } = request;
  return {
    method: request.method,
    target: request.target,
    headers: lines,
    body: request.body,
    trailers: trailers && (() => believable(endToEnd(trailers()), request, isTrusted)),
    signal: request.signal,
    inform: inform && ((status, lines, text) => inform(status, early(lines), text)),
    origin,
    upgrade: upgrade.length > 0,
    once,
  };
}

/** Tells whether an upgrade may pass: in HTTP/2 (RFC 7540 section 3.2) requests would go by without being looked at. */
function isPassed(protocols: string): boolean {
  return !/\bh2c\b/i.test(protocols);
}

/**
 * Sets `X-Forwarded-For`, `-Proto` and `-Host`. What a trusted proxy says is kept and continued; what anybody else
 * says is replaced, so that the app can believe what it reads.
 */
function withForwarded(
  headers: HeaderLines,
  request: IncomingRequest,
  isTrusted: Trust,
): HeaderLines {
  const peer = request.clientAddress;
  const believed = isBelieved(request, isTrusted);
  const isReplaced = believed ? isPathField : isForwardingField;
  const path = believed ? allValues(headers, "x-forwarded-for") : [];
  const lines = headers.some((name, index) => index % 2 === 0 && isReplaced(name))
    ? filterLines(headers, (name) => !isReplaced(name))
    : headers;
  if (peer !== undefined) path.push(peer);
  if (path.length > 0) lines.push("X-Forwarded-For", path.join(", "));
  if (firstValue(lines, "x-forwarded-proto") === undefined)
    lines.push("X-Forwarded-Proto", request.scheme);
  const host = firstValue(lines, "host");
  if (host !== undefined && firstValue(lines, "x-forwarded-host") === undefined)
    lines.push("X-Forwarded-Host", host);
  return lines;
}

/** Trailers without what only a trusted proxy may say: an app that counts them among the header lines would believe it. */
function believable(
  trailers: HeaderLines,
  request: IncomingRequest,
  isTrusted: Trust,
): HeaderLines {
  if (trailers.length === 0 || isBelieved(request, isTrusted)) return trailers;
  return filterLines(trailers, (name) => !isForwardingField(name));
}

function isPathField(name: string): boolean {
  return name.length === 15 && name.toLowerCase() === "x-forwarded-for";
}

function isForwardingField(name: string): boolean {
  if (name.length < 9) return false;
  const lower = name.toLowerCase();
  return lower.startsWith("x-forwarded-") || lower === "forwarded";
}

/**
 * Sends a request to the target and returns its answer without what ends at that connection. While the target does not
 * listen the request is held and tried again: nothing of it has been sent, so that it cannot run twice.
 *
 * @param request What the target gets.
 * @param transport Sends it.
 * @param patience How long it is held at most, in milliseconds.
 * @param clock The time.
 * @param stillHolds Asked before each new try: whether what sent the request here is still so.
 * @param heard Told after each try whether the target listens.
 * @returns The answer, or undefined when that is no longer so; then nothing was sent.
 * @throws {TransportError} When the target does not answer.
 */
export async function sendOnceListening(
  request: UpstreamRequest,
  transport: Transport,
  patience: number,
  clock: Clock,
  stillHolds: () => MaybePromise<boolean>,
  heard: (isListening: boolean) => void,
): Promise<ResponseMessage | undefined> {
  const deadline = clock.now() + patience;
  for (;;) {
    try {
      const response = await transport(request);
      heard(true);
      return passed(response);
    } catch (error) {
      const isRefused = error instanceof TransportError && error.failure === "refused";
      if (isRefused) heard(false);
      if (!isRefused || clock.now() + RETRY_INTERVAL > deadline || request.signal.aborted)
        throw error;
    }
    await pause(RETRY_INTERVAL, request.signal, clock);
    if (!(await stillHolds())) return undefined;
  }
}

/** Sends a request once and returns its answer without what ends at that connection. */
export async function exchange(
  request: UpstreamRequest,
  transport: Transport,
): Promise<ResponseMessage> {
  return passed(await transport(request));
}

/** Returns an answer without what ends at the connection that it came on. */
function passed(response: ResponseMessage): ResponseMessage {
  const { status, trailers } = response;
  if (status === 101) return response;
  const headers = passable(response);
  if (trailers === undefined) return { ...response, headers };
  return { ...response, headers, trailers: () => withoutWord(endToEnd(trailers())) };
}

/** The lines of an informational answer that a client may see; it has no content (RFC 9110 section 15.2). */
function early(headers: HeaderLines): HeaderLines {
  return filterLines(withoutWord(endToEnd(headers)), (name) => name !== "content-length");
}

/** Nobody hears the app's word but in the head of its answer, and it never leaves. */
function withoutWord(lines: HeaderLines): HeaderLines {
  return filterLines(lines, (name) => name !== APP_WORD);
}

/** The lines of an answer that a client may see; 204 has no length (RFC 9110 section 8.6). */
function passable(response: ResponseMessage): HeaderLines {
  const headers = endToEnd(response.headers);
  return response.status === 204
    ? filterLines(headers, (name) => name !== "content-length")
    : headers;
}
