/** One outgoing flow on its way to a decision, and the ends that all ways share. */
import { isIpv4, type SocketAddress } from "../net/address.ts";
import type { Choice, OutboundDecision, Refusal, RoutingSettings, ServiceReference } from "./decision.ts";
import { describeWorkload, type Upstream } from "./destination.ts";
import { type Reason, reason } from "./reason.ts";
import type { Service } from "./service.ts";
import type { MeshState } from "./state.ts";
import type { Workload } from "./workload.ts";

/** What is asked, what it is asked of, and the reasons so far. */
export interface Resolution {
  readonly mesh: MeshState;
  /** Record of the pod that connects. */
  readonly source: Workload;
  /** Address the connection comes from. */
  readonly downstream: SocketAddress;
  /** Original destination. */
  readonly destination: SocketAddress;
  readonly settings: RoutingSettings;
  readonly choice: Choice;
  readonly reasons: Reason[];
}

export function refuse(source: Workload | undefined, error: string, reasons: readonly Reason[]): Refusal {
  return { action: "refuse", error, source, reasons };
}

/** Refusal of a connection to a workload that no address or gateway leads to. */
export function noDestination({ source, reasons }: Resolution, workload: Workload, why: Reason): Refusal {
  reasons.push(why);
  return refuse(source, `no valid routing destination for workload: ${describeWorkload(workload)}`, reasons);
}

/** Whether there is nothing to dial: no address, and no name to resolve. */
export function isUnaddressed({ workload, ip }: Upstream): boolean {
  return ip === undefined && workload.hostname === "";
}

/** Refusal of a connection to one that is unaddressed. */
export function noAddress(resolution: Resolution, { workload }: Upstream): Refusal {
  const lacking = workload.addresses.length > 0 ? "the service allows none of those it has" : "it has none";
  return noDestination(resolution, workload, reason("no-route", workload, lacking));
}

/**
 * Goes on with the address to dial, which for a workload that has only a hostname is known later: then `go` runs in
 * the lookup's `proceed`, each time with reasons of its own (spec/ztunnel.md §4.5).
 */
export function withAddress(
  resolution: Resolution,
  upstream: Upstream,
  go: (ip: string, reasons: Reason[]) => OutboundDecision,
): OutboundDecision {
  const { workload, ip, requested } = upstream;
  const { source, reasons } = resolution;
  if (ip !== undefined) return go(ip, reasons);
  if (isUnaddressed(upstream)) return noAddress(resolution, upstream);
  reasons.push(reason("lookup", workload, workload.hostname));
  return {
    action: "lookup",
    hostname: workload.hostname,
    prefer: isIpv4(requested) ? "IPv4" : "IPv6",
    source,
    workload,
    reasons,
    proceed: (ip) => go(ip, [...reasons, reason("resolved", workload, ip)]),
  };
}

/** What telemetry keeps of a service. */
export function reference(service: Service): ServiceReference {
  return { hostname: service.hostname, name: service.name, namespace: service.namespace };
}
