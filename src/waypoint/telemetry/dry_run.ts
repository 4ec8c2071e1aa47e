/**
 * What policies in dry run would have decided, as counters. Envoy has them as `rbac.istio_dry_run_{allow,deny}_…shadow_*`
 * of a whole listener; here each policy is told apart.
 */
import type { MetricRegistry, Sample } from "../../telemetry/mod.ts";

/** Counts of one authorization action; `policy` is the matched policy's key, or `none`. */
export interface DryRunCounts {
  count(action: "allow" | "deny", policy: string, result: "allowed" | "denied"): void;
}

/** Policies that are told apart; what comes above that counts as policy `other`. */
const MAX_POLICIES = 2000;

/** `ambient_authorization_dry_run_total{action,policy,result}`. */
export function registerDryRunMetrics(registry: MetricRegistry): DryRunCounts {
  const family = registry.family({
    name: "ambient_authorization_dry_run",
    type: "counter",
    help: "Requests and connections by what policies in dry run would have decided (unstable).",
    labelNames: ["action", "policy", "result"],
  });
  const series = new Map<string, Sample>();
  const find = (action: string, policy: string, result: string): Sample => {
    const key = `${action} ${result} ${policy}`;
    let sample = series.get(key);
    if (sample === undefined) {
      if (series.size >= MAX_POLICIES) return family.labels([action, "other", result]);
      series.set(key, sample = family.labels([action, policy, result]));
    }
    return sample;
  };
  return { count: (action, policy, result) => void find(action, policy, result).value++ };
}
