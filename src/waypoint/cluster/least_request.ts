/** LEAST_REQUEST: the less busy of a few hosts drawn at random; by weight over load where weights differ. */
import type { Host } from "./host.ts";
import type { Picker } from "./picker.ts";
import type { Random } from "./random.ts";
import { Schedule } from "./schedule.ts";
import type { SlowStartWeights } from "./slow_start.ts";
import { equalWeights, type WeightedHost } from "./weighted_host.ts";

export class LeastRequest implements Picker {
  readonly #hosts: readonly WeightedHost[];
  readonly #choices: number;
  readonly #random: Random;
  readonly #slowStart: SlowStartWeights | undefined;
  readonly #equal: boolean;
  #schedule: Schedule | undefined;

  constructor(
    hosts: readonly WeightedHost[],
    choices: number,
    random: Random,
    slowStart: SlowStartWeights | undefined,
  ) {
    this.#hosts = hosts;
    this.#choices = Math.max(1, choices);
    this.#random = random;
    this.#slowStart = slowStart;
    this.#equal = equalWeights(hosts);
  }

  pick(): Host {
    if (this.#equal && this.#slowStart?.active !== true) return this.#leastOfFew();
    this.#schedule ??= new Schedule(this.#hosts.length, (i) => this.#weight(i), this.#random);
    return this.#hosts[this.#schedule.next()]!.host;
  }

  /** weight / (active + 1): the load counts itself, with Envoy's default active_request_bias of 1. */
  #weight(index: number): number {
    const weighted = this.#hosts[index]!;
    const weight = this.#slowStart === undefined ? weighted.weight : this.#slowStart.weightOf(weighted);
    return weight / (weighted.host.activeRequests + 1);
  }

  #leastOfFew(): Host {
    const hosts = this.#hosts;
    let best = hosts[Math.floor(this.#random() * hosts.length)]!.host;
    if (hosts.length === 1) return best;
    for (let i = 1; i < this.#choices; i++) {
      const other = hosts[Math.floor(this.#random() * hosts.length)]!.host;
      if (other.activeRequests < best.activeRequests) best = other;
    }
    return best;
  }
}
