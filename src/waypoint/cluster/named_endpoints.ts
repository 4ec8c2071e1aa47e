/** Gives a cluster with discovery `dns` the endpoints that its names resolve to. */
import { canonicalIp, formatAddress, parseAddress } from "../../net/address.ts";
import type { Cluster, ClusterEndpoint, LocalityEndpoints } from "../snapshot/cluster.ts";
import { endpointKey } from "./host.ts";
import type { LoadBalancedCluster } from "./load_balanced_cluster.ts";
import type { Resolver, Watch, WatchOptions } from "./resolver.ts";

/** `host:port`; the host without brackets. */
function splitName(address: string): { name: string; port: number } {
  const colon = address.lastIndexOf(":");
  const name = address.slice(0, colon);
  return { name: name.startsWith("[") ? name.slice(1, -1) : name, port: Number(address.slice(colon + 1)) };
}

function isName(address: string): boolean {
  return parseAddress(address) === undefined && canonicalIp(splitName(address).name) === undefined;
}

/** The addresses that a name stands for, as endpoints. `logical`: one endpoint, that of the first address. */
export function resolveEndpoint(
  endpoint: ClusterEndpoint,
  ips: readonly string[],
  logical: boolean,
  allFamilies: boolean,
): ClusterEndpoint[] {
  const { port } = splitName(endpoint.address);
  const addresses = ips.map((ip) => formatAddress({ ip, port }));
  const first = addresses[0];
  if (first === undefined) return [];
  if (!logical) return addresses.map((address) => ({ ...endpoint, address }));
  return [{ ...endpoint, address: first, additionalAddresses: allFamilies ? addresses.slice(1) : [] }];
}

export class NamedEndpoints {
  readonly #target: LoadBalancedCluster;
  readonly #cluster: Cluster;
  readonly #options: WatchOptions;
  readonly #logical: boolean;
  readonly #addresses = new Map<string, readonly string[]>();
  readonly #names: ReadonlySet<string>;
  readonly #watches: Watch[];
  #started = false;

  /** @param changed after each change of the endpoints */
  constructor(target: LoadBalancedCluster, resolver: Resolver, changed: () => void) {
    const { cluster } = target;
    const { discovery } = cluster;
    if (discovery.kind !== "dns") throw new TypeError(`cluster ${cluster.name} has no names to resolve`);
    this.#target = target;
    this.#cluster = cluster;
    this.#options = discovery;
    this.#logical = discovery.logical;
    const names = cluster.localities.flatMap(({ endpoints }) => endpoints.map(({ address }) => address))
      .filter(isName).map((address) => splitName(address).name);
    this.#names = new Set(names);
    this.#watches = [...this.#names].map((name) =>
      resolver.watch(name, this.#options, (ips) => {
        this.#addresses.set(name, ips);
        if (!this.#started) return;
        this.#apply();
        changed();
      })
    );
    this.#started = true;
    if (this.#names.size === 0 || this.#addresses.size > 0) this.#apply();
  }

  /** Every name was answered once, with addresses or without. */
  get ready(): boolean {
    return this.#addresses.size === this.#names.size;
  }

  stop(): void {
    for (const watch of this.#watches) watch.stop();
  }

  #apply(): void {
    // A logical endpoint stays the same host whichever address is first now: its connections are kept.
    const keys = new Map<ClusterEndpoint, string>();
    const localities: LocalityEndpoints[] = this.#cluster.localities.map((locality) => ({
      ...locality,
      endpoints: locality.endpoints.flatMap((endpoint) => {
        if (!isName(endpoint.address)) return [endpoint];
        const ips = this.#addresses.get(splitName(endpoint.address).name) ?? [];
        const resolved = resolveEndpoint(endpoint, ips, this.#logical, this.#options.family === "all");
        if (this.#logical) { for (const one of resolved) keys.set(one, endpointKey(endpoint)); }
        return resolved;
      }),
    }));
    this.#target.setEndpoints(localities, (endpoint) => keys.get(endpoint) ?? endpointKey(endpoint));
  }
}
