/** What the mesh knows of a service (istio.workload.Service). Plain data, as workload.ts. */
import type { GatewayAddress, HealthStatus, Known, PortMap } from "./workload.ts";

export interface NetworkAddress {
  readonly network: string;
  readonly ip: string;
}

/** A range of virtual addresses that all lead to one service. */
export interface NetworkCidr {
  readonly network: string;
  /** e.g. `10.1.0.0/16` */
  readonly cidr: string;
}

/** Membership of a workload in a service. One value stands for all workloads of which it says the same. */
export interface Endpoint {
  readonly ports: PortMap;
  readonly status: HealthStatus;
}

export type RoutingScope = "Region" | "Zone" | "Subzone" | "Node" | "Cluster" | "Network";
/** Standard: no preference. Strict: only full matches. Failover: the best match. Passthrough: no selection at all. */
export type LoadBalancerMode = "Standard" | "Strict" | "Failover" | "Passthrough";
export type HealthPolicy = "OnlyHealthy" | "AllowAll";

export interface LoadBalancer {
  readonly routingPreferences: readonly RoutingScope[];
  readonly mode: LoadBalancerMode;
  readonly healthPolicy: HealthPolicy;
}

export interface WeightedWaypoint {
  readonly destination: GatewayAddress;
  readonly weight: number;
}

export type IpFamilies = "Dual" | "IPv4" | "IPv6";
/** A Namespace service does not exist for clients of other namespaces. */
export type Visibility = "Public" | "Namespace";

export interface Service {
  readonly name: string;
  readonly namespace: string;
  readonly hostname: string;
  readonly vips: readonly NetworkAddress[];
  readonly cidrVips: readonly NetworkCidr[];
  readonly ports: PortMap;
  /** By workload uid; changed in place by the mesh. Unhealthy ones are absent unless the health policy is AllowAll. */
  readonly endpoints: ReadonlyMap<string, Endpoint>;
  readonly subjectAltNames: readonly string[];
  readonly waypoint: GatewayAddress | undefined;
  readonly weightedWaypoints: readonly WeightedWaypoint[];
  readonly loadBalancer: LoadBalancer | undefined;
  /** undefined: decided by the addresses themselves. */
  readonly ipFamilies: IpFamilies | undefined;
  readonly canonical: boolean;
  readonly visibility: Visibility;
}

const NONE: readonly never[] = [];
const NO_ENDPOINTS: ReadonlyMap<string, Endpoint> = new Map();

/** A service record from the fields that are known, the others at the defaults of ztunnel's local file. */
export function newService(known: Known<Service>): Service {
  return {
    name: known.name ?? "",
    namespace: known.namespace ?? "",
    hostname: known.hostname ?? "",
    vips: known.vips ?? NONE,
    cidrVips: known.cidrVips ?? NONE,
    ports: known.ports ?? NONE,
    endpoints: known.endpoints ?? NO_ENDPOINTS,
    subjectAltNames: known.subjectAltNames ?? NONE,
    waypoint: known.waypoint,
    weightedWaypoints: known.weightedWaypoints ?? NONE,
    loadBalancer: known.loadBalancer,
    ipFamilies: known.ipFamilies,
    canonical: known.canonical ?? false,
    visibility: known.visibility ?? "Public",
  };
}

/** Key of a service: `namespace/hostname`. */
export function serviceKey(service: { readonly namespace: string; readonly hostname: string }): string {
  return `${service.namespace}/${service.hostname}`;
}

/** The ports that clients of a service may ask for. */
export function servicePorts({ ports }: Service): readonly number[] {
  return ports.filter((_, index) => index % 2 === 0);
}
