/**
 * The behaviour tests of the original, by their names there, and where each is re-created here against the executable.
 * `covers` is the section of the specification whose behaviour the test shows; a row without a test says what it needs
 * that this lab does not have yet.
 */

export interface Recreation {
  /** Name in the original, or its words where spec/ztunnel.md §12.2 gives no name. */
  readonly original: string;
  /** Section of spec/ztunnel.md. */
  readonly covers: string;
  /** File in this folder, and how the name of the test there begins. */
  readonly test?: readonly [file: string, name: string];
  /** What is missing. */
  readonly needs?: string;
}

const CAPTURE = "capture.test.ts";
const DIRECT = "direct.test.ts";
const GATEWAY = "gateway.test.ts";
const LIFECYCLE = "lifecycle.test.ts";
const OWN = "own_workload.test.ts";
const SANDWICH = "sandwich.test.ts";
const SECURITY = "security.test.ts";
const WAYPOINT = "through_waypoint.test.ts";
const NAMES = "names.test.ts";
const REVOCATION = "istiod/revocation.test.ts";

/** A test that has the original's own name. */
function same(original: string, covers: string, file: string): Recreation {
  return { original, covers, test: [file, original] };
}

/** tests/namespaced.rs (spec/ztunnel.md §12.1). */
export const NAMESPACED: readonly Recreation[] = [
  same("local_captured_inpod", "§5, §6, §10", CAPTURE),
  same("cross_node_captured_inpod", "§5, §6, §10", CAPTURE),
  same("server_uncaptured_inpod", "§5", CAPTURE),
  same("client_uncaptured_inpod", "§6.8", CAPTURE),
  same("server_uncaptured_dedicated", "§2.9, §5", DIRECT),
  same("client_uncaptured_dedicated", "§2.9, §6.8", DIRECT),
  same("cross_node_captured_dedicated", "§2.9", DIRECT),
  same("workload_waypoint", "§4.6, §5 step 8", WAYPOINT),
  same("service_waypoint", "§4.6, §5 step 4", WAYPOINT),
  same("service_waypoint_hostname", "§4.6, §5 step 4", WAYPOINT),
  same("service_waypoint_workload_hostname", "§4.6, §5 step 4", WAYPOINT),
  same("sandwich_waypoint_plain", "§6.5", SANDWICH),
  same("sandwich_waypoint_proxy_protocol", "§6.5, §6.6", SANDWICH),
  same("double_hbone1", "§5 step 7", GATEWAY),
  same("double_hbone2", "§5 step 7", GATEWAY),
  same("service_loadbalancing", "§4.4, §10.1", CAPTURE),
  same("test_ztunnel_shutdown", "§11.3", LIFECYCLE),
  same("test_server_shutdown", "§2.3, §11.3", LIFECYCLE),
  same("test_policy", "§8", SECURITY),
  same("hbone_ip_mismatch", "§6.4", SECURITY),
  same("test_svc_hostname_port", "§6.5", SECURITY),
  same("test_svc_hostname_named_port", "§6.5", SECURITY),
  same("malicious_calls_inpod", "§1.5, §5 step 1, §6.3", SECURITY),
  same("trust_domain_mismatch_rejected", "§6.1", SECURITY),
  same("test_prefetch_forget_certs", "§3.5", OWN),
  same("test_hbone_metrics_access", "§2.7", OWN),
  same("crl_inbound_rejects_revoked_cert", "§3.6", REVOCATION),
  same("crl_outbound_rejects_revoked_cert", "§3.6", REVOCATION),
  same("crl_inbound_terminates_existing_connection_on_revocation", "§3.6", REVOCATION),
  same("crl_outbound_terminates_existing_connection_on_revocation", "§3.6", REVOCATION),
  {
    original: "all: gzip, zstd and br metrics decode to the same length",
    covers: "§10.1",
    test: [DIRECT, "metrics come in gzip, deflate, br and zstd"],
  },
];

/** tests/direct.rs, in the words of spec/ztunnel.md §12.2. */
export const LOCALHOST: readonly Recreation[] = [
  same("shutdown lifecycle", "§11.3", DIRECT),
  same("bind conflicts", "§1.5, §14.3", DIRECT),
  same("drain", "§11.3", DIRECT),
  same("forced drain", "§11.3", DIRECT),
  same("/quitquitquit", "§11.2", DIRECT),
  same("a request to an HBONE target", "§5.3", DIRECT),
  same("a request to a TCP target", "§5.3", DIRECT),
  same("a request to a VIP", "§5.3", DIRECT),
  { original: "a request to a hostname target", covers: "§5.3, §9", test: [NAMES, "SOCKS5 by name"] },
  { original: "on-demand DNS count", covers: "§4.5", test: [NAMES, "a workload that has only a hostname"] },
  { original: "DNS metrics", covers: "§10.1", test: [NAMES, "every question is counted"] },
  { original: 'stats existence, and the "unstable" rule', covers: "§10.1", test: [DIRECT, "stats exist"] },
  { original: "connection counters", covers: "§10.1", test: [DIRECT, "connection and byte counters"] },
  { original: "byte counters", covers: "§10.1", test: [DIRECT, "connection and byte counters"] },
];

/** The unit tables of a module of the original (spec/ztunnel.md §12.3), and the files under test/ that have ours. */
export interface UnitTable {
  readonly module: string;
  readonly what: string;
  readonly covers: string;
  readonly files: readonly string[];
  /** What of it is missing. */
  readonly needs?: string;
}

