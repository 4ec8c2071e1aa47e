/** Parts of records that many records have, one copy of each. */
import { sameItems } from "../../mesh/same_items.ts";
import type { ServiceMembership } from "../../mesh/update.ts";
import type { GatewayAddress, Locality, PortMap } from "../../mesh/workload.ts";
import { hashText, ValueCache } from "../value_cache.ts";

const NONE: readonly never[] = [];

/** The services of a workload. */
export interface Memberships {
  readonly members: readonly ServiceMembership[];
  /** Of the services. */
  readonly keys: readonly string[];
}

const lists = new ValueCache<readonly string[]>(sameItems, (list) => list.slice());
const portMaps = new ValueCache<PortMap>(sameItems, (ports) => ports.slice());
const memberships = new ValueCache<Memberships, readonly ServiceMembership[]>(
  ({ members: a }, b) => {
    if (a.length !== b.length) return false;
    // Port maps are shared: equal ones mostly are one.
    for (let i = 0; i < a.length; i++) if (a[i]!.service !== b[i]!.service || a[i]!.ports !== b[i]!.ports) return false;
    return true;
  },
  (drafts) => ({
    members: drafts.map(({ service, ports }) => ({ service, ports })),
    keys: sharedList(drafts.map(({ service }) => service)),
  }),
);
const localities = new ValueCache<Locality>(
  (a, b) => a.region === b.region && a.zone === b.zone && a.subzone === b.subzone,
  ({ region, zone, subzone }) => ({ region, zone, subzone }),
);
const gateways = new ValueCache<GatewayAddress>(
  (a, b) => {
    const [one, other] = [a.destination, b.destination];
    if (a.hboneMtlsPort !== b.hboneMtlsPort) return false;
    if (one.kind === "address") return other.kind === "address" && one.network === other.network && one.ip === other.ip;
    return other.kind === "hostname" && one.namespace === other.namespace && one.hostname === other.hostname;
  },
  (gateway) => gateway,
);
const NO_MEMBERSHIPS: Memberships = { members: NONE, keys: NONE };

export function sharedList(list: readonly string[]): readonly string[] {
  if (list.length === 0) return NONE;
  let hash = 0;
  for (const text of list) hash = hashText(text, hash);
  return lists.share(list, hash);
}

export function sharedPorts(ports: PortMap): PortMap {
  if (ports.length === 0) return NONE;
  let hash = 0;
  for (const port of ports) hash = (Math.imul(hash, 31) + port) | 0;
  return portMaps.share(ports, hash);
}

/** @param members whose ports are shared already */
export function sharedMemberships(members: readonly ServiceMembership[]): Memberships {
  if (members.length === 0) return NO_MEMBERSHIPS;
  let hash = 0;
  for (const { service, ports } of members) hash = hashText(service, hash) + ports.length;
  return memberships.share(members, hash);
}

export function sharedLocality(locality: Locality): Locality {
  const { region, zone, subzone } = locality;
  return localities.share(locality, hashText(subzone, hashText(zone, hashText(region, 0))));
}

export function sharedGateway(gateway: GatewayAddress): GatewayAddress {
  const { destination: to, hboneMtlsPort } = gateway;
  return gateways.share(gateway, hashText(to.kind === "address" ? to.ip : to.hostname, hboneMtlsPort));
}
