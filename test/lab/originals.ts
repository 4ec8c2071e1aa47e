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
const CONTROL_PLANE = "issue: control plane";

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
  { original: "crl_inbound_rejects_revoked_cert", covers: "§3.6", needs: CONTROL_PLANE },
  { original: "crl_outbound_rejects_revoked_cert", covers: "§3.6", needs: CONTROL_PLANE },
  { original: "crl_inbound_terminates_existing_connection_on_revocation", covers: "§3.6", needs: CONTROL_PLANE },
  { original: "crl_outbound_terminates_existing_connection_on_revocation", covers: "§3.6", needs: CONTROL_PLANE },
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
