/** What an HTTP/1.1 message may cost before it is refused. */
export interface Limits {
  /** The greatest head in bytes: start line and header section. LiteFS passes 100 KiB. */
  readonly headBytes: number;
  /** The greatest number of field lines in a head or a trailer section. */
  readonly fields: number;
  /** The greatest trailer section, and the greatest chunk-size line, in bytes. */
  readonly trailerBytes: number;
}

/** The limits of both ends. */
export const DEFAULT_LIMITS: Limits = {
  headBytes: 128 * 1024,
  fields: 1000,
  trailerBytes: 16 * 1024,
};

/**
 * How long is read on what a client sends behind its last answer, in milliseconds: a connection that ends with bytes
 * unread is reset, and the reset may overtake the answer (RFC 9112 section 9.6).
 */
export const LINGER = 2000;

/**
 * How long a connection may be silent before the system asks whether its peer is still there, in milliseconds; LiteFS's
 * interval. Streams and tunnels have no time limit of their own, and a machine that is gone says nothing.
 */
export const PROBE_DELAY = 30_000;
