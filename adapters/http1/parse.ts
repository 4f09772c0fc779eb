import { Buffer } from "node:buffer";
import { filterLines } from "../../src/headers.ts";
import type { HeaderLines } from "../../src/index.ts";
import type { Limits } from "./limits.ts";

/** A message breaks the grammar or the limits; `status` is what a client is told (RFC 9112, RFC 6585). */
export class ProtocolError extends Error {
  /** The status code of the answer. */
  readonly status: number;

  /**
   * Makes the error.
   *
   * @param status The status code of the answer.
   * @param message What is wrong, in a few fixed words.
   */
  constructor(status: number, message: string) {
    super(message);
    this.name = "ProtocolError";
    this.status = status;
  }
}

/** How the end of a body is found (RFC 9112 section 6.3). */
export type Framing =
  /** There is no body. */
  | { readonly kind: "none" }
  /** The body has this many bytes. */
  | { readonly kind: "length"; readonly length: number }
  /** The body comes in chunks. */
  | { readonly kind: "chunked" }
  /** The body ends with the connection. */
  | { readonly kind: "close" };

/** The head of a request. */
export interface RequestHead {
  readonly method: string;
  /** The target in origin-form, `*`, or for CONNECT in authority-form. */
  readonly target: string;
  readonly headers: HeaderLines;
  /** The minor version: HTTP/1.0 or HTTP/1.1. */
  readonly minor: 0 | 1;
  readonly framing: Framing;
  /** Whether the client wants to keep the connection. */
  readonly keepAlive: boolean;
  /** Whether the client asks to switch protocols, and the connection can: no body stands between. */
  readonly upgrade: boolean;
  /** Whether the client waits for 100 before it sends the body. */
  readonly expectsContinue: boolean;
}

/** The head of a response. */
export interface ResponseHead {
  readonly status: number;
  readonly statusText: string;
  readonly headers: HeaderLines;
  readonly framing: Framing;
  /** Whether the connection may be used again after the body. */
  readonly keepAlive: boolean;
}

/** What the fields of one header section say of the message itself. */
interface Fields {
  readonly headers: HeaderLines;
  hosts: number;
  contentLength: string | undefined;
  transferEncoding: string | undefined;
  connection: string;
  hasUpgrade: boolean;
  expectsContinue: boolean;
}

const NONE: Framing = { kind: "none" };
const CHUNKED: Framing = { kind: "chunked" };
const CLOSE: Framing = { kind: "close" };

/** What lines and heads end with, as bytes: Deno would spell text out for each search. */
const LINE_END: Buffer = Buffer.from("\r\n");
const HEAD_END: Buffer = Buffer.from("\r\n\r\n");

/** For each code unit: 1 in a token (RFC 9110 section 5.6.2), 2 in a Host besides that, 4 in a target. */
const CLASS: Uint8Array = new Uint8Array(256);
for (let code = 0x21; code < 256; code++) if (code !== 0x7f && code !== 0x23) CLASS[code] = 4;
for (const char of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
  CLASS[char.charCodeAt(0)] = (CLASS[char.charCodeAt(0)] ?? 0) | 1;
}
for (const char of "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-._~!$&'()*+,;=:[]%") {
  CLASS[char.charCodeAt(0)] = (CLASS[char.charCodeAt(0)] ?? 0) | 2;
}

function consistsOf(text: string, kind: number): boolean {
  for (let index = 0; index < text.length; index++) {
    if (((CLASS[text.charCodeAt(index)] ?? 0) & kind) === 0) return false;
  }
  return true;
}

/** Tells whether text is a token (RFC 9110 section 5.6.2). */
export function isToken(text: string): boolean {
  return text !== "" && consistsOf(text, 1);
}

/** Tells whether text may stand in a field value: no control byte but the tab (RFC 9110 section 5.5). */
export function isFieldValue(text: string): boolean {
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if ((code < 0x20 && code !== 0x09) || code === 0x7f || code > 0xff) return false;
  }
  return true;
}

/** Tells whether text can stand as a request's target: no blank, no control byte, no fragment (RFC 9112 section 3.2). */
export function isTarget(text: string): boolean {
  return text !== "" && consistsOf(text, 4);
}

