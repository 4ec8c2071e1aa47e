/** Short ways to write clusters, and random numbers that can be repeated. */
import type { HostState, LoadBalancedCluster, PickContext, Random } from "../../../src/waypoint/cluster/mod.ts";
import type { Cluster, ClusterEndpoint, LocalityEndpoints } from "../../../src/waypoint/snapshot/mod.ts";

/** mulberry32 */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

export function endpoint(address: string, given: Partial<ClusterEndpoint> = {}): ClusterEndpoint {
  return {
    kind: "hbone",
    address,
    additionalAddresses: [],
    tunnel: undefined,
    innerAuthority: undefined,
    expectedIdentities: [],
    weight: 1,
    health: "healthy",
    workload: undefined,
    ...given,
  };
}

/** Endpoints `10.<priority>.<third>.1:80` and so on, one for each weight. */
export function weighted(weights: readonly number[], priority = 0, third = 0): ClusterEndpoint[] {
  return weights.map((weight, i) => endpoint(`10.${priority}.${third}.${i + 1}:80`, { weight }));
}

export function locality(
  endpoints: readonly ClusterEndpoint[],
  given: Partial<Omit<LocalityEndpoints, "locality">> & { zone?: string } = {},
): LocalityEndpoints {
  return {
    locality: { region: "r", zone: given.zone ?? "", subzone: "" },
    priority: given.priority ?? 0,
    weight: given.weight,
    endpoints,
  };
}

/** How many of `total` endpoints of a priority are healthy. */
export function partly(healthy: number, total: number, priority: number): LocalityEndpoints {
  const endpoints = weighted(new Array<number>(total).fill(1), priority)
    .map((one, i): ClusterEndpoint => i < healthy ? one : { ...one, health: "unhealthy" });
  return locality(endpoints, { priority });
}

export function cluster(localities: readonly LocalityEndpoints[], given: Partial<Cluster> = {}): Cluster {
  const unlimited = 0xffff_ffff;
  return {
    name: "inbound-vip|80|http|web.shop.svc.cluster.local",
    discovery: { kind: "static" },
    localities,
    protocol: "http1",
    loadBalancing: { kind: "round-robin" },
    slowStart: undefined,
    panicPercent: 0,
    localityWeighted: false,
    overprovisioningPercent: 140,
    connectTimeoutMs: 10_000,
    breakers: {
      maxConnections: unlimited,
      maxPendingRequests: unlimited,
      maxRequests: unlimited,
      maxRetries: unlimited,
      retryBudget: undefined,
    },
    outlier: undefined,
    keepalive: undefined,
    maxRequestsPerConnection: 0,
    idleTimeoutMs: 0,
    maxConnectionDurationMs: 0,
    tls: undefined,
    proxyProtocol: undefined,
    preserveHeaderCase: false,
    service: undefined,
    subset: undefined,
    source: "",
    ...given,
  };
}

/** How often each host is chosen. */
export function tally(
  balanced: LoadBalancedCluster,
  times: number,
  context: (i: number) => PickContext = () => ({}),
): Map<string, number> {
  const counts = new Map<string, number>();
  for (let i = 0; i < times; i++) {
    const address = balanced.pick(context(i))?.endpoint.address ?? "none";
    counts.set(address, (counts.get(address) ?? 0) + 1);
  }
  return counts;
}

/**
 * Pearson's statistic of counts against shares. For k hosts its mean is k-1 and its deviation sqrt(2(k-1)): values far
 * above tell that the choice is not what it should be.
 */
export function chiSquare(counts: ReadonlyMap<string, number>, shares: ReadonlyMap<string, number>): number {
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
  const weight = [...shares.values()].reduce((sum, share) => sum + share, 0);
  let sum = 0;
  for (const [address, share] of shares) {
    const expected = (total * share) / weight;
    sum += ((counts.get(address) ?? 0) - expected) ** 2 / expected;
  }
  return sum;
}

export function sharesOf(endpoints: readonly ClusterEndpoint[]): Map<string, number> {
  return new Map(endpoints.map(({ address, weight }) => [address, weight]));
}

export function host(balanced: LoadBalancedCluster, address: string): HostState {
  for (const one of balanced.hosts()) if (one.endpoint.address === address) return one;
  throw new Error(`no host ${address}`);
}
