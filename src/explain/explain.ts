/**
 * What would become of a connection. Nothing is decided here: the functions that decide about real connections are asked,
 * with what they would be asked with, and their reasons are written down.
 */
import { type CacheEntrySnapshot, parseIdentity } from "../identity/mod.ts";
import {
  type Choice,
  type HboneRoute,
  type InboundDecision,
  type MeshState,
  newWorkload,
  type OutboundDecision,
  reason,
  renderReason,
  resolveInbound,
  resolveOutbound,
  resolvePlaintext,
  type RoutingSettings,
  selectAddress,
  selectPort,
  serviceKey,
  type Workload,
  workloadIdentity,
  type WorkloadInfo,
} from "../mesh/mod.ts";
import { formatAddress, type SocketAddress } from "../net/address.ts";
import { authorize, explainPolicies, type PolicyFlow, policyRejection } from "../policy/mod.ts";
import type {
  ExplainedCertificate,
  ExplainedHop,
  ExplainedInbound,
  ExplainedOutbound,
  ExplainedWorkload,
  Explanation,
} from "./explanation.ts";
import { type Found, readDestination, readSource, type Source } from "./question.ts";

/** Live state that an explanation is made from. */
export interface ExplainContext {
  readonly mesh: MeshState;
  readonly routing: RoutingSettings;
  /** CLUSTER_DOMAIN */
  readonly clusterDomain: string;
  /** The cache's entry for an identity; undefined: this process does not keep it. */
  readonly certificate: (identity: string) => CacheEntrySnapshot | undefined;
  /** As real connections choose among endpoints now. */
  readonly choice: (destination: SocketAddress) => Choice;
}

/** Answers a question, or says what of it cannot be read. */
export function explain(context: ExplainContext, sourceText: string, destinationText: string): Found<Explanation> {
  const names = { mesh: context.mesh, network: context.routing.network, clusterDomain: context.clusterDomain };
  const source = readSource(names, sourceText);
  if (!source.ok) return source;
  const destination = readDestination(names, destinationText, source.value);
  if (!destination.ok) return destination;
  const hops = explainHops(context, source.value, destination.value);
  return {
    ok: true,
    value: {
      source: { asked: sourceText, ip: source.value.ip, ...described(source.value.workload) },
      destination: { asked: destinationText, address: formatAddress(destination.value) },
      hops,
      verdict: verdictOf(hops),
    },
  };
}

function explainHops(context: ExplainContext, source: Source, destination: SocketAddress): ExplainedHop[] {
  const { workload } = source;
  const captured = workload !== undefined && workload.protocol === "HBONE";
  if (!captured) return [plaintextHop(context, source, destination)];
  const decision = resolve(context, workload, source.ip, destination);
  const hops = [hopOf(context, decision, workload, source.ip)];
  if (!throughWaypoint(decision) || decision.action !== "hbone" || decision.inner !== undefined) return hops;
  if (hops[0]?.certificate?.state === "unavailable") return hops;
  // Behind the waypoint a connection goes on, in its name; which way is decided by the same mesh.
  const instance = decision.workload;
  const onward = resolve(context, instance, decision.dial.ip, destination);
  if (!throughWaypoint(onward)) hops.push(hopOf(context, onward, instance, decision.dial.ip));
  return hops;
}

function resolve(
  { mesh, routing, choice }: ExplainContext,
  source: Workload,
  ip: string,
  destination: SocketAddress,
): OutboundDecision {
  const flow = { info: infoOf(source), source, downstream: { ip, port: 0 }, destination };
  return resolveOutbound(mesh, flow, routing, choice(destination));
}

function infoOf({ name, namespace, serviceAccount }: Workload): WorkloadInfo {
  return { name, namespace, serviceAccount };
}

/** Whether the decision leads to a waypoint in front of what was asked for. */
function throughWaypoint({ reasons }: OutboundDecision): boolean {
  return reasons.some(({ code }) => code === "waypoint");
}

