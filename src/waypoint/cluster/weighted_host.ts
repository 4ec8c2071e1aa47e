/** A host with the weight it has in a group of hosts. */
import type { Host } from "./host.ts";

export interface WeightedHost {
  readonly host: Host;
  /** Above 0. */
  readonly weight: number;
}

/** Whether all weights are equal: then there is no need to weigh. */
export function equalWeights(hosts: readonly WeightedHost[]): boolean {
  const first = hosts[0]?.weight;
  return hosts.every(({ weight }) => weight === first);
}
