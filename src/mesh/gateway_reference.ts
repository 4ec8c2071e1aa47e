/** References to waypoints and network gateways (istio.workload.GatewayAddress): what they lead to (§4.6). */
import { selectAddress, selectEndpoint, type Upstream } from "./destination.ts";
import type { ResolutionMode } from "./load_balancing.ts";
import { reason } from "./reason.ts";
import type { Resolution } from "./resolution.ts";
import type { Service } from "./service.ts";
import type { MeshState } from "./state.ts";
import type { GatewayAddress, Workload } from "./workload.ts";

/** What a reference leads to: a service before a workload, in either form. */
export function dereference(
  mesh: MeshState,
  gateway: GatewayAddress,
): { readonly service?: Service; readonly workload?: Workload } {
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

/** Why a reference gives no instance: nothing is there, it asks for no selection, nobody serves the port. */
export type NoInstance = "unknown" | "passthrough" | "no-instance";

/** What a missing instance means, as the end of a sentence about the gateway. */
export const NO_INSTANCE: Readonly<Record<NoInstance, string>> = {
  "unknown": "is not known",
  "passthrough": "is a Passthrough service",
  "no-instance": "has no workload that serves its port",
};

/**
 * The instance of a waypoint or gateway that takes a connection, and the port of its tunnel. The family of one given by
 * address is that of the address, else that of the connection.
 *
 * @param mode Standard for gateways, whose service has to list the port; Waypoint for waypoints
 */
export function selectInstance(
  resolution: Resolution,
  gateway: GatewayAddress,
  mode: ResolutionMode,
): Upstream | NoInstance {
  const to = gateway.destination;
  const port = gateway.hboneMtlsPort;
  const requested = to.kind === "address" ? to.ip : resolution.destination.ip;
  const { service, workload } = dereference(resolution.mesh, gateway);
  if (workload !== undefined) {
    resolution.reasons.push(reason("gateway-workload", gateway, workload));
    return { workload, ip: selectAddress(workload, undefined, requested), port, service: undefined, requested };
  }
  if (service === undefined) return "unknown";
  if (service.loadBalancer?.mode === "Passthrough") return "passthrough";
  if (to.kind === "address") resolution.reasons.push(reason("gateway-service", gateway, service));
  return selectEndpoint(resolution, service, port, requested, mode) ?? "no-instance";
}
