/** An IP address and a port. `ip` is canonical text: dotted IPv4, or RFC 5952 IPv6; IPv4-mapped IPv6 is written as IPv4. */
export interface SocketAddress {
  readonly ip: string;
  readonly port: number;
}

const ZERO = 48; // "0"
const DOT = 46;
const COLON = 58;

/** The 32 bits of a dotted IPv4 address in text[start..end), or -1. No leading zeros, no shorthands. */
function parseIpv4(text: string, start: number, end: number): number {
  if (end - start > 15 || end - start < 7) return -1;
  let bits = 0;
  let octet = -1;
  let octets = 0;
  for (let i = start; i < end; i++) {
    const code = text.charCodeAt(i);
    if (code === DOT) {
      if (octet < 0 || octets === 3) return -1;
      bits = bits * 256 + octet;
      octets++;
      octet = -1;
      continue;
    }
    const digit = code - ZERO;
    if (digit < 0 || digit > 9 || octet === 0) return -1;
    octet = octet < 0 ? digit : octet * 10 + digit;
    if (octet > 255) return -1;
  }
  return octet < 0 || octets !== 3 ? -1 : bits * 256 + octet;
}

/** The eight groups of an IPv6 address (RFC 4291 §2.2, no zone), or undefined. */
function parseIpv6(text: string): number[] | undefined {
  if (text.length < 2 || text.length > 45) return undefined;
  const groups: number[] = [];
  let gap = -1;
  let at = 0;
  if (text.startsWith("::")) {
    gap = 0;
    at = 2;
  }
  while (at < text.length) {
    if (groups.length === 8) return undefined;
    let end = at;
    let value = 0;
    for (; end < text.length; end++) {
      const digit = hexDigit(text.charCodeAt(end));
      if (digit < 0) break;
      value = value * 16 + digit;
    }
    if (end < text.length && text.charCodeAt(end) === DOT) {
      const tail = parseIpv4(text, at, text.length);
      if (tail < 0 || groups.length > 6) return undefined;
      groups.push(tail >>> 16, tail & 0xffff);
      at = text.length;
      break;
    }
    if (end === at || end - at > 4) return undefined;
    groups.push(value);
    if (end === text.length) {
      at = end;
      break;
    }
    if (text.charCodeAt(end) !== COLON) return undefined;
    at = end + 1;
    if (text.charCodeAt(at) === COLON) {
      if (gap >= 0) return undefined;
      gap = groups.length;
      at++;
    } else if (at === text.length) {
      return undefined;
    }
  }
  if (gap < 0) return groups.length === 8 ? groups : undefined;
  if (groups.length > 7) return undefined;
  const zeros = new Array<number>(8 - groups.length).fill(0);
  return [...groups.slice(0, gap), ...zeros, ...groups.slice(gap)];
}

function hexDigit(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  const lower = code | 0x20;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}

function formatIpv4(bits: number): string {
  return `${bits >>> 24}.${(bits >>> 16) & 255}.${(bits >>> 8) & 255}.${bits & 255}`;
}

/** RFC 5952 text of eight groups; IPv4-mapped groups become IPv4. */
function formatGroups(groups: ArrayLike<number>): string {
  const group = (i: number) => groups[i] ?? 0;
  if (isMapped(groups)) return formatIpv4(((group(6) << 16) | group(7)) >>> 0);
  let runStart = -1;
  let runLength = 1; // one zero group alone is never compressed (§4.2.2)
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && group(end) === 0) end++;
    if (end - i > runLength) {
      runStart = i;
      runLength = end - i;
    }
    if (end > i) i = end;
  }
  let text = "";
  for (let i = 0; i < 8; i++) {
    if (i === runStart) {
      text += "::";
      i += runLength - 1;
      continue;
    }
    if (text !== "" && !text.endsWith(":")) text += ":";
    text += group(i).toString(16);
  }
  return text;
}

function isMapped(groups: ArrayLike<number>): boolean {
  for (let i = 0; i < 5; i++) if (groups[i] !== 0) return false;
  return groups[5] === 0xffff;
}

/** The canonical text of an IP address (no brackets, zone or prefix length), or undefined when it is none. */
export function canonicalIp(text: string): string | undefined {
  if (parseIpv4(text, 0, text.length) >= 0) return text;
  const groups = parseIpv6(text);
  return groups === undefined ? undefined : formatGroups(groups);
}

/** Whether a canonical IP is IPv4. */
export function isIpv4(ip: string): boolean {
  return !ip.includes(":");
}

/** Whether a canonical IP is 127.0.0.0/8 or ::1. */
export function isLoopback(ip: string): boolean {
  return ip.startsWith("127.") || ip === "::1";
}

/** `10.0.0.1:80` or `[fd00::1]:80`. */
export function formatAddress(address: SocketAddress): string {
  return isIpv4(address.ip) ? `${address.ip}:${address.port}` : `[${address.ip}]:${address.port}`;
}

/** The inverse of formatAddress; also takes IPs that are not canonical. The port is decimal, 0 to 65535. */
export function parseAddress(text: string): SocketAddress | undefined {
  const colon = text.lastIndexOf(":");
  const port = parsePort(text, colon + 1);
  if (colon <= 0 || port < 0) return undefined;
  if (text.charCodeAt(0) !== 91) {
    return parseIpv4(text, 0, colon) < 0 ? undefined : { ip: text.slice(0, colon), port };
  }
  if (text.charCodeAt(colon - 1) !== 93) return undefined;
  const groups = parseIpv6(text.slice(1, colon - 1));
  return groups === undefined ? undefined : { ip: formatGroups(groups), port };
}

