/** Chance that a seed repeats. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 up to, but not, 1 (Mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  between(least: number, most: number): number {
    return least + this.next() * (most - least);
  }

  /** @throws RangeError of nothing */
  of<T>(values: readonly T[]): T {
    if (values.length === 0) throw new RangeError("a choice of nothing");
    return values[Math.floor(this.next() * values.length)] as T;
  }

  /** Time until the next of events that come by chance, so many a second; ms. */
  pause(perSecond: number): number {
    return -Math.log(1 - this.next()) * 1000 / perSecond;
  }
}
