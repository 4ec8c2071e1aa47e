/**
 * DER (ITU-T X.690) read strictly and in place, for files that no TLS library has looked at before and that may hold a
 * hundred thousand elements: no views are made on the way, only offsets.
 */

/** Thrown for bytes that are not what the caller expects there; the message says where. */
export class MalformedDer extends Error {
  override name = "MalformedDer";
}

export const DER = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  enumerated: 0x0a,
  sequence: 0x30,
  set: 0x31,
  utcTime: 0x17,
  generalizedTime: 0x18,
} as const;

/** `[n]` EXPLICIT, or IMPLICIT of something constructed. */
export const CONSTRUCTED = 0xa0;
/** `[n]` IMPLICIT of something primitive. */
export const PRIMITIVE = 0x80;

/** Octets of a length: four would be 4 GiB. */
const MAX_LENGTH_OCTETS = 4;

/** Reads elements one after another between two offsets. `start` and `stop` are the content of the last one. */
export class DerCursor {
  readonly bytes: Uint8Array;
  /** Where the next element begins. */
  at: number;
  end: number;
  start = 0;
  stop = 0;

  constructor(bytes: Uint8Array, at = 0, end: number = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  get atEnd(): boolean {
    return this.at >= this.end;
  }

  /** Tag of the next element; -1 at the end. */
  get tag(): number {
    return this.at < this.end ? this.bytes[this.at] as number : -1;
  }

  /** Moves to the content of the last element of another cursor over the same bytes. */
  within(outer: DerCursor): this {
    this.at = outer.start;
    this.end = outer.stop;
    return this;
  }

  /** A cursor over the content of the last element. */
  inside(): DerCursor {
    return new DerCursor(this.bytes, this.start, this.stop);
  }

  /** Content of the last element; a view. */
  content(): Uint8Array {
    return this.bytes.subarray(this.start, this.stop);
  }

  /** Passes over the next element. @param expected its tag; left out: any */
  read(expected = -1): void {
    const { bytes, end } = this;
    const head = this.at;
    if (head + 2 > end) this.fail("ends within an element", head);
    const tag = bytes[head] as number;
    if (expected >= 0 && tag !== expected) this.fail(`has tag 0x${hex(tag)} where 0x${hex(expected)} belongs`, head);
    if ((tag & 0x1f) === 0x1f) this.fail("has a tag of several octets", head);
    let length = bytes[head + 1] as number;
    let start = head + 2;
    if (length >= 0x80) {
      const octets = length & 0x7f;
      if (octets === 0 || octets > MAX_LENGTH_OCTETS) this.fail(`has a length of ${octets} octets`, head);
      if (start + octets > end) this.fail("ends within an element", head);
      length = 0;
      for (let i = 0; i < octets; i++) length = length * 256 + (bytes[start++] as number);
      if (length < 0x80 || length < 256 ** (octets - 1)) {
        this.fail("has a length that is not in its shortest form", head);
      }
    }
    if (length > end - start) this.fail(`has an element of ${length} octets where ${end - start} are left`, head);
    this.start = start;
    this.at = this.stop = start + length;
  }

  /** Passes over the next element if it has this tag. */
  readIf(tag: number): boolean {
    if (this.tag !== tag) return false;
    this.read(tag);
    return true;
  }

  /** The next element, a BOOLEAN. @param tag where it is IMPLICIT */
  boolean(tag: number = DER.boolean): boolean {
    this.read(tag);
    const value = this.bytes[this.start];
    if (this.stop - this.start !== 1 || (value !== 0 && value !== 0xff)) this.fail("has no valid BOOLEAN", this.start);
    return value === 0xff;
  }

  /** The next element, an INTEGER or ENUMERATED in its shortest form, of at most so many octets. */
  integer(maxOctets: number, tag: number = DER.integer): void {
    this.read(tag);
    const { bytes, start } = this;
    const size = this.stop - start;
    if (size === 0 || size > maxOctets) this.fail(`has an integer of ${size} octets`, start);
    if (size === 1) return;
    const first = bytes[start] as number;
    const negative = (bytes[start + 1] as number) >= 0x80;
    if (negative ? first === 0xff : first === 0) this.fail("has an integer that is not in its shortest form", start);
  }

  /** Checks that nothing follows. */
  finish(): void {
    if (this.at < this.end) this.fail(`has ${this.end - this.at} octets too many`, this.at);
  }

  fail(what: string, offset: number): never {
    throw new MalformedDer(`${what}, at offset ${offset}`);
  }
}

function hex(octet: number): string {
  return octet.toString(16).padStart(2, "0");
}
