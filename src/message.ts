/**
 * Header lines in the order in which they came: name, value, name, value, and so on. Names keep their case, lines
 * that share a name stay apart, and a value holds one code unit for each byte (latin-1).
 */
export type HeaderLines = string[];

/** The bytes of a message: all of them, or a stream that is pulled, so that a slow reader slows the writer down. */
export type Body = Uint8Array | AsyncIterable<Uint8Array>;

/**
 * An informational response (1xx other than 101), as it is passed on while the final one is awaited; without a reason
 * phrase where none is known.
 */
export type Inform = (status: number, headers: HeaderLines, statusText?: string) => void;

/** A request as it came from a client, or as it goes to an upstream. */
export interface RequestMessage {
  /** The method, case-sensitive (RFC 9110 section 9.1). */
  readonly method: string;
  /** The request target in origin-form, byte for byte: path and query, beginning with `/`; or `*`. */
  readonly target: string;
  /** The header section, `Host` included. */
  readonly headers: HeaderLines;
  /** The content, or null when the message has none (neither `Content-Length` nor `Transfer-Encoding`). */
  readonly body: Body | null;
  /** Returns the trailer section once the body has ended. */
  readonly trailers?: (() => HeaderLines) | undefined;
  /** Aborts when whoever waits for the answer is gone. */
  readonly signal: AbortSignal;
  /** Takes informational responses; left out, they are dropped. */
  readonly inform?: Inform | undefined;
}

/** A request as an adapter hands it to the proxy. */
export interface IncomingRequest extends RequestMessage {
  /** How the client's connection to this process is secured. */
  readonly scheme: "http" | "https";
  /** The address of the peer of that connection; undefined when the runtime does not tell. */
  readonly clientAddress: string | undefined;
  /** True when the connection can become a tunnel after a 101 (RFC 9110 section 7.8). */
  readonly canUpgrade: boolean;
  /** How the adapter's runtime reaches an upstream best; undefined: WHATWG fetch. */
  readonly transport: Transport | undefined;
  /** The Web request this message was made from, if there is one. */
  readonly source?: Request | undefined;
  /** Runs this request instead of the proxy's target, where the proxy is within the app. */
  readonly app?: ((request: Request) => Promise<ResponseMessage>) | undefined;
}

/** A request on its way to an upstream: end-to-end headers only, but for `Connection: Upgrade` where it upgrades. */
export interface UpstreamRequest extends RequestMessage {
  /** The upstream's scheme, host and port, such as `http://127.0.0.1:8081`. */
  readonly origin: string;
  /** True when the request asks to switch protocols and the client's connection can follow. */
  readonly upgrade: boolean;
  /** Whether it writes, so that it must not be sent again however safe its method is (RFC 9110 section 9.2.2). */
  readonly once?: boolean | undefined;
  /** Follows the connection that the request is sent on, where whoever sends it wants to know. */
  readonly connect?:
    | {
        /**
         * Is called when a connection is to be opened. What it returns ends the attempt, as `"unreachable"`; it has no
         * effect once bytes may have been sent.
         */
        begin(): AbortSignal;
        /** Is called when there is a connection, at the latest when there is an answer. */
        done(): void;
      }
    | undefined;
}

/** A response, from an upstream or from the proxy itself. */
export interface ResponseMessage {
  /** The status code, 101 or 200 to 599. */
  readonly status: number;
  /** The reason phrase; may be empty. */
  readonly statusText: string;
  /** The header section; whoever holds the message may change it until the head has gone out. */
  readonly headers: HeaderLines;
  /** The content; null when there is none, as in an answer to HEAD, whatever the headers announce. */
  readonly body: Body | null;
  /** Returns the trailer section once the body has ended. */
  readonly trailers?: (() => HeaderLines) | undefined;
  /** With status 101: the upstream's end of the tunnel, for the adapter that owns the client's end. */
  readonly tunnel?: Tunnel | undefined;
  /** The Web response this message says the same as, if there is one. */
  readonly source?: Response | undefined;
}

/** Both directions of a connection that has left HTTP. */
export interface Tunnel {
  /** What the upstream sends. It ends when the upstream ends its side and throws when the connection breaks. */
  readonly readable: AsyncIterable<Uint8Array>;
  /** Sends bytes; resolves when more may be sent. */
  write(bytes: Uint8Array): Promise<void>;
  /** Ends the sending side. */
  end(): void;
  /** Breaks the connection. */
  destroy(): void;
}

/**
 * Sends a request to an upstream and returns its answer once the head is there.
 *
 * @throws {TransportError} When there is no answer.
 */
export type Transport = (request: UpstreamRequest) => Promise<ResponseMessage>;

/** Why a transport has no answer. */
export type TransportFailure =
  /** Nobody listens there; nothing was sent. */
  | "refused"
  /** The name or the network does not lead there, or not in time; nothing was sent. */
  | "unreachable"
  /** The head of the answer did not come in time. */
  | "timeout"
  /** The connection ended before the answer's head. */
  | "reset"
  /** What came is not an HTTP response (RFC 9112). */
  | "malformed"
  /** The request's signal aborted. */
  | "aborted"
  /** The request's own body failed: its sender broke off or broke the framing. */
  | "request";

/** A request has no answer; `failure` says why. */
export class TransportError extends Error {
  /** Why there is no answer. */
  readonly failure: TransportFailure;

  /**
   * Makes the error.
   *
   * @param failure Why there is no answer.
   * @param message The details, for the operator; they never reach a client.
   * @param options The underlying error as `cause`.
   */
  constructor(failure: TransportFailure, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "TransportError";
    this.failure = failure;
  }
}
