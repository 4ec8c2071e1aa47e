/** Which host of a cluster takes a request: priorities, localities, health, policy and what was tried before. */
import type { Cluster, ClusterEndpoint, LocalityEndpoints } from "../snapshot/cluster.ts";
import type { PickContext } from "./context.ts";
import { drawFrom, hashPosition, POSITIONS } from "./hash.ts";
import { endpointKey, Host, type HostState } from "./host.ts";
import { authorityKey, bareEndpoint, OnDemandHosts } from "./on_demand_hosts.ts";
import type { PickerOptions } from "./picker.ts";
import { type PriorityLoad, priorityLoad, retryLoads } from "./priority_load.ts";
import { type LocalityHosts, PrioritySet } from "./priority_set.ts";
import type { Random } from "./random.ts";
import { RetryBudget } from "./retry_budget.ts";

/** Envoy's host_selection_retry_max_attempts as Istio sets it. */
const OTHER_HOST_ATTEMPTS = 5;

export interface ClusterOptions {
  readonly random?: Random | undefined;
  /** ms, monotonic. */
  readonly now?: (() => number) | undefined;
  /** A host has left: connections to it can be drained. */
  readonly hostRemoved?: ((host: HostState) => void) | undefined;
}

/**
 * A cluster with the state of its hosts. `update` replaces the configuration in place and keeps the state of endpoints
 * that stay. Clusters with discovery `dns` have no hosts until `setEndpoints` tells the resolved ones.
 */
export class LoadBalancedCluster {
  #cluster: Cluster;
  readonly #random: Random;
  readonly #now: () => number;
  readonly #hostRemoved: ((host: HostState) => void) | undefined;
  #hosts = new Map<string, Host>();
  /** Ascending by priority. */
  #priorities: readonly PrioritySet[] = [];
  #load: PriorityLoad = { loads: [], panic: [] };
  readonly #onDemand: OnDemandHosts;
  readonly retries: RetryBudget;

  constructor(cluster: Cluster, options: ClusterOptions = {}) {
    this.#cluster = cluster;
    this.#random = options.random ?? Math.random;
    this.#now = options.now ?? (() => performance.now());
    this.#hostRemoved = options.hostRemoved;
    this.#onDemand = new OnDemandHosts(this.#now, (host) => this.#hostRemoved?.(host));
    this.retries = new RetryBudget(cluster.breakers);
    if (cluster.discovery.kind !== "dns") this.setEndpoints(cluster.localities);
  }

  get cluster(): Cluster {
    return this.#cluster;
  }

  /** All hosts, for dumps. */
  *hosts(): Generator<HostState> {
    yield* this.#hosts.values();
    yield* this.#onDemand.values();
  }

  /** The newest configuration; for discovery `dns` the hosts stay until `setEndpoints`. */
  update(cluster: Cluster): void {
    const before = this.#cluster;
    this.#cluster = cluster;
    this.retries.update(cluster.breakers);
    if (before.discovery.kind !== cluster.discovery.kind) this.#onDemand.clear();
    if (cluster.discovery.kind !== "dns") this.setEndpoints(cluster.localities);
    else if (before.discovery.kind !== "dns") this.setEndpoints([]);
  }

