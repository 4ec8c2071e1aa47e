/** Ranges of virtual addresses (CIDR VIPs), found by an address within them. */
import { isIpv4, parseCidr, writeIp } from "../net/address.ts";
import { type Service, serviceKey } from "./service.ts";

type Family = "IPv4" | "IPv6";

/** The bits of an address or prefix as four words; those of IPv4 are its bits and three zeros. */
interface Words {
  a: number;
  b: number;
  c: number;
  d: number;
}

/** A CIDR VIP, read. */
export interface VipRange {
  readonly network: string;
  readonly family: Family;
  readonly length: number;
  readonly prefix: Readonly<Words>;
}

/** All services that share one prefix, the earliest first. */
interface Entry {
  readonly prefix: Readonly<Words>;
  services: readonly Service[];
  /** Another prefix with the same hash. */
  next: Entry | undefined;
}

/** The prefixes of one length, by a hash of their words: a Map of numbers needs no text for an address. */
interface Level {
  readonly length: number;
  readonly entries: Map<number, Entry>;
}

const bytes = new Uint8Array(16);
const view = new DataView(bytes.buffer);

/** Throws RangeError when the text is no IP. */
function readWords(ip: string, into: Words): void {
  bytes.fill(0);
  writeIp(ip, bytes, 0);
  into.a = view.getInt32(0);
  into.b = view.getInt32(4);
  into.c = view.getInt32(8);
  into.d = view.getInt32(12);
}

/** The bits of word number `word` that a prefix of `length` bits says something of. */
function maskOf(length: number, word: number): number {
  const bits = length - 32 * word;
  return bits <= 0 ? 0 : bits >= 32 ? -1 : -1 << (32 - bits);
}

function truncate(words: Readonly<Words>, length: number, into: Words): void {
  into.a = words.a & maskOf(length, 0);
  into.b = words.b & maskOf(length, 1);
  into.c = words.c & maskOf(length, 2);
  into.d = words.d & maskOf(length, 3);
}

/** Of IPv4 the bits themselves. */
function hash({ a, b, c, d }: Readonly<Words>): number {
  if ((b | c | d) === 0) return a;
  const ab = Math.imul(a ^ (a >>> 15), 0x2c1b3c6d) ^ b;
  const abc = Math.imul(ab ^ (ab >>> 15), 0x297a2d39) ^ c;
  return Math.imul(abc ^ (abc >>> 15), 0x2c1b3c6d) ^ d;
}

function equal(x: Readonly<Words>, y: Readonly<Words>): boolean {
  return x.a === y.a && x.b === y.b && x.c === y.c && x.d === y.d;
}

/** Throws on a range that is none: whoever loads services refuses those before. */
export function parseRanges(service: Service): readonly VipRange[] {
  return service.cidrVips.map(({ network, cidr }) => {
    const parsed = parseCidr(cidr);
    if (parsed === undefined) throw new Error(`service ${serviceKey(service)}: not a CIDR ${cidr}`);
    const ip = parsed.text.slice(0, parsed.text.indexOf("/"));
    const prefix = { a: 0, b: 0, c: 0, d: 0 };
    readWords(ip, prefix);
    return { network, family: isIpv4(ip) ? "IPv4" : "IPv6", length: parsed.length, prefix };
  });
}

/** Whether a client of a namespace may see the service; without a client namespace everything is seen. */
export function isVisible(service: Service, clientNamespace: string | undefined): boolean {
  return service.visibility === "Public" || clientNamespace === undefined || service.namespace === clientNamespace;
}

/** Of several visible ones with one prefix: the client's own, then a canonical one, then the last. */
function preferred(services: readonly Service[], clientNamespace: string | undefined): Service | undefined {
  let found: Service | undefined;
  let foundRank = -1;
  for (const service of services) {
    if (!isVisible(service, clientNamespace)) continue;
    const rank = (service.namespace === clientNamespace ? 2 : 0) + (service.canonical ? 1 : 0);
    if (rank < foundRank) continue;
    found = service;
    foundRank = rank;
  }
  return found;
}

/** A lookup costs one probe for each length that occurs in the network, however many ranges there are. */
export class VipRanges {
  /** Network → levels, the longest prefixes first. */
  readonly #levels: Record<Family, Map<string, Level[]>> = { IPv4: new Map(), IPv6: new Map() };
  readonly #asked: Words = { a: 0, b: 0, c: 0, d: 0 };
  readonly #truncated: Words = { a: 0, b: 0, c: 0, d: 0 };

  add(service: Service, ranges: readonly VipRange[]): void {
    for (const range of ranges) {
      const { entries } = this.#level(range);
      const key = hash(range.prefix);
      const first = entries.get(key);
      let entry = first;
      while (entry !== undefined && !equal(entry.prefix, range.prefix)) entry = entry.next;
      if (entry === undefined) entries.set(key, { prefix: range.prefix, services: [service], next: first });
      else if (!entry.services.includes(service)) entry.services = [...entry.services, service];
    }
  }

  #level({ network, family, length }: VipRange): Level {
    const networks = this.#levels[family];
    let levels = networks.get(network);
    if (levels === undefined) networks.set(network, levels = []);
    let level = levels.find((other) => other.length === length);
    if (level === undefined) {
      level = { length, entries: new Map() };
      const shorter = levels.findIndex((other) => other.length < length);
      levels.splice(shorter < 0 ? levels.length : shorter, 0, level);
    }
    return level;
  }

  remove(service: Service, ranges: readonly VipRange[]): void {
    for (const { network, family, length, prefix } of ranges) {
      const levels = this.#levels[family].get(network);
      const level = levels?.find((other) => other.length === length);
      if (levels === undefined || level === undefined) continue;
      const key = hash(prefix);
      const rest = withoutService(level.entries.get(key), prefix, service);
      if (rest !== undefined) level.entries.set(key, rest);
      else level.entries.delete(key);
      if (level.entries.size > 0) continue;
      levels.splice(levels.indexOf(level), 1);
      if (levels.length === 0) this.#levels[family].delete(network);
    }
  }

  /** The service of a range around `ip`: of the client's own namespace, then of the longest prefix, then canonical. */
  find(network: string, ip: string, clientNamespace: string | undefined): Service | undefined {
    const levels = this.#levels[isIpv4(ip) ? "IPv4" : "IPv6"].get(network);
    if (levels === undefined) return undefined;
    try {
      readWords(ip, this.#asked);
    } catch {
      return undefined;
    }
    let found: Service | undefined;
    for (const level of levels) {
      truncate(this.#asked, level.length, this.#truncated);
      let entry = level.entries.get(hash(this.#truncated));
      while (entry !== undefined && !equal(entry.prefix, this.#truncated)) entry = entry.next;
      const service = entry && preferred(entry.services, clientNamespace);
      if (service !== undefined && service.namespace === clientNamespace) return service;
      found ??= service;
    }
    return found;
  }
}

/** A chain of entries without a service of one of them, and without that one if it is left with none. */
function withoutService(entry: Entry | undefined, prefix: Readonly<Words>, service: Service): Entry | undefined {
  if (entry === undefined) return undefined;
  const next = withoutService(entry.next, prefix, service);
  const services = equal(entry.prefix, prefix) ? entry.services.filter((other) => other !== service) : entry.services;
  return services.length === 0 ? next : { prefix: entry.prefix, services, next };
}
