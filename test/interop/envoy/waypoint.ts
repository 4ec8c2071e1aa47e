/**
 * Envoy as the original waypoint, the way istiod configures it (spec/waypoint.md §1.5–1.13): three listeners in a row, the
 * inner two without sockets.
 *
 *     connect_terminate :15008 ─▶ main_internal (policy, route) ─▶ connect_originate ─▶ endpoint:15008
 *
 * Missing are the extensions that only Istio's build has: peer metadata and istio.stats, work that ours does do.
 */
import type { PeerCertificate } from "../../lab/mesh/mod.ts";
import {
  connectionManager,
  connectRoute,
  downstreamTls,
  type EnvoyConfiguration,
  extension,
  http2Upstream,
  type Json,
  type JsonObject,
  router,
  socketAddress,
  upstreamTls,
} from "./configuration.ts";

const ORIGINAL_DST = "envoy.filters.listener.original_dst";
const PRINCIPAL_KEY = "io.istio.peer_principal";
const MAX_UINT32 = 4_294_967_295;
const ADMIN_PORT = 15000;

export interface OriginalService {
  readonly host: string;
  readonly vip: string;
  readonly ports: readonly OriginalPort[];
}

export interface OriginalPort {
  readonly port: number;
  readonly protocol: "http1" | "http2";
  /** Where the endpoint is: the pod's address and the application's port. */
  readonly endpoint: { readonly ip: string; readonly port: number };
}

export interface OriginalPlan {
  readonly services: readonly OriginalService[];
  /** The one identity that the authorization policy lets in, as a SPIFFE URI. */
  readonly allowed: string;
  /** Prefix of the identities that TLS believes, e.g. `spiffe://cluster.local/`. */
  readonly trusted: string;
  readonly certificate: PeerCertificate;
}

export function originalWaypoint(plan: OriginalPlan): EnvoyConfiguration {
  const ports = plan.services.flatMap((service) => service.ports.map((port) => ({ service, port })));
  const internalListeners = extension(
    "envoy.bootstrap.internal_listener",
    "bootstrap.internal_listener.v3.InternalListener",
  );
  return {
    node: { id: "waypoint", cluster: "waypoint" },
    admin: { address: socketAddress("127.0.0.1", ADMIN_PORT) },
    bootstrap_extensions: [internalListeners],
    static_resources: {
      listeners: [connectTerminate(plan), mainInternal(plan), connectOriginate()],
      clusters: [
        mainInternalCluster(),
        connectOriginateCluster(plan),
        ...ports.map(({ service, port }) => serviceCluster(service, port)),
      ],
    },
  };
}

const clusterName = (service: OriginalService, { port }: OriginalPort) => `inbound-vip|${port}|http|${service.host}`;

function filterState(key: string, value: string, factory?: string): JsonObject {
  return {
    object_key: key,
    ...(factory === undefined ? {} : { factory_key: factory }),
    format_string: { text_format_source: { inline_string: value } },
    shared_with_upstream: "ONCE",
  };
}

function connectTerminate(plan: OriginalPlan): JsonObject {
  const authority = extension("connect_authority", "filters.http.set_filter_state.v3.Config", {
    on_request_headers: [
      filterState(`${ORIGINAL_DST}.local_ip`, "%REQ(:AUTHORITY)%"),
      filterState("io.istio.connect_authority", "%REQ(:AUTHORITY)%", "envoy.hashable_string"),
      filterState(`${ORIGINAL_DST}.remote_ip`, "%DOWNSTREAM_REMOTE_ADDRESS%"),
      filterState(PRINCIPAL_KEY, "%DOWNSTREAM_PEER_URI_SAN%", "envoy.string"),
      filterState("io.istio.local_principal", "%DOWNSTREAM_LOCAL_URI_SAN%", "envoy.string"),
    ],
  });
  return {
    name: "connect_terminate",
    address: socketAddress("0.0.0.0", 15008),
    connection_balance_config: { exact_balance: {} },
    filter_chains: [{
      name: "default",
      transport_socket: downstreamTls(plan.certificate, { prefix: plan.trusted }),
      filters: [connectionManager({
        stat_prefix: "connect_terminate",
        stream_idle_timeout: "0s",
        use_remote_address: false,
        server_name: "istio-envoy",
        forward_client_cert_details: "APPEND_FORWARD",
        set_current_client_cert_details: { subject: true, uri: true, dns: true },
        http2_protocol_options: {
          allow_connect: true,
          max_concurrent_streams: 100,
          connection_keepalive: { interval: "10s", timeout: "20s" },
        },
        upgrade_configs: [{ upgrade_type: "CONNECT" }],
        route_config: { virtual_hosts: [{ name: "all", domains: ["*"], routes: [connectRoute("main_internal")] }] },
        http_filters: [authority, router()],
      })],
    }],
  };
}

function originalDestination(): JsonObject {
  return extension("original_dst", "filters.listener.original_dst.v3.OriginalDst");
}

/** Leads a destination to the name of its filter chain. */
function chainChoice(services: readonly OriginalService[]): JsonObject {
  const input = (name: string) => ({
    name,
    typed_config: { "@type": `type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.${name}` },
  });
  const chain = (name: string) => ({
    action: { name, typed_config: { "@type": "type.googleapis.com/google.protobuf.StringValue", value: name } },
  });
  const byPort = (service: OriginalService) => {
    const map: Record<string, Json> = {};
    for (const port of service.ports) map[`${port.port}`] = chain(clusterName(service, port));
    return { matcher: { matcher_tree: { input: input("DestinationPortInput"), exact_match_map: { map } } } };
  };
  const ranges = services.map((service) => ({
    ranges: [{ address_prefix: service.vip, prefix_len: 32 }],
    on_match: byPort(service),
  }));
  const type = "type.googleapis.com/xds.type.matcher.v3.IPMatcher";
  const custom = { name: "ip", typed_config: { "@type": type, range_matchers: ranges } };
  return { matcher_tree: { input: input("DestinationIPInput"), custom_match: custom } };
}

