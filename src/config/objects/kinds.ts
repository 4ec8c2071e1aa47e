/** Which kinds there are, which only istiod can make something of, and which come later. Loads zod. */
import type { z } from "zod/v3";
import { destinationRule } from "./destination_rule.ts";
import { gateway, referenceGrant } from "./gateway.ts";
import type { Kind } from "./mod.ts";
import { authorizationPolicy, peerAuthentication } from "./policy.ts";
import { grpcRoute, httpRoute, tcpRoute } from "./route.ts";
import { telemetry } from "./telemetry.ts";

/** Every schema accepts an object with apiVersion, kind, metadata, spec and status. */
export const SCHEMAS = {
  Gateway: gateway,
  HTTPRoute: httpRoute,
  GRPCRoute: grpcRoute,
  TCPRoute: tcpRoute,
  ReferenceGrant: referenceGrant,
  DestinationRule: destinationRule,
  AuthorizationPolicy: authorizationPolicy,
  PeerAuthentication: peerAuthentication,
  Telemetry: telemetry,
} as const satisfies { readonly [K in Kind]: z.ZodTypeAny };

/** API group of each kind: Istio has a Gateway of its own. */
const GROUPS: Readonly<Record<Kind, string>> = {
  Gateway: "gateway.networking.k8s.io",
  HTTPRoute: "gateway.networking.k8s.io",
  GRPCRoute: "gateway.networking.k8s.io",
  TCPRoute: "gateway.networking.k8s.io",
  ReferenceGrant: "gateway.networking.k8s.io",
  DestinationRule: "networking.istio.io",
  AuthorizationPolicy: "security.istio.io",
  PeerAuthentication: "security.istio.io",
  Telemetry: "telemetry.istio.io",
};

/** Kinds that mean nothing without istiod, and what to do instead. */
const ISTIOD_ONLY: Readonly<Record<string, string>> = {
  VirtualService: "use an HTTPRoute, GRPCRoute or TCPRoute",
  EnvoyFilter: "remove it",
  WasmPlugin: "remove it",
  TrafficExtension: "remove it",
  Sidecar: "remove it",
  ServiceEntry: "write a service in a mesh document",
  WorkloadEntry: "write a workload in a mesh document",
  WorkloadGroup: "write workloads in a mesh document",
  ProxyConfig: "remove it",
  Gateway: "use a Gateway of gateway.networking.k8s.io", // networking.istio.io
};

const LATER = new Set([
  "RequestAuthentication",
  "TLSRoute",
  "UDPRoute",
  "BackendTLSPolicy",
  "XBackendTrafficPolicy",
  "ListenerSet",
  "XListenerSet",
]);

const MESH = new Set(["Service", "Endpoints", "EndpointSlice", "Pod", "Deployment", "StatefulSet", "Namespace"]);

/** The kind if it is one of ours, else the sentence that refuses it, given what the object is called. */
export function kindOf(
  apiVersion: string,
  kind: string,
): { readonly kind: Kind } | { readonly refused: (subject: string) => string } {
  const group = apiVersion.includes("/") ? apiVersion.slice(0, apiVersion.indexOf("/")) : "";
  if (Object.hasOwn(SCHEMAS, kind) && GROUPS[kind as Kind] === group) return { kind: kind as Kind };
  if (group.endsWith("istio.io") && Object.hasOwn(ISTIOD_ONLY, kind)) {
    const instead = ISTIOD_ONLY[kind];
    return { refused: (subject) => `${subject}: only istiod can compile ${kind}, it has no effect here: ${instead}` };
  }
  if (LATER.has(kind)) return { refused: (subject) => `${subject}: ${kind} is not in this version` };
  if (MESH.has(kind)) {
    const message = `${kind} is not read: write workloads and services as a mesh document (without apiVersion)`;
    return { refused: (subject) => `${subject}: ${message}` };
  }
  const known = Object.keys(SCHEMAS).map((name) => `${name} (${GROUPS[name as Kind]})`);
  return { refused: () => `unknown kind ${kind} of ${apiVersion}; there are ${known.join(", ")} and List` };
}
