/** Counts of verdicts, and dry runs as Envoy tells of them. */
import type { RbacVerdict } from "./rbac_verdict.ts";

interface Outcomes {
  allowed: number;
  denied: number;
}

/** Of one chain, or of a whole proxy. */
export class RbacCounters {
  readonly enforced: Outcomes = { allowed: 0, denied: 0 };
  readonly dryRunAllow: Outcomes = { allowed: 0, denied: 0 };
  readonly dryRunDeny: Outcomes = { allowed: 0, denied: 0 };
  audited = 0;

  count({ allowed, audits, shadow }: RbacVerdict): void {
    this.enforced[allowed ? "allowed" : "denied"]++;
    if (audits.length > 0) this.audited++;
    if (shadow.allow !== undefined) this.dryRunAllow[shadow.allow.allowed ? "allowed" : "denied"]++;
    if (shadow.deny !== undefined) this.dryRunDeny[shadow.deny.allowed ? "allowed" : "denied"]++;
  }
}

/**
 * Dynamic metadata of filter `envoy.filters.http.rbac`, as access logs and traces of a dry run read it; undefined without a
 * dry run.
 */
export function shadowMetadata({ allow, deny }: RbacVerdict["shadow"]): Record<string, string> | undefined {
  if (allow === undefined && deny === undefined) return undefined;
  const metadata: Record<string, string> = {};
  for (const [prefix, verdict] of [["istio_dry_run_allow_", allow], ["istio_dry_run_deny_", deny]] as const) {
    if (verdict === undefined) continue;
    metadata[`${prefix}shadow_engine_result`] = verdict.allowed ? "allowed" : "denied";
    metadata[`${prefix}shadow_effective_policy_id`] = verdict.policy;
  }
  return metadata;
}