function hopOf(context: ExplainContext, decision: OutboundDecision, source: Workload, ip: string): ExplainedHop {
  const outbound = outboundOf(decision);
  if (decision.action !== "hbone") return { outbound };
  const identity = workloadIdentity(source);
  const certificate = certificateOf(context, identity);
  // Without a certificate nothing arrives. Beyond a gateway another cluster's ztunnel decides, and at a waypoint its
  // layer 7 configuration.
  const elsewhere = decision.inner !== undefined || outbound.throughWaypoint;
  if (elsewhere || certificate.state === "unavailable") return { outbound, certificate };
  return { outbound, certificate, inbound: hboneArrival(context, decision, identity, ip) };
}

function outboundOf(decision: OutboundDecision): ExplainedOutbound {
  const common = { throughWaypoint: throughWaypoint(decision), reasons: decision.reasons.map(renderReason) };
  switch (decision.action) {
    case "refuse":
      return { action: "refuse", error: decision.error, ...common };
    case "lookup":
      return {
        ...common,
        action: decision.workload.protocol === "HBONE" ? "hbone" : "tcp",
        dial: decision.hostname,
        ...described(decision.workload),
      };
    case "passthrough":
      return { action: "passthrough", dial: formatAddress(decision.dial), ...common };
    case "tcp":
      return { action: "tcp", dial: formatAddress(decision.dial), ...named(decision), ...common };
    case "hbone":
      return {
        action: decision.inner === undefined ? "hbone" : "double-hbone",
        dial: formatAddress(decision.dial),
        authority: decision.authority,
        expectedIdentities: decision.expectedIdentities,
        ...(decision.inner === undefined ? {} : { inner: decision.inner }),
        ...named(decision),
        ...common,
      };
  }
}

function named({ service, workload }: OutboundDecision & { action: "tcp" | "hbone" }) {
  return { ...(service === undefined ? {} : { service: serviceKey(service) }), ...described(workload) };
}

function described(workload: Workload | undefined): { readonly workload?: ExplainedWorkload } {
  if (workload === undefined) return {};
  const { uid, name, namespace, addresses, node, protocol } = workload;
  return { workload: { uid, name, namespace, identity: workloadIdentity(workload), addresses, node, protocol } };
}

function certificateOf({ certificate }: ExplainContext, identity: string): ExplainedCertificate {
  const entry = certificate(identity);
  if (entry === undefined) return { identity, state: "elsewhere" };
  return {
    identity,
    state: entry.state,
    ...(entry.certificate === undefined ? {} : { expires: new Date(entry.certificate.notAfter).toISOString() }),
    ...(entry.error === undefined ? {} : { error: entry.error }),
  };
}

/** The CONNECT request as the ztunnel of the destination would decide about it. */
function hboneArrival(context: ExplainContext, route: HboneRoute, identity: string, ip: string): ExplainedInbound {
  const { mesh, routing } = context;
  const { workload } = route;
  const decision = resolveInbound(mesh, {
    info: infoOf(workload),
    local: workload,
    authority: route.authority,
    destination: route.dial,
    peer: { ip, port: 0 },
    forwardedHost: route.service?.hostname,
    forwardedNetwork: undefined,
    selfListener: false,
  }, routing);
  return arrival(context, workload, decision, identity, ip);
}

function arrival(
  { mesh }: ExplainContext,
  workload: Workload,
  decision: InboundDecision,
  identity: string | undefined,
  ip: string,
): ExplainedInbound {
  const common = {
    workload: described(workload).workload as ExplainedWorkload,
    peerIdentity: identity ?? null,
    reasons: decision.reasons.map(renderReason),
  };
  if (!decision.ok) return { ...common, status: decision.status, error: decision.error, policies: [] };
  const flow: PolicyFlow = {
    sourceIp: ip,
    destinationIp: decision.policyDestination.ip,
    destinationPort: decision.policyDestination.port,
    identity: identity === undefined ? undefined : parseIdentity(identity),
  };
  const set = mesh.policiesFor(workload);
  const verdict = authorize(set, flow);
  return {
    ...common,
    deliver: formatAddress(decision.dial),
    ...(verdict.allowed ? {} : { status: 401, error: policyRejection(verdict.rejection) }),
    policies: explainPolicies(set, flow),
  };
}

