/** What the control plane sends, as records: messages of delta ADS and the types of Istio. No sockets. */
export { ADDRESS_TYPE, type AddressResult, decodeAddress, type DecodedAddress } from "./istio/address.ts";
export { AUTHORIZATION_TYPE, type AuthorizationResult, decodeAuthorization } from "./istio/authorization.ts";
export {
  decodeDeltaResponse,
  type DeltaRequest,
  type DeltaResource,
  type DeltaResourceResult,
  type DeltaResources,
  type DeltaResponse,
  type DeltaResponseResult,
  encodeDeltaRequest,
  type StructValue,
  type XdsNode,
} from "./delta.ts";
