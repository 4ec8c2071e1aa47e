/** All upstream clusters of a snapshot with the state of their hosts, and the names they are made of. */
import type { Cluster } from "../snapshot/cluster.ts";
import type { PickContext } from "./context.ts";
import { type Lookup, systemLookup } from "./dns.ts";
import { ForwardProxy } from "./forward_proxy.ts";
import type { HostState } from "./host.ts";
import { LoadBalancedCluster } from "./load_balanced_cluster.ts";
import { NamedEndpoints } from "./named_endpoints.ts";
import type { Random } from "./random.ts";
import { Resolver } from "./resolver.ts";

/** How long a request waits for the first answer of the name server, ms (Envoy: dns_query_timeout). */
const FIRST_ANSWER_MS = 5000;

export interface ClusterSetOptions {
  readonly random?: Random | undefined;
  /** ms, monotonic. */
  readonly now?: (() => number) | undefined;
  readonly lookup?: Lookup | undefined;
  /** A host has left its cluster: connections to it can be drained. */
  readonly hostRemoved?: ((host: HostState, cluster: LoadBalancedCluster) => void) | undefined;
  /** A cluster has other contents than before: its hosts may be reached otherwise. */
  readonly clusterChanged?: ((cluster: LoadBalancedCluster) => void) | undefined;
}

/** A choice that waits for the name server. */
export interface Choice {
  /** The request does not wait any longer; its callback is not called. */
  abandon(): void;
}

class Entry {
  readonly balanced: LoadBalancedCluster;
  readonly #options: ClusterSetOptions;
  readonly #resolver: Resolver;
  readonly #waiting = new Set<() => void>();
  #names: NamedEndpoints | undefined;
  #forwardProxy: ForwardProxy | undefined;

  constructor(cluster: Cluster, options: ClusterSetOptions, resolver: Resolver) {
    this.#options = options;
    this.#resolver = resolver;
    this.balanced = new LoadBalancedCluster(cluster, {
      random: options.random,
      now: options.now,
      hostRemoved: (host) => {
        this.#forwardProxy?.release(host.key);
        options.hostRemoved?.(host, this.balanced);
      },
    });
    this.#follow();
  }

  update(cluster: Cluster): void {
    if (Bun.deepEquals(this.balanced.cluster, cluster, true)) return;
    const { discovery } = this.balanced.cluster;
    this.balanced.update(cluster);
    const followed = discovery.kind === "dynamic-forward-proxy" && Bun.deepEquals(discovery, cluster.discovery);
    if (!followed) this.#followAnew();
    this.#options.clusterChanged?.(this.balanced);
  }

  #followAnew(): void {
    // The new names are watched before the old ones are let go: those that stay are not asked for again.
    const stop = this.#leave();
    this.#follow();
    stop();
    this.#changed();
  }

  close(): void {
    this.#leave()();
    this.balanced.close();
    for (const done of [...this.#waiting]) done();
  }

  /** Calls back when hosts are known; undefined: `done` was called already. */
  whenKnown(context: PickContext, done: () => void): (() => void) | undefined {
    if (this.#forwardProxy !== undefined) return this.#forwardProxy.resolve(context.authority ?? "", done);
    if (this.#names === undefined || this.#names.ready) return done(), undefined;
    this.#waiting.add(done);
    return () => void this.#waiting.delete(done);
  }

  #follow(): void {
    const { discovery } = this.balanced.cluster;
    if (discovery.kind === "dns") {
      this.#names = new NamedEndpoints(this.balanced, this.#resolver, () => this.#changed());
    } else if (discovery.kind === "dynamic-forward-proxy") {
      this.#forwardProxy = new ForwardProxy(this.balanced, this.#resolver, discovery.defaultPort);
    }
  }

  #leave(): () => void {
    const sources = [this.#names, this.#forwardProxy];
    this.#names = undefined;
    this.#forwardProxy = undefined;
    return () => {
      for (const source of sources) source?.stop();
    };
  }

  #changed(): void {
    if (this.#names?.ready === false) return;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const done of waiting) done();
  }
}

export class ClusterSet {
  readonly #options: ClusterSetOptions;
  readonly #resolver: Resolver;
  readonly #entries = new Map<string, Entry>();

  constructor(options: ClusterSetOptions = {}) {
    this.#options = options;
    this.#resolver = new Resolver(options.lookup ?? systemLookup, options.random ?? Math.random);
  }

  get(name: string): LoadBalancedCluster | undefined {
    return this.#entries.get(name)?.balanced;
  }

  *values(): Generator<LoadBalancedCluster> {
    for (const { balanced } of this.#entries.values()) yield balanced;
  }

  /** The clusters of a new snapshot, by name. Those that stay keep their hosts; equal ones are not touched. */
  update(clusters: Readonly<Record<string, Cluster>>): void {
    for (const [name, cluster] of Object.entries(clusters)) {
      const entry = this.#entries.get(name);
      if (entry === undefined) this.#entries.set(name, new Entry(cluster, this.#options, this.#resolver));
      else entry.update(cluster);
    }
    for (const [name, entry] of this.#entries) {
      if (Object.hasOwn(clusters, name)) continue;
      this.#entries.delete(name);
      entry.close();
    }
  }

  /**
   * A host for a request, after waiting for the name server where the cluster has had no answer yet (at most 5 s).
   * `done` gets undefined when there is none: `no healthy upstream`. It is nearly always called before this returns
   * (then undefined is returned).
   */
  choose(name: string, context: PickContext, done: (host: HostState | undefined) => void): Choice | undefined {
    const entry = this.#entries.get(name);
    if (entry === undefined) return done(undefined), undefined;
    const host = entry.balanced.pick(context);
    if (host !== undefined) return done(host), undefined;
    let timer: Timer | undefined = undefined;
    const stopWaiting = entry.whenKnown(context, () => {
      clearTimeout(timer);
      done(entry.balanced.pick(context));
    });
    if (stopWaiting === undefined) return undefined;
    timer = setTimeout(() => {
      stopWaiting();
      done(undefined);
    }, FIRST_ANSWER_MS);
    return {
      abandon: () => {
        clearTimeout(timer);
        stopWaiting();
      },
    };
  }

  close(): void {
    for (const entry of this.#entries.values()) entry.close();
    this.#entries.clear();
  }
}
