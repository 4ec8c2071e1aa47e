/** Hosts of a cluster with discovery `dynamic-forward-proxy`: authorities of requests, resolved when they are asked for. */
import { canonicalIp, formatAddress } from "../../net/address.ts";
import type { LoadBalancedCluster } from "./load_balanced_cluster.ts";
import { authorityKey } from "./on_demand_hosts.ts";
import type { Resolver, Watch, WatchOptions } from "./resolver.ts";

/** Names at once; others are refused (Envoy: DnsCacheConfig.max_hosts). */
const MAX_NAMES = 1024;

const WATCH: WatchOptions = { family: "all", refreshMs: 60_000, respectTtl: true };

interface Pending {
  readonly waiting: Set<() => void>;
  watch: Watch | undefined;
  answered: boolean;
}

export class ForwardProxy {
  readonly #target: LoadBalancedCluster;
  readonly #resolver: Resolver;
  readonly #defaultPort: number;
  readonly #names = new Map<string, Pending>();

  constructor(target: LoadBalancedCluster, resolver: Resolver, defaultPort: number) {
    this.#target = target;
    this.#resolver = resolver;
    this.#defaultPort = defaultPort;
  }

  /**
   * Has an authority resolved; `done` comes once the cluster knows its host, or there is none. Returns how to stop
   * waiting; undefined when `done` was called already.
   */
  resolve(authority: string, done: () => void): (() => void) | undefined {
    const key = authorityKey(authority, this.#defaultPort);
    if (key === undefined) return done(), undefined;
    let pending = this.#names.get(key);
    if (pending === undefined) {
      if (this.#names.size >= MAX_NAMES) this.#target.forgetIdle();
      if (this.#names.size >= MAX_NAMES) return done(), undefined;
      pending = this.#begin(key);
    }
    if (pending.answered) return done(), undefined;
    const { waiting } = pending;
    waiting.add(done);
    return () => void waiting.delete(done);
  }

  /** A host was forgotten: its name need not be watched. */
  release(key: string): void {
    this.#names.get(key)?.watch?.stop();
    this.#names.delete(key);
  }

  /** Ends all watches; who waits hears so. */
  stop(): void {
    const pending = [...this.#names.values()];
    this.#names.clear();
    for (const { watch, waiting } of pending) {
      watch?.stop();
      for (const done of waiting) done();
    }
  }

  #begin(key: string): Pending {
    const pending: Pending = { waiting: new Set(), watch: undefined, answered: false };
    this.#names.set(key, pending);
    const colon = key.lastIndexOf(":");
    const name = key.startsWith("[") ? key.slice(1, colon - 1) : key.slice(0, colon);
    const port = Number(key.slice(colon + 1));
    const answered = (ips: readonly string[]) => {
      const addresses = ips.map((ip) => formatAddress({ ip, port }));
      pending.answered = true;
      this.#target.setNamed(key, addresses);
      for (const done of [...pending.waiting]) done();
      pending.waiting.clear();
      // A name without addresses is asked for again by the next request, not by a timer.
      if (addresses.length === 0) this.release(key);
    };
    const ip = canonicalIp(name);
    if (ip !== undefined) {
      answered([ip]);
      return pending;
    }
    pending.watch = this.#resolver.watch(name, WATCH, answered);
    // Answered already, and there was nothing.
    if (this.#names.get(key) !== pending) pending.watch.stop();
    return pending;
  }
}
