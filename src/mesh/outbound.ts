/** Where a captured outgoing connection goes. Pure: the same snapshot, flow and random numbers, the same answer. */
import { formatAddress, isLoopback, type SocketAddress } from "../net/address.ts";
import type { Choice, OutboundDecision, OutboundFlow, Refusal, RoutingSettings, ServiceReference } from "./decision.ts";
import { describeWorkload, selectAddress, selectPort, type Upstream } from "./destination.ts";
import { type Reason, reason } from "./reason.ts";
import { type Service, serviceKey } from "./service.ts";
import type { MeshState } from "./state.ts";
import { isFromWaypoint, selectWaypoint, waypointFor, waypointService } from "./waypoint.ts";
import { formatGateway, type GatewayAddress, type Workload, type WorkloadInfo } from "./workload.ts";

/** Error of a connection that would come back to ourselves. */
export const RECURSIVE_CALL = "attempted recursive call to ourselves";

/** Error of a connection of a pod whose record did not come. */
export function unknownLocalWorkload(info: WorkloadInfo): string {
  return `failed to fetch information about local workload: ${info.serviceAccount}.${info.namespace} (${info.name})`;
}

const ANY: Choice = { random: Math.random };

/** Resolves one connection; see the steps of ztunnel's outbound path. */
export function resolveOutbound(
  mesh: MeshState,
  flow: OutboundFlow,
  settings: RoutingSettings,
  choice: Choice = ANY,
): OutboundDecision {
  const { destination, source } = flow;
  const reasons: Reason[] = [];
  if (isLoopback(destination.ip) && settings.illegalPorts.includes(destination.port)) {
    reasons.push(reason("own-port", formatAddress(destination)));
    return refuse(source, RECURSIVE_CALL, reasons);
  }
  if (source === undefined) {
    reasons.push(reason("source-unknown", flow.info.name));
    return refuse(source, unknownLocalWorkload(flow.info), reasons);
  }

  const addressed = mesh.workloadByAddress(settings.network, destination.ip) === undefined
    ? mesh.serviceByVip(settings.network, destination.ip, source.namespace)
    : undefined;
  if (addressed !== undefined) {
    reasons.push(reason("destination-service", addressed, destination.port));
    const waypoint = waypointFor(addressed, choice.random);
    if (waypoint !== undefined) {
      if (!isFromWaypoint(mesh, addressed, source, settings.network, flow.downstream.ip)) {
        return throughWaypoint(mesh, flow, source, addressed, waypoint, choice, reasons);
      }
      reasons.push(reason("from-waypoint", addressed));
    }
  }

  const upstream = selectUpstream(mesh, source, destination, choice, reasons);
  if (upstream === undefined) {
    if (addressed !== undefined && addressed.loadBalancer?.mode !== "Passthrough") {
      return refuse(source, `no healthy upstream: ${formatAddress(destination)}`, reasons);
    }
    if (addressed === undefined) reasons.push(reason("destination-unknown", formatAddress(destination)));
    return { action: "passthrough", dial: destination, source, workload: undefined, service: undefined, reasons };
  }
  return route(mesh, flow, source, settings, addressed, upstream, choice, reasons);
}

/**
 * To a waypoint of a service, or of a workload that was addressed by itself (spec/ztunnel.md §5 steps 4 and 8). The
 * tunnel ends at the instance and asks for the original destination; what telemetry calls the service stays the one
 * that was addressed. Without a usable instance the connection fails: policies at the waypoint cannot be evaded.
 */
function throughWaypoint(
  mesh: MeshState,
  flow: OutboundFlow,
  source: Workload,
  of: Service | Workload,
  waypoint: GatewayAddress,
  choice: Choice,
  reasons: Reason[],
): OutboundDecision {
  const to = formatGateway(waypoint.destination);
  reasons.push(reason("waypoint", of, to));
  const instance = selectWaypoint(mesh, waypoint, source, flow.destination, choice, reasons);
  if (instance === undefined) return refuse(source, lostWaypoint(mesh, of, waypoint), reasons);
  const { workload, ip, port } = instance;
  const addressed = "endpoints" in of ? of : undefined;
  if (workload.network !== source.network) {
    reasons.push(reason("other-network", workload, workload.network));
    return refuse(source, otherNetwork(flow.destination, addressed, workload), reasons);
  }
  if (ip === undefined) return unreachable(source, workload, reasons);
  return {
    action: "hbone",
    dial: { ip, port },
    authority: formatAddress(flow.destination),
    expectedIdentities: mesh.expectedIdentities(workload, instance.service),
    source,
    workload,
    service: addressed === undefined ? undefined : reference(addressed),
    inner: undefined,
    reasons,
  };
}

