/**
 * What policies that block nothing would have done or have seen, as counters: dry runs and audits. Envoy counts dry runs
 * for a listener as a whole (`rbac.istio_dry_run_{allow,deny}_shadow_{allowed,denied}`); here each policy is told apart.
 */
import type { RbacVerdict, ShadowVerdict } from "../../policy/mod.ts";
import type { Family, MetricRegistry, Sample } from "../../telemetry/mod.ts";

/** Policies that are told apart for each action and result; what comes above counts as policy `other`. */
const MAX_POLICIES = 1000;

/** Counters by the rule's key. */
class ByPolicy {
  readonly #series = new Map<string, Sample>();
  readonly #find: (policy: string) => Sample;

  constructor(find: (policy: string) => Sample) {
    this.#find = find;
  }

  count(policy: string): void {
    let sample = this.#series.get(policy);
    if (sample === undefined) {
      if (this.#series.size >= MAX_POLICIES) sample = this.#find("other");
      else this.#series.set(policy, sample = this.#find(policy));
    }
    sample.value++;
  }
}

class DryRun {
  readonly #allowed: ByPolicy;
  readonly #denied: ByPolicy;

  constructor(family: Family, action: "allow" | "deny") {
    this.#allowed = new ByPolicy((policy) => family.labels([action, policy, "allowed"]));
    this.#denied = new ByPolicy((policy) => family.labels([action, policy, "denied"]));
  }

  count({ allowed, policy }: ShadowVerdict): void {
    (allowed ? this.#allowed : this.#denied).count(policy);
  }
}

/**
 * `ambient_authorization_dry_run_total{action,policy,result}` and `ambient_authorization_audit_total{policy}`. `policy` is
 * the rule that matched, `ns[shop]-policy[p]-rule[0]`, or `none`; `result` is `allowed` or `denied`.
 */
export class AuthorizationMetrics {
  readonly #allow: DryRun;
  readonly #deny: DryRun;
  readonly #audits: ByPolicy;

  constructor(registry: MetricRegistry) {
    const dryRun = registry.family({
      name: "ambient_authorization_dry_run",
      type: "counter",
      help: "Requests and connections by what policies in dry run would have decided (unstable).",
      labelNames: ["action", "policy", "result"],
    });
    const audit = registry.family({
      name: "ambient_authorization_audit",
      type: "counter",
      help: "Requests and connections that a rule with action AUDIT matched (unstable).",
      labelNames: ["policy"],
    });
    this.#allow = new DryRun(dryRun, "allow");
    this.#deny = new DryRun(dryRun, "deny");
    this.#audits = new ByPolicy((policy) => audit.labels([policy]));
  }

  /** Once for each verdict. */
  count({ shadow, audits }: RbacVerdict): void {
    if (shadow.allow !== undefined) this.#allow.count(shadow.allow);
    if (shadow.deny !== undefined) this.#deny.count(shadow.deny);
    for (const policy of audits) this.#audits.count(policy);
  }
}
