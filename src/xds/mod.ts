/** What the control plane sends, as records: messages of delta ADS, the types of Istio, and the client that fetches them. */
export { AdsClient } from "./client.ts";
export type { AdsOptions } from "./options.ts";
export type { AdsStatus, AdsTypeStatus } from "./status.ts";
export { type AdsClock, SYSTEM_CLOCK } from "./clock.ts";
export { ADDRESS_TYPE, type AddressResult, decodeAddress, type DecodedAddress } from "./istio/address.ts";
export { AUTHORIZATION_TYPE, type AuthorizationResult, decodeAuthorization } from "./istio/authorization.ts";
export {
  type DeltaRequest,
  encodeDeltaRequest,
  type StructFields,
  type StructValue,
  type XdsLocality,
  type XdsNode,
} from "./delta_request.ts";
export {
  decodeDeltaResponse,
  type DeltaResource,
  type DeltaResourceResult,
  type DeltaResources,
  type DeltaResponse,
  type DeltaResponseResult,
} from "./delta_response.ts";
export { type DownwardFile, parseDownwardFile } from "./downward_file.ts";
export { ISTIO_VERSION, type WaypointFacts, waypointNode, type ZtunnelFacts, ztunnelNode } from "./node.ts";
export { shortName, shortText } from "./shortened.ts";
export type { AdsPart, AdsResource, RefusedResource, ResourceType, SubscriptionKind } from "./resource_type.ts";
