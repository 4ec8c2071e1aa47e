import type { MetricRegistry, Sample } from "./metrics.ts";
import type { Reporter } from "./traffic_labels.ts";

/** What certificate revocation lists do to tunnels (spec/ztunnel.md §3.6, §10.1). Families appear with their first count. */
export interface CrlMetrics {
  /** Tunnels refused at the handshake or cut later, because a certificate of the peer's chain is revoked. */
  rejections(reporter: Reporter): Sample;
  /** Tunnels whose chain could not be followed, so that no list will cut them. */
  untracked(reporter: Reporter): Sample;
}

export function registerCrlMetrics(registry: MetricRegistry): CrlMetrics {
  const counter = (name: string, help: string) => {
    const family = registry.family({ name: `istio_crl_${name}`, type: "counter", help, labelNames: ["reporter"] });
    return (reporter: Reporter) => family.labels([reporter]);
  };
  return {
    rejections: counter("policy_rejections", "Tunnels refused or cut because of a revoked certificate (unstable)."),
    untracked: counter("untracked_connections", "Tunnels that no revocation list can cut any more (unstable)."),
  };
}
