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
    cases: ["passes the body of a GET", "sends a GET with a body once*"],
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
    ],
  },
  {
    what: "Trailers that would frame or route are refused",
    where: { "Deno.serve": "they are dropped with all others" },
    cases: [
      "never ends a request with a trailer that frames",
      "never ends a request with a trailer that routes",
      'lets no request through with the chunks "5\\r\\nhello\\r\\n0\\r\\nTransfer-Encoding: *',
      'lets no request through with the chunks "5\\r\\nhello\\r\\n0\\r\\nX-A: aaa*',
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
      "reads in one way a request with length 0 and another request behind it",
      "reads in one way a request with no framing and another request behind it",
      "reads in one way a request with a body by length that begins like chunks",
      "reads in one way a request with chunks and another request behind them",
      "reads in one way a request with blanks around its length",
      "reads in one way a request with a body that was announced, sent at once, and another request behind it",
      "reads in one way a request with an upgrade that the app does not take, and another request behind it",
      "reads in one way a request with a trailer with a name of its own",
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
      "passes 417 to a client that expects 100 with *",
      "passes 413 to a client that expects 100 with *",
      "passes 200 to a client that expects 100 with *",
    ],
  },
  {
    what: "An upload goes on while it is being answered",
    where: { "Deno.serve": "a read of the body that waits while the answer begins never ends" },
    cases: ["passes both ways at once: an answer that follows its upload"],
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
    what: "An empty line before a request is passed over",
    where: { "Bun.serve": "the server answers 400" },
    cases: ["reads in one way a request with an empty line before it"],
  },
  {
    what: "Absolute targets with a user, a backslash or no host are refused",
    where: {
      "Bun.serve": "`Request.url` is made of the Host line",
      "Deno.serve": "the Host line wins",
    },
    cases: [
      "lets no request through with a user in an absolute target",
      "lets no request through with an absolute target without a host",
      "lets no request through with a backslash in the host of an absolute target",
    ],
  },
  {
    what: "A DEL in the target is refused",
    where: { "Bun.serve": "the server escapes it" },
    cases: ["lets no request through with a DEL in the target"],
  },
  {
    what: "Other codings than chunked, and blanks before a chunk's size, are refused",
    where: { "Deno.serve": "the server passes over both" },
    cases: [
      'lets no request through with the coding "gzip, chunked"',
      'lets no request through with the chunks " 5\\r\\nhello*',
    ],
  },
  {
    what: "HTTP/2 is refused",
    where: { "Deno.serve": "the server speaks it" },
    cases: ["lets no request through with the preface of HTTP/2"],
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
    what: "Bare LF line ends are refused",
    where: { "Deno.serve": "the server takes them for line ends" },
    cases: [
      "refuses a request with bare LF line ends",
      "refuses a request with one bare LF line end",
      "lets no request through with an LF alone for the empty line",
      "lets no request through with a smuggled line behind a bare LF",
    ],
  },
];

/** Returns the exception that a case falls under in a place. */
export function exceptionOf(name: string, place: PlaceName): Exception | undefined {
  return EXCEPTIONS.find(
    (one) =>
      one.where[place] !== undefined &&
      one.cases.some((pattern) =>
        pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern,
      ),
  );
}
