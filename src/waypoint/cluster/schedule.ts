/** Earliest deadline first: each host is due again after 1/weight, so hosts come up in proportion to their weights. */
import type { Random } from "./random.ts";

/**
 * A heap of the numbers 0…count-1 by deadline. A weight is asked for when its owner was chosen, so weights may change
 * from one choice to the next (Envoy's EdfScheduler).
 */
export class Schedule {
  readonly #heap: Uint32Array;
  readonly #deadlines: Float64Array;
  readonly #weightOf: (index: number) => number;

  /**
   * @param weightOf above 0
   * @param random spreads the first deadlines, so that many proxies do not all begin with the same host
   */
  constructor(count: number, weightOf: (index: number) => number, random: Random) {
    this.#heap = new Uint32Array(count);
    this.#deadlines = new Float64Array(count);
    this.#weightOf = weightOf;
    for (let i = 0; i < count; i++) {
      this.#heap[i] = i;
      this.#deadlines[i] = random() / weightOf(i);
    }
    for (let i = (count >>> 1) - 1; i >= 0; i--) this.#sink(i);
  }

  /** The next in turn. */
  next(): number {
    const index = this.#heap[0]!;
    this.#deadlines[index] = this.#deadlines[index]! + 1 / this.#weightOf(index);
    this.#sink(0);
    return index;
  }

  #sink(from: number): void {
    const heap = this.#heap;
    const deadlines = this.#deadlines;
    const moving = heap[from]!;
    const deadline = deadlines[moving]!;
    let at = from;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && deadlines[heap[child + 1]!]! < deadlines[heap[child]!]!) child++;
      if (deadlines[heap[child]!]! >= deadline) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = moving;
  }
}
