/**
 * What policies in dry run would have decided, as counters. Envoy counts them for a listener as a whole
 * (`rbac.istio_dry_run_{allow,deny}_shadow_{allowed,denied}`); here each policy is told apart.
 */
import type { MetricRegistry, Sample } from "../../telemetry/mod.ts";

type Action = "allow" | "deny";
type Result = "allowed" | "denied";

/** Counts of dry runs. */
export interface DryRunCounts {
  /** Once for each verdict; `policy` is the rule that matched, `ns[shop]-policy[p]-rule[0]`, or `none`. */
  count(action: Action, policy: string, result: Result): void;
}

/** Policies that are told apart for each action and result; what comes above counts as policy `other`. */
const MAX_POLICIES = 1000;

/** `ambient_authorization_dry_run_total{action,policy,result}`. */
export function registerDryRunMetrics(registry: MetricRegistry): DryRunCounts {
  const family = registry.family({
    name: "ambient_authorization_dry_run",
    type: "counter",
    help: "Requests and connections by what policies in dry run would have decided (unstable).",
    labelNames: ["action", "policy", "result"],
  });
  const known: Readonly<Record<Action, Readonly<Record<Result, Map<string, Sample>>>>> = {
    allow: { allowed: new Map(), denied: new Map() },
    deny: { allowed: new Map(), denied: new Map() },
  };
  const find = (action: Action, policy: string, result: Result): Sample => {
    const samples = known[action][result];
    let sample = samples.get(policy);
    if (sample === undefined) {
      if (samples.size >= MAX_POLICIES) return family.labels([action, "other", result]);
      samples.set(policy, sample = family.labels([action, policy, result]));
    }
    return sample;
  };
  return { count: (action, policy, result) => void find(action, policy, result).value++ };
}
