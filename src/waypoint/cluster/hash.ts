/** Positions on a hash circle, as numbers of 53 bits: comparing and dividing them needs no bigint. */

/** Positions are integers in [0, POSITIONS). */
export const POSITIONS = 2 ** 53;

/** Spreads 32 bits over 32 bits, each input bit reaching each output bit (the finalizer of MurmurHash3). */
export function mix32(bits: number): number {
  let x = bits | 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

/** The position of two words. */
function join(high: number, low: number): number {
  return high * 0x200000 + (low >>> 11);
}

/** The position of a request's hash. */
export function hashPosition(hash: bigint | number): number {
  if (typeof hash === "bigint") return Number(BigInt.asUintN(64, hash) >> 11n);
  const low = mix32(hash % 0x1_0000_0000);
  return join(mix32(Math.floor(hash / 0x1_0000_0000) ^ low ^ 0x9e3779b9), low);
}

/** The position of one more try with the same hash. */
export function nextPosition(position: number, attempt: number): number {
  return attempt === 0 ? position : hashPosition(position + attempt * 0x1_0000_0001);
}

/** A number in [0, limit) that has nothing to do with where on the circle the position is. */
export function drawFrom(position: number, limit: number): number {
  return mix32((position % 0x1_0000_0000) ^ mix32(Math.floor(position / 0x1_0000_0000) + 1)) % limit;
}

/** Two words that stand for a host. */
export function keyWords(key: string): { high: number; low: number } {
  const hash = Bun.hash.xxHash64(key);
  return { high: Number(hash >> 32n), low: Number(hash & 0xffff_ffffn) };
}

/** The position of the nth point of a host on the circle. */
export function pointPosition(words: { readonly high: number; readonly low: number }, n: number): number {
  const high = mix32(words.high + Math.imul(n, 0x9e3779b9));
  return join(high, mix32(words.low ^ high ^ n));
}
