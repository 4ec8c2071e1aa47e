/** Our snapshot as Envoy's configuration: the same chain, route by route, in the words that istiod uses for it. */
import type { HeaderMatch, PathMatch, QueryMatch, StringMatch } from "../../../src/matching/mod.ts";
import type { Permission, Principal, Rbac } from "../../../src/policy/mod.ts";
import type {
  CorsPolicy,
  Fault,
  ForwardAction,
  HeaderMutation,
  HttpOptions,
  Mirror,
  PathRewrite,
  RetryPolicy,
  Route,
  RouteConfiguration,
  RouteMatch,
} from "../../../src/waypoint/snapshot/mod.ts";
import { connectionManager, extension, type Json, type JsonObject, router } from "../envoy/configuration.ts";

export const PRINCIPAL_KEY = "io.istio.peer_principal";

const seconds = (ms: number) => `${ms / 1000}s`;
const fraction = (numerator: number) => ({ numerator, denominator: "MILLION" });
const regex = (pattern: string) => ({ regex: pattern });

function stringMatch(match: StringMatch): JsonObject {
  if (match.kind === "regex") return { safe_regex: regex(match.regex) };
  return { [match.kind]: match.value, ignore_case: match.ignoreCase === true };
}

function headerMatch({ name, match, invert, treatMissingAsEmpty }: HeaderMatch): JsonObject {
  return {
    name,
    invert_match: invert,
    treat_missing_header_as_empty: treatMissingAsEmpty,
    ...(match.kind === "present" ? { present_match: true } : { string_match: stringMatch(match) }),
  };
}

function queryMatch({ name, match }: QueryMatch): JsonObject {
  return { name, ...(match.kind === "present" ? { present_match: true } : { string_match: stringMatch(match) }) };
}

function pathMatch(path: PathMatch): JsonObject {
  switch (path.kind) {
    case "exact":
      return { path: path.value, case_sensitive: path.caseSensitive };
    case "prefix":
      return { prefix: path.value, case_sensitive: path.caseSensitive };
    case "path-separated-prefix":
      return { path_separated_prefix: path.value, case_sensitive: path.caseSensitive };
    case "regex":
      return { safe_regex: regex(path.regex) };
    case "template":
      throw new Error("templates are not in routes");
  }
}

function mutations(side: "request" | "response", { add, remove }: HeaderMutation): JsonObject {
  return {
    [`${side}_headers_to_add`]: add.map(({ name, value, action }) => ({
      header: { key: name, value },
      append_action: ACTIONS[action],
    })),
    [`${side}_headers_to_remove`]: [...remove],
  };
}

const ACTIONS = {
  "append": "APPEND_IF_EXISTS_OR_ADD",
  "overwrite": "OVERWRITE_IF_EXISTS_OR_ADD",
  "if-absent": "ADD_IF_ABSENT",
} as const;

function rewrite(path: PathRewrite, prefixKey: "prefix_rewrite", fullKey: string): JsonObject {
  if (path.prefix !== undefined) return { [prefixKey]: path.prefix };
  if (path.full !== undefined) return { [fullKey]: path.full };
  if (path.regex === undefined) return {};
  return { regex_rewrite: { pattern: regex(path.regex.regex), substitution: path.regex.substitution } };
}

function retry(policy: RetryPolicy): JsonObject {
  return {
    retry_on: policy.on.join(","),
    num_retries: policy.count,
    ...(policy.perTryTimeoutMs === undefined ? {} : { per_try_timeout: seconds(policy.perTryTimeoutMs) }),
    retriable_status_codes: [...policy.statusCodes],
    retriable_request_headers: policy.requestHeaders.map(headerMatch),
    retry_back_off: { base_interval: seconds(policy.backOffBaseMs), max_interval: seconds(policy.backOffMaxMs) },
  };
}

function mirror({ cluster, fraction: share, shadowHost }: Mirror): JsonObject {
  return {
    cluster,
    runtime_fraction: { default_value: fraction(share) },
    trace_sampled: false,
    disable_shadow_host_suffix_append: !shadowHost,
  };
}

/** As istiod writes ReplaceFullPath, and ReplacePrefixMatch with a slash alone. */
function pathRewrite(change: PathRewrite, { path }: RouteMatch): JsonObject {
  if (change.full !== undefined) {
    return { regex_rewrite: { pattern: regex("/.*"), substitution: change.full } };
  }
  if (change.prefix === "/" && path.kind === "path-separated-prefix") {
    return { regex_rewrite: { pattern: regex(`^${path.value}(\\/?)(.*)`), substitution: "/\\2" } };
  }
  return rewrite(change, "prefix_rewrite", "");
}

