import type { Istiod } from "./istiod.ts";

/** Environment of a node's ztunnel under this istiod, as Istio's chart sets it (spec/waypoint.md §5.3). */
export function ztunnelEnvironment(
  { url, rootPath, tokenPath }: Pick<Istiod, "url" | "rootPath" | "tokenPath">,
  node: { readonly name: string; readonly ip: string },
): Record<string, string> {
  return {
    XDS_ADDRESS: url,
    XDS_ROOT_CA: rootPath,
    CA_ADDRESS: url,
    CA_ROOT_CA: rootPath,
    AUTH_TOKEN: tokenPath,
    POD_NAME: `ztunnel-${node.name}`,
    POD_NAMESPACE: "istio-system",
    SERVICE_ACCOUNT: "ztunnel",
    INSTANCE_IP: node.ip,
  };
}
