/**
 * Why a decision came out as it did. On the hot path a reason is a small record of a code and the objects it speaks
 * of; text is made only when someone asks.
 */
import type { Service } from "./service.ts";
import type { Workload } from "./workload.ts";

export type ReasonCode =
  | "own-port"
  | "source-unknown"
  | "destination-unknown"
  | "destination-workload"
  | "destination-service"
  | "service-passthrough"
  | "endpoint-chosen"
  | "no-endpoint"
  | "other-network"
  | "from-waypoint"
  | "is-waypoint"
  | "waypoint"
  | "unknown-waypoint"
  | "no-route"
  | "protocol"
  | "authority"
  | "address-match"
  | "address-mismatch"
  | "application-tunnel"
  | "target-port";

export interface Reason {
  readonly code: ReasonCode;
  readonly subject: Workload | Service | string | undefined;
  readonly detail: string | number | undefined;
}

export function reason(code: ReasonCode, subject?: Workload | Service | string, detail?: string | number): Reason {
  return { code, subject, detail };
}

const TEXTS: Record<ReasonCode, (subject: string, detail: string) => string> = {
  "own-port": (s) => `${s} is one of the proxy's own ports`,
  "source-unknown": (s) => `no workload record for ${s}`,
  "destination-unknown": (s) => `${s} is neither a service nor a workload of the mesh`,
  "destination-workload": (s) => `the address belongs to workload ${s}`,
  "destination-service": (s) => `the address is a VIP of service ${s}`,
  "service-passthrough": (s) => `service ${s} asks for no endpoint selection (Passthrough)`,
  "endpoint-chosen": (s, d) => `endpoint ${s} chosen among ${d}`,
  "no-endpoint": (s, d) => `service ${s} has no usable endpoint for port ${d}`,
  "other-network": (s, d) => `workload ${s} is in network "${d}"`,
  "from-waypoint": (s) => `the caller is the waypoint of ${s}`,
  "is-waypoint": (s) => `this is the waypoint of ${s}`,
  "waypoint": (s, d) => `${s} is behind waypoint ${d}`,
  "unknown-waypoint": (s, d) => `waypoint ${s} ${d}`,
  "no-route": (s, d) => `no address to reach workload ${s}: ${d}`,
  "protocol": (s, d) => `workload ${s} speaks ${d}`,
  "authority": (s) => `the request asks for ${s}`,
  "address-match": (s) => `${s} is the address that was dialled`,
  "address-mismatch": (s, d) => `the request asks for ${s}, but ${d} was dialled`,
  "application-tunnel": (s, d) => `workload ${s} takes its traffic through an application tunnel (${d})`,
  "target-port": (s, d) => `port ${d} of ${s}`,
};

function name(subject: Reason["subject"]): string {
  if (subject === undefined) return "";
  if (typeof subject === "string") return subject;
  return "uid" in subject ? `${subject.namespace}/${subject.name}` : `${subject.namespace}/${subject.hostname}`;
}

/** One clause of English, without a full stop. */
export function renderReason(reason: Reason): string {
  return TEXTS[reason.code](name(reason.subject), String(reason.detail ?? ""));
}
