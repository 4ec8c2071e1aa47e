/**
 * Values that many records have in common, kept once: 70 000 workloads have a few hundred namespaces, nodes, port lists
 * and localities between them. These are caches and no registries: each has a fixed number of places, a newcomer takes
 * the place of whatever was there, and all that a miss costs is a copy more. So nothing has to be given back when
 * records go, and a hostile push cannot make them grow.
 */

const FIRST_PLACES = 1 << 10;
/** References, 8 bytes each; enough for the service keys of 10 000 services to rarely push each other out. */
const MOST_PLACES = 1 << 15;
/** Longer texts are not kept. */
const LONGEST = 512; // characters
/** Of a text, for its hash. */
const HASHED = 64; // bytes

/** ASCII texts by their bytes, so that a text that is known is never made again. */
export class TextCache {
  #places: (string | undefined)[] = new Array<string | undefined>(FIRST_PLACES);
  #used = 0;

  /** The text of bytes[start..end), if it is here. */
  find(bytes: Uint8Array, start: number, end: number): string | undefined {
    const length = end - start;
    let hash = length;
    // From the end: names of one kind begin alike.
    for (let i = Math.max(start, end - HASHED); i < end; i++) hash = (Math.imul(hash, 31) + bytes[i]!) | 0;
    const text = this.#places[this.#place(hash)];
    if (text === undefined || text.length !== length) return undefined;
    for (let i = 0; i < length; i++) {
      const byte = bytes[start + i]!;
      // Of other texts than ASCII the bytes are not the characters; they are found by no bytes.
      if (byte >= 0x80 || text.charCodeAt(i) !== byte) return undefined;
    }
    return text;
  }

  /** Keeps a text and returns it. */
  keep(text: string): string {
    if (text.length > LONGEST) return text;
    let hash = text.length;
    for (let i = Math.max(0, text.length - HASHED); i < text.length; i++) {
      hash = (Math.imul(hash, 31) + text.charCodeAt(i)) | 0;
    }
    const place = this.#place(hash);
    if (this.#places[place] === undefined) this.#used++;
    this.#places[place] = text;
    if (this.#used * 2 > this.#places.length && this.#places.length < MOST_PLACES) this.#grow();
    return text;
  }

  #place(hash: number): number {
    return (hash ^ (hash >>> 15)) & (this.#places.length - 1);
  }

  #grow(): void {
    const before = this.#places;
    this.#places = new Array<string | undefined>(before.length * 4);
    this.#used = 0;
    for (const text of before) if (text !== undefined) this.keep(text);
  }
}

/** Small immutable values by their content. */
export class ValueCache<T> {
  readonly #places: (T | undefined)[] = new Array<T | undefined>(FIRST_PLACES);
  readonly #same: (a: T, b: T) => boolean;

  /** @param same whether two values with equal hashes are equal */
  constructor(same: (a: T, b: T) => boolean) {
    this.#same = same;
  }

  /** A value equal to this one that is known already, or this one, which then is. */
  share(value: T, hash: number): T {
    const place = (hash ^ (hash >>> 15)) & (FIRST_PLACES - 1);
    const known = this.#places[place];
    if (known !== undefined && this.#same(known, value)) return known;
    this.#places[place] = value;
    return value;
  }
}

/** Hash of a text for ValueCache. */
export function hashText(text: string, seed: number): number {
  let hash = Math.imul(seed, 31) + text.length;
  for (let i = Math.max(0, text.length - HASHED); i < text.length; i++) {
    hash = (Math.imul(hash, 31) + text.charCodeAt(i)) | 0;
  }
  return hash;
}

export function sameItems<T>(a: readonly T[], b: readonly T[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