/**
 * Creates a function that joins what has come of a head with what comes next. Its room doubles, so that a head that
 * comes byte by byte is not copied anew for each of them. The first argument must be the end of what it returned last.
 */
export function createJoiner(): (held: Buffer, bytes: Buffer) => Buffer {
  let room = Buffer.allocUnsafeSlow(0);
  return (held, bytes) => {
    if (held.length === 0) return bytes;
    const length = held.length + bytes.length;
    let start = held.byteOffset - room.byteOffset;
    if (held.buffer !== room.buffer || start + length > room.length) {
      room = Buffer.allocUnsafeSlow(2 * length);
      room.set(held);
      start = 0;
    }
    room.set(bytes, start + held.length);
    return room.subarray(start, start + length);
  };
}

/**
 * Looks for the end of a head.
 *
 * @param bytes What has come so far.
 * @param seen How many of those bytes an earlier call has looked at.
 * @param limits The limits.
 * @returns How long the head is with its empty line, or -1 when it is not all there.
 * @throws {ProtocolError} When it cannot become a valid head any more.
 */
export function headEnd(bytes: Buffer, seen: number, limits: Limits): number {
  const at = bytes.indexOf(HEAD_END, Math.max(0, seen - 3));
  const length = at === -1 ? bytes.length : at + 4;
  if (length > limits.headBytes) {
    const line = bytes.indexOf(LINE_END);
    throw line === -1 || line > limits.headBytes
      ? new ProtocolError(414, "Start line too long")
      : new ProtocolError(431, "Head too large");
  }
  if (at !== -1) return length;
  // Who ends lines with a bare LF would wait for ever for an end that this parser does not see.
  for (let lf = bytes.indexOf(10, seen); lf !== -1; lf = bytes.indexOf(10, lf + 1)) {
    if (bytes[lf - 1] !== 13) throw new ProtocolError(400, "Bare LF");
  }
  return -1;
}

/**
 * Parses the head of a request (RFC 9112 sections 3, 5 and 6).
 *
 * @param text The head in latin-1, up to and without its last two line ends.
 * @param limits The limits.
 * @throws {ProtocolError} When it is not exactly a request.
 */
export function parseRequestHead(text: string, limits: Limits): RequestHead {
  const lineEnd = endOfLine(text, 0);
  const line = text.slice(0, lineEnd);
  const first = line.indexOf(" ");
  const last = line.lastIndexOf(" ");
  if (first === -1 || last === first) throw new ProtocolError(400, "Malformed request line");
  const method = line.slice(0, first);
  const rawTarget = line.slice(first + 1, last);
  const version = line.slice(last + 1);
  if (!isToken(method) || !isTarget(rawTarget)) {
    throw new ProtocolError(400, "Malformed request line");
  }
  if (version !== "HTTP/1.1" && version !== "HTTP/1.0") {
    const isVersion = /^HTTP\/\d\.\d$/.test(version);
    throw new ProtocolError(
      isVersion ? 505 : 400,
      isVersion ? "Version not supported" : "Malformed request line",
    );
  }
  const minor = version === "HTTP/1.1" ? 1 : 0;
  const fields = parseFields(text, lineEnd + 2, limits);
  if (fields.hosts > 1 || (fields.hosts === 0 && minor === 1))
    throw new ProtocolError(400, "Not exactly one Host");
  const framing = requestFraming(fields, minor);
  // An HTTP/1.0 client knows no 100, and whoever got its expectation in HTTP/1.1 would wait (RFC 9110 section 10.1.1).
  const isUnheard = minor === 0 && fields.expectsContinue;
  const headers = isUnheard ? filterLines(fields.headers, isNoExpect) : fields.headers;
  return {
    method,
    target: originForm(method, rawTarget, headers),
    headers,
    minor,
    framing,
    // Who asks for a tunnel may have sent on as if it were there: that is no next request (RFC 9931).
    keepAlive: method !== "CONNECT" && keepsAlive(fields, minor),
    upgrade:
      fields.hasUpgrade &&
      minor === 1 &&
      framing.kind === "none" &&
      hasOption(fields.connection, "upgrade"),
    expectsContinue: fields.expectsContinue && minor === 1,
  };
}

function isNoExpect(name: string): boolean {
  return name !== "expect";
}