export const UNITS: readonly UnitTable[] = [
  {
    module: "admin",
    what: "dump_certs, dump_config, change_log_level",
    covers: "§11.2",
    files: ["admin/servers.test.ts", "process/config_dump.test.ts", "lab/own_workload.test.ts"],
  },
  {
    module: "baggage",
    what: "read and written, empty, on several lines",
    covers: "§5.1, §6.3",
    files: ["hbone/baggage.test.ts"],
  },
  {
    module: "config",
    what: "proxy configuration merged, worker threads, a bad address of the DNS proxy",
    covers: "§1",
    files: ["config/environment.test.ts", "config/proxy_config.test.ts"],
  },
  {
    module: "copy",
    what: "short reads and writes, ends of either side",
    covers: "§5.2",
    files: ["net/relay.test.ts", "lab/relay.test.ts"],
  },
  {
    module: "dns/server",
    what: "expansions, wildcards, lookups, forwarding, large responses, search domains",
    covers: "§9",
    files: [
      "dns/names.test.ts",
      "dns/message.test.ts",
      "ztunnel/dns/proxy.test.ts",
      "ztunnel/dns/forwarder.test.ts",
      "lab/names.test.ts",
    ],
  },
  {
    module: "identity/manager",
    what: "identities read, cached, refreshed, kept through failures, forgotten, by priority",
    covers: "§3.5",
    files: [
      "identity/spiffe.test.ts",
      "identity/cache.test.ts",
      "identity/retry.test.ts",
      "lab/own_workload.test.ts",
    ],
  },
  {
    module: "identity/caclient",
    what: "empty chain, wrong identity",
    covers: "§3.4",
    files: ["identity/remote_ca.test.ts", "identity/istiod.test.ts", "lab/istiod/certificates.test.ts"],
  },
  {
    module: "inpod",
    what: "messages and descriptors, states of pods, refusals and retries, admin JSON, socket options",
    covers: "§2",
    files: [
      "ztunnel/zds/messages.test.ts",
      "ztunnel/zds/state.test.ts",
      "ztunnel/zds/client.test.ts",
      "linux/namespace.test.ts",
      "lab/lifecycle.test.ts",
    ],
  },
  {
    module: "proxy/inbound",
    what: "find_inbound_upstream and build_inbound_request, waypoints and sandwiches",
    covers: "§6",
    files: ["mesh/inbound.test.ts", "lab/sandwich.test.ts", "lab/security.test.ts"],
  },
  {
    module: "proxy/outbound",
    what: "build_request_*, forwarded, x-forwarded-network",
    covers: "§5",
    files: [
      "mesh/build_request.test.ts",
      "mesh/outbound.test.ts",
      "mesh/gateway.test.ts",
      "hbone/forwarded.test.ts",
      "lab/through_waypoint.test.ts",
      "lab/gateway.test.ts",
    ],
  },
  {
    module: "proxy/pool",
    what: "reuse, limits, GOAWAY, idle connections, keys, many sources",
    covers: "§7",
    files: ["hbone/pool.test.ts", "lab/capture.test.ts"],
  },
  {
    module: "connection_manager",
    what: "close, release, policies that change",
    covers: "§8.4",
    files: ["lab/policies.test.ts"],
  },
  { module: "metrics server", what: "content type", covers: "§10.1", files: ["admin/servers.test.ts"] },
  {
    module: "rbac",
    what: "each field with and without negation, nesting, several rules, empty policies, string matches",
    covers: "§8.2",
    files: ["policy/match.test.ts", "policy/differential.test.ts"],
  },
  {
    module: "state",
    what: "ranks, policies and dry run, port mappings, weighted waypoints, waiting for a record, lookups",
    covers: "§4.4, §4.6, §8.3",
    files: [
      "mesh/load_balancing.test.ts",
      "mesh/waypoint.test.ts",
      "policy/authorize.test.ts",
      "ztunnel/dry_run.test.ts",
      "ztunnel/hold.test.ts",
      "lab/failures.test.ts",
    ],
  },
  {
    module: "state/service",
    what: "VIPs and ranges, visibility, staged endpoints, batches",
    covers: "§4.3",
    files: ["mesh/state.test.ts", "mesh/apply.test.ts", "mesh/apply_property.test.ts"],
  },
  {
    module: "state/workload",
    what: "addresses, unhealthy ones, several of one address, the local file",
    covers: "§4.2, §2.8",
    files: ["mesh/apply.test.ts", "net/address.test.ts", "config/local_parse.test.ts"],
  },
  {
    module: "tls",
    what: "chains, several roots, half of a life",
    covers: "§6.1",
    files: [
      "identity/certificate.test.ts",
      "identity/cache.test.ts",
      "tls/verification.test.ts",
      "tls/openssl.test.ts",
    ],
  },
  {
    module: "tls/crl",
    what: "revoked leaf and intermediate, files, index",
    covers: "§3.6",
    files: [
      "tls/revocation_file.test.ts",
      "tls/peer_chain.test.ts",
      "lab/crl.test.ts",
      "lab/istiod/revocation.test.ts",
    ],
  },
  {
    module: "xds",
    what: "resources read, batches applied, one bad resource among good ones",
    covers: "§3.2, §3.3",
    files: ["xds/delta.test.ts", "xds/address.test.ts", "xds/authorization.test.ts", "xds/wds_live.test.ts"],
  },
  {
    module: "xds/client",
    what: "streams, on demand, reconnects, warm caches",
    covers: "§3.2",
    files: [
      "xds/client/client.test.ts",
      "lab/istiod/streams.test.ts",
      "lab/istiod/pushes.test.ts",
      "lab/istiod/on_demand.test.ts",
      "lab/istiod/outage.test.ts",
    ],
  },
  {
    module: "fuzz",
    what: "arbitrary bytes as Workload, Authorization, baggage and forwarded (§12.4)",
    covers: "§4.1, §8.1",
    files: ["xds/fuzz.test.ts", "hbone/bad_input.test.ts"],
  },
];
