/** Filter chains: what is done with traffic to one service port (spec/waypoint.md §1.6 to §1.8). Plain data. */
import type { Rbac } from "../../policy/rbac.ts";
import type { ClusterService } from "./cluster.ts";
import type { RouteConfiguration } from "./route.ts";
import type { AccessLog, ChainTelemetry } from "./telemetry.ts";

/** A filter that this version does not have; what it would have done decides what happens instead. */
export interface UnsupportedFilter {
  /** e.g. `envoy.filters.http.jwt_authn (RequestAuthentication shop/tokens)` */
  readonly name: string;
  /** security: nothing passes the chain (HTTP 503, TCP close); behaviour: the same unless told to ignore; observability: it is left out. */
  readonly severity: "security" | "behaviour" | "observability";
}

/** HttpConnectionManager's options. Times in ms, 0: none. */
export interface HttpOptions {
  readonly serverName: string;
  /** overwrite: `server` is always ours; append-if-absent: the backend's stays; pass-through: it is not touched. */
  readonly serverHeader: "overwrite" | "append-if-absent" | "pass-through";
  readonly acceptHttp10: boolean;
  readonly preserveHeaderCase: boolean;
  readonly normalizePath: boolean;
  readonly mergeSlashes: boolean;
  /** keep: `%2F` stays; unescape: `%2F` and `%5C` become slashes before matching. */
  readonly escapedSlashes: "keep" | "unescape";
  readonly generateRequestId: boolean;
  /** `x-envoy-upstream-service-time` and the like are not added. */
  readonly suppressEnvoyHeaders: boolean;
  readonly proxy100Continue: boolean;
  /** X-Forwarded-Client-Cert becomes `By=…;URI=…` of the tunnel (annotation ambient.istio.io/xfcc-include-client-identity). */
  readonly forwardClientIdentity: boolean;
  /** Lower case; `websocket`. */
  readonly upgrades: readonly string[];
  readonly idleTimeoutMs: number;
  readonly streamIdleTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly requestHeadersTimeoutMs: number;
  readonly maxStreamDurationMs: number;
  /** Bytes of a request's header section; Envoy: 60 KiB. */
  readonly maxRequestHeaderBytes: number;
  /** Fields of a header section; Envoy: 100. */
  readonly maxHeaderCount: number;
}

interface ChainBase {
  readonly name: string;
  /** undefined: a direct chain, to workloads by their address. */
  readonly service: ClusterService | undefined;
  /** In order: LOG, DENY, ALLOW. */
  readonly authorization: readonly Rbac[];
  readonly unsupported: readonly UnsupportedFilter[];
  readonly telemetry: ChainTelemetry;
}

export interface HttpChain extends ChainBase {
  readonly kind: "http";
  readonly options: HttpOptions;
  readonly routes: RouteConfiguration;
}

export interface TcpChain extends ChainBase {
  readonly kind: "tcp";
  /**
   * The server name of the client's TLS is read before anything else is done (Envoy's tls_inspector). false: it is not
   * known, also where the chain is one of two that `sniff` chooses from; policies that ask for it then let nothing pass.
   */
  readonly inspectTls: boolean;
  readonly clusters: readonly { readonly cluster: string; readonly weight: number }[];
  /** ms; Envoy: 1 h; 0: never. */
  readonly idleTimeoutMs: number;
  /** ms; 0: unlimited. */
  readonly maxConnectionDurationMs: number;
  readonly hashSourceIp: boolean;
}

export type Chain = HttpChain | TcpChain;

/** What is done with a CONNECT before a chain is chosen: Envoy's listener connect_terminate (spec/waypoint.md §1.5). */
export interface ConnectOptions {
  /** Policies that select the waypoint's own pod (layered authorization), judged by the tunnel's peer: 403. */
  readonly authorization: readonly Rbac[];
  /** For CONNECTs that are refused. */
  readonly accessLogs: readonly AccessLog[];
}

/** Which chain: one, or by what the client says first (HTTP/1, HTTP/2 preface, anything else). */
export type ChainChoice =
  | { readonly kind: "chain"; readonly chain: string }
  | {
    readonly kind: "sniff";
    readonly http: string;
    readonly tcp: string;
    /** HTTP/1.0 counts as HTTP. */
    readonly http10: boolean;
  };

/** Destinations with their ports. The longest prefix decides; a port that is not there is refused. */
export interface DestinationMatch {
  readonly cidrs: readonly string[];
  /** Port → choice; undefined: any port, `any`. */
  readonly ports: Readonly<Record<string, ChainChoice>>;
  readonly any: ChainChoice | undefined;
}

/** Chain choice by original destination. What matches nothing is refused. */
export interface ChainMatcher {
  /** `host:port` of the CONNECT authority, before addresses are looked at. */
  readonly authorities: Readonly<Record<string, ChainChoice>>;
  readonly destinations: readonly DestinationMatch[];
}
