/** References to waypoints: which instance takes a connection, and whether a workload is what they lead to. */
import type { SocketAddress } from "../net/address.ts";
import type { Choice } from "./decision.ts";
import { selectAddress, selectPort, type Upstream } from "./destination.ts";
import type { Random } from "./load_balancing.ts";
import { type Reason, reason } from "./reason.ts";
import type { Service, WeightedWaypoint } from "./service.ts";
import type { MeshState } from "./state.ts";
import { formatGateway, type GatewayAddress, type Workload, workloadIdentity } from "./workload.ts";

/** What a reference leads to: a service before a workload, in either form. */
function dereference(mesh: MeshState, gateway: GatewayAddress): { service?: Service; workload?: Workload } {
  const to = gateway.destination;
  if (to.kind === "address") {
    const service = mesh.serviceByVip(to.network, to.ip);
    if (service !== undefined) return { service };
    const workload = mesh.workloadByAddress(to.network, to.ip);
    return workload === undefined ? {} : { workload };
  }
  const service = mesh.service(to.namespace, to.hostname);
  if (service !== undefined) return { service };
  const workload = mesh.workloadByHostname(to.namespace, to.hostname);
  return workload === undefined ? {} : { workload };
}

/** The service that a reference leads to; undefined: none, or a workload. */
export function waypointService(mesh: MeshState, gateway: GatewayAddress): Service | undefined {
  return dereference(mesh, gateway).service;
}

/** One of weighted waypoints, in proportion to the weights; undefined when there is no weight at all. */
function pickWeighted(waypoints: readonly WeightedWaypoint[], random: Random): GatewayAddress | undefined {
  let total = 0;
  for (const { weight } of waypoints) total += weight;
  if (total <= 0) return undefined;
  let point = random() * total;
  let last: GatewayAddress | undefined;
  for (const { destination, weight } of waypoints) {
    if (weight <= 0) continue;
    last = destination;
    point -= weight;
    if (point < 0) break;
  }
  return last;
}

/** The waypoint for one connection to a service: one of the weighted ones, else the single one (spec/ztunnel.md §4.6). */
export function waypointFor(service: Service, random: Random): GatewayAddress | undefined {
  if (service.weightedWaypoints.length === 0) return service.waypoint;
  return pickWeighted(service.weightedWaypoints, random) ?? service.waypoint;
}

/**
 * The instance of a waypoint that takes a connection to `destination`, and the port of its tunnel (spec/ztunnel.md
 * §4.6). undefined when the reference leads nowhere or to nothing usable: then the connection is refused, as going
 * around the waypoint would go around its policies.
 */
export function selectWaypoint(
  mesh: MeshState,
  gateway: GatewayAddress,
  source: Workload,
  destination: SocketAddress,
  choice: Choice,
  reasons: Reason[],
): Upstream | undefined {
  const to = gateway.destination;
  const port = gateway.hboneMtlsPort;
  // The family of a waypoint given by address is that of the address, else that of the connection.
  const requested = to.kind === "address" ? to.ip : destination.ip;
  const { service, workload } = dereference(mesh, gateway);
  if (workload !== undefined) {
    return { workload, ip: selectAddress(workload, undefined, requested), port, service: undefined };
  }
  if (service === undefined || service.loadBalancer?.mode === "Passthrough") {
    reasons.push(
      reason("unknown-waypoint", formatGateway(to), service === undefined ? "is not known" : "is Passthrough"),
    );
    return undefined;
  }
  const pool = mesh.endpointPool(service);
  const chosen = pool.choose(source, port, choice, "Waypoint");
  const target = chosen && selectPort(service, chosen.ports, chosen.workload, port);
  if (chosen === undefined || target === undefined) {
    reasons.push(reason("unknown-waypoint", formatGateway(to), `has no usable instance for port ${port}`));
    return undefined;
  }
  reasons.push(reason("endpoint-chosen", chosen.workload, pool.size));
  return { workload: chosen.workload, ip: selectAddress(chosen.workload, service, requested), port: target, service };
}

/** The waypoints that a service or workload names, whatever their weight. */
function references(of: Service | Workload): readonly GatewayAddress[] {
  const single = of.waypoint === undefined ? [] : [of.waypoint];
  if (!("weightedWaypoints" in of) || of.weightedWaypoints.length === 0) return single;
  return [...single, ...of.weightedWaypoints.map(({ destination }) => destination)];
}

/** Whether `local`, dialled at `ip`, is a waypoint of a service or workload. */
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
export function isFromWaypoint(
  mesh: MeshState,
  destination: Service | Workload,
  source: Workload,
  network: string,
  sourceIp: string,
): boolean {
  const identity = workloadIdentity(source);
  const owns = (workload: Workload | undefined) =>
    workload !== undefined && workload.network === network && workload.addresses.includes(sourceIp) &&
    workloadIdentity(workload) === identity;
  return references(destination).some((gateway) => {
    const { service, workload } = dereference(mesh, gateway);
    if (service === undefined) return owns(workload);
    for (const uid of service.endpoints.keys()) if (owns(mesh.workloadByUid(uid))) return true;
    return false;
  });
}
