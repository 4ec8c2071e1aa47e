import { scatter } from "./scatter.ts";

const FIRST_PLACES = 1 << 8;
const MOST_PLACES = 1 << 15;
/** Characters of a text that its hash is made of, from its end: names of one kind begin alike. */
const HASHED = 64;

/**
 * Small immutable values that many records have (lists of services, ports, localities), by what is in them. As TextCache:
 * a newcomer takes the place of whatever was there, and a miss costs a copy more.
 */
export class ValueCache<T> {
  #values: (T | undefined)[] = new Array<T | undefined>(FIRST_PLACES);
  #hashes = new Int32Array(FIRST_PLACES);
  #used = 0;
  readonly #same: (a: T, b: T) => boolean;

  /** @param same whether two values of equal hashes are equal */
  constructor(same: (a: T, b: T) => boolean) {
    this.#same = same;
  }

  /** The value equal to this one that is known already; else this one, which is from now on. */
  share(value: T, hash: number): T {
    const place = this.#place(hash);
    const known = this.#values[place];
    if (known !== undefined && this.#hashes[place] === (hash | 0) && this.#same(known, value)) return known;
    if (known === undefined) this.#used++;
    this.#values[place] = value;
    this.#hashes[place] = hash;
    if (this.#used * 4 > this.#values.length && this.#values.length < MOST_PLACES) this.#grow();
    return value;
  }

  #place(hash: number): number {
    return scatter(hash) & (this.#values.length - 1);
  }

  #grow(): void {
    const [values, hashes] = [this.#values, this.#hashes];
    this.#values = new Array<T | undefined>(values.length * 4);
    this.#hashes = new Int32Array(values.length * 4);
    this.#used = 0;
    for (const [i, value] of values.entries()) if (value !== undefined) this.share(value, hashes[i]!);
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

export function sameItems<T>(a: readonly T[], b: readonly T[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
