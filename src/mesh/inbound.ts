/** Where an incoming connection is delivered, and whether the request for it makes sense. Pure, as outbound.ts. */
import { isIpv4, type SocketAddress } from "../net/address.ts";
import { type Authority, parseAuthority } from "../net/authority.ts";
import type {
  InboundDecision,
  InboundRefusal,
  InboundRequest,
  PlaintextFlow,
  RoutingSettings,
  ServiceReference,
} from "./decision.ts";
import { RECURSIVE_CALL, unknownLocalWorkload } from "./outbound.ts";
import { type Reason, reason } from "./reason.ts";
import { reference } from "./resolution.ts";
import type { NetworkAddress, Service } from "./service.ts";
import type { MeshState } from "./state.ts";
import { isWaypointOf } from "./waypoint.ts";
import { targetPortOf, type Workload } from "./workload.ts";

type ValidAuthority = Exclude<Authority, { kind: "invalid" }>;

function refuse(status: 400 | 503, error: string, reasons: Reason[]): InboundRefusal {
  return { ok: false, status, error, reasons };
}

/** Error of a CONNECT request to what is neither an address nor a host with a port. */
export function invalidAuthority(authority: string): string {
  return `no valid authority pseudo header: ${authority}`;
}

/**
 * Resolves a CONNECT request that came over HBONE; the method has been checked. The order of the checks is that of
 * spec/ztunnel.md §6.3, as it decides what a wrong request is told.
 */
export function resolveInbound(mesh: MeshState, request: InboundRequest, settings: RoutingSettings): InboundDecision {
  const reasons: Reason[] = [reason("authority", request.authority)];
  const authority = parseAuthority(request.authority);
  if (authority.kind === "invalid") {
    return refuse(400, invalidAuthority(request.authority), reasons);
  }
  const { local, destination } = request;
  if (local === undefined) {
    reasons.push(reason("source-unknown", request.info.name));
    return refuse(503, unknownLocalWorkload(request.info), reasons);
  }
  if (authority.kind === "address" && !acceptsAddress(mesh, local, request, authority.ip, settings, reasons)) {
    return refuse(400, `ip mismatch: ${destination.ip} != ${authority.ip}`, reasons);
  }

  const hop = nextHop(mesh, local, authority, settings, reasons);
  if (typeof hop === "string") return refuse(503, hop, reasons);
  if (settings.illegalPorts.includes(hop.port)) {
    reasons.push(reason("own-port", hop.port));
    return refuse(503, RECURSIVE_CALL, reasons);
  }
  return {
    ok: true,
    ...delivery(local, request, hop, settings, reasons),
    workload: local,
    source: caller(mesh, request, settings, reasons),
    service: deliveredService(mesh, local, local.applicationTunnel?.port ?? hop.port, request.forwardedHost),
    reasons,
  };
}

/**
 * Whether the pod answers for the address a client asks for: its own, or one that it is the waypoint of. An application
 * tunnel takes any: its application is told the address and judges itself (spec/ztunnel.md §6.4).
 */
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
  // A waypoint may be that of services which are private to another namespace.
  const asked = mesh.workloadByAddress(settings.network, ip) ??
    mesh.serviceByVip(settings.network, ip, local.namespace) ??
    mesh.serviceByVip(settings.network, ip);
  if (asked !== undefined && isWaypointOf(mesh, asked, local, request.destination.ip)) {
    reasons.push(reason("is-waypoint", asked));
    return true;
  }
  reasons.push(reason("address-mismatch", ip, request.destination.ip));
  return false;
}

interface NextHop {
  /** Of the application, before an application tunnel overrides it. */
  readonly port: number;
  /** Present with a PROXY tunnel: the address that its header names. */
  readonly proxyDestination: SocketAddress | undefined;
}

