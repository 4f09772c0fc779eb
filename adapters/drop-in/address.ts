import { isIP, isIPv4 } from "node:net";
import { ConfigError } from "./error.ts";

/** An address to listen on or to connect to. */
export interface Address {
  /** The name or IP address, without brackets; empty for all interfaces of this machine. */
  readonly host: string;
  /** The port, 0 to 65535. */
  readonly port: number;
}

/**
 * Reads `host:port`, `[ipv6]:port` or `:port`.
 *
 * @param text The address.
 * @param example What a right one looks like, for the message.
 * @throws {ConfigError} When it is none.
 */
export function parseAddress(text: string, example: string): Address {
  if (/^\d+$/.test(text))
    throw new ConfigError(`"${text}" is a port without its colon, write ":${text}"`);
  const [, bracketed, plain, digits] = /^(?:\[([^\]]*)\]|([^:[\]]*)):(\d+)$/.exec(text) ?? [];
  if (digits === undefined) {
    if (isIP(text) === 6) throw new ConfigError(`"${text}" has no port, write "[${text}]:8080"`);
    if (text !== "" && !/[:/]/.test(text))
      throw new ConfigError(`"${text}" has no port, write "${text}:8080"`);
    throw new ConfigError(
      `${JSON.stringify(text)} is not an address, write host and port such as "${example}"`,
    );
  }
  const port = Number(digits);
  if (port > 65535)
    throw new ConfigError(`"${text}" has the port ${digits}, the highest port is 65535`);
  const host = bracketed ?? plain ?? "";
  if (bracketed !== undefined && isIP(bracketed) !== 6) {
    throw new ConfigError(`"${text}" has no IPv6 address in its brackets, write "[::1]:${digits}"`);
  }
  if (bracketed === undefined && !/^[\w.-]*$/.test(host)) {
    throw new ConfigError(
      `${JSON.stringify(text)} has no host name before its colon, write "${example}"`,
    );
  }
  return { host, port };
}

/**
 * Writes an address as `host:port`, an IPv6 address in brackets.
 *
 * @param address The address.
 */
export function formatAddress(address: Address): string {
  return `${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`;
}

/**
 * Reads the app's or the API's place as LiteFS does, `host:port` with the scheme http, or as an http(s) URL.
 *
 * @param text The place; without a host it is this machine.
 * @param example What a right one looks like, for the message.
 * @returns The origin, such as `http://localhost:8081`.
 * @throws {ConfigError} When it is none.
 */
export function parseOrigin(text: string, example: string): string {
  if (/^\d+$/.test(text)) {
    throw new ConfigError(`"${text}" is a port without a host, write "localhost:${text}"`);
  }
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase();
  if (scheme !== undefined && scheme !== "http" && scheme !== "https") {
    throw new ConfigError(`"${text}" has the scheme ${scheme}, write "${example}"`);
  }
  const rest = scheme === undefined ? text : text.slice(scheme.length + 3);
  const authority = rest.replace(/\/$/, "");
  if (authority === "" || /[/?#@\\\s]/.test(authority)) {
    throw new ConfigError(`${JSON.stringify(text)} is not host and port alone, write "${example}"`);
  }
  if (isIP(authority) === 6)
    throw new ConfigError(`"${text}" has no port, write "[${authority}]:8081"`);
  const hasPort = /:\d+$/.test(authority);
  const port = scheme === "https" ? 443 : 80;
  const address = parseAddress(hasPort ? authority : `${authority}:${port}`, example);
  if (address.port === 0)
    throw new ConfigError(`"${text}" has the port 0, write the port it listens on`);
  const host = address.host === "" ? "localhost" : address.host;
  const origin = `${scheme ?? "http"}://${formatAddress({ ...address, host })}`;
  if (!URL.canParse(origin)) throw new ConfigError(`"${host}" is not a host, write "${example}"`);
  return origin;
}

/**
 * Tells whether connecting to an origin reaches whoever listens on an address of this machine.
 *
 * @param origin The origin, as `parseOrigin` returns it.
 * @param listen The address that is listened on.
 */
export function reaches(origin: string, listen: Address): boolean {
  const url = new URL(origin);
  const standard = url.protocol === "https:" ? 443 : 80;
  const port = url.port === "" ? standard : Number(url.port);
  if (listen.port === 0 || port !== listen.port) return false;
  const host = url.hostname.replace(/^\[|\]$/g, "");
  if (host === listen.host) return true;
  return isLocal(host) && (isLocal(listen.host) || ["", "0.0.0.0", "::"].includes(listen.host));
}

function isLocal(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIPv4(host) && host.startsWith("127."));
}
