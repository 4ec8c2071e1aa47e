import type { ServiceReference, Workload } from "../mesh/mod.ts";

/** Who counts: the proxy beside the client or the one beside the server. */
export type Reporter = "source" | "destination";
export type SecurityPolicy = "mutual_tls" | "unknown";

/** Why a connection ended badly, in the label `response_flags`; `-` when it did not. */
export type ResponseFlag =
  | "-"
  | "DENY"
  | "CONNECT"
  | "TLS_FAILURE"
  | "H2_HANDSHAKE_FAILURE"
  | "NETWORK_POLICY"
  | "IDENTITY_ERROR"
  | "CERT_REVOKED";

/** What telemetry needs of a workload record. */
export type TrafficWorkload = Pick<
  Workload,
  | "name"
  | "namespace"
  | "trustDomain"
  | "serviceAccount"
  | "workloadName"
  | "canonicalName"
  | "canonicalRevision"
  | "clusterId"
  | "locality"
>;

/** What a peer says of itself in its baggage header, for workloads that we have no record of. */
export interface BaggageWorkload {
  readonly workloadName?: string;
  readonly namespace?: string;
  readonly canonicalName?: string;
  readonly canonicalRevision?: string;
  readonly clusterId?: string;
  readonly region?: string;
  readonly zone?: string;
}

/** One kind of traffic: everything that metrics and access log say of a connection except addresses and figures. */
export interface TrafficFlow {
  readonly reporter: Reporter;
  readonly security: SecurityPolicy;
  readonly source: TrafficWorkload | undefined;
  /** Counts only when `source` is undefined. */
  readonly sourceBaggage?: BaggageWorkload | undefined;
  /** SPIFFE id that TLS proved (outbound HBONE: our own); undefined for plaintext. */
  readonly sourceIdentity: string | undefined;
  readonly destination: TrafficWorkload | undefined;
  /** What the inner peer of a double HBONE connection says of itself in its answer; takes the place of `destination`. */
  readonly destinationBaggage?: BaggageWorkload | undefined;
  /** SPIFFE id that the inner TLS proved; takes the place of the record's. */
  readonly destinationIdentity?: string | undefined;
  readonly service: ServiceReference | undefined;
}

const SOURCE = ["workload", "canonical_service", "canonical_revision", "workload_namespace", "principal", "app"];
const DESTINATION = ["service", "service_namespace", "service_name", ...SOURCE];
const TAIL = ["version", "cluster"];
/** The eight labels of a source, in the order ztunnel writes them. */
export const SOURCE_LABELS: readonly string[] = [...SOURCE, ...TAIL].map((name) => `source_${name}`);

/** Label names in the order ztunnel writes them. */
export const TRAFFIC_LABELS: readonly string[] = [
  "reporter",
  ...SOURCE_LABELS,
  ...[...DESTINATION, ...TAIL].map((name) => `destination_${name}`),
  "request_protocol",
  "response_flags",
  "connection_security_policy",
];
/** Appended when either workload is known. */
export const LOCALITY_LABELS: readonly string[] = [
  "source_region",
  "source_zone",
  "destination_region",
  "destination_zone",
];
export const FLAG_INDEX: number = TRAFFIC_LABELS.indexOf("response_flags");

function known(value: string | undefined): string {
  return value === undefined || value === "" ? "unknown" : value;
}

/** Values for SOURCE_LABELS (a destination's have the same order); `unknown` for what is not known. */
export function workloadValues(workload: TrafficWorkload | undefined, principal: string | undefined): string[] {
  return [
    known(workload?.workloadName),
    known(workload?.canonicalName),
    known(workload?.canonicalRevision),
    known(workload?.namespace),
    known(principal),
    known(workload?.canonicalName),
    known(workload?.canonicalRevision),
    known(workload?.clusterId),
  ];
}

/** As workloadValues; a peer's baggage names no application, so its workload name stands for that. */
function baggageValues(baggage: BaggageWorkload, principal: string | undefined): string[] {
  return [
    known(baggage.workloadName),
    known(baggage.canonicalName),
    known(baggage.canonicalRevision),
    known(baggage.namespace),
    known(principal),
    known(baggage.workloadName),
    known(baggage.canonicalRevision),
    known(baggage.clusterId),
  ];
}

/** The identity in a workload's record. */
export function recordIdentity(workload: TrafficWorkload): string {
  return `spiffe://${workload.trustDomain}/ns/${workload.namespace}/sa/${workload.serviceAccount}`;
}

/** What inner TLS proved, else what the destination's record says, even for plaintext (spec/ztunnel.md §10.1). */
export function destinationIdentityOf({ destination, destinationIdentity }: TrafficFlow): string | undefined {
  return destinationIdentity ?? (destination && recordIdentity(destination));
}

/** Values for TRAFFIC_LABELS, and for LOCALITY_LABELS behind them when either workload is known. Flag `-`. */
export function trafficValues(flow: TrafficFlow): string[] {
  const { source, sourceBaggage, destination, destinationBaggage, service } = flow;
  const values = [
    flow.reporter,
    ...(source === undefined && sourceBaggage !== undefined
      ? baggageValues(sourceBaggage, flow.sourceIdentity)
      : workloadValues(source, flow.sourceIdentity)),
    known(service?.hostname),
    known(service?.namespace),
    known(service?.name),
    ...(destinationBaggage === undefined
      ? workloadValues(destination, destinationIdentityOf(flow))
      : baggageValues(destinationBaggage, destinationIdentityOf(flow))),
    "tcp",
    "-",
    flow.security,
  ];
  const workloads = [source, sourceBaggage, destination, destinationBaggage];
  if (workloads.every((workload) => workload === undefined)) return values;
  values.push(
    known(source === undefined ? sourceBaggage?.region : source.locality.region),
    known(source === undefined ? sourceBaggage?.zone : source.locality.zone),
    known(destinationBaggage === undefined ? destination?.locality.region : destinationBaggage.region),
    known(destinationBaggage === undefined ? destination?.locality.zone : destinationBaggage.zone),
  );
  return values;
}
