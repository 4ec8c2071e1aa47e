import type { Workload } from "../mesh/mod.ts";
import { type PolicyEvent, policyEventMessage, type PolicySet } from "../policy/mod.ts";
import type { Field, LogScope, Span } from "../telemetry/mod.ts";

/** Decision lines (spec/ztunnel.md §8.6): debug, or info with AUTHZ_POLICY_INFO_LOGGING. */
export function logPolicyEvents(
  scope: LogScope,
  atInfo: boolean,
  events: readonly PolicyEvent[],
  within: () => readonly Span[],
): void {
  if (!atInfo && !scope.enabled("debug")) return;
  const spans = within();
  for (const event of events) {
    const fields: Field[] = event.policy === undefined ? [] : [["policy", event.policy]];
    if (event.wouldBe !== undefined) fields.push(["would_be", event.wouldBe]);
    if (atInfo) scope.info(policyEventMessage(event), fields, spans);
    else scope.debug(policyEventMessage(event), fields, spans);
  }
}

const warned = new WeakSet<PolicySet>();

/** Warns, once for each set, of policies that a workload names and nobody knows: they are skipped (spec/ztunnel.md §8.3). */
export function warnOfMissingPolicies(scope: LogScope, policies: PolicySet, { namespace, name }: Workload): void {
  if (policies.missing.length === 0 || warned.has(policies)) return;
  warned.add(policies);
  scope.warn("policies of a workload are not known and are skipped", [
    ["workload", `${namespace}/${name}`],
    ["policies", policies.missing.join(", ")],
  ]);
}
