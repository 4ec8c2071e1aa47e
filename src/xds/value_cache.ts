import { scatter } from "./scatter.ts";

const FIRST_PLACES = 1 << 8;
const MOST_PLACES = 1 << 15;
/** Characters of a text that its hash is made of, from its end: names of one kind begin alike. */
const HASHED = 64;
/** Values of one hash that can be here at once. */
const WAYS = 4;

/**
 * Small immutable values that many records have (lists of services, ports, localities), by what is in them. As TextCache:
 * where all places are taken, a newcomer takes that of another, and a miss costs a copy more.
 */
export class ValueCache<T, Draft = T> {
  #values: (T | undefined)[] = new Array<T | undefined>(FIRST_PLACES);
  #hashes = new Int32Array(FIRST_PLACES);
  #used = 0;
  /** Which of a full bucket goes next. */
  #turn = 0;
  readonly #same: (value: T, draft: Draft) => boolean;
  readonly #make: (draft: Draft) => T;

  /**
   * @param same whether a value is that of a draft of the same hash
   * @param make the value of a draft, which keeps nothing of it: drafts are used again
   */
  constructor(same: (value: T, draft: Draft) => boolean, make: (draft: Draft) => T) {
    this.#same = same;
    this.#make = make;
  }

  /** The value of a draft: the one that is known already, or a new one. */
  share(draft: Draft, hash: number): T {
    // Filled from its beginning on.
    const first = scatter(hash) & (this.#values.length - WAYS);
    for (let place = first; place < first + WAYS; place++) {
      const known = this.#values[place];
      if (known === undefined) return this.#add(place, this.#make(draft), hash);
      if (this.#hashes[place] === (hash | 0) && this.#same(known, draft)) return known;
    }
    return this.#put(first + this.#turn++ % WAYS, this.#make(draft), hash);
  }

  /** Puts a value into one of its places. */
  #settle(value: T, hash: number): void {
    const first = scatter(hash) & (this.#values.length - WAYS);
    let place = first;
    while (place < first + WAYS - 1 && this.#values[place] !== undefined) place++;
    if (this.#values[place] === undefined) this.#used++;
    this.#put(place, value, hash);
  }

  /** At a place that nothing is at. */
  #add(place: number, value: T, hash: number): T {
    this.#put(place, value, hash);
    this.#used++;
    if (this.#used * 4 > this.#values.length && this.#values.length < MOST_PLACES) this.#grow();
    return value;
  }

  #put(place: number, value: T, hash: number): T {
    this.#values[place] = value;
    this.#hashes[place] = hash;
    return value;
  }

  #grow(): void {
    const [values, hashes] = [this.#values, this.#hashes];
    this.#values = new Array<T | undefined>(values.length * 4);
    this.#hashes = new Int32Array(values.length * 4);
    this.#used = 0;
    for (const [i, value] of values.entries()) if (value !== undefined) this.#settle(value, hashes[i]!);
  }
}

/** Hash of a text after what `seed` is the hash of. */
export function hashText(text: string, seed: number): number {
  let hash = Math.imul(seed, 31) + text.length;
  for (let i = Math.max(0, text.length - HASHED); i < text.length; i++) {
    hash = (Math.imul(hash, 31) + text.charCodeAt(i)) | 0;
  }
  return hash;
}
