/** Upstream clusters and their endpoints (spec/waypoint.md §1.12, §1.13). Plain data. */

export interface EndpointLocality {
  readonly region: string;
  readonly zone: string;
  readonly subzone: string;
}

/** The workload behind an endpoint, as the metadata string `istio.workload` names it. */
export interface EndpointWorkload {
  readonly name: string;
  readonly namespace: string;
  readonly canonicalName: string;
  readonly canonicalRevision: string;
  readonly cluster: string;
}

export type EndpointHealth = "healthy" | "unhealthy" | "draining";

export interface ClusterEndpoint {
  /**
   * hbone: CONNECT `address` in a tunnel to the same IP at 15008 (or to `tunnel`); double-hbone: through a network gateway;
   * tcp: plain.
   */
  readonly kind: "hbone" | "double-hbone" | "tcp";
  /** `ip:port` of the application; a host name only in clusters with discovery `dns`. */
  readonly address: string;
  /** Further addresses of the same endpoint (dual stack), for happy eyeballs; tcp only. */
  readonly additionalAddresses: readonly string[];
  /** Where the tunnel goes when that is not `<ip of address>:15008`: a waypoint or a network gateway, `ip:port`. */
  readonly tunnel: string | undefined;
  /** Authority of the inner CONNECT of a double tunnel, `host:port`. */
  readonly innerAuthority: string | undefined;
  /** SPIFFE ids of which the tunnel's peer must show one; empty: any of the trust domain. */
  readonly expectedIdentities: readonly string[];
  /** At least 1. */
  readonly weight: number;
  readonly health: EndpointHealth;
  readonly workload: EndpointWorkload | undefined;
}

export interface LocalityEndpoints {
  readonly locality: EndpointLocality;
  /** 0 is tried first. */
  readonly priority: number;
  /** Among the localities of a priority, where `localityWeighted`; undefined: not weighted. */
  readonly weight: number | undefined;
  readonly endpoints: readonly ClusterEndpoint[];
}

export type LoadBalancing =
  | { readonly kind: "least-request"; readonly choices: number }
  | { readonly kind: "round-robin" }
  | { readonly kind: "random" }
  | { readonly kind: "ring-hash"; readonly minimumSize: number; readonly maximumSize: number }
  /** Table size, a prime. */
  | { readonly kind: "maglev"; readonly tableSize: number };

export interface SlowStart {
  readonly windowMs: number;
  readonly aggression: number;
  readonly minWeightPercent: number;
}

/** 2^32-1 stands for no limit. */
export interface CircuitBreakers {
  readonly maxConnections: number;
  readonly maxPendingRequests: number;
  readonly maxRequests: number;
  readonly maxRetries: number;
  readonly retryBudget: { readonly percent: number; readonly minConcurrency: number } | undefined;
}

export interface OutlierDetection {
  readonly consecutive5xx: number;
  readonly consecutiveGatewayErrors: number;
  readonly consecutiveLocalOriginFailures: number;
  readonly splitLocalOriginErrors: boolean;
  readonly intervalMs: number;
  readonly baseEjectionMs: number;
  readonly maxEjectionPercent: number;
}

/** TLS that the waypoint originates, inside the tunnel if there is one. */
export interface UpstreamTls {
  /** undefined with `autoSni`: the authority of the request. */
  readonly sni: string | undefined;
  readonly autoSni: boolean;
  /** DNS names or URIs of which the certificate must have one; empty: the name of the SNI. */
  readonly subjectAltNames: readonly string[];
  /** PEM text; `system`: the roots of the operating system; undefined: not verified (insecureSkipVerify). */
  readonly roots: string | "system" | undefined;
  readonly certificate: { readonly chainPem: string; readonly keyPem: string } | undefined;
  readonly alpn: readonly string[];
}

export type Discovery =
  /** Endpoints are listed. */
  | { readonly kind: "static" }
  /** The addresses of all endpoints are host names; every answer counts (strict) or only the first (logical). */
  | {
    readonly kind: "dns";
    readonly logical: boolean;
    readonly family: "v4" | "v6" | "auto" | "all";
    readonly refreshMs: number;
    readonly respectTtl: boolean;
  }
  /** The upstream is where the client wanted to go: encap, headless services. */
  | { readonly kind: "original-destination"; readonly hbone: boolean }
  /** The request's authority is resolved. */
  | { readonly kind: "dynamic-forward-proxy"; readonly defaultPort: number };

export interface Keepalive {
  readonly timeMs: number;
  readonly intervalMs: number;
  readonly probes: number;
}

/** What metrics say of the destination. */
export interface ClusterService {
  readonly host: string;
  readonly name: string;
  readonly namespace: string;
}

export interface Cluster {
  /** `inbound-vip|80|http|web.shop.svc.cluster.local` */
  readonly name: string;
  readonly discovery: Discovery;
  readonly localities: readonly LocalityEndpoints[];
  /** downstream: that of the request. */
  readonly protocol: "http1" | "http2" | "downstream";
  readonly loadBalancing: LoadBalancing;
  readonly slowStart: SlowStart | undefined;
  /** Below this share of healthy endpoints all are used; 0: never. */
  readonly panicPercent: number;
  readonly localityWeighted: boolean;
  /** Share of healthy endpoints times this is what a priority can bear, percent; Envoy: 140. */
  readonly overprovisioningPercent: number;
  readonly connectTimeoutMs: number;
  readonly breakers: CircuitBreakers;
  readonly outlier: OutlierDetection | undefined;
  readonly keepalive: Keepalive | undefined;
  /** Requests a connection serves; 0: no limit. */
  readonly maxRequestsPerConnection: number;
  /** ms; 0: never. */
  readonly idleTimeoutMs: number;
  readonly maxConnectionDurationMs: number;
  readonly tls: UpstreamTls | undefined;
  readonly proxyProtocol: "V1" | "V2" | undefined;
  readonly preserveHeaderCase: boolean;
  readonly service: ClusterService | undefined;
  readonly subset: string | undefined;
  /** The object that shaped it, e.g. `DestinationRule shop/web`; empty: none. */
  readonly source: string;
}
