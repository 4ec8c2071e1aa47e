/** Ranges of virtual addresses (CIDR VIPs), found by an address within them. */
import { isIpv4, parseCidr, writeIp } from "../net/address.ts";
import { type Service, serviceKey } from "./service.ts";

/** A CIDR VIP, read: its prefix as four words, those of an IPv4 prefix being its bits and three zeros. */
export interface VipRange {
  readonly network: string;
  readonly family: Family;
  readonly length: number;
  readonly words: Int32Array;
}

type Family = "IPv4" | "IPv6";

/** All services that share one prefix, the earliest first. */
interface Entry {
  readonly words: Int32Array;
  readonly services: Service[];
}

/** The prefixes of one length, by a hash of their words: a Map of numbers needs no text for an address. */
interface Level {
  readonly length: number;
  readonly entries: Map<number, Entry[]>;
}

const bytes = new Uint8Array(16);
const view = new DataView(bytes.buffer);
const asked = new Int32Array(4);
const masked = new Int32Array(4);

/** The words of an IP. Throws RangeError when the text is no IP. */
function readWords(ip: string, into: Int32Array): void {
  bytes.fill(0);
  writeIp(ip, bytes, 0);
  for (let i = 0; i < 4; i++) into[i] = view.getInt32(4 * i);
}

function mask(words: Int32Array, length: number, into: Int32Array): void {
  for (let i = 0; i < 4; i++) {
    const bits = length - 32 * i;
    into[i] = bits <= 0 ? 0 : bits >= 32 ? words[i]! : words[i]! & (-1 << (32 - bits));
  }
}

function hash(words: Int32Array): number {
  let sum = words[0]!;
  for (let i = 1; i < 4; i++) sum = Math.imul(sum ^ (sum >>> 15), 0x2c1b3c6d) ^ words[i]!;
  return sum;
}

function equal(a: Int32Array, b: Int32Array): boolean {
  return a[0] === b[0] && a[1] === b[1] && a[2] === b[2] && a[3] === b[3];
}

/** Throws on a range that is none: whoever loads services refuses those before. */
export function parseRanges(service: Service): VipRange[] {
  return service.cidrVips.map(({ network, cidr }) => {
    const parsed = parseCidr(cidr);
    if (parsed === undefined) throw new Error(`service ${serviceKey(service)}: not a CIDR ${cidr}`);
    const ip = parsed.text.slice(0, parsed.text.indexOf("/"));
    const words = new Int32Array(4);
    readWords(ip, words);
    return { network, family: isIpv4(ip) ? "IPv4" : "IPv6", length: parsed.length, words };
  });
}

/** Of several with one prefix: the last canonical one, else the last. */
function preferred(services: readonly Service[], counts: (service: Service) => boolean): Service | undefined {
  let found: Service | undefined;
  for (const service of services) {
    if (counts(service) && (found === undefined || service.canonical || !found.canonical)) found = service;
  }
  return found;
}

/** A lookup costs one probe for each length that occurs in the network, however many ranges there are. */
export class VipRanges {
  /** Network → levels, the longest prefixes first. */
  readonly #levels: Record<Family, Map<string, Level[]>> = { IPv4: new Map(), IPv6: new Map() };

  add(service: Service, ranges: readonly VipRange[]): void {
    for (const range of ranges) {
      const { entries } = this.#level(range);
      const key = hash(range.words);
      const bucket = entries.get(key) ?? [];
      if (bucket.length === 0) entries.set(key, bucket);
      const entry = bucket.find(({ words }) => equal(words, range.words));
      if (entry === undefined) bucket.push({ words: range.words, services: [service] });
      else if (!entry.services.includes(service)) entry.services.push(service);
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

  remove(service: Service): void {
    for (const { network, family, length, words } of parseRanges(service)) {
      const levels = this.#levels[family].get(network);
      const level = levels?.find((other) => other.length === length);
      if (levels === undefined || level === undefined) continue;
      const key = hash(words);
      const rest = (level.entries.get(key) ?? [])
        .map((entry) => ({ ...entry, services: entry.services.filter((other) => other !== service) }))
        .filter(({ services }) => services.length > 0);
      if (rest.length > 0) level.entries.set(key, rest);
      else level.entries.delete(key);
      if (level.entries.size > 0) continue;
      levels.splice(levels.indexOf(level), 1);
      if (levels.length === 0) this.#levels[family].delete(network);
    }
  }

  /**
   * The service of a range around `ip`: of the client's own namespace, then of the longest prefix, then canonical.
   *
   * @param visible which services the client may see
   */
  find(
    network: string,
    ip: string,
    clientNamespace: string | undefined,
    visible: (service: Service) => boolean,
  ): Service | undefined {
    const levels = this.#levels[isIpv4(ip) ? "IPv4" : "IPv6"].get(network);
    if (levels === undefined) return undefined;
    try {
      readWords(ip, asked);
    } catch {
      return undefined;
    }
    let found: Service | undefined;
    for (const level of levels) {
      mask(asked, level.length, masked);
      const bucket = level.entries.get(hash(masked));
      if (bucket === undefined) continue;
      for (const { words, services } of bucket) {
        if (!equal(words, masked)) continue;
        const own = preferred(services, (service) => service.namespace === clientNamespace);
        if (own !== undefined) return own;
        found ??= preferred(services, visible);
      }
    }
    return found;
  }
}
