/** Authorization at layers 4 and 7: rules compiled to predicates, verdicts with their reasons. */
export * from "./policy.ts";
export type { PolicyFlow } from "./flow.ts";
export { type CompiledPolicy, compilePolicy, type CompileResult } from "./compile.ts";
export { PolicyIndex, type PolicySet, type PolicyTarget } from "./selection.ts";
export {
  authorize,
  type PolicyDecision,
  type PolicyEvent,
  policyEventMessage,
  policyRejection,
  type Verdict,
} from "./authorize.ts";
export type * from "./rbac.ts";
export type { RequestFacts } from "./request_facts.ts";
export type { RbacVerdict, ShadowVerdict } from "./rbac_verdict.ts";
export * from "./kubernetes.ts";
export { type ConvertedPolicies, type ConvertedRbac, type LabelledWorkload, selects } from "./converted.ts";
export { type AuthorizationPoliciesOptions, authorizationToPolicies } from "./authorization_l4.ts";
export { type PeerAuthenticationOptions, peerAuthenticationToPolicies } from "./peer_authentication.ts";
export { type AuthorizationRbacOptions, authorizationToRbac } from "./authorization_rbac.ts";
export { type CompiledRbac, compileRbac, denyAll, type RbacCompilation } from "./rbac_engine.ts";
export { shadowMetadata } from "./shadow_metadata.ts";
export { readsServerName } from "./rbac_server_name.ts";
