/** istio.workload.Service: fields of spec/ztunnel.md §4.1, converted as in §3.3. */
import {
  type LoadBalancer,
  type NetworkAddress,
  type NetworkCidr,
  newService,
  type Service,
  type WeightedWaypoint,
} from "../../mesh/service.ts";
import { BadField, type FieldReader } from "../wire.ts";
import { fullLength, ipOf, rangeOf } from "./cidr.ts";
import {
  FIRST_ROUTING_SCOPE,
  HEALTH_POLICIES,
  IP_FAMILIES,
  LOAD_BALANCER_MODES,
  NAMESPACE_VISIBILITY,
  ROUTING_SCOPES,
  wordOf,
} from "./enums.ts";
import {
  type AddressDraft,
  GatewayDraft,
  newAddressDraft,
  readGateway,
  readNetworkAddress,
  toGateway,
} from "./gateway.ts";
import { readPortInto } from "./ports.ts";
import { sharedList, sharedPorts } from "./shared.ts";

interface LoadBalancingDraft {
  routingPreference: number[];
  mode: number;
  healthPolicy: number;
}

interface WeightedWaypointDraft {
  destination: GatewayDraft | undefined;
  weight: number;
}

/** What has been read of a Service; enums are still numbers. */
export class ServiceDraft {
  name = "";
  namespace = "";
  hostname = "";
  addresses: AddressDraft[] = [];
  ports: number[] = [];
  subjectAltNames: string[] = [];
  waypoint: GatewayDraft | undefined;
  loadBalancing: LoadBalancingDraft | undefined;
  ipFamilies = 0;
  canonical = false;
  weightedWaypoints: WeightedWaypointDraft[] = [];
  visibility = 0;
}

export function readService(reader: FieldReader, field: number, into: ServiceDraft): boolean {
  switch (field) {
    case 1:
      into.name = reader.text("name");
      return true;
    case 2:
      into.namespace = reader.sharedText("namespace");
      return true;
    case 3:
      into.hostname = reader.sharedText("hostname");
      return true;
    case 4: {
      const address = newAddressDraft();
      reader.message(`addresses[${into.addresses.length}]`, readNetworkAddress, address);
      into.addresses.push(address);
      return true;
    }
    case 5:
      readPortInto(reader, into.ports);
      return true;
    case 6:
      into.subjectAltNames.push(reader.sharedText(`subject_alt_names[${into.subjectAltNames.length}]`));
      return true;
    case 7:
      reader.message("waypoint", readGateway, into.waypoint ??= new GatewayDraft());
      return true;
    case 8:
      into.loadBalancing ??= { routingPreference: [], mode: 0, healthPolicy: 0 };
      reader.message("load_balancing", readLoadBalancing, into.loadBalancing);
      return true;
    case 9:
      into.ipFamilies = reader.enumeration("ip_families");
      return true;
    case 11:
      into.canonical = reader.bool("canonical");
      return true;
    case 13: {
      const waypoint: WeightedWaypointDraft = { destination: undefined, weight: 0 };
      reader.message(`weighted_waypoints[${into.weightedWaypoints.length}]`, readWeightedWaypoint, waypoint);
      into.weightedWaypoints.push(waypoint);
      return true;
    }
    case 14:
      into.visibility = reader.enumeration("visibility");
      return true;
    default:
      return false;
  }
}

function readLoadBalancing(reader: FieldReader, field: number, into: LoadBalancingDraft): boolean {
  if (field === 1) reader.numbers("routing_preference", into.routingPreference);
  else if (field === 2) into.mode = reader.enumeration("mode");
  else if (field === 3) into.healthPolicy = reader.enumeration("health_policy");
  else return false;
  return true;
}

function readWeightedWaypoint(reader: FieldReader, field: number, into: WeightedWaypointDraft): boolean {
  if (field === 1) reader.message("destination", readGateway, into.destination ??= new GatewayDraft());
  else if (field === 2) into.weight = reader.uint32("weight");
  else return false;
  return true;
}

/** Throws BadField, whose path begins at the service. */
export function toService(draft: ServiceDraft): Service {
  const { vips, cidrVips } = toAddresses(draft.addresses);
  return newService({
    name: draft.name,
    namespace: draft.namespace,
    hostname: draft.hostname,
    vips,
    cidrVips,
    ports: sharedPorts(draft.ports),
    subjectAltNames: sharedList(draft.subjectAltNames),
    waypoint: draft.waypoint && toGateway(draft.waypoint, "waypoint"),
    weightedWaypoints: draft.weightedWaypoints.map(toWeightedWaypoint),
    loadBalancer: draft.loadBalancing && toLoadBalancer(draft.loadBalancing),
    ipFamilies: wordOf(IP_FAMILIES, draft.ipFamilies, "ip_families"),
    canonical: draft.canonical,
    visibility: draft.visibility === NAMESPACE_VISIBILITY ? "Namespace" : "Public",
  });
}

/** A full-length prefix, or none, is one virtual address; a shorter one is a range of them. */
function toAddresses(drafts: readonly AddressDraft[]): { vips: NetworkAddress[]; cidrVips: NetworkCidr[] } {
  const vips: NetworkAddress[] = [];
  const cidrVips: NetworkCidr[] = [];
  for (const [i, { network, bytes, length }] of drafts.entries()) {
    const path = `addresses[${i}]`;
    const ip = ipOf(bytes, path);
    if (length === undefined || length === fullLength(bytes)) vips.push({ network, ip });
    else cidrVips.push({ network, cidr: rangeOf(bytes, length, path) });
  }
  return { vips, cidrVips };
}

function toWeightedWaypoint({ destination, weight }: WeightedWaypointDraft, i: number): WeightedWaypoint {
  const path = `weighted_waypoints[${i}].destination`;
  if (destination === undefined) throw new BadField(path, "missing");
  return { destination: toGateway(destination, path), weight };
}

function toLoadBalancer({ routingPreference, mode, healthPolicy }: LoadBalancingDraft): LoadBalancer {
  return {
    routingPreferences: routingPreference.map((scope, i) =>
      wordOf(ROUTING_SCOPES, scope | 0, `load_balancing.routing_preference[${i}]`, FIRST_ROUTING_SCOPE)
    ),
    mode: wordOf(LOAD_BALANCER_MODES, mode, "load_balancing.mode"),
    healthPolicy: wordOf(HEALTH_POLICIES, healthPolicy, "load_balancing.health_policy"),
  };
}