/**
 * Parses the head of a response (RFC 9112 sections 4, 5 and 6).
 *
 * @param text The head in latin-1, up to and without its last two line ends.
 * @param method The method of the request that it answers.
 * @param limits The limits.
 * @throws {ProtocolError} When it is not exactly a response.
 */
export function parseResponseHead(text: string, method: string, limits: Limits): ResponseHead {
  const lineEnd = endOfLine(text, 0);
  const line = text.slice(0, lineEnd);
  const minor = line.startsWith("HTTP/1.1 ") ? 1 : 0;
  const status = Number(line.slice(9, 12));
  const isStatus =
    /^[1-5]\d\d$/.test(line.slice(9, 12)) && (line.length === 12 || line[12] === " ");
  if ((minor === 0 && !line.startsWith("HTTP/1.0 ")) || !isStatus || !isFieldValue(line)) {
    throw new ProtocolError(502, "Malformed status line");
  }
  const fields = parseFields(text, lineEnd + 2, limits);
  const framing = responseFraming(fields, status, method, minor);
  return {
    status,
    statusText: line.slice(13),
    headers: fields.headers,
    framing,
    keepAlive: framing.kind !== "close" && keepsAlive(fields, minor),
  };
}

/**
 * Parses a trailer section (RFC 9112 section 7.1.2). Fields that frame or route a message are refused there, where
 * nobody who has already acted on the head would see them (RFC 9110 section 6.5.1).
 *
 * @param text The section in latin-1, up to and without its last line end.
 * @param limits The limits.
 * @throws {ProtocolError} When it is malformed.
 */
export function parseTrailers(text: string, limits: Limits): HeaderLines {
  if (text === "") return [];
  const fields = parseFields(text, 0, limits);
  if (
    fields.hosts > 0 ||
    fields.contentLength !== undefined ||
    fields.transferEncoding !== undefined
  ) {
    throw new ProtocolError(400, "Forbidden trailer");
  }
  return fields.headers;
}

function endOfLine(text: string, from: number): number {
  const end = text.indexOf("\r\n", from);
  return end === -1 ? text.length : end;
}