function forward(action: ForwardAction, match: RouteMatch): JsonObject {
  return {
    weighted_clusters: {
      clusters: action.clusters.map(({ cluster, weight, requestHeaders, responseHeaders, hostRewrite }) => ({
        name: cluster,
        weight,
        ...mutations("request", requestHeaders),
        ...mutations("response", responseHeaders),
        ...(hostRewrite === undefined ? {} : { host_rewrite_literal: hostRewrite }),
      })),
    },
    cluster_not_found_response_code: action.clusterNotFoundStatus === 500
      ? "INTERNAL_SERVER_ERROR"
      : "SERVICE_UNAVAILABLE",
    timeout: seconds(action.timeoutMs),
    ...(action.maxGrpcTimeoutMs === undefined ? {} : { max_grpc_timeout: seconds(action.maxGrpcTimeoutMs) }),
    ...(action.retry === undefined ? {} : { retry_policy: retry(action.retry) }),
    ...pathRewrite(action.rewrite, match),
    ...(action.hostRewrite === undefined ? {} : { host_rewrite_literal: action.hostRewrite }),
    ...(action.appendForwardedHost ? { append_x_forwarded_host: true } : {}),
    request_mirror_policies: action.mirrors.map(mirror),
    ...(action.idleTimeoutMs > 0 ? { idle_timeout: seconds(action.idleTimeoutMs) } : {}),
  };
}

function fault({ delay, abort }: Fault): JsonObject {
  return {
    ...(delay === undefined ? {} : { delay: { fixed_delay: seconds(delay.ms), percentage: fraction(delay.fraction) } }),
    ...(abort === undefined ? {} : {
      abort: {
        percentage: fraction(abort.fraction),
        ...(abort.grpcStatus === undefined ? { http_status: abort.status ?? 200 } : { grpc_status: abort.grpcStatus }),
      },
    }),
  };
}

function cors(policy: CorsPolicy): JsonObject {
  return {
    allow_origin_string_match: policy.allowOrigins.map(stringMatch),
    allow_methods: policy.allowMethods,
    allow_headers: policy.allowHeaders,
    expose_headers: policy.exposeHeaders,
    max_age: policy.maxAge,
    allow_credentials: policy.allowCredentials,
    forward_not_matching_preflights: policy.forwardNotMatchingPreflights,
    filter_enabled: { default_value: { numerator: 100 } },
  };
}

function route(route: Route): JsonObject {
  const { match, action } = route;
  const perFilter: Record<string, Json> = {};
  const type = "type.googleapis.com/envoy.extensions.filters.http";
  if (route.fault !== undefined) {
    perFilter["envoy.filters.http.fault"] = { "@type": `${type}.fault.v3.HTTPFault`, ...fault(route.fault) };
  }
  if (route.cors !== undefined) {
    perFilter["envoy.filters.http.cors"] = { "@type": `${type}.cors.v3.CorsPolicy`, ...cors(route.cors) };
  }
  const acts: JsonObject = action.kind === "forward"
    ? { route: forward(action, match) }
    : action.kind === "redirect"
    ? {
      redirect: {
        ...(action.host === undefined ? {} : { host_redirect: action.host }),
        ...(action.scheme === undefined ? {} : { scheme_redirect: action.scheme }),
        ...(action.port === undefined ? {} : { port_redirect: action.port }),
        ...rewrite(action.path, "prefix_rewrite", "path_redirect"),
        response_code: REDIRECTS[action.status],
        strip_query: action.stripQuery,
      },
    }
    : { direct_response: { status: action.status, body: { inline_string: action.body } } };
  return {
    name: route.name,
    match: {
      ...pathMatch(match.path),
      headers: match.headers.map(headerMatch),
      query_parameters: match.query.map(queryMatch),
      ...(match.grpc === true ? { grpc: {} } : {}),
    },
    ...acts,
    ...mutations("request", route.requestHeaders),
    ...mutations("response", route.responseHeaders),
    ...(route.decorator === "" ? {} : { decorator: { operation: route.decorator } }),
    typed_per_filter_config: perFilter,
  };
}

const REDIRECTS = {
  301: "MOVED_PERMANENTLY",
  302: "FOUND",
  303: "SEE_OTHER",
  307: "TEMPORARY_REDIRECT",
  308: "PERMANENT_REDIRECT",
} as const;

export function routeConfiguration(configuration: RouteConfiguration): JsonObject {
  return {
    name: configuration.name,
    validate_clusters: false,
    ...mutations("request", configuration.requestHeaders),
    ...mutations("response", configuration.responseHeaders),
    virtual_hosts: configuration.virtualHosts.map((host) => ({
      name: host.name,
      domains: [...host.domains],
      routes: host.routes.map(route),
      ...mutations("request", host.requestHeaders),
      ...mutations("response", host.responseHeaders),
    })),
  };
}

