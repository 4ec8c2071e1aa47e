/** Where an incoming connection is delivered, and whether the request for it makes sense. Pure, as outbound.ts. */
import { type Authority, parseAuthority } from "../hbone/authority.ts";
import { formatAddress } from "../net/address.ts";
import type {
  InboundDecision,
  InboundRefusal,
  InboundRequest,
  PlaintextFlow,
  RoutingSettings,
  ServiceReference,
} from "./decision.ts";
import { RECURSIVE_CALL, reference, unknownLocalWorkload } from "./outbound.ts";
import { type Reason, reason } from "./reason.ts";
import type { Service } from "./service.ts";
import type { MeshState } from "./state.ts";
import { isWaypointOf } from "./waypoint.ts";
import { targetPortOf, type Workload } from "./workload.ts";

function refuse(status: 400 | 503, error: string, reasons: Reason[]): InboundRefusal {
  return { ok: false, status, error, reasons };
}

/** Resolves a CONNECT request that came over HBONE; the method has been checked. */
export function resolveInbound(mesh: MeshState, request: InboundRequest, settings: RoutingSettings): InboundDecision {
  const reasons: Reason[] = [reason("authority", request.authority)];
  const authority = parseAuthority(request.authority);
  if (authority.kind === "invalid") {
    return refuse(400, `no valid authority pseudo header: ${request.authority}`, reasons);
  }
  const { local, destination } = request;
  if (local === undefined) {
    reasons.push(reason("source-unknown", request.info.name));
    return refuse(503, unknownLocalWorkload(request.info), reasons);
  }
  if (authority.kind === "address" && !acceptsAddress(mesh, local, request, authority.ip, settings, reasons)) {
    return refuse(400, `ip mismatch: ${destination.ip} != ${authority.ip}`, reasons);
  }

  const port = requestedPort(mesh, local, authority, reasons);
  if (typeof port === "string") return refuse(503, port, reasons);
  if (settings.illegalPorts.includes(port)) {
    reasons.push(reason("own-port", String(port)));
    return refuse(503, RECURSIVE_CALL, reasons);
  }
  if (local.applicationTunnel !== undefined) {
    reasons.push(reason("application-tunnel", local, local.applicationTunnel.protocol));
    return refuse(503, `unsupported feature: applicationTunnel of workload ${local.uid}`, reasons);
  }

  const dial = { ip: destination.ip, port };
  return {
    ok: true,
    dial,
    sourceIp: request.selfListener || request.peer.ip === dial.ip ? undefined : request.peer.ip,
    policyDestination: dial,
    proxyDestination: undefined,
    workload: local,
    source: caller(mesh, request, settings),
    service: deliveredService(mesh, local, port, request.forwardedHost),
    reasons,
  };
}

/** Whether the pod answers for the address a client asks for: its own, or one that it is the waypoint of. */
function acceptsAddress(
  mesh: MeshState,
  local: Workload,
  request: InboundRequest,
  ip: string,
  settings: RoutingSettings,
  reasons: Reason[],
): boolean {
  if (request.destination.ip === ip) {
    reasons.push(reason("address-match", ip));
    return true;
  }
  if (local.applicationTunnel !== undefined) return true;
  const asked = mesh.workloadByAddress(settings.network, ip) ??
    mesh.serviceByVip(settings.network, ip, local.namespace);
  if (asked !== undefined && isWaypointOf(mesh, asked, local, request.destination.ip)) {
    reasons.push(reason("is-waypoint", asked));
    return true;
  }
  reasons.push(reason("address-mismatch", ip, request.destination.ip));
  return false;
}

/** The port of the application, or why there is none. */
function requestedPort(
  mesh: MeshState,
  local: Workload,
  authority: Exclude<Authority, { kind: "invalid" }>,
  reasons: Reason[],
): number | string {
  if (authority.kind === "address") return authority.port;
  const service = mesh.serviceByHostname(authority.host, local.namespace);
  if (service === undefined) return `no service or workload for hostname: ${authority.host}`;
  const own = service.endpoints.get(local.uid);
  const port = (own && targetPortOf(own.ports, authority.port)) ?? targetPortOf(service.ports, authority.port);
  if (port === undefined || port === 0) {
    return `requested service ${authority.host}:${authority.port} found, but cannot resolve port`;
  }
  reasons.push(reason("target-port", service, port));
  return port;
}

/** The caller's record by its address; a gateway of another network speaks for someone whose address we do not see. */
function caller(mesh: MeshState, request: InboundRequest, settings: RoutingSettings): Workload | undefined {
  const from = request.forwardedNetwork;
  if (from !== undefined && from.toLowerCase() !== settings.network.toLowerCase()) return undefined;
  return mesh.workloadByAddress(settings.network, request.peer.ip);
}

/** The service a connection was probably meant for: the one the client named, else the first with that target port. */
function deliveredService(
  mesh: MeshState,
  local: Workload,
  port: number,
  forwardedHost: string | undefined,
): ServiceReference | undefined {
  let byPort: Service | undefined;
  for (const service of mesh.servicesOf(local)) {
    if (forwardedHost !== undefined && service.hostname === forwardedHost) return reference(service);
    if (byPort === undefined && leadsTo(service, local.uid, port)) byPort = service;
  }
  return byPort === undefined ? undefined : reference(byPort);
}

function leadsTo(service: Service, uid: string, port: number): boolean {
  return hasTarget(service.ports, port) || hasTarget(service.endpoints.get(uid)?.ports ?? [], port);
}

function hasTarget(ports: readonly number[], target: number): boolean {
  for (let i = 1; i < ports.length; i += 2) if (ports[i] === target) return true;
  return false;
}

/** Resolves a captured incoming connection that is not HBONE. */
export function resolvePlaintext(mesh: MeshState, flow: PlaintextFlow, settings: RoutingSettings): InboundDecision {
  const { destination, local } = flow;
  const reasons: Reason[] = [];
  if (settings.illegalPorts.includes(destination.port)) {
    reasons.push(reason("own-port", formatAddress(destination)));
    return refuse(503, RECURSIVE_CALL, reasons);
  }
  if (local === undefined) {
    reasons.push(reason("source-unknown", flow.info.name));
    return refuse(503, unknownLocalWorkload(flow.info), reasons);
  }
  return {
    ok: true,
    dial: destination,
    sourceIp: flow.peer.ip === destination.ip ? undefined : flow.peer.ip,
    policyDestination: destination,
    proxyDestination: undefined,
    workload: local,
    source: mesh.workloadByAddress(settings.network, flow.peer.ip),
    service: deliveredService(mesh, local, destination.port, undefined),
    reasons,
  };
}