function mainInternal(plan: OriginalPlan): JsonObject {
  return {
    name: "main_internal",
    internal_listener: {},
    listener_filters: [originalDestination()],
    filter_chain_matcher: chainChoice(plan.services),
    filter_chains: plan.services.flatMap((service) =>
      service.ports.map((port) => serviceChain(clusterName(service, port), plan.allowed))
    ),
  };
}

function serviceChain(name: string, allowed: string): JsonObject {
  const principal = { filter_state: { key: PRINCIPAL_KEY, string_match: { exact: allowed } } };
  const policies = { "ns[bench]-policy[clients]-rule[0]": { permissions: [{ any: true }], principals: [principal] } };
  const retry = {
    retry_on: "connect-failure,refused-stream,unavailable,cancelled",
    num_retries: 2,
    retry_host_predicate: [
      extension("previous_hosts", "retry.host.previous_hosts.v3.PreviousHostsPredicate"),
    ],
    host_selection_retry_max_attempts: 5,
  };
  const route = {
    name: "default",
    match: { prefix: "/" },
    route: { cluster: name, timeout: "0s", retry_policy: retry },
    decorator: { operation: "service:80/*" },
  };
  return {
    name,
    filters: [connectionManager({
      stat_prefix: name,
      stream_idle_timeout: "0s",
      use_remote_address: false,
      normalize_path: true,
      server_name: "istio-envoy",
      upgrade_configs: [{ upgrade_type: "websocket" }],
      route_config: { name, virtual_hosts: [{ name: "default", domains: ["*"], routes: [route] }] },
      http_filters: [
        extension("rbac", "filters.http.rbac.v3.RBAC", { rules: { action: "ALLOW", policies } }),
        extension("grpc_stats", "filters.http.grpc_stats.v3.FilterConfig", {
          emit_filter_state: true,
          stats_for_all_methods: false,
        }),
        extension("fault", "filters.http.fault.v3.HTTPFault"),
        extension("cors", "filters.http.cors.v3.Cors"),
        router(),
      ],
    })],
  };
}

function connectOriginate(): JsonObject {
  const tunnel = {
    stat_prefix: "connect_originate",
    cluster: "connect_originate",
    tunneling_config: { hostname: "%DOWNSTREAM_LOCAL_ADDRESS%" },
  };
  return {
    name: "connect_originate",
    internal_listener: {},
    listener_filters: [originalDestination()],
    filter_chains: [{ filters: [extension("tcp", "filters.network.tcp_proxy.v3.TcpProxy", tunnel)] }],
  };
}

const UNLIMITED = {
  thresholds: [{
    max_connections: MAX_UINT32,
    max_pending_requests: MAX_UINT32,
    max_requests: MAX_UINT32,
    max_retries: MAX_UINT32,
    track_remaining: true,
  }],
};

/** A transport to an internal listener, which is told what it needs of the endpoint. */
function internalTransport(passed: readonly string[]): JsonObject {
  return extension("internal_upstream", "transport_sockets.internal_upstream.v3.InternalUpstreamTransport", {
    passthrough_metadata: passed.map((name) => ({ kind: { host: {} }, name })),
    transport_socket: extension("raw_buffer", "transport_sockets.raw_buffer.v3.RawBuffer"),
  });
}

function mainInternalCluster(): JsonObject {
  const address = { envoy_internal_address: { server_listener_name: "main_internal" } };
  return {
    name: "main_internal",
    type: "STATIC",
    circuit_breakers: UNLIMITED,
    load_assignment: { cluster_name: "main_internal", endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }] },
    transport_socket: internalTransport([]),
  };
}

function serviceCluster(service: OriginalService, port: OriginalPort): JsonObject {
  const name = clusterName(service, port);
  const target = `${port.endpoint.ip}:${port.endpoint.port}`;
  const endpoint = {
    endpoint: {
      address: { envoy_internal_address: { server_listener_name: "connect_originate", endpoint_id: target } },
    },
    metadata: { filter_metadata: { [ORIGINAL_DST]: { local: target } } },
  };
  return {
    name,
    type: "STATIC",
    lb_policy: "LEAST_REQUEST",
    connect_timeout: "10s",
    circuit_breakers: UNLIMITED,
    common_lb_config: { healthy_panic_threshold: {} },
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [endpoint] }] },
    ...(port.protocol === "http2" ? { typed_extension_protocol_options: http2Upstream() } : {}),
    transport_socket: internalTransport([ORIGINAL_DST]),
  };
}

function connectOriginateCluster(plan: OriginalPlan): JsonObject {
  return {
    name: "connect_originate",
    type: "ORIGINAL_DST",
    lb_policy: "CLUSTER_PROVIDED",
    connect_timeout: "10s",
    cleanup_interval: "60s",
    circuit_breakers: UNLIMITED,
    original_dst_lb_config: { upstream_port_override: 15008 },
    typed_extension_protocol_options: http2Upstream({ allow_connect: true }),
    transport_socket: upstreamTls(plan.certificate, { prefix: plan.trusted }),
  };
}
