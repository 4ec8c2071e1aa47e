/** The hosts of one priority in groups: the healthy ones, by locality where localities are weighted, and all. */
import type { Cluster } from "../snapshot/cluster.ts";
import type { Host } from "./host.ts";
import { newPicker, type Picker, type PickerOptions } from "./picker.ts";
import type { PriorityHealth } from "./priority_load.ts";
import { RunningSums } from "./random_choice.ts";
import type { WeightedHost } from "./weighted_host.ts";

/** Hosts of one locality in one priority. */
export interface LocalityHosts {
  readonly hosts: readonly Host[];
  /** Weight of the locality; undefined: none. */
  readonly weight: number | undefined;
}

function isHealthy(host: Host): boolean {
  return host.endpoint.health === "healthy";
}

/** A group whose picker is made at the first choice. */
class Group {
  readonly hosts: readonly WeightedHost[];
  #picker: Picker | undefined;

  constructor(hosts: readonly WeightedHost[]) {
    this.hosts = hosts;
  }

  pick(cluster: Cluster, options: PickerOptions, position: number, attempt: number): Host | undefined {
    if (this.hosts.length === 0) return undefined;
    this.#picker ??= newPicker(cluster.loadBalancing, this.hosts, options);
    return this.#picker.pick(position, attempt);
  }
}

function groupOf(hosts: readonly Host[]): Group {
  return new Group(hosts.map((host) => ({ host, weight: host.endpoint.weight })));
}

/** Share of its weight that a locality keeps: what it can bear with its healthy hosts. */
function availability(all: number, healthy: number, overprovisioningPercent: number): number {
  return Math.min(1, (overprovisioningPercent / 100) * (healthy / all));
}

export class PrioritySet implements PriorityHealth {
  /** As the snapshot numbers it. */
  readonly priority: number;
  readonly healthy: number;
  readonly total: number;
  readonly #cluster: Cluster;
  readonly #options: PickerOptions;
  readonly #all: Group;
  /** The healthy ones; where localities are weighted, one group for each. */
  readonly #groups: readonly Group[];
  readonly #localities: RunningSums | undefined;

  constructor(priority: number, localities: readonly LocalityHosts[], cluster: Cluster, options: PickerOptions) {
    this.priority = priority;
    this.#cluster = cluster;
    this.#options = options;
    const all = localities.flatMap(({ hosts }) => hosts);
    const healthy = all.filter(isHealthy);
    this.total = all.length;
    this.healthy = healthy.length;
    this.#all = groupOf(all);
    if (!cluster.localityWeighted || localities.every(({ weight }) => weight === undefined)) {
      this.#groups = [groupOf(healthy)];
      this.#localities = undefined;
      return;
    }
    const usable: { healthy: Host[]; weight: number }[] = [];
    for (const { hosts, weight } of localities) {
      const some = hosts.filter(isHealthy);
      const share = (weight ?? 0) * availability(hosts.length, some.length, cluster.overprovisioningPercent);
      if (some.length > 0 && share > 0) usable.push({ healthy: some, weight: share });
    }
    const { kind } = cluster.loadBalancing;
    if (kind === "ring-hash" || kind === "maglev") {
      // One ring for all: the weight of a locality is divided among its hosts, so that a hash always means one host.
      this.#groups = [new Group(usable.flatMap(hostsWithLocalityWeight))];
      this.#localities = undefined;
    } else {
      this.#groups = usable.map((locality) => groupOf(locality.healthy));
      this.#localities = new RunningSums(usable.length, (i) => usable[i]!.weight);
    }
  }

  /** A healthy host, or any one in panic. */
  pick(panic: boolean, position: number, attempt: number): Host | undefined {
    const group = panic ? this.#all : this.#group();
    return group?.pick(this.#cluster, this.#options, position, attempt);
  }

  /** The hosts that `pick` may yield. */
  *candidates(panic: boolean): Generator<Host> {
    for (const group of panic ? [this.#all] : this.#groups) {
      for (const { host } of group.hosts) yield host;
    }
  }

  #group(): Group | undefined {
    if (this.#groups.length === 0) return undefined;
    return this.#groups[this.#localities?.at(this.#options.random()) ?? 0];
  }
}

function hostsWithLocalityWeight({ healthy, weight }: { healthy: Host[]; weight: number }): WeightedHost[] {
  const sum = healthy.reduce((total, host) => total + host.endpoint.weight, 0);
  return healthy.map((host) => ({ host, weight: (weight * host.endpoint.weight) / sum }));
}
