/** One load-balancing policy over one fixed group of hosts. */
import type { LoadBalancing, SlowStart } from "../snapshot/cluster.ts";
import type { Host } from "./host.ts";
import { LeastRequest } from "./least_request.ts";
import { Maglev } from "./maglev.ts";
import type { Random } from "./random.ts";
import { RandomChoice } from "./random_choice.ts";
import { RingHash } from "./ring_hash.ts";
import { RoundRobin } from "./round_robin.ts";
import { SlowStartWeights } from "./slow_start.ts";
import type { WeightedHost } from "./weighted_host.ts";

export interface Picker {
  /**
   * @param position of the request's hash (hash.ts); only hash policies look at it
   * @param attempt 0, or how many hosts were drawn and rejected for this request
   */
  pick(position: number, attempt: number): Host;
}

export interface PickerOptions {
  readonly random: Random;
  /** ms, monotonic */
  readonly now: () => number;
  readonly slowStart: SlowStart | undefined;
}

/** @param hosts at least one */
export function newPicker(policy: LoadBalancing, hosts: readonly WeightedHost[], options: PickerOptions): Picker {
  switch (policy.kind) {
    case "least-request":
      return new LeastRequest(hosts, policy.choices, options.random, slowStartOf(hosts, options));
    case "round-robin":
      return new RoundRobin(hosts, options.random, slowStartOf(hosts, options));
    case "random":
      return new RandomChoice(hosts, options.random);
    case "ring-hash":
      return new RingHash(hosts, policy.minimumSize, policy.maximumSize);
    case "maglev":
      return new Maglev(hosts, policy.tableSize);
  }
}

function slowStartOf(hosts: readonly WeightedHost[], options: PickerOptions): SlowStartWeights | undefined {
  return options.slowStart === undefined ? undefined : new SlowStartWeights(hosts, options.slowStart, options.now);
}