function parsePort(text: string, start: number): number {
  const digits = text.length - start;
  if (digits < 1 || digits > 5 || (digits > 1 && text.charCodeAt(start) === ZERO)) return -1;
  let port = 0;
  for (let i = start; i < text.length; i++) {
    const digit = text.charCodeAt(i) - ZERO;
    if (digit < 0 || digit > 9) return -1;
    port = port * 10 + digit;
  }
  return port > 65535 ? -1 : port;
}

/** The 4 or 16 bytes of an IP, network order. Throws RangeError when the text is no IP. */
export function ipToBytes(ip: string): Uint8Array {
  const bytes = new Uint8Array(isIpv4(ip) ? 4 : 16);
  writeIp(ip, bytes, 0);
  return bytes;
}

/** Writes an IP's bytes at `offset` of `target` and returns how many: 4 or 16. Throws RangeError when the text is no IP. */
export function writeIp(ip: string, target: Uint8Array, offset: number): number {
  const bits = parseIpv4(ip, 0, ip.length);
  if (bits >= 0) {
    target[offset] = bits >>> 24;
    target[offset + 1] = bits >>> 16;
    target[offset + 2] = bits >>> 8;
    target[offset + 3] = bits;
    return 4;
  }
  const groups = parseIpv6(ip);
  if (groups === undefined) throw new RangeError(`not an IP address: "${ip}"`);
  for (let i = 0; i < 8; i++) {
    const group = groups[i] ?? 0;
    target[offset + 2 * i] = group >>> 8;
    target[offset + 2 * i + 1] = group;
  }
  return 16;
}

/** The canonical text of 4 or 16 bytes in network order. Throws RangeError for any other length. */
export function ipFromBytes(bytes: Uint8Array): string {
  if (bytes.length !== 4 && bytes.length !== 16) throw new RangeError(`an IP has 4 or 16 bytes, not ${bytes.length}`);
  return readIp(bytes, 0, bytes.length);
}

/** Canonical text of the 4 or 16 bytes at `offset`. */
export function readIp(bytes: Uint8Array, offset: number, length: 4 | 16): string {
  if (length === 4) return `${bytes[offset]}.${bytes[offset + 1]}.${bytes[offset + 2]}.${bytes[offset + 3]}`;
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push(((bytes[offset + i] ?? 0) << 8) | (bytes[offset + i + 1] ?? 0));
  return formatGroups(groups);
}

/** A range of addresses. `length` is the prefix length in the family of `text`, which has its host bits cleared. */
export interface Cidr {
  readonly text: string;
  readonly length: number;
  /** Whether a canonical IP lies inside; false for the other family and for what is no IP. */
  contains(ip: string): boolean;
}

/** `10.0.0.0/8`, `fd00::/8`; a bare IP is a host route. Host bits are masked. Undefined when it is neither. */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf("/");
  const address = slash < 0 ? text : text.slice(0, slash);
  const bits = parseIpv4(address, 0, address.length);
  const groups = bits < 0 ? parseIpv6(address) : undefined;
  if (bits < 0 && groups === undefined) return undefined;
  const widest = bits < 0 ? 128 : 32;
  const length = slash < 0 ? widest : parsePort(text, slash + 1);
  if (length < 0 || length > widest) return undefined;
  if (groups === undefined) return new Ipv4Cidr(bits, length);
  if (isMapped(groups) && length >= 96) {
    return new Ipv4Cidr((((groups[6] ?? 0) << 16) | (groups[7] ?? 0)) >>> 0, length - 96);
  }
  return new Ipv6Cidr(groups, length);
}

class Ipv4Cidr implements Cidr {
  readonly text: string;
  readonly length: number;
  readonly #mask: number;
  readonly #network: number;

  constructor(bits: number, length: number) {
    this.length = length;
    this.#mask = length === 0 ? 0 : (-1 << (32 - length));
    this.#network = bits & this.#mask;
    this.text = `${formatIpv4(this.#network >>> 0)}/${length}`;
  }

  contains(ip: string): boolean {
    const bits = parseIpv4(ip, 0, ip.length);
    return bits >= 0 && (bits & this.#mask) === this.#network;
  }
}

class Ipv6Cidr implements Cidr {
  readonly text: string;
  readonly length: number;
  readonly #network: number[];

  constructor(groups: readonly number[], length: number) {
    this.length = length;
    this.#network = groups.map((group, i) => group & groupMask(length, i));
    // Never through formatGroups' IPv4 form: ::ffff:0:0/90 is a range of IPv6.
    const text = isMapped(this.#network) ? "::ffff:0:0" : formatGroups(this.#network);
    this.text = `${text}/${length}`;
  }

  contains(ip: string): boolean {
    if (isIpv4(ip)) return false;
    const groups = parseIpv6(ip);
    if (groups === undefined) return false;
    for (let i = 0; i < 8 && i * 16 < this.length; i++) {
      if (((groups[i] ?? 0) & groupMask(this.length, i)) !== this.#network[i]) return false;
    }
    return true;
  }
}

function groupMask(length: number, group: number): number {
  const bits = Math.min(16, Math.max(0, length - 16 * group));
  return (0xffff << (16 - bits)) & 0xffff;
}