  /** What the cluster consists of now. Of endpoints with the same key the first counts. */
  setEndpoints(
    localities: readonly LocalityEndpoints[],
    keyOf: (endpoint: ClusterEndpoint) => string = endpointKey,
  ): void {
    const previous = this.#hosts;
    this.#hosts = new Map();
    const byPriority = new Map<number, LocalityHosts[]>();
    for (const locality of localities) {
      const hosts = this.#hostsOf(locality, previous, keyOf);
      if (hosts.length === 0) continue;
      let list = byPriority.get(locality.priority);
      if (list === undefined) byPriority.set(locality.priority, list = []);
      list.push({ hosts, weight: locality.weight });
    }
    const options: PickerOptions = { random: this.#random, now: this.#now, slowStart: this.#cluster.slowStart };
    this.#priorities = [...byPriority].sort(([a], [b]) => a - b)
      .map(([priority, list]) => new PrioritySet(priority, list, this.#cluster, options));
    this.#load = priorityLoad(this.#priorities, this.#cluster.overprovisioningPercent, this.#cluster.panicPercent);
    for (const [key, host] of previous) {
      if (this.#hosts.has(key)) continue;
      host.removed = true;
      this.#hostRemoved?.(host);
    }
  }

  /** The addresses of an authority `host:port`; none: it does not exist. For discovery `dynamic-forward-proxy`. */
  setNamed(key: string, addresses: readonly string[]): void {
    const first = addresses[0];
    if (first !== undefined) this.#onDemand.put(key, bareEndpoint("tcp", first, addresses.slice(1)));
  }

  /** Lets go of on-demand hosts that have had no request for a while. */
  forgetIdle(): void {
    this.#onDemand.forgetIdle();
  }

  /** The cluster is no longer used: all its hosts leave. */
  close(): void {
    this.setEndpoints([]);
    this.#onDemand.clear();
  }

  #hostsOf(
    { locality, priority, endpoints }: LocalityEndpoints,
    previous: ReadonlyMap<string, Host>,
    keyOf: (endpoint: ClusterEndpoint) => string,
  ): Host[] {
    const hosts: Host[] = [];
    for (const endpoint of endpoints) {
      const key = keyOf(endpoint);
      if (this.#hosts.has(key)) continue;
      let host = previous.get(key);
      if (host === undefined) {
        host = new Host(key, endpoint, locality, priority, this.#now());
      } else {
        // One that was ill warms up again.
        if (host.endpoint.health !== "healthy" && endpoint.health === "healthy") host.since = this.#now();
        host.endpoint = endpoint;
        host.locality = locality;
        host.priority = priority;
      }
      this.#hosts.set(key, host);
      hosts.push(host);
    }
    return hosts;
  }

  /** A host for one try of a request; undefined: `no healthy upstream`. */
  pick(context: PickContext): HostState | undefined {
    const { discovery } = this.#cluster;
    if (discovery.kind === "original-destination") {
      if (context.originalDestination === undefined) return undefined;
      return this.#onDemand.at(context.originalDestination, discovery.hbone, this.#hosts);
    }
    if (discovery.kind === "dynamic-forward-proxy") {
      const key = authorityKey(context.authority ?? "", discovery.defaultPort);
      return key === undefined ? undefined : this.#onDemand.get(key);
    }
    const { excluded } = context;
    const first = this.#draw(context, 0);
    if (first === undefined || excluded === undefined || !excluded.has(first)) return first;
    const attempts = context.otherHostAttempts ?? OTHER_HOST_ATTEMPTS;
    if (attempts === 0) return first;
    for (let attempt = 1; attempt < attempts; attempt++) {
      const host = this.#draw(context, attempt);
      if (host !== undefined && !excluded.has(host)) return host;
    }
    return this.#untried(excluded) ?? first;
  }

  #draw(context: PickContext, attempt: number): Host | undefined {
    const position = context.hash === undefined ? Math.floor(this.#random() * POSITIONS) : hashPosition(context.hash);
    const index = this.#choosePriority(context, position);
    return this.#priorities[index]?.pick(this.#load.panic[index] === true, position, attempt);
  }

  /** Consistent for a hash: the same request goes to the same priority. */
  #choosePriority(context: PickContext, position: number): number {
    const { loads } = this.#load;
    if (loads.length === 1 && loads[0] === 100) return 0;
    const tried = context.triedPriorities;
    const shares = tried === undefined || tried.size === 0 ? loads : retryLoads(
      this.#priorities,
      this.#cluster.overprovisioningPercent,
      (index) => tried.has(this.#priorities[index]!.priority),
      loads,
    );
    let point = drawFrom(position, 100);
    for (let i = 0; i < shares.length; i++) {
      point -= shares[i]!;
      if (point < 0) return i;
    }
    return -1;
  }

  /** Draws found none: any host that was not tried, the first priorities first, from a random one on. */
  #untried(excluded: ReadonlySet<HostState>): Host | undefined {
    for (const [index, set] of this.#priorities.entries()) {
      if (this.#load.loads[index] === 0) continue;
      const others: Host[] = [];
      for (const host of set.candidates(this.#load.panic[index] === true)) if (!excluded.has(host)) others.push(host);
      if (others.length > 0) return others[Math.floor(this.#random() * others.length)];
    }
    return undefined;
  }
}
