/** Integers with a prefix (RFC 7541 §5.1). */

/** Larger ones are an error: no length or index that we take comes near (RFC 7541 §7.4). */
const MAX_INTEGER = 0x0fff_ffff;
const MAX_CONTINUATION = 5; // octets after the prefix, leading zeros included

/** A cursor over a header block; readers move `at` and must not pass `end`. */
export interface Cursor {
  bytes: Uint8Array;
  at: number;
  end: number;
}

/** Reads an integer whose prefix has `bits` bits, starting at the cursor. -1: cut off or too large. */
export function readInteger(from: Cursor, bits: number): number {
  const { bytes, end } = from;
  if (from.at >= end) return -1;
  const mask = (1 << bits) - 1;
  let value = bytes[from.at++]! & mask;
  if (value < mask) return value;
  let shift = 0;
  for (let i = 0; i < MAX_CONTINUATION; i++) {
    if (from.at >= end) return -1;
    const octet = bytes[from.at++]!;
    value += (octet & 0x7f) * 2 ** shift;
    if (value > MAX_INTEGER) return -1;
    if (octet < 0x80) return value;
    shift += 7;
  }
  return -1;
}

/** Writes an integer at `at` behind the pattern bits of the first octet; returns the offset after it. */
export function writeInteger(to: Uint8Array, at: number, value: number, bits: number, pattern: number): number {
  const mask = (1 << bits) - 1;
  if (value < mask) {
    to[at] = pattern | value;
    return at + 1;
  }
  to[at++] = pattern | mask;
  let rest = value - mask;
  while (rest >= 0x80) {
    to[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  to[at++] = rest;
  return at;
}
