/** Warm-up of new hosts (Envoy: SlowStartConfig; Istio: DestinationRule warmup). */
import type { SlowStart } from "../snapshot/cluster.ts";
import type { WeightedHost } from "./weighted_host.ts";

/**
 * Share of its weight that a host has after `elapsedMs` in the cluster:
 * `max(minimum, (elapsed / window) ^ (1 / aggression))`, 1 after the window.
 */
export function slowStartFactor(slowStart: SlowStart, elapsedMs: number): number {
  const { windowMs, aggression, minWeightPercent } = slowStart;
  if (elapsedMs >= windowMs) return 1;
  const time = Math.max(elapsedMs, 1) / windowMs;
  return Math.max(minWeightPercent / 100, aggression === 1 ? time : time ** (1 / aggression));
}

/** The factors of a group of hosts, and until when there are any. */
export class SlowStartWeights {
  readonly #slowStart: SlowStart;
  readonly #now: () => number;
  /** When the youngest host is warm. */
  readonly #until: number;

  constructor(hosts: readonly WeightedHost[], slowStart: SlowStart, now: () => number) {
    this.#slowStart = slowStart;
    this.#now = now;
    let youngest = -Infinity;
    for (const { host } of hosts) youngest = Math.max(youngest, host.since);
    this.#until = youngest + slowStart.windowMs;
  }

  /** Whether some host is still warming up. */
  get active(): boolean {
    return this.#now() < this.#until;
  }

  weightOf({ host, weight }: WeightedHost): number {
    return weight * slowStartFactor(this.#slowStart, this.#now() - host.since);
  }
}
