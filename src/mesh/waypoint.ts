/** References to waypoints and gateways: whether a workload is what they lead to. */
import type { MeshState } from "./state.ts";
import { type GatewayAddress, type Workload, workloadIdentity } from "./workload.ts";
import type { Service } from "./service.ts";

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

/** Whether `local`, dialled at `ip`, is what a waypoint reference leads to. */
export function isWaypointItself(mesh: MeshState, gateway: GatewayAddress, local: Workload, ip: string): boolean {
  const { service, workload } = dereference(mesh, gateway);
  if (service !== undefined) return service.endpoints.has(local.uid);
  return workload !== undefined && workload.addresses.includes(ip);
}

/**
 * Whether a connection comes from the waypoint of the workload it goes to: an instance of that waypoint has the
 * caller's identity and owns the address the connection comes from.
 */
export function isFromWaypoint(
  mesh: MeshState,
  destination: Workload,
  source: Workload,
  network: string,
  sourceIp: string,
): boolean {
  if (destination.waypoint === undefined) return false;
  const identity = workloadIdentity(source);
  const owns = (workload: Workload | undefined) =>
    workload !== undefined && workload.network === network && workload.addresses.includes(sourceIp) &&
    workloadIdentity(workload) === identity;
  const { service, workload } = dereference(mesh, destination.waypoint);
  if (service === undefined) return owns(workload);
  for (const uid of service.endpoints.keys()) if (owns(mesh.workloadByUid(uid))) return true;
  return false;
}
