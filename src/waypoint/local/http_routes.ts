/** HTTPRoutes and GRPCRoutes of one service port as its ordered routes (spec/waypoint.md §1.14). */
import type { GrpcRule, HttpRule, LocalObject, Retry, ValuePath } from "../../config/objects/mod.ts";
import type { Service } from "../../mesh/service.ts";
import type {
  CorsPolicy,
  ForwardAction,
  HashPolicy,
  HeaderMutation,
  Mirror,
  PathRewrite,
  RetryPolicy,
  Route,
  RouteAction,
  RouteConfiguration,
  WeightedCluster,
} from "../snapshot/mod.ts";
import type { Backend, Backends } from "./backends.ts";
import { UNKNOWN_SERVICE } from "./clusters.ts";
import { type DestinationRules, hashPoliciesOf, ms } from "./destination_rule.ts";
import { type Report, subject } from "./input.ts";
import type { Attachments } from "./parents.ts";
import { corsOf, fractionOf, mutationOf, NO_MUTATION, redirectOf, rewriteOf } from "./route_filter.ts";
import { compareRanked, grpcMatch, httpMatch, type Rank, type RankedMatch } from "./route_match.ts";

const CONNECTION_CONDITIONS = ["connect-failure", "refused-stream", "unavailable", "cancelled"];
const BACK_OFF = 25; // ms, Envoy's base interval
const BACK_OFF_GROWTH = 10; // Envoy's limit, times the base
const OTHER_HOST_ATTEMPTS = 5;
const RETRIES = 2;

/** The mesh's retries of a route that says nothing of them. */
export const DEFAULT_RETRY: RetryPolicy = {
  on: [...CONNECTION_CONDITIONS, "retriable-status-codes"],
  count: RETRIES,
  perTryTimeoutMs: undefined,
  statusCodes: [],
  requestHeaders: [],
  otherHostAttempts: OTHER_HOST_ATTEMPTS,
  otherPriorities: false,
  backOffBaseMs: BACK_OFF,
  backOffMaxMs: BACK_OFF * BACK_OFF_GROWTH,
};

type HttpObject = LocalObject<"HTTPRoute">;
type GrpcObject = LocalObject<"GRPCRoute">;

interface RankedRoute {
  readonly rank: Rank;
  readonly object: LocalObject;
  readonly route: Route;
}

/** What a rule comes to before its matches make routes of it. */
interface RuleParts {
  readonly action: RouteAction;
  readonly requestHeaders: HeaderMutation;
  readonly responseHeaders: HeaderMutation;
  readonly cors: CorsPolicy | undefined;
}

/** Whatever the routes' kinds have in common. */
type Rule = HttpRule | GrpcRule;

export interface HttpRoutesContext {
  readonly http: Attachments<"HTTPRoute">;
  readonly grpc: Attachments<"GRPCRoute">;
  readonly backends: Backends;
  readonly rules: DestinationRules;
  readonly report: Report;
}

/** A route to one cluster with all at its default. */
export function forwardTo(cluster: string, hashPolicies: readonly HashPolicy[]): ForwardAction {
  return {
    kind: "forward",
    clusters: [{ cluster, weight: 1, requestHeaders: NO_MUTATION, responseHeaders: NO_MUTATION }],
    clusterNotFoundStatus: 503,
    timeoutMs: 0,
    maxGrpcTimeoutMs: 0,
    retry: DEFAULT_RETRY,
    rewrite: {},
    hostRewrite: undefined,
    appendForwardedHost: false,
    mirrors: [],
    hashPolicies,
    idleTimeoutMs: 0,
    maxStreamDurationMs: 0,
  };
}

/** The route of a service without routes, `default`. */
export function defaultRoute(cluster: string, host: string, hashPolicies: readonly HashPolicy[]): Route {
  return {
    name: "default",
    match: { path: { kind: "prefix", value: "/", caseSensitive: true }, headers: [], query: [], metadata: [] },
    action: forwardTo(cluster, hashPolicies),
    requestHeaders: NO_MUTATION,
    responseHeaders: NO_MUTATION,
    fault: undefined,
    cors: undefined,
    decorator: `${host}/*`,
    source: "",
  };
}

/** A configuration of one virtual host for all names. */
export function routeConfiguration(name: string, virtualHost: string, routes: readonly Route[]): RouteConfiguration {
  const mutations = { requestHeaders: NO_MUTATION, responseHeaders: NO_MUTATION };
  return { name, virtualHosts: [{ name: virtualHost, domains: ["*"], routes, ...mutations }], ...mutations };
}

