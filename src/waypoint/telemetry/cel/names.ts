/** Names that expressions may use: which are attributes, and which of Envoy's attributes this version does not know. */
import { ATTRIBUTES } from "../attributes.ts";
import { HIDDEN_STATE } from "../filter_state.ts";

/** Members of the roots that are closed. */
const MEMBERS: ReadonlyMap<string, ReadonlySet<string>> = new Map<string, ReadonlySet<string>>([
  ...Object.entries(ATTRIBUTES).map(([root, members]): [string, Set<string>] => [root, new Set(Object.keys(members))]),
  ["request", new Set([...Object.keys(ATTRIBUTES.request), "headers"])],
  ["response", new Set([...Object.keys(ATTRIBUTES.response), "headers", "trailers"])],
  ["metadata", new Set(["filter_metadata"])],
]);

const CERTIFICATE_MEMBERS = [
  "tls_version",
  "subject_local_certificate",
  "subject_peer_certificate",
  "uri_san_local_certificate",
  "uri_san_peer_certificate",
  "dns_san_local_certificate",
  "dns_san_peer_certificate",
  "sha256_peer_certificate_digest",
  "peer_certificate",
];

/** Attributes of Envoy that have no value here; a root alone: with all its members. */
const ABSENT: ReadonlySet<string> = new Set([
  "node",
  "upstream_filter_state",
  // Names that Istio gave to expressions before filter state had them.
  "downstream_peer",
  "upstream_peer",
  ...["id", "transport_failure_reason", ...CERTIFICATE_MEMBERS].map((member) => `connection.${member}`),
  ...["locality", "num_endpoints", "cx_pool_ready_duration", ...CERTIFICATE_MEMBERS].map((member) =>
    `upstream.${member}`
  ),
  ...[
    "node",
    "cluster_metadata",
    "route_metadata",
    "virtual_host_name",
    "virtual_host_metadata",
    "upstream_host_metadata",
    "upstream_host_locality_metadata",
    "filter_chain_name",
    "listener_metadata",
    "listener_direction",
  ].map((member) => `xds.${member}`),
  "metadata.typed_filter_metadata",
  ...[...HIDDEN_STATE].map((key) => `filter_state.${key}`),
]);

/** Types are values of CEL too. */
const TYPES: ReadonlySet<string> = new Set([
  "int",
  "uint",
  "double",
  "bool",
  "string",
  "bytes",
  "list",
  "map",
  "null_type",
  "type",
  "google",
]);

/** known: it can have a value; absent: in Envoy only; unknown: there is no such attribute. */
export function judgeName(root: string, member: string | undefined): "known" | "absent" | "unknown" {
  if (TYPES.has(root)) return "known";
  if (ABSENT.has(root) || (member !== undefined && !isKnown(root, member) && ABSENT.has(`${root}.${member}`))) {
    return "absent";
  }
  return isKnown(root, member) ? "known" : "unknown";
}

function isKnown(root: string, member: string | undefined): boolean {
  if (root === "filter_state") return member === undefined || !HIDDEN_STATE.has(member);
  const members = MEMBERS.get(root);
  return members !== undefined && (member === undefined || members.has(member));
}
