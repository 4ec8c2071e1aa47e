import type { ExplainAnswer } from "../admin/mod.ts";
import type { ZtunnelConfig } from "../config/mod.ts";
import { clusterSearchDomains, type NameSettings } from "../dns/mod.ts";
import type { DataPlane } from "./data_plane.ts";

/** What would become of a connection of this node, for the admin port; loaded with the first question. */
export async function explainConnection(plane: DataPlane, source: string, destination: string): Promise<ExplainAnswer> {
  const { explain } = await import("../explain/mod.ts");
  const { mesh, routing, ejections, dns, certificates, config } = plane;
  const entries = new Map(certificates.snapshot().map((entry) => [entry.identity, entry]));
  const answer = explain(
    {
      mesh: mesh.current,
      routing,
      names: dns?.names ?? nameSettings(config),
      certificate: (identity) => entries.get(identity),
      choice: (client, address) => ({ random: Math.random, avoid: client && ejections?.avoid(client, address) }),
      failures: (client, address) => ejections?.failures(client, address) ?? [],
    },
    source,
    destination,
  );
  return answer.ok ? { explanation: answer.value } : { error: answer.error };
}

/** As the DNS of the cluster reads names for a pod whose queries are not ours. */
function nameSettings({ clusterDomain, preferredServiceNamespace, ipv6Enabled }: ZtunnelConfig): NameSettings {
  const domain = clusterDomain.toLowerCase().replace(/\.$/, "");
  return {
    clusterDomain: domain,
    searchDomains: clusterSearchDomains(domain),
    preferredNamespace: preferredServiceNamespace,
    ipv6: ipv6Enabled,
  };
}
