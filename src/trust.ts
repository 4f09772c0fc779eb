/** Tells whether an address belongs to a proxy whose forwarding headers are believed. */
export type Trust = (address: string) => boolean;

/** The networks in which the peers of a server behind a load balancer live: loopback, link-local, private. */
export const PRIVATE_NETWORKS: readonly string[] = [
  "127.0.0.0/8",
  "10.0.0.0/8",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "169.254.0.0/16",
  "100.64.0.0/10",
  "::1/128",
  "fc00::/7",
  "fe80::/10",
];

interface Network {
  readonly bytes: readonly number[];
  readonly bits: number;
}

/**
 * Compiles a list of addresses and networks in CIDR notation.
 *
 * @param networks Addresses such as `10.0.0.7` and networks such as `fdaa::/16`.
 * @throws {RangeError} When an entry is neither; the message quotes it.
 */
export function compileTrust(networks: readonly string[]): Trust {
  const parsed = networks.map(parseNetwork);
  // The same few load balancers come again and again; parsing an address each time would cost more than the request.
  const known = new Map<string, boolean>();
  return (address) => {
    const answer = known.get(address);
    if (answer !== undefined) return answer;
    const bytes = parseAddress(address);
    const trusted = bytes !== undefined && parsed.some((network) => contains(network, bytes));
    if (known.size >= 1024) known.clear();
    known.set(address, trusted);
    return trusted;
  };
}

function parseNetwork(text: string): Network {
  const slash = text.indexOf("/");
  const bytes = parseAddress(slash === -1 ? text : text.slice(0, slash));
  const size = (bytes?.length ?? 0) * 8;
  const prefix = slash === -1 ? String(size) : text.slice(slash + 1);
  if (bytes === undefined || !/^\d{1,3}$/.test(prefix) || Number(prefix) > size) {
    throw new RangeError(`"${text}" is not an IP address or a network such as "10.0.0.0/8"`);
  }
  return { bytes, bits: Number(prefix) };
}

function contains(network: Network, bytes: readonly number[]): boolean {
  if (bytes.length !== network.bytes.length) return false;
  for (let bit = 0; bit < network.bits; bit += 8) {
    const mask = network.bits - bit >= 8 ? 0xff : 0xff & (0xff << (8 - (network.bits - bit)));
    if (((bytes[bit >> 3] ?? 0) & mask) !== ((network.bytes[bit >> 3] ?? 0) & mask)) return false;
  }
  return true;
}

/** Returns the 4 or 16 bytes of an address; an IPv4-mapped one counts as IPv4 (RFC 4291 section 2.5.5.2). */
function parseAddress(text: string): readonly number[] | undefined {
  const zone = text.indexOf("%");
  const address = (zone === -1 ? text : text.slice(0, zone)).toLowerCase();
  if (!address.includes(":")) return parseIPv4(address);
  const bytes = parseIPv6(address);
  const isMapped =
    bytes?.slice(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff;
  return isMapped ? bytes?.slice(12) : bytes;
}

function parseIPv4(text: string): number[] | undefined {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) < 256))
    return undefined;
  return parts.map(Number);
}

function parseIPv6(text: string): number[] | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0] ?? "");
  const tail = parseGroups(halves[1] ?? "");
  if (head === undefined || tail === undefined) return undefined;
  const missing = 16 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 2) return undefined;
  return [...head, ...Array.from({ length: missing }, () => 0), ...tail];
}

function parseGroups(text: string): number[] | undefined {
  if (text === "") return [];
  const bytes: number[] = [];
  const groups = text.split(":");
  for (const [index, group] of groups.entries()) {
    const embedded = index === groups.length - 1 ? parseIPv4(group) : undefined;
    if (embedded !== undefined) bytes.push(...embedded);
    else if (/^[0-9a-f]{1,4}$/.test(group))
      bytes.push(Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 0xff);
    else return undefined;
  }
  return bytes;
}

/**
 * Returns the network that one client can take its addresses from: an IPv4 address itself, of an IPv6 address the first
 * 64 bits (RFC 4291 section 2.5.4).
 *
 * @param address The address; what is none is returned as it is.
 */
export function clientNetwork(address: string): string {
  const bytes = parseAddress(address);
  if (bytes === undefined) return address;
  return bytes.slice(0, bytes.length === 16 ? 8 : 4).join(".");
}
