/** The mesh as data, and where flows go in it. No sockets. */
export * from "./workload.ts";
export * from "./service.ts";
export type * from "./decision.ts";
export {
  destinationOf,
  type Reason,
  reason,
  type ReasonCode,
  type ReasonSubject,
  renderReason,
  withoutReasons,
} from "./reason.ts";
export { noEndpoint, selectAddress, selectPort } from "./destination.ts";
export type * from "./update.ts";
export { MeshState } from "./state.ts";
export type { Random } from "./endpoint_group.ts";
export type { HostnamePreference } from "./service_index.ts";
export { RECURSIVE_CALL, resolveOutbound, unknownLocalWorkload } from "./outbound.ts";
export { invalidAuthority, resolveInbound, resolvePlaintext } from "./inbound.ts";
