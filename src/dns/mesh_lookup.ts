/** What the mesh answers to a query for addresses: a pure function (spec/ztunnel.md §9, §4.3). */
import type { Service, Workload } from "../mesh/mod.ts";
import { isIpv4 } from "../net/address.ts";
import { type Alias, aliases, type SearchDomains, wildcards } from "./aliases.ts";

/** What of the mesh names depend on; MeshState is one. */
export interface NamedServices {
  serviceByHostname(
    hostname: string,
    clientNamespace?: string,
    preference?: { readonly namespace?: string | undefined; readonly accepts?: (service: Service) => boolean },
  ): Service | undefined;
  workloadByUid(uid: string): Workload | undefined;
}

/** The part of the configuration that names depend on; one object for the life of the process. */
export interface NameSettings {
  /** CLUSTER_DOMAIN */
  readonly clusterDomain: string;
  readonly searchDomains: SearchDomains;
  /** PREFERED_SERVICE_NAMESPACE */
  readonly preferredNamespace: string | undefined;
  /** IPV6_ENABLED: without it no AAAA record is given. */
  readonly ipv6: boolean;
}

/** A or AAAA. */
export type AddressFamily = "IPv4" | "IPv6";

/** The mesh knows the name. No addresses is an answer too: NOERROR with nothing in it. */
export interface NameFound {
  readonly found: true;
  readonly service: Service;
  /** Shuffled. */
  readonly addresses: readonly string[];
  /** The name to which a CNAME leads from the requested one, and which owns the addresses; undefined: the requested one. */
  readonly canonicalName: string | undefined;
  /** Why there is no address; undefined when there is one. */
  readonly empty: "no records" | "service does not support this record type" | undefined;
}

/** The mesh does not know the name: it is somebody else's. */
export interface NameUnknown {
  readonly found: false;
}

const UNKNOWN: NameUnknown = { found: false };

/**
 * Looks a name up for a client.
 *
 * @param name lower case, without its final dot
 * @param random uniform in [0, 1), for the order of addresses
 */
export function lookupName(
  mesh: NamedServices,
  client: Workload,
  name: string,
  family: AddressFamily,
  settings: NameSettings,
  random: () => number,
): NameFound | NameUnknown {
  const match = findService(mesh, client.namespace, name, settings);
  if (match === undefined) return UNKNOWN;
  const { service, alias, wildcard } = match;
  const canonicalName = wildcard ? undefined : alias.stripped;
  if (!familyAllowed(service, family, settings)) {
    return { found: true, service, addresses: [], canonicalName, empty: "service does not support this record type" };
  }
  const addresses = addressesOf(mesh, client, service, family);
  shuffle(addresses, random);
  return { found: true, service, addresses, canonicalName, empty: addresses.length === 0 ? "no records" : undefined };
}

/** A headless service of one family has endpoints with addresses of both: they must not be given away. */
function familyAllowed({ ipFamilies }: Service, family: AddressFamily, { ipv6 }: NameSettings): boolean {
  if (family === "IPv6" && !ipv6) return false;
  return ipFamilies === undefined || ipFamilies === "Dual" || ipFamilies === family;
}

interface ServiceMatch {
  readonly service: Service;
  readonly alias: Alias;
  readonly wildcard: boolean;
}

function findService(
  mesh: NamedServices,
  clientNamespace: string,
  name: string,
  settings: NameSettings,
): ServiceMatch | undefined {
  const { clusterDomain, preferredNamespace } = settings;
  const headlessSuffix = `.svc.${clusterDomain}`;
  // Without an address of its own only a Kubernetes service has an answer here: its endpoints. Others are forwarded.
  const preference = {
    namespace: preferredNamespace,
    accepts: (service: Service) => service.vips.length > 0 || service.hostname.endsWith(headlessSuffix),
  };
  for (const alias of aliases(name, clientNamespace, clusterDomain, settings.searchDomains(clientNamespace))) {
    const exact = mesh.serviceByHostname(alias.name, clientNamespace, preference);
    if (exact !== undefined) return { service: exact, alias, wildcard: false };
    for (const wildcard of wildcards(alias.name)) {
      const service = mesh.serviceByHostname(wildcard, clientNamespace, preference);
      if (service !== undefined) return { service, alias, wildcard: true };
    }
  }
  return undefined;
}

/** VIPs of the client's network; for a service without any, an address of each endpoint. */
function addressesOf(mesh: NamedServices, client: Workload, service: Service, family: AddressFamily): string[] {
  const v4 = family === "IPv4";
  const addresses: string[] = [];
  if (service.vips.length > 0) {
    for (const { network, ip } of service.vips) {
      if (network === client.network && isIpv4(ip) === v4) addresses.push(ip);
    }
    return addresses;
  }
  for (const uid of service.endpoints.keys()) {
    const ip = mesh.workloadByUid(uid)?.addresses.find((address) => isIpv4(address) === v4);
    if (ip !== undefined) addresses.push(ip);
  }
  return addresses;
}

/** Fisher and Yates. */
function shuffle(list: string[], random: () => number): void {
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    const moved = list[i] as string;
    list[i] = list[j] as string;
    list[j] = moved;
  }
}
