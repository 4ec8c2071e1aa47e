/** Waypoints: which one takes a connection, and whether a workload is what a reference to one leads to. */
import { formatAddress } from "../net/address.ts";
import type { Choice, OutboundDecision } from "./decision.ts";
import { throughGateway } from "./gateway.ts";
import { dereference, NO_INSTANCE, selectInstance } from "./gateway_reference.ts";
import { type Reason, reason } from "./reason.ts";
import { reference, refuse, type Resolution, withAddress } from "./resolution.ts";
import { type Service, serviceKey, type WeightedWaypoint } from "./service.ts";
import type { MeshState } from "./state.ts";
import { formatGateway, type GatewayAddress, type Workload, workloadIdentity } from "./workload.ts";

/** One of weighted waypoints, in proportion to the weights; undefined when there is no weight at all. */
function pickWeighted(waypoints: readonly WeightedWaypoint[], random: Choice["random"]): WeightedWaypoint | undefined {
  let total = 0;
  for (const { weight } of waypoints) total += weight;
  if (total <= 0) return undefined;
  let point = random() * total;
  let last: WeightedWaypoint | undefined;
  for (const waypoint of waypoints) {
    if (waypoint.weight <= 0) continue;
    last = waypoint;
    point -= waypoint.weight;
    if (point < 0) break;
  }
  return last;
}

/** The waypoint for one connection to a service: one of the weighted ones, else the single one (spec/ztunnel.md §4.6). */
export function waypointFor(service: Service, random: Choice["random"], reasons: Reason[]): GatewayAddress | undefined {
  if (service.weightedWaypoints.length === 0) return service.waypoint;
  const picked = pickWeighted(service.weightedWaypoints, random);
  if (picked === undefined) {
    reasons.push(reason("no-weight", service));
    return service.waypoint;
  }
  reasons.push(reason("weighted", service, picked));
  return picked.destination;
}

function isService(of: Service | Workload): of is Service {
  return "vips" in of;
}

/**
 * To a waypoint of a service, or of a workload that was addressed by itself (spec/ztunnel.md §5 steps 4 and 8). The
 * tunnel ends at the instance and asks for the original destination; what telemetry calls the service stays the one
 * that was addressed. Without a usable instance the connection fails: policies at the waypoint cannot be evaded.
 *
 * A service's waypoint in another network is behind the gateway there; a workload's is dialled where it is.
 */
export function throughWaypoint(
  resolution: Resolution,
  of: Service | Workload,
  waypoint: GatewayAddress,
): OutboundDecision {
  const { mesh, source, destination, reasons } = resolution;
  reasons.push(reason("waypoint", of, waypoint));
  const instance = selectInstance(resolution, waypoint, "Waypoint");
  if (typeof instance === "string") {
    reasons.push(reason("unknown-waypoint", waypoint, NO_INSTANCE[instance]));
    const to = formatGateway(waypoint.destination);
    if (instance !== "no-instance") return refuse(source, `unknown waypoint: ${to}`, reasons);
    const what = isService(of) ? `service ${serviceKey(of)}` : `workload ${of.uid}`;
    const lacking = `has no workload that serves port ${waypoint.hboneMtlsPort}`;
    return refuse(source, `waypoint ${to} of ${what} ${lacking}`, reasons);
  }
  const { workload } = instance;
  if (workload.network !== source.network) {
    reasons.push(reason("other-network", workload, workload.network));
    if (isService(of)) return throughGateway(resolution, of, instance);
  }
  return withAddress(resolution, instance, (ip, reasons) => ({
    action: "hbone",
    dial: { ip, port: instance.port },
    authority: formatAddress(destination),
    expectedIdentities: mesh.expectedIdentities(workload, instance.service),
    source,
    workload,
    hop: workload,
    service: isService(of) ? reference(of) : undefined,
    inner: undefined,
    reasons,
  }));
}

/** The waypoints that a service or workload names, whatever their weight. */
function references(of: Service | Workload): readonly GatewayAddress[] {
  const single = of.waypoint === undefined ? [] : [of.waypoint];
  if (!isService(of) || of.weightedWaypoints.length === 0) return single;
  return [...single, ...of.weightedWaypoints.map(({ destination }) => destination)];
}

/**
 * Whether `local`, dialled at `ip`, is a waypoint of a service or workload (spec/ztunnel.md §6.4). One of a weighted
 * set counts, so that a canary waypoint takes the share of connections that it is given.
 */
export function isWaypointOf(mesh: MeshState, asked: Service | Workload, local: Workload, ip: string): boolean {
  return references(asked).some((gateway) => {
    const { service, workload } = dereference(mesh, gateway);
    if (service !== undefined) return service.endpoints.has(local.uid);
    return workload !== undefined && workload.addresses.includes(ip);
  });
}

/**
 * Whether a connection comes from the waypoint of what it goes to: an instance of that waypoint has the caller's
 * identity and owns the address the connection comes from. It must not be sent to the waypoint again.
 */
export function isFromWaypoint(resolution: Resolution, destination: Service | Workload): boolean {
  const { mesh, source, settings } = resolution;
  const sourceIp = resolution.downstream.ip;
  const owns = (workload: Workload | undefined) =>
    workload !== undefined && workload.network === settings.network && workload.addresses.includes(sourceIp) &&
    workloadIdentity(workload) === workloadIdentity(source);
  return references(destination).some((gateway) => {
    const { service, workload } = dereference(mesh, gateway);
    if (service === undefined) return owns(workload);
    for (const uid of service.endpoints.keys()) if (owns(mesh.workloadByUid(uid))) return true;
    return false;
  });
}
