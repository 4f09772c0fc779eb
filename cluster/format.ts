/** How far a node's database has come, as LiteFS counts it. */
export interface Point {
  /** The TXID: 16 lower-case hexadecimal digits. */
  readonly txid: string;
  /** The checksum of the database after that transaction: 16 lower-case hexadecimal digits. */
  readonly checksum: string;
}

/** The role of a node as the API and the events tell it. */
export interface Role {
  /** True on the node where writes run. */
  readonly isPrimary: boolean;
  /** The name of the remote primary; left out on the primary and where none is known. */
  readonly hostname?: string;
}

/** What an event tells of one transaction. */
export interface Change extends Point {
  /** When the primary committed it, in milliseconds since the Unix epoch. */
  readonly time: number;
  /** The size of the database after it, in pages. */
  readonly pages: number;
}

/** The position before the first transaction. */
export const origin: Point = { txid: "0".repeat(16), checksum: "0".repeat(16) };

/** What `.lag` says until the first synchronisation: the greatest signed 32-bit number. */
export const notReady = 2_147_483_647;

/** The size of a page of every database here, in bytes; SQLite's default. */
const pageSize = 4096;

/**
 * Returns the TXID after `txid`.
 *
 * @param txid 16 hexadecimal digits.
 */
export function nextTxid(txid: string): string {
  return (BigInt(`0x${txid}`) + 1n).toString(16).padStart(16, "0");
}

/** Returns the 34 bytes of a `-pos` file: `txid/checksum` and a line feed. */
export function positionText(point: Point): string {
  return `${point.txid}/${point.checksum}\n`;
}

/**
 * Returns the content of `.lag`: a sign, at least nine digits and a line feed.
 *
 * @param lag How far the node is behind, in milliseconds; negative when the clocks differ.
 */
export function lagText(lag: number): string {
  const digits = String(Math.abs(Math.trunc(lag))).padStart(9, "0");
  return `${lag < 0 ? "-" : "+"}${digits}\n`;
}

/**
 * Returns a time as Go writes it (RFC 3339, UTC), the zeros at the fraction's end left out.
 *
 * @param time Milliseconds since the Unix epoch.
 */
export function timeText(time: number): string {
  return new Date(time).toISOString().replace(/\.?0*Z$/, "Z");
}

/** Returns the first line of an event stream. */
export function initEvent(role: Role): string {
  return `${JSON.stringify({ type: "init", data: roleData(role) })}\n`;
}

/** Returns the line that tells of a new role or another primary. */
export function primaryChangeEvent(role: Role): string {
  return `${JSON.stringify({ type: "primaryChange", data: roleData(role) })}\n`;
}

/** Returns the line that tells of a transaction in the database called `database`. */
export function txEvent(database: string, change: Change): string {
  const data = {
    txID: change.txid,
    postApplyChecksum: change.checksum,
    pageSize,
    commit: change.pages,
    timestamp: timeText(change.time),
  };
  return `${JSON.stringify({ type: "tx", db: database, data })}\n`;
}

/** What `GET /info` tells. */
export interface Info {
  /** The cluster: `LFSC` and 16 hexadecimal digits. */
  readonly clusterID: string;
  /** True on the node where writes run. */
  readonly isPrimary: boolean;
  /** True when the node may become primary. */
  readonly candidate: boolean;
  /** The directory of the node's own data. */
  readonly path: string;
  /** The name of the primary, this node's own included; empty when there is none. */
  readonly hostname: string;
}

/** Returns the body of `GET /info`. */
export function infoText(info: Info): string {
  const { hostname, ...rest } = info;
  return `${JSON.stringify({ ...rest, primary: { hostname } }, null, 2)}\n`;
}

function roleData(role: Role): Role {
  const { isPrimary, hostname } = role;
  return hostname === undefined ? { isPrimary } : { isPrimary, hostname };
}
