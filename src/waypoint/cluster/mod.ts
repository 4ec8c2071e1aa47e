/** Load balancing: which host of an upstream cluster takes a request. Only dns.ts does I/O. */
export type { PickContext } from "./context.ts";
export type { HostState } from "./host.ts";
export type { Random } from "./random.ts";
export { type ClusterOptions, LoadBalancedCluster } from "./load_balanced_cluster.ts";
export { type Choice, ClusterSet, type ClusterSetOptions } from "./cluster_set.ts";
export { RetryBudget } from "./retry_budget.ts";
export { type Lookup, type ResolvedAddress, systemLookup } from "./dns.ts";
