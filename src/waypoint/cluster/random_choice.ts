/** RANDOM: each host with a probability in proportion to its weight (Envoy does not weigh here). */
import type { Host } from "./host.ts";
import type { Picker } from "./picker.ts";
import type { Random } from "./random.ts";
import { equalWeights, type WeightedHost } from "./weighted_host.ts";

/** Running sums of weights: the member at a point of [0, total) by binary search. */
export class RunningSums {
  readonly #sums: Float64Array;

  constructor(count: number, weightOf: (index: number) => number) {
    this.#sums = new Float64Array(count);
    let sum = 0;
    for (let i = 0; i < count; i++) this.#sums[i] = sum += weightOf(i);
  }

  get total(): number {
    return this.#sums[this.#sums.length - 1] ?? 0;
  }

  /** @param share of the total, [0, 1) */
  at(share: number): number {
    const point = share * this.total;
    let low = 0;
    let high = this.#sums.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#sums[middle]! > point) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

export class RandomChoice implements Picker {
  readonly #hosts: readonly WeightedHost[];
  readonly #random: Random;
  /** undefined: all weights are equal. */
  readonly #sums: RunningSums | undefined;

  constructor(hosts: readonly WeightedHost[], random: Random) {
    this.#hosts = hosts;
    this.#random = random;
    this.#sums = equalWeights(hosts) ? undefined : new RunningSums(hosts.length, (i) => hosts[i]!.weight);
  }

  pick(): Host {
    const share = this.#random();
    return this.#hosts[this.#sums?.at(share) ?? Math.floor(share * this.#hosts.length)]!.host;
  }
}
