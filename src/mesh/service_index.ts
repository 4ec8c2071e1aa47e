/** Services by hostname and by virtual address, with the precedence among services that share one. Changed in place. */
import { AddressIndex } from "./addresses.ts";
import { type Endpoint, type Service, serviceKey } from "./service.ts";
import { isVisible, parseRanges, type VipRange, VipRanges } from "./vip_ranges.ts";

/** A service record whose endpoints its mesh changes in place. */
export interface LiveService extends Service {
  readonly endpoints: Map<string, Endpoint>;
}

/** What else decides among services of one hostname; only DNS asks for it (spec/ztunnel.md §4.3, §9). */
export interface HostnamePreference {
  /** Before any other that is neither the client's own nor canonical. */
  readonly namespace?: string | undefined;
  /** Which services count at all. */
  readonly accepts?: (service: Service) => boolean;
}

/** Best of the services that share a key: the client's own, then the canonical one, the preferred, the first. */
function best<S extends Service>(
  services: readonly S[],
  clientNamespace: string | undefined,
  preference?: HostnamePreference,
): S | undefined {
  let first: S | undefined;
  let canonical: S | undefined;
  let preferred: S | undefined;
  for (const service of services) {
    if (!isVisible(service, clientNamespace) || preference?.accepts?.(service) === false) continue;
    if (service.namespace === clientNamespace) return service;
    first ??= service;
    if (service.canonical) canonical = service;
    if (service.namespace === preference?.namespace) preferred ??= service;
  }
  return canonical ?? preferred ?? first;
}

function without<T>(list: readonly T[] | undefined, item: T): T[] {
  return list === undefined ? [] : list.filter((other) => other !== item);
}

export class ServiceIndex {
  readonly #byKey = new Map<string, LiveService>();
  readonly #byHostname = new Map<string, LiveService[]>();
  readonly #byVip = new AddressIndex<LiveService[]>();
  readonly #ranges = new VipRanges();

  /**
   * Adds a service whose key nobody has (any more). It comes last wherever order decides.
   *
   * @param ranges its CIDR VIPs, from parseRanges
   */
  add(service: LiveService, ranges: readonly VipRange[]): void {
    this.#byKey.set(serviceKey(service), service);
    const named = this.#byHostname.get(service.hostname);
    if (named === undefined) this.#byHostname.set(service.hostname, [service]);
    else named.push(service);
    for (const { network, ip } of service.vips) {
      const present = this.#byVip.get(network, ip);
      if (present === undefined) this.#byVip.set(network, ip, [service]);
      else if (!present.includes(service)) present.push(service);
    }
    this.#ranges.add(service, ranges);
  }

  /** Removes and returns the service; undefined when there is none. */
  remove(key: string): LiveService | undefined {
    const service = this.#byKey.get(key);
    if (service === undefined) return undefined;
    this.#byKey.delete(key);
    const named = without(this.#byHostname.get(service.hostname), service);
    if (named.length > 0) this.#byHostname.set(service.hostname, named);
    else this.#byHostname.delete(service.hostname);
    for (const { network, ip } of service.vips) {
      const rest = without(this.#byVip.get(network, ip), service);
      if (rest.length > 0) this.#byVip.set(network, ip, rest);
      else this.#byVip.delete(network, ip);
    }
    if (service.cidrVips.length > 0) this.#ranges.remove(service, parseRanges(service));
    return service;
  }

  get size(): number {
    return this.#byKey.size;
  }

  values(): IterableIterator<LiveService> {
    return this.#byKey.values();
  }

  /** @param key `namespace/hostname` */
  byKey(key: string): LiveService | undefined {
    return this.#byKey.get(key);
  }

  byHostname(
    hostname: string,
    clientNamespace: string | undefined,
    preference?: HostnamePreference,
  ): LiveService | undefined {
    const services = this.#byHostname.get(hostname);
    return services === undefined ? undefined : best(services, clientNamespace, preference);
  }

  /** An exact VIP wins over a range; among ranges the client's own namespace, then the longer prefix, then canonical. */
  byVip(network: string, ip: string, clientNamespace: string | undefined): Service | undefined {
    const exact = this.#byVip.get(network, ip);
    if (exact !== undefined) {
      const service = best(exact, clientNamespace);
      if (service !== undefined) return service;
    }
    return this.#ranges.find(network, ip, clientNamespace);
  }
}
