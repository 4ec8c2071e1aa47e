/** Enums of istio.workload and istio.security, by number (spec/ztunnel.md §4.1, §8.1), as the words of our records. */
import type { HealthPolicy, IpFamilies, LoadBalancerMode, RoutingScope } from "../../mesh/service.ts";
import type { ApplicationTunnel, HealthStatus, InboundProtocol, NetworkMode } from "../../mesh/workload.ts";
import type { PolicyAction, PolicyScope } from "../../policy/policy.ts";
import { BadField } from "../wire.ts";

/** LEGACY_ISTIO_MTLS, which sidecars speak without HBONE; no ztunnel can reach it. */
export const LEGACY_ISTIO_MTLS = 2;

export const TUNNEL_PROTOCOLS: readonly InboundProtocol[] = ["TCP", "HBONE"];
export const NETWORK_MODES: readonly NetworkMode[] = ["Standard", "HostNetwork"];
export const WORKLOAD_STATUSES: readonly HealthStatus[] = ["Healthy", "Unhealthy"];
export const WORKLOAD_TYPES: readonly string[] = ["deployment", "cronjob", "pod", "job"];
export const APPLICATION_PROTOCOLS: readonly ApplicationTunnel["protocol"][] = ["NONE", "PROXY"];
/** AUTOMATIC leaves it to the addresses. */
export const IP_FAMILIES: readonly (IpFamilies | undefined)[] = [undefined, "IPv4", "IPv6", "Dual"];
export const LOAD_BALANCER_MODES: readonly LoadBalancerMode[] = ["Standard", "Strict", "Failover", "Passthrough"];
export const HEALTH_POLICIES: readonly HealthPolicy[] = ["OnlyHealthy", "AllowAll"];
/** UNSPECIFIED, 0, is no scope that could be compared. */
export const ROUTING_SCOPES: readonly RoutingScope[] = ["Region", "Zone", "Subzone", "Node", "Cluster", "Network"];
export const FIRST_ROUTING_SCOPE = 1;
/** Visibility NAMESPACE; all other numbers are PUBLIC. */
export const NAMESPACE_VISIBILITY = 1;

export const POLICY_SCOPES: readonly PolicyScope[] = ["Global", "Namespace", "WorkloadSelector"];
export const POLICY_ACTIONS: readonly PolicyAction[] = ["Allow", "Deny"];

/** The word for an enum's number; `first` is the number of the first word. Throws BadField where there is none. */
export function wordOf<T>(words: readonly T[], number: number, path: string, first = 0): T {
  const at = number - first;
  if (at < 0 || at >= words.length) throw new BadField(path, `unknown value ${number}`);
  return words[at] as T;
}
