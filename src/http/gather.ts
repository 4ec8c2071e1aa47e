import { giveRest, takeSlab } from "../net/slab.ts";

/** Pieces from this size on are not copied: they leave by themselves. */
export const BY_REFERENCE: number = 16 << 10; // bytes

/** Least memory that is held while it fills. */
const PORTION = 1 << 10; // bytes

const NOTHING = new Uint8Array(0);

/** Small output of one connection on its way to being one piece. What was taken never changes. */
export class Gather {
  #slab: Uint8Array = NOTHING;
  #start = 0;
  #used = 0;

  /** Bytes gathered. */
  get size(): number {
    return this.#used - this.#start;
  }

  add(bytes: Uint8Array): void {
    const { length } = bytes;
    if (this.#used + length > this.#slab.length) this.#grow(length);
    this.#slab.set(bytes, this.#used);
    this.#used += length;
  }

  /** What was gathered, as one piece; undefined when there is nothing. */
  take(): Uint8Array | undefined {
    const { size } = this;
    if (size === 0) return undefined;
    const piece = this.#slab.subarray(this.#start, this.#used);
    this.#slab = NOTHING;
    this.#start = this.#used = 0;
    return piece;
  }

  #grow(bytes: number): void {
    const { size } = this;
    // What others of the same turn need comes from the same slab: only a portion is held while it fills.
    const whole = takeSlab(size + bytes);
    const portion = Math.max(PORTION, 2 * size + bytes);
    const slab = portion < whole.length ? whole.subarray(0, portion) : whole;
    if (portion < whole.length) giveRest(whole.subarray(portion));
    if (size > 0) slab.set(this.#slab.subarray(this.#start, this.#used));
    this.#slab = slab;
    this.#start = 0;
    this.#used = size;
  }
}
