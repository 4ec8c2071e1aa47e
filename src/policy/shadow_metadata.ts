/** Dry runs as Envoy tells of them. */
import type { RbacVerdict } from "./rbac_verdict.ts";

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