/** A client that is not captured sends plain TCP: the mesh decides only where it arrives. */
function plaintextHop(context: ExplainContext, source: Source, destination: SocketAddress): ExplainedHop {
  const { mesh, routing } = context;
  const client = source.workload === undefined
    ? `${source.ip} is no workload of the mesh`
    : `workload ${source.workload.namespace}/${source.workload.name} is not captured`;
  const reasons = [`${client}, so it sends plain TCP`];
  const outbound: ExplainedOutbound = { action: "uncaptured", throughWaypoint: false, reasons };
  const arrived = plaintextDestination(context, source, destination, reasons);
  if (arrived === undefined || arrived.workload.protocol !== "HBONE") return { outbound };
  const decision = resolvePlaintext(mesh, {
    info: infoOf(arrived.workload),
    local: arrived.workload,
    peer: { ip: source.ip, port: 0 },
    destination: arrived.address,
  }, routing);
  return { outbound, inbound: arrival(context, arrived.workload, decision, undefined, source.ip) };
}

/** Which workload plain TCP to an address reaches: for a service any endpoint, as that choice is the node's. */
function plaintextDestination(
  { mesh, routing, choice }: ExplainContext,
  source: Source,
  destination: SocketAddress,
  reasons: string[],
): { readonly workload: Workload; readonly address: SocketAddress } | undefined {
  const { network } = routing;
  const owner = mesh.workloadByAddress(network, destination.ip);
  if (owner !== undefined) return { workload: owner, address: destination };
  const service = mesh.serviceByVip(network, destination.ip, source.workload?.namespace);
  if (service === undefined) return undefined;
  reasons.push(renderReason(reason("destination-service", service)));
  const client = source.workload ?? newWorkload({ network, addresses: [source.ip] });
  const pool = mesh.endpointPool(service);
  const chosen = pool.choose(client, destination.port, choice(destination));
  const port = chosen && selectPort(service, chosen.ports, chosen.workload, destination.port);
  const ip = chosen && selectAddress(chosen.workload, service, destination.ip);
  if (chosen === undefined || port === undefined || ip === undefined) {
    reasons.push(renderReason(reason("no-endpoint", service, destination.port)));
    return undefined;
  }
  reasons.push(renderReason(reason("endpoint-chosen", chosen.workload, pool.size)));
  return { workload: chosen.workload, address: { ip, port } };
}

function verdictOf(hops: readonly ExplainedHop[]): Explanation["verdict"] {
  for (const { outbound, inbound, certificate } of hops) {
    if (outbound.action === "refuse") {
      return { outcome: "refused", summary: `refused at the client: ${outbound.error}` };
    }
    if (certificate?.state === "unavailable") {
      return { outcome: "refused", summary: `refused at the client: identity error: ${certificate.error}` };
    }
    if (inbound?.status === 401) {
      const { namespace, name } = inbound.workload;
      return { outcome: "denied", summary: `denied at ${namespace}/${name}: ${inbound.error}` };
    }
    if (inbound?.status !== undefined) {
      return { outcome: "refused", summary: `refused at the destination: ${inbound.error}` };
    }
  }
  return unhindered(hops);
}

/** Nothing here is in the way; there may be others who decide, or nobody at all. */
function unhindered(hops: readonly ExplainedHop[]): Explanation["verdict"] {
  const [{ outbound, inbound }] = hops as [ExplainedHop];
  const unknown = (summary: string) => ({ outcome: "unknown" as const, summary });
  if (outbound.throughWaypoint) {
    const { namespace, name } = outbound.workload as ExplainedWorkload;
    return unknown(`the waypoint ${namespace}/${name} decides at layer 7; at layer 4 nothing is in the way`);
  }
  if (outbound.action === "double-hbone") return unknown("the ztunnel behind the gateway decides");
  if (inbound !== undefined) return { outcome: "allowed", summary: "allowed" };
  return { outcome: "allowed", summary: "the destination is not captured, so no policy of the mesh is asked" };
}
