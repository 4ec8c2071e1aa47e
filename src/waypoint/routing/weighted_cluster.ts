import type { ForwardAction, WeightedCluster } from "../snapshot/mod.ts";

/**
 * One of the clusters of an action, by their weights. A compiled route has at least one.
 * @param random uniform in [0, 1)
 */
export function pickCluster(action: ForwardAction, random: () => number): WeightedCluster {
  const { clusters } = action;
  const last = clusters.length - 1;
  if (last <= 0) return clusters[0]!;
  let total = 0;
  for (const { weight } of clusters) total += weight;
  let left = random() * total;
  for (let i = 0; i < last; i++) {
    const cluster = clusters[i]!;
    left -= cluster.weight;
    if (left < 0) return cluster;
  }
  return clusters[last]!;
}