export class HttpRoutes {
  readonly #context: HttpRoutesContext;
  /** Rules of a route are the same for each of its parents but for the operation's name. */
  readonly #parts = new Map<Rule, RuleParts>();
  readonly #matches = new Map<Rule, readonly RankedMatch[]>();

  constructor(context: HttpRoutesContext) {
    this.#context = context;
  }

  /**
   * Routes of clients' own namespaces come first, each namespace closed by a 404 (Gateway API: a consumer's routes replace
   * the producer's); then those of the service's namespace, or where there are none the default route.
   *
   * @param cluster of the service port itself
   */
  of(service: Service, port: number, cluster: string): Route[] {
    const { http, grpc, rules } = this.#context;
    const host = `${service.hostname}:${port}`;
    const byNamespace = new Map<string, RankedRoute[]>();
    for (const object of [...http.of(service, port), ...grpc.of(service, port)]) {
      let routes = byNamespace.get(object.namespace);
      if (routes === undefined) byNamespace.set(object.namespace, routes = []);
      for (const route of this.#ofObject(object, host)) routes.push(route);
    }
    const result: Route[] = [];
    for (const [namespace, routes] of byNamespace) {
      if (namespace === service.namespace) continue;
      for (const { route } of routes.sort(compareRanked)) {
        result.push({ ...route, match: { ...route.match, sourceNamespace: namespace } });
      }
      result.push(notFound(namespace, host));
    }
    const produced = byNamespace.get(service.namespace);
    if (produced !== undefined) result.push(...produced.sort(compareRanked).map(({ route }) => route));
    else {
      const hash = hashPoliciesOf(rules.policyOf(service, port).loadBalancer?.consistentHash);
      result.push(defaultRoute(cluster, host, hash));
    }
    return result;
  }

  *#ofObject(object: HttpObject | GrpcObject, host: string): Generator<RankedRoute> {
    for (const [i, rule] of (object.spec.rules ?? [{}]).entries()) {
      const path = ["spec", "rules", i];
      let parts = this.#parts.get(rule);
      if (parts === undefined) this.#parts.set(rule, parts = this.#partsOf(object, path, rule));
      let matches = this.#matches.get(rule);
      if (matches === undefined) this.#matches.set(rule, matches = this.#matchesOf(object, path, rule));
      for (const { match, rank, pattern } of matches) {
        yield {
          rank,
          object,
          route: {
            name: rule.name ?? `${object.namespace}.${object.name}.${i}`,
            match,
            ...parts,
            fault: undefined,
            decorator: `${host}${pattern}`,
            source: `${subject(object)} rule ${rule.name ?? i}`,
          },
        };
      }
    }
  }

