import { scatter } from "./scatter.ts";

const FIRST_PLACES = 1 << 10;
/** References, 8 bytes each; enough for the service keys of 10 000 services to rarely push each other out. */
const MOST_PLACES = 1 << 16;
/** Longer texts are not kept. */
const LONGEST = 512; // characters
/** Of a text, for its hash. */
const HASHED = 64; // bytes
/** Texts of one hash that can be here at once: with one of each, a fifth of 20 000 texts would push out another. */
const WAYS = 4;

/**
 * Texts that many records have, by their bytes: 70 000 workloads have a few hundred namespaces and nodes between them, and
 * what is known is not decoded again. A cache and no registry: where all places are taken, a newcomer takes that of
 * another, and all that a miss costs is a decoding more. So nothing has to be given back when records go, and no push makes
 * it grow beyond its places. Only ASCII is found by its bytes.
 */
export class TextCache {
  #places: (string | undefined)[] = new Array<string | undefined>(FIRST_PLACES);
  #used = 0;
  /** Which of a full bucket goes next. */
  #turn = 0;

  /** The text of bytes[start..end), if it is here. */
  find(bytes: Uint8Array, start: number, end: number): string | undefined {
    const length = end - start;
    let hash = length;
    // From the end: names of one kind begin alike.
    for (let i = Math.max(start, end - HASHED); i < end; i++) hash = (Math.imul(hash, 31) + bytes[i]!) | 0;
    const first = this.#bucket(hash);
    for (let place = first; place < first + WAYS; place++) {
      const text = this.#places[place];
      if (text === undefined) return undefined;
      if (text.length === length && isAt(text, bytes, start)) return text;
    }
    return undefined;
  }

  /** Keeps a text and returns it, or an equal one that is here. */
  keep(text: string): string {
    if (text.length > LONGEST) return text;
    let hash = text.length;
    for (let i = Math.max(0, text.length - HASHED); i < text.length; i++) {
      hash = (Math.imul(hash, 31) + text.charCodeAt(i)) | 0;
    }
    const first = this.#bucket(hash);
    for (let place = first; place < first + WAYS; place++) {
      const known = this.#places[place];
      if (known === text) return known;
      if (known !== undefined) continue;
      this.#places[place] = text;
      this.#used++;
      if (this.#used * 4 > this.#places.length && this.#places.length < MOST_PLACES) this.#grow();
      return text;
    }
    this.#places[first + this.#turn++ % WAYS] = text;
    return text;
  }

  /** Where the places of a hash begin. They are filled from there on. */
  #bucket(hash: number): number {
    return scatter(hash) & (this.#places.length - WAYS);
  }

  #grow(): void {
    const before = this.#places;
    this.#places = new Array<string | undefined>(before.length * 4);
    this.#used = 0;
    for (const text of before) if (text !== undefined) this.keep(text);
  }
}

/** Of other texts than ASCII the bytes are not the characters: they are nowhere. */
function isAt(text: string, bytes: Uint8Array, start: number): boolean {
  for (let i = 0; i < text.length; i++) {
    const byte = bytes[start + i]!;
    if (byte >= 0x80 || text.charCodeAt(i) !== byte) return false;
  }
  return true;
}
