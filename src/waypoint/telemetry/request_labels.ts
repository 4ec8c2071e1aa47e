/** The labels of Istio's metrics as a waypoint reports them (spec/waypoint.md §4.2). */
import { type Workload, workloadIdentity } from "../../mesh/mod.ts";
import type { ClusterEndpoint, ClusterService } from "../snapshot/mod.ts";
import type { DownstreamInfo } from "../stream_info.ts";

/** Who is at both ends; the order is the original's. */
export const PEER_LABELS: readonly string[] = [
  "reporter",
  "source_workload",
  "source_canonical_service",
  "source_canonical_revision",
  "source_workload_namespace",
  "source_principal",
  "source_app",
  "source_version",
  "source_cluster",
  "destination_workload",
  "destination_workload_namespace",
  "destination_principal",
  "destination_app",
  "destination_version",
  "destination_service",
  "destination_canonical_service",
  "destination_canonical_revision",
  "destination_service_name",
  "destination_service_namespace",
  "destination_cluster",
];
export const HTTP_LABELS: readonly string[] = [
  ...PEER_LABELS,
  "request_protocol",
  "response_code",
  "grpc_response_status",
  "response_flags",
  "connection_security_policy",
];
export const TCP_LABELS: readonly string[] = [
  ...PEER_LABELS,
  "request_protocol",
  "response_flags",
  "connection_security_policy",
];

export const UNKNOWN = "unknown";

function known(value: string | undefined): string {
  return value === undefined || value === "" ? UNKNOWN : value;
}

/** `reporter` and the labels of the source: the record of its IP, and the identity that TLS proved. */
export function sourceValues(workload: Workload | undefined, downstream: DownstreamInfo): string[] {
  return [
    "waypoint",
    known(workload?.workloadName),
    known(workload?.canonicalName),
    workload?.canonicalRevision || "latest",
    known(downstream.sourceNamespace || workload?.namespace),
    known(downstream.peerPrincipal),
    known(workload?.canonicalName),
    known(workload?.canonicalRevision),
    known(workload?.clusterId),
  ];
}

/** What is known of the destination's workload: its record, else what the endpoint says. */
interface DestinationWorkload {
  readonly name: string;
  readonly namespace: string;
  readonly principal: string;
  readonly app: string;
  readonly version: string;
  readonly canonicalName: string;
  readonly canonicalRevision: string;
  readonly cluster: string;
}

const NOBODY: DestinationWorkload = {
  name: "",
  namespace: "",
  principal: "",
  app: "",
  version: "",
  canonicalName: "",
  canonicalRevision: "",
  cluster: "",
};

function describe(workload: Workload | undefined, endpoint: ClusterEndpoint | undefined): DestinationWorkload {
  if (workload !== undefined) {
    return {
      name: workload.workloadName,
      namespace: workload.namespace,
      principal: workloadIdentity(workload),
      app: workload.canonicalName,
      version: workload.canonicalRevision,
      canonicalName: workload.canonicalName,
      canonicalRevision: workload.canonicalRevision,
      cluster: workload.clusterId,
    };
  }
  // The endpoint's own words name neither identity nor application.
  return endpoint?.workload === undefined ? NOBODY : { ...NOBODY, ...endpoint.workload };
}

/** The labels of the destination. Without a service (direct chains) the canonical service stands for it. */
export function destinationValues(
  workload: Workload | undefined,
  endpoint: ClusterEndpoint | undefined,
  service: ClusterService | undefined,
): string[] {
  const destination = describe(workload, endpoint);
  return [
    known(destination.name),
    known(destination.namespace),
    known(destination.principal),
    known(destination.app),
    known(destination.version),
    known(service?.host || destination.canonicalName),
    known(destination.canonicalName),
    known(destination.canonicalRevision),
    known(service?.name || destination.canonicalName),
    known(service?.namespace),
    known(destination.cluster),
  ];
}

/** Peer values with the workloads left out; the services stay. For label sets above the bound. */
export function withoutWorkloads(peers: readonly string[]): string[] {
  return peers.map((value, index) => {
    const name = PEER_LABELS[index] as string;
    return name === "reporter" || name.startsWith("destination_service") ? value : UNKNOWN;
  });
}