  #matchesOf(object: HttpObject | GrpcObject, path: ValuePath, rule: Rule): RankedMatch[] {
    const { report } = this.#context;
    // No match is one that matches everything.
    const matches = rule.matches === undefined || rule.matches.length === 0 ? [{}] : rule.matches;
    return matches.map((match, i) => {
      const at = [...path, "matches", i];
      return object.kind === "HTTPRoute"
        ? httpMatch(object, at, match as NonNullable<HttpRule["matches"]>[number], report)
        : grpcMatch(object, at, match as NonNullable<GrpcRule["matches"]>[number], report);
    });
  }

  #partsOf(object: HttpObject | GrpcObject, path: ValuePath, rule: Rule): RuleParts {
    let requestHeaders = NO_MUTATION;
    let responseHeaders = NO_MUTATION;
    let cors: CorsPolicy | undefined;
    let redirect: RouteAction | undefined;
    let rewrite: PathRewrite = {};
    let hostRewrite: string | undefined;
    const mirrors: Mirror[] = [];
    for (const [i, filter] of (rule.filters ?? []).entries()) {
      if (filter.requestHeaderModifier !== undefined) requestHeaders = mutationOf(filter.requestHeaderModifier);
      if (filter.responseHeaderModifier !== undefined) responseHeaders = mutationOf(filter.responseHeaderModifier);
      if (filter.requestMirror !== undefined) {
        const at = [...path, "filters", i, "requestMirror", "backendRef"];
        const { cluster } = this.#context.backends.resolve(object, at, filter.requestMirror.backendRef, "http");
        // A copy for nobody is not made.
        if (cluster !== UNKNOWN_SERVICE) {
          mirrors.push({ cluster, fraction: fractionOf(filter.requestMirror), shadowHost: false });
        }
      }
      if ("requestRedirect" in filter && filter.requestRedirect !== undefined) {
        redirect = redirectOf(filter.requestRedirect);
      }
      if ("urlRewrite" in filter && filter.urlRewrite !== undefined) {
        rewrite = rewriteOf(filter.urlRewrite.path);
        hostRewrite = filter.urlRewrite.hostname;
      }
      if ("cors" in filter && filter.cors !== undefined) cors = corsOf(filter.cors);
    }
    const action = redirect ?? this.#forward(object, path, rule, { rewrite, hostRewrite, mirrors });
    return { action, requestHeaders, responseHeaders, cors };
  }

  #forward(
    object: HttpObject | GrpcObject,
    path: ValuePath,
    rule: Rule,
    changes: Pick<ForwardAction, "rewrite" | "hostRewrite" | "mirrors">,
  ): RouteAction {
    const clusters: WeightedCluster[] = [];
    const targets: Backend[] = [];
    for (const [i, reference] of (rule.backendRefs ?? []).entries()) {
      // Looked at even with weight 0: a slip of the pen there is to be told as well.
      const backend = this.#context.backends.resolve(object, [...path, "backendRefs", i], reference, "http");
      const weight = reference.weight ?? 1;
      if (weight === 0) continue;
      targets.push(backend);
      const filters = reference.filters ?? [];
      clusters.push({
        cluster: backend.cluster,
        weight,
        requestHeaders: mutationOf(filters.find((filter) => filter.requestHeaderModifier)?.requestHeaderModifier),
        responseHeaders: mutationOf(filters.find((filter) => filter.responseHeaderModifier)?.responseHeaderModifier),
        hostRewrite: filters.find((filter) => filter.urlRewrite)?.urlRewrite?.hostname,
      });
    }
    if (clusters.length === 0) return { kind: "direct-response", status: 500, body: "" };
    const timeouts = "timeouts" in rule ? rule.timeouts : undefined;
    const retry = "retry" in rule ? rule.retry : undefined;
    const request = timeouts?.request === undefined ? 0 : ms(timeouts.request);
    const backendRequest = timeouts?.backendRequest === undefined ? 0 : ms(timeouts.backendRequest);
    // Without retries of its own the time of a try is that of the request, as istiod has it.
    const timeoutMs = retry === undefined && backendRequest > 0 ? backendRequest : request;
    return {
      ...forwardTo("", this.#hashPolicies(targets)),
      ...changes,
      clusters,
      clusterNotFoundStatus: 500,
      timeoutMs,
      maxGrpcTimeoutMs: timeoutMs,
      retry: retry === undefined ? DEFAULT_RETRY : retryOf(retry, backendRequest),
    };
  }

  /** Of all the backends' DestinationRules, each policy once. */
  #hashPolicies(targets: readonly Backend[]): HashPolicy[] {
    const policies = new Map<string, HashPolicy>();
    for (const { service, port } of targets) {
      if (service === undefined) continue;
      const { loadBalancer } = this.#context.rules.policyOf(service, port);
      for (const policy of hashPoliciesOf(loadBalancer?.consistentHash)) policies.set(JSON.stringify(policy), policy);
    }
    return [...policies.values()];
  }
}

/** What closes the routes of a client namespace. */
function notFound(namespace: string, host: string): Route {
  const route = defaultRoute("", host, []);
  return {
    ...route,
    name: `${namespace}.not-found`,
    match: { ...route.match, sourceNamespace: namespace },
    action: { kind: "direct-response", status: 404, body: "" },
  };
}

function retryOf({ codes, attempts = RETRIES, backoff }: Retry, perTryTimeout: number): RetryPolicy | undefined {
  if (attempts === 0) return undefined;
  const base = backoff === undefined ? BACK_OFF : Math.max(1, ms(backoff));
  const statusCodes = codes ?? [];
  return {
    ...DEFAULT_RETRY,
    on: statusCodes.length === 0 ? CONNECTION_CONDITIONS : [...CONNECTION_CONDITIONS, "retriable-status-codes"],
    count: attempts,
    perTryTimeoutMs: perTryTimeout > 0 ? perTryTimeout : undefined,
    statusCodes,
    backOffBaseMs: base,
    backOffMaxMs: base * BACK_OFF_GROWTH,
  };
}
