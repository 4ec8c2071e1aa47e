/**
 * What the mesh knows of a workload: one pod, VM or external endpoint (istio.workload.Workload).
 *
 * Records are plain data: they cross threads by structured clone, and every field is always present so that all records
 * share one shape. There may be a hundred thousand of them: what many say alike (names of namespaces and nodes, lists,
 * localities, gateways) is one value in all of them, which is the care of whoever decodes them.
 */

/** How a workload wants to be reached: HBONE (mTLS tunnel) or plain TCP. */
export type InboundProtocol = "TCP" | "HBONE";
/** HostNetwork workloads share the node's addresses, so no address leads to them alone. */
export type NetworkMode = "Standard" | "HostNetwork";
export type HealthStatus = "Healthy" | "Unhealthy";

/** Who a captured pod is, as the CNI agent tells it (istio.workload.zds.WorkloadInfo). */
export interface WorkloadInfo {
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}

export interface Locality {
  readonly region: string;
  readonly zone: string;
  readonly subzone: string;
}

/** Where a gateway or waypoint is: by VIP or pod address in a network, or by the hostname of a service or workload. */
export type GatewayDestination =
  | { readonly kind: "address"; readonly network: string; readonly ip: string }
  | { readonly kind: "hostname"; readonly namespace: string; readonly hostname: string };

/** istio.workload.GatewayAddress. */
export interface GatewayAddress {
  readonly destination: GatewayDestination;
  readonly hboneMtlsPort: number;
}

/** How traffic is handed to the application of the workload itself (istio.workload.ApplicationTunnel). */
export interface ApplicationTunnel {
  readonly protocol: "NONE" | "PROXY";
  readonly port: number | undefined;
}

/**
 * Service port → target port, as flat pairs `[servicePort, targetPort, …]`. Ports of a service are few: a scan of a
 * small array is faster than a Map and takes a tenth of its memory.
 */
export type PortMap = readonly number[];

export interface Workload {
  /** Unique in the mesh, e.g. `Kubernetes//Pod/shop/cart-1`. */
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly trustDomain: string;
  readonly serviceAccount: string;
  /** Canonical IP texts. */
  readonly addresses: readonly string[];
  /** Name to resolve when there is no address; empty when unused. */
  readonly hostname: string;
  readonly network: string;
  readonly protocol: InboundProtocol;
  readonly networkMode: NetworkMode;
  readonly node: string;
  readonly workloadName: string;
  /** `deployment`, `cronjob`, `pod` or `job`. */
  readonly workloadType: string;
  readonly canonicalName: string;
  readonly canonicalRevision: string;
  readonly clusterId: string;
  readonly locality: Locality;
  /** Weight among the endpoints of a service; 0 = never chosen. */
  readonly capacity: number;
  readonly status: HealthStatus;
  readonly nativeTunnel: boolean;
  readonly waypoint: GatewayAddress | undefined;
  readonly networkGateway: GatewayAddress | undefined;
  readonly applicationTunnel: ApplicationTunnel | undefined;
  /** Keys `namespace/name` of the policies that select this workload. */
  readonly authorizationPolicies: readonly string[];
  /** Keys `namespace/hostname` of the services it belongs to; empty for workloads of a local file, as in ztunnel. */
  readonly services: readonly string[];
}

const NOWHERE: Locality = { region: "", zone: "", subzone: "" };
const NONE: readonly never[] = [];

/** Some fields of a record; an undefined one is an absent one. */
export type Known<T> = { readonly [K in keyof T]?: T[K] | undefined };

/** A workload record from the fields that are known, the others at the defaults of ztunnel's local file. */
export function newWorkload(known: Known<Workload>): Workload {
  return {
    uid: known.uid ?? "",
    name: known.name ?? "",
    namespace: known.namespace ?? "",
    trustDomain: known.trustDomain ?? "",
    serviceAccount: known.serviceAccount ?? "",
    addresses: known.addresses ?? NONE,
    hostname: known.hostname ?? "",
    network: known.network ?? "",
    protocol: known.protocol ?? "TCP",
    networkMode: known.networkMode ?? "Standard",
    node: known.node ?? "",
    workloadName: known.workloadName ?? "",
    workloadType: known.workloadType ?? "",
    canonicalName: known.canonicalName ?? "",
    canonicalRevision: known.canonicalRevision ?? "",
    clusterId: known.clusterId ?? "",
    locality: known.locality ?? NOWHERE,
    capacity: known.capacity ?? 1,
    status: known.status ?? "Healthy",
    nativeTunnel: known.nativeTunnel ?? false,
    waypoint: known.waypoint,
    networkGateway: known.networkGateway,
    applicationTunnel: known.applicationTunnel,
    authorizationPolicies: known.authorizationPolicies ?? NONE,
    services: known.services ?? NONE,
  };
}

/** SPIFFE id of a workload, `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`. */
export function workloadIdentity(workload: Workload): string {
  return `spiffe://${workload.trustDomain}/ns/${workload.namespace}/sa/${workload.serviceAccount}`;
}

/** The target port that `ports` gives for a service port; undefined when the port is not listed, 0 when it has none. */
export function targetPortOf(ports: PortMap, servicePort: number): number | undefined {
  for (let i = 0; i < ports.length; i += 2) {
    if (ports[i] === servicePort) return ports[i + 1];
  }
  return undefined;
}

/** A gateway reference as written in configuration: `network/ip` or `namespace/hostname`. */
export function formatGateway(destination: GatewayDestination): string {
  return destination.kind === "address"
    ? `${destination.network}/${destination.ip}`
    : `${destination.namespace}/${destination.hostname}`;
}