/** Parses field lines; the names that frame a message are told by their length first, for almost none has it. */
function parseFields(text: string, from: number, limits: Limits): Fields {
  const headers: HeaderLines = [];
  const fields: Fields = {
    headers,
    hosts: 0,
    contentLength: undefined,
    transferEncoding: undefined,
    connection: "",
    hasUpgrade: false,
    expectsContinue: false,
  };
  for (let start = from; start < text.length;) {
    const end = endOfLine(text, start);
    let colon = start;
    while (colon < end && ((CLASS[text.charCodeAt(colon)] ?? 0) & 1) !== 0) colon++;
    if (colon === start || colon === end || text.charCodeAt(colon) !== 58) {
      throw new ProtocolError(400, "Malformed field line");
    }
    let valueStart = colon + 1;
    let valueEnd = end;
    while (valueStart < valueEnd && isBlank(text.charCodeAt(valueStart))) valueStart++;
    while (valueEnd > valueStart && isBlank(text.charCodeAt(valueEnd - 1))) valueEnd--;
    const name = text.slice(start, colon);
    const value = text.slice(valueStart, valueEnd);
    if (!isFieldValue(value)) throw new ProtocolError(400, "Control byte in a field value");
    headers.push(name, value);
    if (headers.length > 2 * limits.fields) throw new ProtocolError(431, "Too many fields");
    note(fields, name, value);
    start = end + 2;
  }
  return fields;
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

function note(fields: Fields, name: string, value: string): void {
  switch (name.length) {
    case 4:
      if (name.toLowerCase() !== "host") return;
      fields.hosts++;
      if (!isHost(value)) throw new ProtocolError(400, "Malformed Host");
      return;
    case 6:
      if (name.toLowerCase() === "expect")
        fields.expectsContinue = value.toLowerCase() === "100-continue";
      return;
    case 7:
      if (name.toLowerCase() === "upgrade") fields.hasUpgrade = true;
      return;
    case 10:
      if (name.toLowerCase() === "connection") fields.connection += `,${value}`;
      return;
    case 14:
      if (name.toLowerCase() !== "content-length") return;
      if (fields.contentLength !== undefined) throw new ProtocolError(400, "Several lengths");
      fields.contentLength = value;
      return;
    case 17:
      if (name.toLowerCase() !== "transfer-encoding") return;
      fields.transferEncoding =
        fields.transferEncoding === undefined ? value : `${fields.transferEncoding},${value}`;
  }
}

/** Tells whether a Host value is a host and maybe a port (RFC 9110 section 7.2, RFC 3986 section 3.2.2). */
export function isHost(value: string): boolean {
  if (!consistsOf(value, 2)) return false;
  if (value.includes("[") || value.includes("]")) return /^\[[\w:.]+\](?::\d{0,5})?$/.test(value);
  const colon = value.indexOf(":");
  return colon === -1 || /^\d{0,5}$/.test(value.slice(colon + 1));
}

/** Brings an absolute-form target into origin-form, its authority into `Host` (RFC 9112 section 3.2.2). */
function originForm(method: string, target: string, headers: HeaderLines): string {
  if (target.startsWith("/")) return target;
  if (target === "*" && method === "OPTIONS") return target;
  if (method === "CONNECT" && target !== "" && isHost(target)) return target;
  const scheme = /^https?:\/\//i.exec(target)?.[0];
  if (scheme === undefined) throw new ProtocolError(400, "Malformed target");
  const rest = target.slice(scheme.length);
  const end = rest.search(/[/?]/);
  const authority = end === -1 ? rest : rest.slice(0, end);
  if (authority === "" || !isHost(authority)) throw new ProtocolError(400, "Malformed target");
  const host = headers.findIndex((name, index) => index % 2 === 0 && name.toLowerCase() === "host");
  if (host === -1) headers.push("Host", authority);
  else headers[host + 1] = authority;
  if (end === -1) return method === "OPTIONS" ? "*" : "/";
  return rest[end] === "/" ? rest.slice(end) : `/${rest.slice(end)}`;
}

function requestFraming(fields: Fields, minor: 0 | 1): Framing {
  const { contentLength, transferEncoding } = fields;
  if (transferEncoding !== undefined) {
    if (contentLength !== undefined)
      throw new ProtocolError(400, "Both Content-Length and Transfer-Encoding");
    if (minor === 0) throw new ProtocolError(400, "Transfer-Encoding in HTTP/1.0");
    if (transferEncoding.toLowerCase() !== "chunked")
      throw new ProtocolError(501, "Unknown transfer coding");
    return CHUNKED;
  }
  return contentLength === undefined ? NONE : lengthFraming(contentLength);
}

function responseFraming(fields: Fields, status: number, method: string, minor: 0 | 1): Framing {
  const { contentLength, transferEncoding } = fields;
  // Checked even where there is no body: two ends that disagree here disagree on where the next message begins.
  const declared = contentLength === undefined ? undefined : lengthFraming(contentLength);
  if (transferEncoding !== undefined) {
    if (contentLength !== undefined)
      throw new ProtocolError(502, "Both Content-Length and Transfer-Encoding");
    if (minor === 0) throw new ProtocolError(502, "Transfer-Encoding in HTTP/1.0");
    if (transferEncoding.toLowerCase() !== "chunked")
      throw new ProtocolError(502, "Unknown transfer coding");
  }
  if (method === "HEAD" || status < 200 || status === 204 || status === 304) return NONE;
  if (transferEncoding !== undefined) return CHUNKED;
  return declared ?? CLOSE;
}

function lengthFraming(value: string): Framing {
  if (!/^\d{1,15}$/.test(value)) throw new ProtocolError(400, "Malformed length");
  const length = Number(value);
  return length === 0 ? NONE : { kind: "length", length };
}

function keepsAlive(fields: Fields, minor: 0 | 1): boolean {
  const { connection } = fields;
  if (connection === "") return minor === 1;
  // What almost everybody says who says anything.
  if (connection === ",keep-alive") return true;
  if (hasOption(connection, "close")) return false;
  return minor === 1 || hasOption(connection, "keep-alive");
}

function hasOption(connection: string, option: string): boolean {
  return connection
    .toLowerCase()
    .split(",")
    .some((member) => member.trim() === option);
}
