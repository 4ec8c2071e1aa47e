/** Of a serial number in a list; RFC 5280 §4.1.2.2 knows 20. */
export const MAX_SERIAL = 64; // octets

const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/**
 * Serial numbers as a revocation list has them, without a copy: a hash table of offsets into the list's own bytes, 8 to 16
 * octets for each, where a Set of texts takes 100. Each offset is the content of a DER INTEGER of at most MAX_SERIAL
 * octets, so that the octet before it is its length. Leading zeros do not count.
 */
export class SerialSet {
  size = 0;
  readonly #bytes: Uint8Array;
  readonly #table: Uint32Array;
  readonly #mask: number;

  /** @param capacity serials that may be added */
  constructor(bytes: Uint8Array, capacity: number) {
    this.#bytes = bytes;
    let slots = 8;
    while (slots < 2 * capacity) slots *= 2;
    this.#table = new Uint32Array(slots);
    this.#mask = slots - 1;
  }

  /** @param offset of the content; not 0, which no element's content has */
  add(offset: number): void {
    const bytes = this.#bytes;
    const end = offset + (bytes[offset - 1] as number);
    let hash = FNV_OFFSET;
    let at = offset;
    while (at < end && bytes[at] === 0) at++;
    while (at < end) hash = Math.imul(hash ^ (bytes[at++] as number), FNV_PRIME);
    let slot = spread(hash) & this.#mask;
    // One that is there twice is kept twice, which does no harm.
    while (this.#table[slot] !== 0) slot = (slot + 1) & this.#mask;
    this.#table[slot] = offset;
    this.size++;
  }

  /** @param serial of serialKey */
  has(serial: string): boolean {
    let hash = FNV_OFFSET;
    for (let i = 0; i < serial.length; i++) hash = Math.imul(hash ^ serial.charCodeAt(i), FNV_PRIME);
    for (let slot = spread(hash) & this.#mask;; slot = (slot + 1) & this.#mask) {
      const offset = this.#table[slot] as number;
      if (offset === 0) return false;
      if (this.#equals(offset, serial)) return true;
    }
  }

  #equals(offset: number, serial: string): boolean {
    const bytes = this.#bytes;
    const end = offset + (bytes[offset - 1] as number);
    let at = offset;
    while (at < end && bytes[at] === 0) at++;
    if (end - at !== serial.length) return false;
    for (let i = 0; i < serial.length; i++) {
      if (bytes[at + i] !== serial.charCodeAt(i)) return false;
    }
    return true;
  }
}

/** The low bits of FNV-1a depend on the low bits of the input alone; serials that count up would lie side by side. */
function spread(hash: number): number {
  return hash ^ (hash >>> 15);
}

/** A serial number as SerialSet is asked for it: one character an octet. @param hex as X509Certificate has it */
export function serialKey(hex: string): string {
  const digits = hex.replace(/^0+/, "");
  let key = "";
  for (let i = digits.length % 2 === 0 ? 0 : -1; i < digits.length; i += 2) {
    key += String.fromCharCode(Number.parseInt(digits.slice(Math.max(i, 0), i + 2), 16));
  }
  return key;
}