/** What the authority means for this pod, or why it means nothing (spec/ztunnel.md §6.5). */
function nextHop(
  mesh: MeshState,
  local: Workload,
  authority: ValidAuthority,
  settings: RoutingSettings,
  reasons: Reason[],
): NextHop | string {
  const proxied = local.applicationTunnel?.protocol === "PROXY";
  if (authority.kind === "address") {
    const { ip, port } = authority;
    return { port, proxyDestination: proxied ? { ip, port } : undefined };
  }

  const { host, port: servicePort } = authority;
  const service = mesh.serviceByHostname(host, local.namespace);
  if (service === undefined) {
    reasons.push(reason("hostname-unknown", host));
    return `no service or workload for hostname: ${host}`;
  }
  reasons.push(reason("hostname", service));
  const port = ownTargetPort(service, local, servicePort);
  if (port === undefined) {
    reasons.push(reason("no-target-port", service, servicePort));
    return `requested service ${host}:${servicePort} found, but cannot resolve port`;
  }
  reasons.push(reason("target-port", service, port));
  if (!proxied) return { port, proxyDestination: undefined };
  const vip = headerVip(service.vips, settings.network);
  if (vip === undefined) {
    reasons.push(reason("no-vip", service));
    return `requested service ${host} found, but has no IP addresses`;
  }
  return { port, proxyDestination: { ip: vip.ip, port: servicePort } };
}

/** The port of this pod for a port of a service: its own mapping, else the service's. */
function ownTargetPort(service: Service, local: Workload, servicePort: number): number | undefined {
  const endpoint = service.endpoints.get(local.uid);
  const own = endpoint === undefined ? undefined : targetPortOf(endpoint.ports, servicePort);
  if (own !== undefined && own > 0) return own;
  const shared = targetPortOf(service.ports, servicePort);
  return shared === 0 ? undefined : shared;
}

/** A header cannot carry a name: an address of the service, best one of our network and of IPv4. */
function headerVip(vips: readonly NetworkAddress[], network: string): NetworkAddress | undefined {
  let best: NetworkAddress | undefined;
  for (const vip of vips) {
    if (vip.network === network && isIpv4(vip.ip)) return vip;
    if (best === undefined || (best.network !== network && vip.network === network)) best = vip;
  }
  return best;
}

/**
 * How the application is reached. A PROXY tunnel tells the caller's address in its header, so that its application may
 * listen on loopback, where no other source address could come from.
 */
function delivery(
  local: Workload,
  request: InboundRequest,
  hop: NextHop,
  settings: RoutingSettings,
  reasons: Reason[],
) {
  const tunnel = local.applicationTunnel;
  const target: SocketAddress = { ip: request.destination.ip, port: tunnel?.port ?? hop.port };
  if (tunnel !== undefined) {
    reasons.push(reason("application-tunnel", local, tunnel.protocol));
    if (tunnel.port !== undefined) reasons.push(reason("tunnel-port", local, tunnel.port));
  }
  const { proxyDestination } = hop;
  if (proxyDestination !== undefined) {
    reasons.push(reason("proxy-header", proxyDestination));
    if (settings.localhostAppTunnel) {
      const dial = { ip: isIpv4(target.ip) ? "127.0.0.1" : "::1", port: target.port };
      reasons.push(reason("loopback", dial));
      return { dial, sourceIp: undefined, policyDestination: target, proxyDestination };
    }
  }
  const sourceIp = request.selfListener || request.peer.ip === target.ip ? undefined : request.peer.ip;
  return { dial: target, sourceIp, policyDestination: target, proxyDestination };
}

/** The caller's record by its address; a gateway of another network speaks for someone whose address we do not see. */
function caller(
  mesh: MeshState,
  request: InboundRequest,
  settings: RoutingSettings,
  reasons: Reason[],
): Workload | undefined {
  const from = request.forwardedNetwork;
  if (from !== undefined && from.toLowerCase() !== settings.network.toLowerCase()) {
    reasons.push(reason("caller-elsewhere", from));
    return undefined;
  }
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

/** Resolves a captured incoming connection that is not HBONE (spec/ztunnel.md §6.8). */
export function resolvePlaintext(mesh: MeshState, flow: PlaintextFlow, settings: RoutingSettings): InboundDecision {
  const { destination, local } = flow;
  const reasons: Reason[] = [];
  if (settings.illegalPorts.includes(destination.port)) {
    reasons.push(reason("own-port", destination));
    return refuse(503, RECURSIVE_CALL, reasons);
  }
  if (local === undefined) {
    reasons.push(reason("source-unknown", flow.info.name));
    return refuse(503, unknownLocalWorkload(flow.info), reasons);
  }
  reasons.push(reason("plaintext"));
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
