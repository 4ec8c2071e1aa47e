import { ipToBytes, type SocketAddress } from "../net/address.ts";
import type { ChainChoice, ChainMatcher, DestinationMatch } from "./snapshot/mod.ts";

/** Ports of one destination. */
interface Destination {
  readonly ports: ReadonlyMap<number, ChainChoice>;
  readonly any: ChainChoice | undefined;
}

/** A range that is more than one address. */
interface Range {
  readonly bytes: Uint8Array;
  readonly length: number;
  readonly destination: Destination;
}

/**
 * Which chain serves an original destination (spec/waypoint.md §1.6): by the authority's text, then by the longest
 * matching prefix of the address, then by port. A longer prefix without the port hides shorter ones, as in Envoy.
 */
export class ChainIndex {
  readonly #authorities = new Map<string, ChainChoice>();
  readonly #hosts = new Map<string, Destination>();
  /** Longest first. */
  readonly #ranges: Range[] = [];

  constructor(matcher: ChainMatcher) {
    for (const [authority, choice] of Object.entries(matcher.authorities)) {
      this.#authorities.set(authority.toLowerCase(), choice);
    }
    for (const match of matcher.destinations) this.#add(match);
    this.#ranges.sort((a, b) => b.length - a.length);
  }

  /** @param destination undefined when the authority names a host */
  choose(authority: string, destination: SocketAddress | undefined): ChainChoice | undefined {
    if (this.#authorities.size > 0) {
      const named = this.#authorities.get(authority.toLowerCase());
      if (named !== undefined) return named;
    }
    if (destination === undefined) return undefined;
    const found = this.#hosts.get(destination.ip) ?? this.#inRange(destination.ip);
    return found?.ports.get(destination.port) ?? found?.any;
  }

  #add(match: DestinationMatch): void {
    const ports = new Map(Object.entries(match.ports).map(([port, choice]) => [Number(port), choice]));
    const destination: Destination = { ports, any: match.any };
    for (const cidr of match.cidrs) {
      const slash = cidr.indexOf("/");
      const ip = slash < 0 ? cidr : cidr.slice(0, slash);
      const bytes = ipToBytes(ip);
      const length = slash < 0 ? bytes.length * 8 : Number(cidr.slice(slash + 1));
      if (length === bytes.length * 8) {
        if (!this.#hosts.has(ip)) this.#hosts.set(ip, destination);
      } else this.#ranges.push({ bytes, length, destination });
    }
  }

  #inRange(ip: string): Destination | undefined {
    if (this.#ranges.length === 0) return undefined;
    const bytes = ipToBytes(ip);
    for (const range of this.#ranges) {
      if (range.bytes.length === bytes.length && samePrefix(range.bytes, bytes, range.length)) return range.destination;
    }
    return undefined;
  }
}

function samePrefix(a: Uint8Array, b: Uint8Array, length: number): boolean {
  const whole = length >> 3;
  for (let i = 0; i < whole; i++) if (a[i] !== b[i]) return false;
  const rest = length & 7;
  if (rest === 0) return true;
  const mask = 0xff << (8 - rest) & 0xff;
  return ((a[whole] as number) & mask) === ((b[whole] as number) & mask);
}
