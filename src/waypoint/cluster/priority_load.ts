/** How requests spread over the priorities of a cluster (Envoy: LoadBalancerBase, "priority levels"). Pure. */

export interface PriorityHealth {
  readonly healthy: number;
  readonly total: number;
}

export interface PriorityLoad {
  /** Share of each priority, percent; the sum is 100, or 0 when nothing can take a request. */
  readonly loads: readonly number[];
  /** Priorities in panic use all their hosts, healthy or not. */
  readonly panic: readonly boolean[];
}

/** What a priority can bear, percent: its share of healthy hosts times the overprovisioning factor, at most 100. */
function availability({ healthy, total }: PriorityHealth, overprovisioningPercent: number): number {
  return total === 0 ? 0 : Math.min(100, Math.floor((overprovisioningPercent * healthy) / total));
}

/** Hands out 100 percent, first priorities first, each up to what it can bear. */
function spill(available: readonly number[]): number[] {
  const sum = Math.min(100, available.reduce((total, percent) => total + percent, 0));
  if (sum === 0) return available.map(() => 0);
  let left = 100;
  const loads = available.map((percent) => {
    const load = Math.min(left, Math.floor((percent * 100) / sum));
    left -= load;
    return load;
  });
  // What rounding left over goes to the first that can take anything.
  const first = available.findIndex((percent) => percent > 0);
  loads[first] = (loads[first] ?? 0) + left;
  return loads;
}

/** Everything is in panic: by the number of hosts. */
function loadsBySize(priorities: readonly PriorityHealth[]): number[] {
  const hosts = priorities.reduce((sum, { total }) => sum + total, 0);
  if (hosts === 0) return priorities.map(() => 0);
  let left = 100;
  const loads = priorities.map(({ total }) => {
    const load = Math.floor((100 * total) / hosts);
    left -= load;
    return load;
  });
  const first = priorities.findIndex(({ total }) => total > 0);
  loads[first] = (loads[first] ?? 0) + left;
  return loads;
}

/**
 * @param overprovisioningPercent Envoy: 140
 * @param panicPercent below this share of healthy hosts a priority panics, unless the priorities together can bear
 *   everything; 0: never
 */
export function priorityLoad(
  priorities: readonly PriorityHealth[],
  overprovisioningPercent: number,
  panicPercent: number,
): PriorityLoad {
  const available = priorities.map((health) => availability(health, overprovisioningPercent));
  const sum = available.reduce((total, percent) => total + percent, 0);
  const panic = priorities.map(({ healthy, total }) =>
    panicPercent > 0 && sum < 100 && (total === 0 || (100 * healthy) / total < panicPercent)
  );
  const loads = panic.every((panics) => panics) ? loadsBySize(priorities) : spill(available);
  return { loads, panic };
}

/**
 * The loads for a retry that should go to another priority: what was tried counts as unavailable; once everything that
 * is available was tried, the original loads (Envoy: PreviousPrioritiesRetryPriority).
 */
export function retryLoads(
  priorities: readonly PriorityHealth[],
  overprovisioningPercent: number,
  tried: (index: number) => boolean,
  original: readonly number[],
): readonly number[] {
  const available = priorities.map((health, index) => tried(index) ? 0 : availability(health, overprovisioningPercent));
  return available.every((percent) => percent === 0) ? original : spill(available);
}
