/**
 * Why a decision came out as it did. On the hot path a reason is a small record of a code and the objects it speaks
 * of; text is made only when someone asks.
 */
import { formatAddress, type SocketAddress } from "../net/address.ts";
import { type Service, servicePorts, type WeightedWaypoint } from "./service.ts";
import { formatGateway, type GatewayAddress, type Workload } from "./workload.ts";

/** What a reason can speak of. */
export type ReasonSubject =
  | Workload
  | Service
  | GatewayAddress
  | WeightedWaypoint
  | SocketAddress
  | readonly string[]
  | string
  | number
  | undefined;

export type ReasonCode =
  // whose address it is
  | "own-port"
  | "source-unknown"
  | "destination-unknown"
  | "destination-workload"
  | "destination-service"
  | "service-passthrough"
  | "passthrough"
  // endpoints and their addresses
  | "endpoint-chosen"
  | "passed-over"
  | "no-endpoint"
  | "no-port"
  | "no-route"
  | "lookup"
  | "resolved"
  // waypoints
  | "from-waypoint"
  | "weighted"
  | "no-weight"
  | "waypoint"
  | "waypoint-not-asked"
  | "unknown-waypoint"
  | "gateway-service"
  | "gateway-workload"
  // other networks
  | "other-network"
  | "no-service"
  | "network-gateway"
  | "no-gateway"
  | "unknown-gateway"
  | "inner-identities"
  | "no-inner-identity"
  // how it is spoken to
  | "protocol-hbone"
  | "protocol-tcp"
  // what comes in
  | "authority"
  | "address-match"
  | "address-mismatch"
  | "is-waypoint"
  | "hostname"
  | "hostname-unknown"
  | "target-port"
  | "no-target-port"
  | "application-tunnel"
  | "tunnel-port"
  | "proxy-header"
  | "no-vip"
  | "loopback"
  | "caller-elsewhere"
  | "plaintext";

export interface Reason {
  readonly code: ReasonCode;
  readonly subject: ReasonSubject;
  readonly detail: ReasonSubject;
}

export function reason(code: ReasonCode, subject?: ReasonSubject, detail?: ReasonSubject): Reason {
  return { code, subject, detail };
}

