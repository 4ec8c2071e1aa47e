import { startTicking, stopTicking, type Ticking } from "../../net/ticker.ts";
import { type ClusterLoad, HttpPool } from "./pool.ts";
import type { StreamTarget } from "./target.ts";
import type { PoolLimits, PoolStats, UpstreamConnector, UpstreamPool, UpstreamPoolSet } from "./types.ts";

interface ClusterPools {
  readonly load: ClusterLoad;
  readonly http1: Map<string, HttpPool>;
  readonly http2: Map<string, HttpPool>;
}

/** All pools of the waypoint by cluster, target and protocol. A pool that is drained lives on until it is empty. */
export class UpstreamPools implements UpstreamPoolSet, Ticking {
  readonly #connector: UpstreamConnector;
  readonly #clusters = new Map<string, ClusterPools>();
  /** Every pool that has something in it. */
  readonly #pools = new Set<HttpPool>();

  constructor(connector: UpstreamConnector) {
    this.#connector = connector;
    startTicking(this);
  }

  pool(cluster: string, target: StreamTarget, protocol: "http1" | "http2", limits: PoolLimits): UpstreamPool {
    let pools = this.#clusters.get(cluster);
    if (pools === undefined) {
      pools = { load: { connections: 0, pending: 0 }, http1: new Map(), http2: new Map() };
      this.#clusters.set(cluster, pools);
    }
    const byKey = pools[protocol];
    const known = byKey.get(target.key);
    if (known !== undefined && !known.closed) {
      if (known.serves(target, limits)) return known;
      this.review(cluster, target.basis ?? target, limits);
    }
    const pool = new HttpPool(this.#connector, target, protocol, limits, pools.load, (empty) => {
      this.#pools.delete(empty);
      if (byKey.get(target.key) === empty) byKey.delete(target.key);
    });
    byKey.set(target.key, pool);
    this.#pools.add(pool);
    return pool;
  }

  stats(cluster: string): PoolStats {
    const pools = this.#clusters.get(cluster);
    if (pools === undefined) return { connections: 0, pending: 0, active: 0 };
    let active = 0;
    for (const pool of pools.http1.values()) active += pool.stats.active;
    for (const pool of pools.http2.values()) active += pool.stats.active;
    return { ...pools.load, active };
  }

  review(cluster: string, basis: StreamTarget, limits: PoolLimits): void {
    for (const pool of this.#ofHost(cluster, basis.key)) if (!pool.madeFor(basis, limits)) pool.drain();
  }

  drain(cluster: string, hostKey?: string): void {
    for (const pool of this.#ofHost(cluster, hostKey)) pool.drain();
  }

  /** The pools that take requests to a host of a cluster, or to any. */
  #ofHost(cluster: string, hostKey: string | undefined): HttpPool[] {
    const pools = this.#clusters.get(cluster);
    if (pools === undefined) return [];
    const all = [...pools.http1.values(), ...pools.http2.values()];
    return hostKey === undefined ? all : all.filter(({ target }) => (target.basis ?? target).key === hostKey);
  }

  close(): void {
    stopTicking(this);
    for (const pool of [...this.#pools]) pool.close();
    this.#clusters.clear();
  }

  tick(now: number): void {
    for (const pool of [...this.#pools]) pool.tick(now);
  }
}
