/** Authorization at layers 4 and 7: rules compiled to predicates, verdicts with their reasons. */
export * from "./policy.ts";
export type { PolicyFlow } from "./flow.ts";
export { type CompiledPolicy, compilePolicy, type CompileResult } from "./compile.ts";
export { PolicyIndex, type PolicyTarget, type PutResult } from "./selection.ts";
export type { PolicyKind, PolicySet } from "./policy_set.ts";
export { authorize, policyRejection, type Verdict } from "./authorize.ts";
export { type Outcome, type PolicyEvent, policyEventMessage } from "./event.ts";
export type { DryRunOutcome, DryRunVerdict } from "./dry_run.ts";
export {
  denialFields,
  explainPolicies,
  type KnownPolicyExplanation,
  type PolicyDecision,
  type PolicyExplanation,
  type PolicyExplanations,
  type RuleMiss,
} from "./explain.ts";
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