const TEXTS: Record<ReasonCode, (subject: string, detail: string, reason: Reason) => string> = {
  "own-port": (s) => `${s} is one of the proxy's own ports`,
  "source-unknown": (s) => `no workload record for ${s}`,
  "destination-unknown": (s) => `${s} is neither a service nor a workload of the mesh`,
  "destination-workload": (s) => `the address belongs to workload ${s}`,
  "destination-service": (s) => `the address is a VIP of service ${s}`,
  "service-passthrough": (s) => `service ${s} asks for no endpoint selection (Passthrough)`,
  "passthrough": (s) => `plain TCP to ${s}, as it was asked for`,
  "endpoint-chosen": (s, d) => `endpoint ${s} chosen among ${d}`,
  "passed-over": (s, d) => `endpoints of service ${s} passed over, as connects to them failed lately: ${d}`,
  "no-endpoint": (s, d) => `service ${s} has no usable endpoint for port ${d}`,
  "no-port": (s, d, { subject }) => `service ${s} has no port ${d}${otherPorts(subject as Service)}`,
  "no-route": (s, d) => `no address to reach workload ${s}: ${d}`,
  "lookup": (s, d) => `workload ${s} has no address, only the hostname ${d}, which is resolved`,
  "resolved": (s, d) => `the hostname of workload ${s} resolved to ${d}`,
  "from-waypoint": (s) => `the caller is the waypoint of ${s}`,
  "weighted": (s, d) => `service ${s} has weighted waypoints, and its connection went to ${d}`,
  "no-weight": (s) => `the weighted waypoints of service ${s} have no weight`,
  "waypoint": (s, d) => `${s} is behind waypoint ${d}`,
  "waypoint-not-asked": (s, d) => `waypoint ${d} of workload ${s} is only for those who address the workload itself`,
  "unknown-waypoint": (s, d) => `waypoint ${s} ${d}`,
  "gateway-service": (s, d) => `${s} is service ${d}`,
  "gateway-workload": (s, d) => `${s} is workload ${d}`,
  "other-network": (s, d) => `workload ${s} is in network "${d}"`,
  "no-service": (s) => `${s} is no service's address, and only services are reached in other networks`,
  "network-gateway": (s, d) => `workload ${s} is reached through network gateway ${d}`,
  "no-gateway": (s) => `workload ${s} has no network gateway`,
  "unknown-gateway": (s, d) => `network gateway ${s} ${d}`,
  "inner-identities": (s, d) => `behind the gateway the peer must be one that service ${s} names: ${d}`,
  "no-inner-identity": (s) => `${s} names no SPIFFE id, so nobody behind the gateway can be trusted`,
  "protocol-hbone": (s) => `workload ${s} speaks HBONE`,
  "protocol-tcp": (s) => `workload ${s} speaks only plain TCP: nothing there ends a tunnel`,
  "authority": (s) => `the request asks for ${s}`,
  "address-match": (s) => `${s} is the address that was dialled`,
  "address-mismatch": (s, d) => `the request asks for ${s}, but ${d} was dialled`,
  "is-waypoint": (s) => `this is the waypoint of ${s}`,
  "hostname": (s) => `the name is that of service ${s}`,
  "hostname-unknown": (s) => `no service has the name ${s}`,
  "target-port": (s, d) => `port ${d} of ${s}`,
  "no-target-port": (s, d) => `service ${s} leads nowhere for its port ${d}`,
  "application-tunnel": (s, d) => `workload ${s} takes its traffic through an application tunnel (${d})`,
  "tunnel-port": (s, d) => `the application tunnel of workload ${s} is at port ${d}`,
  "proxy-header": (s) => `a PROXY header names ${s}`,
  "no-vip": (s) => `service ${s} has no address that a PROXY header could name`,
  "loopback": (s) => `the application is dialled at ${s}, from there`,
  "caller-elsewhere": (s) => `the caller is in network "${s}", so its record is not looked up`,
  "plaintext": () => "the connection came without mTLS, so nobody vouches for the caller",
};

function name(subject: ReasonSubject): string {
  if (subject === undefined) return "";
  if (typeof subject === "string") return subject;
  if (typeof subject === "number") return String(subject);
  if ("uid" in subject) return `${subject.namespace}/${subject.name}`;
  if ("vips" in subject) return `${subject.namespace}/${subject.hostname}`;
  if ("weight" in subject) return `${formatGateway(subject.destination.destination)} (weight ${subject.weight})`;
  if ("hboneMtlsPort" in subject) return formatGateway(subject.destination);
  if ("ip" in subject) return formatAddress(subject);
  return subject.join(", ");
}

/** The ports that a service has, as the end of a sentence about one that it has not. */
function otherPorts(service: Service): string {
  const ports = servicePorts(service);
  return ports.length === 0 ? " nor any other" : `, only ${ports.join(", ")}`;
}

/** One clause of English, without a full stop. */
export function renderReason(reason: Reason): string {
  return TEXTS[reason.code](name(reason.subject), name(reason.detail), reason);
}

const NONE: readonly Reason[] = [];

/** A route for as long as its connection lasts: nobody asks for its reasons any more, and they would take room. */
export function withoutReasons<R extends { readonly reasons: readonly Reason[] }>(route: R): R {
  return { ...route, reasons: NONE };
}

/** Whom the reasons of an outgoing flow say it was meant for, as far as it got: for the line about a refusal. */
export function destinationOf(
  reasons: readonly Reason[],
): { readonly workload?: Workload | undefined; readonly service?: Service | undefined } {
  let workload: Workload | undefined;
  let service: Service | undefined;
  for (const { code, subject } of reasons) {
    if (code === "destination-service") service = subject as Service;
    else if (code === "destination-workload" || code === "endpoint-chosen") workload = subject as Workload;
  }
  return { workload, service };
}
