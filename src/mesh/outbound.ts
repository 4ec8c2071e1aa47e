/** Where a captured outgoing connection goes. Pure: the same snapshot, flow and random numbers, the same answer. */
import { formatAddress, isLoopback, type SocketAddress } from "../net/address.ts";
import type { Choice, OutboundDecision, OutboundFlow, PassthroughRoute, RoutingSettings } from "./decision.ts";
import { selectEndpoint, type Upstream } from "./destination.ts";
import { throughGateway } from "./gateway.ts";
import { type Reason, reason } from "./reason.ts";
import { isUnaddressed, noAddress, reference, refuse, type Resolution, withAddress } from "./resolution.ts";
import type { Service } from "./service.ts";
import type { MeshState } from "./state.ts";
import { isFromWaypoint, throughWaypoint, waypointFor } from "./waypoint.ts";
import type { WorkloadInfo } from "./workload.ts";

/** Error of a connection that would come back to ourselves. */
export const RECURSIVE_CALL = "attempted recursive call to ourselves";

/** Error of a connection of a pod whose record did not come. */
export function unknownLocalWorkload(info: WorkloadInfo): string {
  return `failed to fetch information about local workload: ${info.serviceAccount}.${info.namespace} (${info.name})`;
}

const ANY: Choice = { random: Math.random };

/**
 * Resolves one connection: the steps of ztunnel's outbound path (spec/ztunnel.md §5), numbered as there.
 *
 * @param choice what to take where several answers are right
 */
export function resolveOutbound(
  mesh: MeshState,
  flow: OutboundFlow,
  settings: RoutingSettings,
  choice: Choice = ANY,
): OutboundDecision {
  const { destination, downstream, source } = flow;
  const reasons: Reason[] = [];
  // 1, 2
  if (isLoopback(destination.ip) && settings.illegalPorts.includes(destination.port)) {
    reasons.push(reason("own-port", destination));
    return refuse(source, RECURSIVE_CALL, reasons);
  }
  if (source === undefined) {
    reasons.push(reason("source-unknown", flow.info.name));
    return refuse(source, unknownLocalWorkload(flow.info), reasons);
  }
  const resolution: Resolution = { mesh, source, downstream, destination, settings, choice, reasons };

  // 3, 4
  const addressed = mesh.workloadByAddress(settings.network, destination.ip) === undefined
    ? mesh.serviceByVip(settings.network, destination.ip, source.namespace)
    : undefined;
  if (addressed !== undefined) {
    reasons.push(reason("destination-service", addressed));
    if (addressed.waypoint !== undefined || addressed.weightedWaypoints.length > 0) {
      if (isFromWaypoint(resolution, addressed)) {
        reasons.push(reason("from-waypoint", addressed));
      } else {
        const waypoint = waypointFor(addressed, choice.random, reasons);
        if (waypoint !== undefined) return throughWaypoint(resolution, addressed, waypoint);
      }
    }
  }

  // 5
  const upstream = selectUpstream(resolution, addressed);
  if (upstream === undefined) {
    if (addressed !== undefined && addressed.loadBalancer?.mode !== "Passthrough") {
      return refuse(source, `no healthy upstream: ${formatAddress(destination)}`, reasons);
    }
    return passThrough(resolution);
  }
  const { workload } = upstream;
  if (isUnaddressed(upstream) && workload.networkGateway === undefined) return noAddress(resolution, upstream);

  // 6, 7
  if (workload.network !== source.network) {
    reasons.push(reason("other-network", workload, workload.network));
    if (addressed !== undefined) return throughGateway(resolution, addressed, upstream);
    reasons.push(reason("no-service", destination));
    return refuse(source, `no service for target address: ${formatAddress(destination)}`, reasons);
  }

  // 8
  if (workload.waypoint !== undefined) {
    if (isFromWaypoint(resolution, workload)) {
      reasons.push(reason("from-waypoint", workload));
    } else if (addressed === undefined) {
      return throughWaypoint(resolution, workload, workload.waypoint);
    } else {
      reasons.push(reason("waypoint-not-asked", workload, workload.waypoint));
    }
  }

  // 9
  return withAddress(resolution, upstream, (ip, reasons) => direct(resolution, upstream, ip, reasons));
}

/**
 * A service by VIP, else a workload by address; undefined when there is neither, or a service without a usable
 * endpoint.
 *
 * @param addressed the service that the first lookup found, whose reason is there already
 */
function selectUpstream(resolution: Resolution, addressed: Service | undefined): Upstream | undefined {
  const { mesh, source, destination, settings, reasons } = resolution;
  const { ip, port } = destination;
  const service = addressed !== undefined && source.network === settings.network
    ? addressed
    : mesh.serviceByVip(source.network, ip, source.namespace);
  if (service === undefined) {
    const workload = mesh.workloadByAddress(source.network, ip);
    if (workload === undefined) {
      if (addressed === undefined) reasons.push(reason("destination-unknown", destination));
      return undefined;
    }
    reasons.push(reason("destination-workload", workload));
    return { workload, ip, port, service, requested: ip };
  }
  if (service !== addressed) reasons.push(reason("destination-service", service));
  if (service.loadBalancer?.mode === "Passthrough") {
    reasons.push(reason("service-passthrough", service));
    return undefined;
  }
  return selectEndpoint(resolution, service, port, ip, "Standard");
}

/** To the workload itself, as it wants to be spoken to. */
function direct(resolution: Resolution, upstream: Upstream, ip: string, reasons: Reason[]): OutboundDecision {
  const { mesh, source, settings } = resolution;
  const { workload } = upstream;
  const target: SocketAddress = { ip, port: upstream.port };
  const service = upstream.service === undefined ? undefined : reference(upstream.service);
  if (workload.protocol === "TCP") {
    reasons.push(reason("protocol-tcp", workload));
    if (isOwnPort(resolution, target)) return recursive(resolution, target, reasons);
    return { action: "tcp", dial: target, source, workload, service, reasons };
  }
  reasons.push(reason("protocol-hbone", workload));
  return {
    action: "hbone",
    dial: { ip, port: settings.hbonePort },
    authority: formatAddress(target),
    expectedIdentities: mesh.expectedIdentities(workload, upstream.service),
    source,
    workload,
    hop: workload,
    service,
    inner: undefined,
    reasons,
  };
}

function passThrough(resolution: Resolution): OutboundDecision {
  const { source, destination, reasons } = resolution;
  if (isOwnPort(resolution, destination)) return recursive(resolution, destination, reasons);
  reasons.push(reason("passthrough", destination));
  const route: PassthroughRoute = {
    action: "passthrough",
    dial: destination,
    source,
    workload: undefined,
    service: undefined,
    reasons,
  };
  return route;
}

/**
 * Whether plain TCP to `target` would come back to our own listeners in the pod, without end. A tunnel to the pod
 * itself is no such case: the listener at its other end refuses the port.
 */
function isOwnPort({ source, downstream, settings }: Resolution, target: SocketAddress): boolean {
  if (!settings.illegalPorts.includes(target.port)) return false;
  return target.ip === downstream.ip || isLoopback(target.ip) || source.addresses.includes(target.ip);
}

function recursive({ source }: Resolution, target: SocketAddress, reasons: Reason[]): OutboundDecision {
  reasons.push(reason("own-port", target));
  return refuse(source, RECURSIVE_CALL, reasons);
}
