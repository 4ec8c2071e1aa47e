/** ROUND_ROBIN: in turn, from a random start; in proportion where weights differ. */
import type { Host } from "./host.ts";
import type { Picker } from "./picker.ts";
import type { Random } from "./random.ts";
import { Schedule } from "./schedule.ts";
import type { SlowStartWeights } from "./slow_start.ts";
import { equalWeights, type WeightedHost } from "./weighted_host.ts";

export class RoundRobin implements Picker {
  readonly #hosts: readonly WeightedHost[];
  readonly #random: Random;
  readonly #slowStart: SlowStartWeights | undefined;
  readonly #equal: boolean;
  #next: number;
  #schedule: Schedule | undefined;

  constructor(hosts: readonly WeightedHost[], random: Random, slowStart: SlowStartWeights | undefined) {
    this.#hosts = hosts;
    this.#random = random;
    this.#slowStart = slowStart;
    this.#equal = equalWeights(hosts);
    this.#next = Math.floor(random() * hosts.length);
  }

  pick(): Host {
    const hosts = this.#hosts;
    if (this.#equal && this.#slowStart?.active !== true) {
      const chosen = hosts[this.#next]!.host;
      this.#next = this.#next + 1 === hosts.length ? 0 : this.#next + 1;
      return chosen;
    }
    this.#schedule ??= new Schedule(hosts.length, (i) => this.#weight(i), this.#random);
    return hosts[this.#schedule.next()]!.host;
  }

  #weight(index: number): number {
    const weighted = this.#hosts[index]!;
    return this.#slowStart === undefined ? weighted.weight : this.#slowStart.weightOf(weighted);
  }
}