/** Why a waypoint cannot take a connection, for the one who wrote the reference. */
function lostWaypoint(mesh: MeshState, of: Service | Workload, waypoint: GatewayAddress): string {
  const to = formatGateway(waypoint.destination);
  const service = waypointService(mesh, waypoint);
  if (service === undefined || service.loadBalancer?.mode === "Passthrough") return `unknown waypoint: ${to}`;
  const what = "endpoints" in of ? `service ${serviceKey(of)}` : `workload ${of.uid}`;
  return `waypoint ${to} of ${what} has no workload that serves port ${waypoint.hboneMtlsPort}`;
}

/** A workload of our network without an address. */
function unreachable(source: Workload, workload: Workload, reasons: Reason[]): Refusal {
  if (workload.hostname !== "") {
    reasons.push(reason("no-route", workload, `it has only the hostname ${workload.hostname}`));
    return refuse(source, `unsupported feature: hostname ${workload.hostname} of workload ${workload.uid}`, reasons);
  }
  const lacking = workload.networkGateway === undefined ? "it has neither address nor gateway" : "it has no address";
  reasons.push(reason("no-route", workload, lacking));
  return refuse(source, `no valid routing destination for workload: ${describeWorkload(workload)}`, reasons);
}

/** A service by VIP, else a workload by address. */
function selectUpstream(
  mesh: MeshState,
  source: Workload,
  destination: SocketAddress,
  choice: Choice,
  reasons: Reason[],
): Upstream | undefined {
  const service = mesh.serviceByVip(source.network, destination.ip, source.namespace);
  if (service === undefined) {
    const workload = mesh.workloadByAddress(source.network, destination.ip);
    if (workload === undefined) return undefined;
    reasons.push(reason("destination-workload", workload));
    return { workload, ip: destination.ip, port: destination.port, service };
  }
  if (service.loadBalancer?.mode === "Passthrough") {
    reasons.push(reason("service-passthrough", service));
    return undefined;
  }
  const pool = mesh.endpointPool(service);
  const chosen = pool.choose(source, destination.port, choice);
  const port = chosen && selectPort(service, chosen.ports, chosen.workload, destination.port);
  if (chosen === undefined || port === undefined) {
    reasons.push(reason("no-endpoint", service, destination.port));
    return undefined;
  }
  reasons.push(reason("endpoint-chosen", chosen.workload, pool.size));
  return {
    workload: chosen.workload,
    ip: selectAddress(chosen.workload, service, destination.ip),
    port,
    service,
  };
}

function route(
  mesh: MeshState,
  flow: OutboundFlow,
  source: Workload,
  settings: RoutingSettings,
  addressed: Service | undefined,
  upstream: Upstream,
  choice: Choice,
  reasons: Reason[],
): OutboundDecision {
  const { workload } = upstream;
  if (upstream.ip === undefined && (workload.hostname !== "" || workload.networkGateway === undefined)) {
    return unreachable(source, workload, reasons);
  }
  if (workload.network !== source.network) {
    reasons.push(reason("other-network", workload, workload.network));
    return refuse(source, otherNetwork(flow.destination, addressed, workload), reasons);
  }
  if (workload.waypoint !== undefined) {
    if (isFromWaypoint(mesh, workload, source, settings.network, flow.downstream.ip)) {
      reasons.push(reason("from-waypoint", workload));
    } else if (addressed === undefined) {
      return throughWaypoint(mesh, flow, source, workload, workload.waypoint, choice, reasons);
    }
  }
  if (upstream.ip === undefined) return unreachable(source, workload, reasons);

  reasons.push(reason("protocol", workload, workload.protocol));
  const service = upstream.service === undefined ? undefined : reference(upstream.service);
  if (workload.protocol === "TCP") {
    return { action: "tcp", dial: { ip: upstream.ip, port: upstream.port }, source, workload, service, reasons };
  }
  return {
    action: "hbone",
    dial: { ip: upstream.ip, port: settings.hbonePort },
    authority: formatAddress({ ip: upstream.ip, port: upstream.port }),
    expectedIdentities: mesh.expectedIdentities(workload, upstream.service),
    source,
    workload,
    service,
    inner: undefined,
    reasons,
  };
}

/** Why a workload of another network cannot be reached. */
function otherNetwork(destination: SocketAddress, addressed: Service | undefined, workload: Workload): string {
  if (addressed === undefined) return `no service for target address: ${formatAddress(destination)}`;
  if (workload.networkGateway === undefined) {
    return `no valid routing destination for workload: ${describeWorkload(workload)}`;
  }
  return `unsupported feature: networkGateway ${formatGateway(workload.networkGateway.destination)} ` +
    `of workload ${workload.uid}`;
}

function refuse(source: Workload | undefined, error: string, reasons: Reason[]): Refusal {
  return { action: "refuse", error, source, reasons };
}

/** What telemetry keeps of a service. */
export function reference(service: Service): ServiceReference {
  return { hostname: service.hostname, name: service.name, namespace: service.namespace };
}
