import { scatter } from "./scatter.ts";

const FIRST_PLACES = 1 << 10;
/** References, 8 bytes each; enough for the service keys of 10 000 services to rarely push each other out. */
const MOST_PLACES = 1 << 16;
/** Longer texts are not kept. */
const LONGEST = 512; // characters
/** Of a text, for its hash. */
const HASHED = 64; // bytes

/**
 * Texts that many records have, by their bytes: 70 000 workloads have a few hundred namespaces and nodes between them, and
 * what is known is not decoded again. A cache and no registry: a newcomer takes the place of whatever was there, and all
 * that a miss costs is a decoding more. So nothing has to be given back when records go, and no push makes it grow beyond
 * its places. Only ASCII is found.
 */
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
    if (this.#used * 4 > this.#places.length && this.#places.length < MOST_PLACES) this.#grow();
    return text;
  }

  #place(hash: number): number {
    return scatter(hash) & (this.#places.length - 1);
  }

  #grow(): void {
    const before = this.#places;
    this.#places = new Array<string | undefined>(before.length * 4);
    this.#used = 0;
    for (const text of before) if (text !== undefined) this.keep(text);
  }
}
