/** Routes: envoy.config.route.v3, the fields that istiod writes for a waypoint (spec/waypoint.md §1.14). Plain data. */
import type { HeaderMatch, PathMatch, QueryMatch, StringMatch } from "../../matching/string_match.ts";
import type { MetadataMatch } from "../../policy/rbac.ts";

/** Out of a million. */
export type Fraction = number;

export interface RouteMatch {
  readonly path: PathMatch;
  readonly headers: readonly HeaderMatch[];
  readonly query: readonly QueryMatch[];
  /** On JWT claims; none of them matches before a token was verified. */
  readonly metadata: readonly MetadataMatch[];
  /** Only for clients whose identity is in this namespace: a consumer route of the Gateway API. */
  readonly sourceNamespace?: string | undefined;
  /** Only requests with a gRPC content type. */
  readonly grpc?: boolean | undefined;
}

export interface HeaderAddition {
  /** Lower case; `host` and `:authority` mean the authority, `:path` the path. */
  readonly name: string;
  /** A substitution format string: `%` begins an operator, `%%` is a percent sign. */
  readonly value: string;
  /** append: after what is there; overwrite: instead of it; if-absent: only when there is none. */
  readonly action: "append" | "overwrite" | "if-absent";
}

/** Removals are done before additions (as Envoy does). */
export interface HeaderMutation {
  readonly add: readonly HeaderAddition[];
  /** Lower case. */
  readonly remove: readonly string[];
}

export interface WeightedCluster {
  /** Name in WaypointSnapshot.clusters; one that is not there answers with `clusterNotFoundStatus`. */
  readonly cluster: string;
  /** Zero-weight clusters are left out by who writes the snapshot. */
  readonly weight: number;
  readonly requestHeaders: HeaderMutation;
  readonly responseHeaders: HeaderMutation;
  readonly hostRewrite?: string | undefined;
}

export interface RetryPolicy {
  /** Envoy's conditions: `5xx`, `gateway-error`, `reset`, `reset-before-request`, `connect-failure`, `refused-stream`, `retriable-4xx`, `retriable-status-codes`, `retriable-headers`, `cancelled`, `deadline-exceeded`, `internal`, `resource-exhausted`, `unavailable`, `envoy-ratelimited`. */
  readonly on: readonly string[];
  /** Beyond the first try. */
  readonly count: number;
  /** ms; undefined: the route's timeout only. */
  readonly perTryTimeoutMs: number | undefined;
  readonly statusCodes: readonly number[];
  readonly requestHeaders: readonly HeaderMatch[];
  /** Retry host predicate previous_hosts with this many attempts at choosing another one; 0: any host will do. */
  readonly otherHostAttempts: number;
  /** Retry priority previous_priorities. */
  readonly otherPriorities: boolean;
  /** Envoy: base 25 ms, at most ten times that. */
  readonly backOffBaseMs: number;
  readonly backOffMaxMs: number;
}

export interface Mirror {
  readonly cluster: string;
  readonly fraction: Fraction;
  /** Append `-shadow` to the Host. */
  readonly shadowHost: boolean;
}

export type HashPolicy =
  & (
    | { readonly kind: "header"; readonly name: string }
    | {
      readonly kind: "cookie";
      readonly name: string;
      /** Set a cookie of this lifetime (0: of the session) when there is none; undefined: do not. */
      readonly ttlMs: number | undefined;
      readonly path: string;
      readonly attributes: readonly (readonly [name: string, value: string])[];
    }
    | { readonly kind: "source-ip" }
    | { readonly kind: "query"; readonly name: string }
  )
  & { readonly terminal: boolean };

export interface RegexRewrite {
  /** RE2; all that matches is replaced. */
  readonly regex: string;
  /** `\1` is the first group. */
  readonly substitution: string;
}

/** Changes of the path; the query stays. At most one is set. */
export interface PathRewrite {
  readonly prefix?: string | undefined;
  readonly regex?: RegexRewrite | undefined;
  /** The whole path (Gateway API ReplaceFullPath). */
  readonly full?: string | undefined;
}

export interface ForwardAction {
  readonly kind: "forward";
  readonly clusters: readonly WeightedCluster[];
  /** Answer when a cluster does not exist: 500 for Gateway API routes, else 503. */
  readonly clusterNotFoundStatus: 500 | 503;
  /** The whole request with its retries, ms; 0: none. */
  readonly timeoutMs: number;
  /** Cap for the client's grpc-timeout, which then replaces timeoutMs; 0: no cap; undefined: grpc-timeout is ignored. */
  readonly maxGrpcTimeoutMs: number | undefined;
  readonly retry: RetryPolicy | undefined;
  readonly rewrite: PathRewrite;
  readonly hostRewrite: string | undefined;
  readonly appendForwardedHost: boolean;
  readonly mirrors: readonly Mirror[];
  readonly hashPolicies: readonly HashPolicy[];
  /** Of the stream without a byte either way, ms; 0: none. */
  readonly idleTimeoutMs: number;
  /** Of the stream as a whole, ms; 0: none. */
  readonly maxStreamDurationMs: number;
}

export interface RedirectAction {
  readonly kind: "redirect";
  readonly host: string | undefined;
  readonly scheme: string | undefined;
  readonly port: number | undefined;
  readonly path: PathRewrite;
  readonly status: 301 | 302 | 303 | 307 | 308;
  readonly stripQuery: boolean;
}

export interface DirectResponseAction {
  readonly kind: "direct-response";
  readonly status: number;
  readonly body: string;
}

export type RouteAction = ForwardAction | RedirectAction | DirectResponseAction;

export interface Fault {
  readonly delay: { readonly ms: number; readonly fraction: Fraction } | undefined;
  readonly abort:
    | { readonly status: number | undefined; readonly grpcStatus: number | undefined; readonly fraction: Fraction }
    | undefined;
}

export interface CorsPolicy {
  readonly allowOrigins: readonly StringMatch[];
  /** As header values; empty: header is not sent. */
  readonly allowMethods: string;
  readonly allowHeaders: string;
  readonly exposeHeaders: string;
  /** Seconds, as header value; empty: not sent. */
  readonly maxAge: string;
  readonly allowCredentials: boolean;
  /** Preflights from other origins go to the backend instead of being answered here. */
  readonly forwardNotMatchingPreflights: boolean;
}

export interface Route {
  /** ROUTE_NAME of the access log. */
  readonly name: string;
  readonly match: RouteMatch;
  readonly action: RouteAction;
  readonly requestHeaders: HeaderMutation;
  readonly responseHeaders: HeaderMutation;
  readonly fault: Fault | undefined;
  readonly cors: CorsPolicy | undefined;
  /** Operation name of a trace. */
  readonly decorator: string;
  /** The object it was made from, e.g. `HTTPRoute shop/canary rule 2`; for people. */
  readonly source: string;
}

export interface VirtualHost {
  readonly name: string;
  /** `*`, exact names, `*.suffix`, `prefix.*`; compared with the authority, port ignored unless written. */
  readonly domains: readonly string[];
  readonly routes: readonly Route[];
  readonly requestHeaders: HeaderMutation;
  readonly responseHeaders: HeaderMutation;
}

export interface RouteConfiguration {
  readonly name: string;
  readonly virtualHosts: readonly VirtualHost[];
  readonly requestHeaders: HeaderMutation;
  readonly responseHeaders: HeaderMutation;
}
