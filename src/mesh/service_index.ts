/** Services by hostname and by virtual address, with the precedence among services that share one. */
import { type Cidr, parseCidr } from "../net/address.ts";
import { AddressIndex } from "./addresses.ts";
import { type Service, serviceKey } from "./service.ts";

interface Range {
  readonly network: string;
  readonly cidr: Cidr;
  readonly service: Service;
}

/** Whether a client of a namespace may see the service; without a client namespace everything is seen. */
function visible(service: Service, clientNamespace: string | undefined): boolean {
  return service.visibility === "Public" || clientNamespace === undefined || service.namespace === clientNamespace;
}

/** Best of the services that share a key: the client's own, then the canonical one, then the first. */
function best(services: readonly Service[], clientNamespace: string | undefined): Service | undefined {
  if (services.length === 1) {
    const only = services[0]!;
    return visible(only, clientNamespace) ? only : undefined;
  }
  let first: Service | undefined;
  let canonical: Service | undefined;
  for (const service of services) {
    if (!visible(service, clientNamespace)) continue;
    if (service.namespace === clientNamespace) return service;
    first ??= service;
    if (service.canonical) canonical = service;
  }
  return canonical ?? first;
}

export class ServiceIndex {
  readonly #byKey = new Map<string, Service>();
  readonly #byHostname = new Map<string, Service[]>();
  readonly #byVip = new AddressIndex<Service[]>();
  readonly #ranges: Range[] = [];

  constructor(services: Iterable<Service>) {
    for (const service of services) this.#byKey.set(serviceKey(service), service);
    for (const service of this.#byKey.values()) {
      const named = this.#byHostname.get(service.hostname);
      if (named === undefined) this.#byHostname.set(service.hostname, [service]);
      else named.push(service);
      for (const { network, ip } of service.vips) this.#addVip(network, ip, service);
      for (const { network, cidr } of service.cidrVips) {
        const range = parseCidr(cidr);
        if (range === undefined) throw new Error(`service ${serviceKey(service)}: not a CIDR ${cidr}`);
        this.#ranges.push({ network, cidr: range, service });
      }
    }
  }

  #addVip(network: string, ip: string, service: Service): void {
    const present = this.#byVip.get(network, ip);
    if (present === undefined) this.#byVip.set(network, ip, [service]);
    else if (!present.includes(service)) present.push(service);
  }

  get size(): number {
    return this.#byKey.size;
  }

  values(): IterableIterator<Service> {
    return this.#byKey.values();
  }

  /** @param key `namespace/hostname` */
  byKey(key: string): Service | undefined {
    return this.#byKey.get(key);
  }

  byHostname(hostname: string, clientNamespace: string | undefined): Service | undefined {
    const services = this.#byHostname.get(hostname);
    return services === undefined ? undefined : best(services, clientNamespace);
  }

  /** An exact VIP wins over a range; among ranges the client's own namespace, then the longer prefix, then canonical. */
  byVip(network: string, ip: string, clientNamespace: string | undefined): Service | undefined {
    const exact = this.#byVip.get(network, ip);
    if (exact !== undefined) {
      const service = best(exact, clientNamespace);
      if (service !== undefined) return service;
    }
    return this.#ranges.length === 0 ? undefined : this.#byRange(network, ip, clientNamespace);
  }

  #byRange(network: string, ip: string, clientNamespace: string | undefined): Service | undefined {
    let found: Range | undefined;
    for (const range of this.#ranges) {
      if (range.network !== network || !visible(range.service, clientNamespace) || !range.cidr.contains(ip)) continue;
      if (found === undefined || compareRanges(range, found, clientNamespace) >= 0) found = range;
    }
    return found?.service;
  }
}

function compareRanges(a: Range, b: Range, clientNamespace: string | undefined): number {
  const own = Number(a.service.namespace === clientNamespace) - Number(b.service.namespace === clientNamespace);
  if (own !== 0) return own;
  const length = a.cidr.length - b.cidr.length;
  return length !== 0 ? length : Number(a.service.canonical) - Number(b.service.canonical);
}
