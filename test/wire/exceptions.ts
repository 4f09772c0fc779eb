import { FROM_AFAR } from "./kit.ts";
import type { PlaceName } from "./places.ts";

/** What a runtime's own server cannot do, and nobody can mend from outside. Each is tested: the cases must fail there. */
export interface Exception {
  /** What does not pass, as users read it. */
  readonly what: string;
  /** Where, and why: the behaviour of the runtime. */
  readonly where: Partial<Record<PlaceName, string>>;
  /** The names of the cases; one that ends with `*` stands for all that begin so. */
  readonly cases: readonly string[];
}

/** Every exception. The exact server has none on any runtime. */
export const EXCEPTIONS: readonly Exception[] = [
  {
    what: "Dot segments, backslashes and bytes that a URL escapes reach the app as they were sent",
    where: {
      "Bun.serve": "`Request.url` is normalised; what a pattern sees is what is forwarded",
    },
    cases: [
      "passes the target /%2e%2e/x byte for byte",
      "passes the target /a/../b byte for byte",
      "passes the target /a/./b/. byte for byte",
      "passes the target /a\\b byte for byte",
      'passes the target /{}|^`"<> byte for byte',
    ],
  },
  {
    what: "Bytes beyond ASCII in the target pass",
    where: {
      "Bun.serve": "each becomes U+FFFD in `Request.url`",
      "Deno.serve": "the server answers 400",
    },
    cases: ["passes the target /caf\xe9 byte for byte"],
  },
  {
    what: "`OPTIONS *` and the authority of an absolute target pass",
    where: {
      "Bun.serve": "`Request.url` is made of the Host line",
      "Deno.serve": "the Host line wins, and `*` makes no URL",
    },
    cases: [
      "passes the target * of OPTIONS",
      "brings an absolute target into origin-form, its authority into Host",
      "takes for one request: an absolute target whose Host names another",
    ],
  },
  {
    what: "Methods that nobody has registered pass",
    where: { "Bun.serve": "the server closes the connection" },
    cases: ["passes the unknown method *"],
  },
  {
    what: "Header lines keep their order, and those with one name stay apart",
    where: {
      "Bun.serve": "`Headers` sorts and joins them",
      "Deno.serve": "`Headers` sorts and joins them",
    },
    cases: [
      "keeps header lines as they are: names, order, duplicates, empty values",
      "keeps the header lines of an answer as they are: names, order, duplicates",
    ],
  },
  {
    what: "The body of a `GET` passes",
    where: {
      "Bun.serve": "a `Request` with this method has none",
      "Deno.serve": "a `Request` with this method has none",
    },
    cases: [
      "passes the body of a GET",
      "sends a GET with a body once*",
      "takes for one request: a GET with a request as its content",
    ],
  },
  {
    what: "Trailers of requests and responses pass",
    where: {
      "Bun.serve": "`Response` has none, and a request with trailers gets 400",
      "Deno.serve": "`Request` and `Response` have none: they are dropped, bad ones too",
    },
    cases: [
      "passes the trailers of a request",
      "passes the trailers of an answer that comes at once",
      "passes the trailers of an answer that comes in pieces",
      "passes the trailers of an upload that comes piece by piece",
      "removes from the trailers of a request what ends at the connection",
      "removes from the trailers of an answer what ends at the connection",
    ],
  },
  {
    what: "Trailers that would frame or route are refused",
    where: { "Deno.serve": "they are dropped with all others" },
    cases: [
      "never ends a request with a trailer that frames",
      "never ends a request with a trailer that routes",
      "takes for no whole request: chunks with trailers with a coding",
      "takes for no whole request: chunks with trailers with a coding in another case",
    ],
  },
  {
    what: "A blank between a chunk's size and its extension is tolerated",
    where: { "Bun.serve": "the server answers 400" },
    cases: ["passes a body in chunks, whatever their sizes and extensions"],
  },
  {
    what: "Requests that come in a row, before the first is answered, are served",
    where: {
      "Bun.serve": "the server closes the connection (https://github.com/oven-sh/bun/pull/38128)",
    },
    cases: [
      "answers pipelined requests in their order",
      "answers 200 requests that come in a row on one connection in order, each its own",
      "takes for one request: more than its length, which is no request",
      "takes for one request: more than its last chunk, which is no request",
      "takes for one request: a body that nothing announces",
      "takes for two requests: *",
    ],
  },
  {
    what: "A request's head may have 100 KiB, or 900 lines",
    where: {
      "Bun.serve": "431 beyond about 16 KiB or 200 lines",
      "Deno.serve": "400 beyond about 100 KiB or 100 lines",
    },
    cases: ["passes a head of 100 KiB", "passes 900 header lines"],
  },
  {
    what: "An HTTP/1.0 client need not send Host",
    where: {
      "Bun.serve": "the version is not told: a request without Host gets 400",
      "Deno.serve": "the version is not told: a request without Host gets 400",
    },
    cases: ["serves an HTTP/1.0 client that names no host"],
  },
  {
    what: "The app's own reason phrase passes",
    where: {
      "Bun.serve": "the server writes its own",
      "Deno.serve": "the server writes its own",
    },
    cases: ["passes the app's own reason phrase"],
  },
  {
    what: "`Content-Length` of 205 and 304 passes",
    where: { "Deno.serve": "the server removes it" },
    cases: [
      "passes 205 with the length that it has",
      "passes 304 with ETag and length, and no body",
    ],
  },
  {
    what: "A body that is at hand keeps its chunks",
    where: {
      "Bun.serve": "the server writes its length",
      "Deno.serve": "the server writes its length",
    },
    cases: ["keeps an answer in chunks that comes at once in chunks"],
  },
  {
    what: "A streamed body keeps its `Content-Length`",
    where: {
      "Bun.serve": "the server sends it in chunks (https://github.com/oven-sh/bun/issues/10507)",
    },
    cases: ["keeps the length of a body that comes in pieces"],
  },
  {
    what: "102 and 103 pass",
    where: {
      "Bun.serve": "a handler cannot send them",
      "Deno.serve": "a handler cannot send them",
    },
    cases: ["passes an informational *"],
  },
  {
    what: "The head of an answer passes before its body begins",
    where: { "Bun.serve": "the server sends it with the first piece of the body" },
    cases: ["passes the head of an event stream *"],
  },
  {
    what: "It is the app that answers `Expect: 100-continue`",
    where: {
      "Bun.serve": "the server asks for the body by itself",
      "Deno.serve": "the server asks for the body by itself",
    },
    cases: [
      "passes Expect: 100-continue with *",
      "passes no Expect: 100-continue of an HTTP/1.0 client, for which nobody waits",
      "passes 417 to a client that expects 100 with *",
      "passes 413 to a client that expects 100 with *",
      "passes 200 to a client that expects 100 with *",
    ],
  },
  {
    what: "The app is let go of when a client leaves that has sent its body and waits",
    where: { "Deno.serve": "`Request.signal` does not tell when the body came after the head" },
    cases: [
      "lets go of the app when the client closes before the app has answered an upload",
      "lets go of the app when the client resets before the app has answered an upload",
    ],
  },
  {
    what: "A broken answer without a length breaks the connection of an HTTP/1.0 client",
    where: { "Deno.serve": "the server ends the connection as if the answer were whole" },
    cases: [
      "ends nothing cleanly for an HTTP/1.0 client when the app closes between two chunks",
      "ends nothing cleanly for an HTTP/1.0 client when the app resets between two chunks",
      "ends nothing cleanly for an HTTP/1.0 client when the app closes in the middle of a chunk",
      "ends nothing cleanly for an HTTP/1.0 client when the app closes in the middle of the last chunk",
      "ends nothing cleanly for an HTTP/1.0 client when the app resets in the middle of a body without a length",
    ],
  },
  {
    what: "WebSockets and other upgrades pass",
    where: {
      "Bun.serve": "a handler gets no connection, and its `upgrade()` agrees before the app does",
      "Deno.serve":
        "a handler gets no connection, and `upgradeWebSocket()` agrees before the app does",
    },
    cases: ["tunnels *"],
  },
  {
    what: "A request with a body that asks for an upgrade is served without it",
    where: { "Deno.serve": "the server answers 400" },
    cases: ["serves a request without the upgrade with a body"],
  },
  {
    what: "Any valid message passes as it is, whatever packets it comes in",
    where: {
      "Bun.serve": "for the reasons in the lines above",
      "Deno.serve": "for the reasons in the lines above",
    },
    cases: ["passes any *"],
  },
  {
    what: "A head that does not end in time is refused",
    where: { "Bun.serve": "the server waits for it", "Deno.serve": "the server waits for it" },
    cases: ["ends a connection whose request's head does not end in time"],
  },
  {
    what: "A DEL in the target is refused",
    where: { "Bun.serve": "the server escapes it" },
    cases: ["takes for no request: a request line with a DEL in the target"],
  },
  {
    what: "A target with a fragment is refused",
    where: {
      "Bun.serve": "the server cuts it off",
      "Deno.serve": "the server cuts it off",
    },
    cases: ["refuses a request with a fragment in the target"],
  },
  {
    what: "An absolute target with a malformed authority is refused",
    where: { "Bun.serve": "the server drops it, and the Host line wins" },
    cases: [
      "takes for no request: an absolute target with no host",
      "takes for no request: an absolute target with a query and no host",
      "takes for no request: an absolute target with nothing behind the scheme",
      "takes for no request: an absolute target with a user before the host",
      "takes for no request: an absolute target with another host before @",
      "takes for no request: an absolute target with a backslash behind the host",
      "takes for no request: an absolute target with a port that is none",
      "takes for no request: an absolute target with half an IPv6 address",
      "takes for no request: an absolute target with an IPv6 address and more",
      "takes for no request: an absolute target with a fragment behind the host",
    ],
  },
  {
    what: "An absolute target with a fragment behind the host, without a host, or of a file is refused",
    where: {
      "Deno.serve": "the server cuts the fragment off, and takes the others for a path",
    },
    cases: [
      "takes for no request: an absolute target with a fragment behind the host",
      "takes for no request: an absolute target with no host",
      "takes for no request: an absolute target with a query and no host",
      "takes for no request: an absolute target with file as the scheme",
    ],
  },
  {
    what: "A connection ends with the refusal of `CONNECT` or of a transfer coding",
    where: { "Deno.serve": "a handler cannot end it: the next request is served" },
    cases: [
      "takes for no request: a CONNECT to a host",
      "takes for no request: a CONNECT to a host and a port",
      "takes for no request: coding gzip, chunked",
      "takes for no request: another coding and chunked",
    ],
  },
  {
    what: "A blank before a chunk's size is refused",
    where: { "Deno.serve": "the server skips it" },
    cases: ["takes for no whole request: chunks with a blank before the size"],
  },
  {
    what: "A body in chunks that ends without its empty line is refused",
    where: { "Bun.serve": "the server takes it for whole" },
    cases: [
      "takes for no whole request: chunks with no empty line at the end",
      "takes for no whole request: chunks with half an empty line at the end",
    ],
  },
  {
    what: "A DEL in a chunk's extension is refused",
    where: { "Bun.serve": "the server skips it" },
    cases: ["takes for no whole request: chunks with an extension with a DEL"],
  },
  {
    what: "An empty line before a request is tolerated",
    where: { "Bun.serve": "the server answers 400" },
    cases: ["takes for one request: an empty line before it"],
  },
  {
    what: "An HTTP/1.0 client may keep its connection",
    where: { "Bun.serve": "the server closes it" },
    cases: ["takes for one request: HTTP/1.0 that keeps the connection, with a length"],
  },
  {
    what: "`Upgrade` in a request with a body is ignored",
    where: { "Deno.serve": "the server answers 400" },
    cases: ["takes for one request: an upgrade with a body"],
  },
  {
    what: "Bare LF line ends are refused",
    where: { "Deno.serve": "the server takes them for line ends" },
    cases: [
      "refuses a request with bare LF line ends",
      "refuses a request with one bare LF line end",
      "takes for no request: an empty line of one LF",
      "takes for no request: a length behind a bare LF",
      "takes for no request: a coding behind a bare LF",
      "takes for no request: an LF for the last line end",
      "takes for no request: an LF for the empty line",
    ],
  },
];

/** Returns the exception that a case falls under in a place; what does not pass there does not from a replica either. */
export function exceptionOf(name: string, place: PlaceName): Exception | undefined {
  const own = name.startsWith(FROM_AFAR) ? name.slice(FROM_AFAR.length) : name;
  return EXCEPTIONS.find(
    (one) =>
      one.where[place] !== undefined &&
      one.cases.some((pattern) =>
        pattern.endsWith("*") ? own.startsWith(pattern.slice(0, -1)) : own === pattern,
      ),
  );
}
