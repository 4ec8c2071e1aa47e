import { Buffer } from "node:buffer";

/**
 * The part of DER (ITU-T X.690) that X.509 certificates need, both ways. Writing: each function returns one complete
 * element. Reading: `DerReader` walks elements of bytes that a TLS library has already accepted, and still checks
 * every length.
 */

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  sequence: 0x30,
  set: 0x31,
  utcTime: 0x17,
  generalizedTime: 0x18,
} as const;

/** Contents of the object identifiers in use (X.690 §8.19): the first two arcs as 40 a + b, then seven bits a byte. */
export const OID = {
  organizationName: Uint8Array.of(0x55, 4, 10), // 2.5.4.10
  subjectKeyIdentifier: Uint8Array.of(0x55, 29, 14), // 2.5.29.14
  keyUsage: Uint8Array.of(0x55, 29, 15),
  subjectAltName: Uint8Array.of(0x55, 29, 17),
  basicConstraints: Uint8Array.of(0x55, 29, 19),
  authorityKeyIdentifier: Uint8Array.of(0x55, 29, 35),
  extendedKeyUsage: Uint8Array.of(0x55, 29, 37),
  serverAuth: Uint8Array.of(0x2b, 6, 1, 5, 5, 7, 3, 1), // 1.3.6.1.5.5.7.3.1
  clientAuth: Uint8Array.of(0x2b, 6, 1, 5, 5, 7, 3, 2),
  ecPublicKey: Uint8Array.of(0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1), // 1.2.840.10045.2.1
  p256: Uint8Array.of(0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7), // 1.2.840.10045.3.1.7
  ecdsaWithSha256: Uint8Array.of(0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2), // 1.2.840.10045.4.3.2
  extensionRequest: Uint8Array.of(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 14), // 1.2.840.113549.1.9.14
} as const;

/** Tag of a context-specific element, `[n]`. */
export function contextTag(n: number, constructed: boolean): number {
  return (constructed ? 0xa0 : 0x80) | n;
}

/** One element: tag, length, and the parts one after another as its content. */
export function element(tag: number, ...parts: Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  return Buffer.concat([header(tag, length), ...parts]);
}

function header(tag: number, length: number): Uint8Array {
  if (length < 0x80) return Uint8Array.of(tag, length);
  if (length < 0x100) return Uint8Array.of(tag, 0x81, length);
  if (length < 0x10000) return Uint8Array.of(tag, 0x82, length >> 8, length & 0xff);
  throw new RangeError(`DER element of ${length} bytes`);
}

export function sequence(...parts: Uint8Array[]): Uint8Array {
  return element(TAG.sequence, ...parts);
}

export function boolean(value: boolean): Uint8Array {
  return element(TAG.boolean, Uint8Array.of(value ? 0xff : 0));
}

/** A non-negative integer from its big-endian bytes, in the shortest form. */
export function unsignedInteger(bigEndian: Uint8Array): Uint8Array {
  let start = 0;
  while (start < bigEndian.length - 1 && bigEndian[start] === 0) start++;
  const digits = bigEndian.subarray(start);
  const negative = ((digits[0] ?? 0) & 0x80) !== 0;
  return negative ? element(TAG.integer, Uint8Array.of(0), digits) : element(TAG.integer, digits);
}

/** A bit string of whole bytes. */
export function bitString(bytes: Uint8Array, unusedBits = 0): Uint8Array {
  return element(TAG.bitString, Uint8Array.of(unusedBits), bytes);
}

export function octetString(bytes: Uint8Array): Uint8Array {
  return element(TAG.octetString, bytes);
}

export function utf8String(text: string): Uint8Array {
  return element(TAG.utf8String, Buffer.from(text, "utf8"));
}

/** An object identifier from its content, one of OID. */
export function objectIdentifier(content: Uint8Array): Uint8Array {
  return element(TAG.oid, content);
}

/** RFC 5280 §4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050. Whole seconds; `time` in ms since the epoch. */
export function time(time: number): Uint8Array {
  const digits = new Date(time).toISOString().replace(/\.\d+Z$|[-:T]/g, "");
  const year = Number(digits.slice(0, 4));
  return year < 2050
    ? element(TAG.utcTime, Buffer.from(`${digits.slice(2)}Z`))
    : element(TAG.generalizedTime, Buffer.from(`${digits}Z`));
}

/** Thrown by `DerReader` for bytes that are not what the caller expects there. */
export class DerError extends Error {
  override name = "DerError";
}

/** Reads elements one after another out of `bytes`; views, nothing is copied. */
export class DerReader {
  #at = 0;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get atEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  /** Tag of the next element, undefined at the end. */
  get nextTag(): number | undefined {
    return this.#bytes[this.#at];
  }

  /** Content of the next element, which must have the tag `expected` if that is given. */
  read(expected?: number): Uint8Array {
    const tag = this.#byte();
    if (expected !== undefined && tag !== expected) {
      throw new DerError(`tag 0x${tag.toString(16)} at ${this.#at - 1}, expected 0x${expected.toString(16)}`);
    }
    let length = this.#byte();
    if (length >= 0x80) {
      const octets = length & 0x7f;
      if (octets === 0 || octets > 4) throw new DerError(`length of ${octets} octets at ${this.#at - 1}`);
      length = 0;
      for (let i = 0; i < octets; i++) length = length * 256 + this.#byte();
    }
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new DerError(`element ends at ${end} of ${this.#bytes.length} bytes`);
    const content = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return content;
  }

  /** A reader of the content of the next element. */
  enter(expected: number): DerReader {
    return new DerReader(this.read(expected));
  }

  #byte(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw new DerError(`ends at ${this.#at}`);
    this.#at++;
    return byte;
  }
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
