/** Addresses and ranges as 32-bit words: ten thousand ranges are asked without parsing an address twice. */
import { canonicalIp, parseCidr, writeIp } from "../net/address.ts";

/** An address: one word for IPv4, four for IPv6. Family 0 is what is no IP: in no range. */
export interface IpBits {
  readonly family: 0 | 4 | 6;
  readonly words: Int32Array;
}

const NO_IP: IpBits = { family: 0, words: new Int32Array(4) };
const bytes = new Uint8Array(16);
const view = new DataView(bytes.buffer);

/** The bits of an IP text; IPv4-mapped IPv6 is IPv4. */
export function ipBits(text: string): IpBits {
  const ip = canonicalIp(text);
  return ip === undefined ? NO_IP : readBits(ip);
}

function readBits(ip: string): IpBits {
  const length = writeIp(ip, bytes, 0);
  const words = new Int32Array(length >> 2);
  for (let i = 0; i < words.length; i++) words[i] = view.getInt32(4 * i);
  return { family: length === 4 ? 4 : 6, words };
}

/** A range: `length` bits of `network`, whose other bits are 0. */
export interface RangeBits {
  readonly network: IpBits;
  readonly length: number;
}

/** `10.0.0.0/8`, `fd00::/8` or a bare IP; undefined: not a CIDR. IPv4-mapped IPv6 is IPv4. */
export function parseRange(text: string): RangeBits | undefined {
  const cidr = parseCidr(text);
  if (cidr === undefined) return undefined;
  return { network: readBits(cidr.text.slice(0, cidr.text.indexOf("/"))), length: cidr.length };
}

export type Range = (ip: IpBits) => boolean;

/** A test for a range; those of the other family never contain. undefined: not a CIDR. */
export function compileRange(text: string): Range | undefined {
  const range = parseRange(text);
  if (range === undefined) return undefined;
  const { network: { family, words }, length } = range;
  const first = words[0]!;
  if (family === 4) {
    const mask = wordMask(length, 0);
    return (ip) => ip.family === 4 && (ip.words[0]! & mask) === first;
  }
  const masks = Int32Array.from([0, 1, 2, 3], (word) => wordMask(length, word));
  return (ip) => {
    if (ip.family !== 6) return false;
    for (let i = 0; i < 4; i++) if ((ip.words[i]! & masks[i]!) !== words[i]) return false;
    return true;
  };
}

/** The first bits of an address as one value, equal for those of its family that share them. */
export function maskedBits({ words }: IpBits, length: number): number | string {
  if (words.length === 1) return words[0]! & wordMask(length, 0);
  let text = "";
  for (let i = 0; i < 4 && 32 * i < length; i++) text += `${words[i]! & wordMask(length, i)},`;
  return text;
}

/** The part of a prefix of `length` bits that is in word number `word`. */
function wordMask(length: number, word: number): number {
  const bits = Math.min(32, Math.max(0, length - 32 * word));
  return bits === 0 ? 0 : -1 << (32 - bits);
}