function cidr(text: string): JsonObject {
  const [address = "", length = "32"] = text.split("/");
  return { address_prefix: address, prefix_len: Number(length) };
}

function permission(rule: Permission): JsonObject {
  switch (rule.kind) {
    case "any":
      return { any: true };
    case "and":
    case "or":
      return { [`${rule.kind}_rules`]: { rules: rule.rules.map(permission) } };
    case "not":
      return { not_rule: permission(rule.rule) };
    case "header":
      return { header: headerMatch(rule.header) };
    case "path":
      return permissionPath(rule.match);
    case "destination-ip":
      return { destination_ip: cidr(rule.cidr) };
    case "destination-port":
      return { destination_port: rule.port };
    case "server-name":
      return { requested_server_name: stringMatch(rule.match) };
    case "metadata":
      throw new Error("nothing writes metadata here");
  }
}

function permissionPath(match: PathMatch | StringMatch): JsonObject {
  if (match.kind === "template") {
    return {
      uri_template: extension("uri-template", "path.match.uri_template.v3.UriTemplateMatchConfig", {
        path_template: match.template.replaceAll("{**}", "**").replaceAll("{*}", "*"),
      }),
    };
  }
  if (match.kind === "path-separated-prefix") throw new Error("RBAC has no such match");
  return { url_path: { path: stringMatch(match as StringMatch) } };
}

function principal(id: Principal): JsonObject {
  switch (id.kind) {
    case "any":
      return { any: true };
    case "and":
    case "or":
      return { [`${id.kind}_ids`]: { ids: id.ids.map(principal) } };
    case "not":
      return { not_id: principal(id.id) };
    case "peer-principal":
      return { filter_state: { key: PRINCIPAL_KEY, string_match: stringMatch(id.match) } };
    case "direct-remote-ip":
      return { direct_remote_ip: cidr(id.cidr) };
    case "remote-ip":
      return { remote_ip: cidr(id.cidr) };
    case "header":
      return { header: headerMatch(id.header) };
    case "metadata":
      throw new Error("nothing writes metadata here");
  }
}

function rbac({ action, policies }: Rbac): JsonObject {
  const named: Record<string, Json> = {};
  for (const { name, permissions, principals } of policies ?? []) {
    named[name] = { permissions: permissions.map(permission), principals: principals.map(principal) };
  }
  return extension(`rbac-${action}`, "filters.http.rbac.v3.RBAC", { rules: { action, policies: named } });
}

export interface OriginalChain {
  readonly name: string;
  readonly options: HttpOptions;
  readonly routes: RouteConfiguration;
  readonly authorization: readonly Rbac[];
  readonly principal: string;
  readonly log: { readonly path: string; readonly format: string };
}

/** The network filter that serves a chain (spec/waypoint.md §1.7). */
export function originalHttpChain(chain: OriginalChain): JsonObject {
  const { options } = chain;
  return connectionManager({
    stat_prefix: chain.name,
    stream_idle_timeout: seconds(options.streamIdleTimeoutMs),
    use_remote_address: false,
    normalize_path: options.normalizePath,
    merge_slashes: options.mergeSlashes,
    proxy_100_continue: options.proxy100Continue,
    server_name: options.serverName,
    ...(options.acceptHttp10 ? { http_protocol_options: { accept_http_10: true, default_host_for_http_10: "" } } : {}),
    upgrade_configs: options.upgrades.map((upgrade) => ({ upgrade_type: upgrade })),
    access_log: [extension("file", "access_loggers.file.v3.FileAccessLog", {
      path: chain.log.path,
      log_format: { text_format_source: { inline_string: chain.log.format } },
    })],
    route_config: routeConfiguration(chain.routes),
    http_filters: [
      extension("principal", "filters.http.set_filter_state.v3.Config", {
        on_request_headers: [{
          object_key: PRINCIPAL_KEY,
          factory_key: "envoy.string",
          format_string: { text_format_source: { inline_string: chain.principal } },
        }],
      }),
      ...chain.authorization.map(rbac),
      extension("grpc_stats", "filters.http.grpc_stats.v3.FilterConfig", {
        emit_filter_state: true,
        stats_for_all_methods: false,
      }),
      extension("envoy.filters.http.fault", "filters.http.fault.v3.HTTPFault"),
      extension("envoy.filters.http.cors", "filters.http.cors.v3.Cors"),
      router(),
    ],
  });
}
