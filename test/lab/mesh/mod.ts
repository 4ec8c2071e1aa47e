/** The proxies of a lab: executable, configuration, processes, and what they say. */
export { isAccessLine, type LogLine, parseLogLine } from "./access_log.ts";
export { ambientBinary, PROJECT } from "./binary.ts";
export { type LeafPlan, OpensslAuthority, type PeerCertificate } from "./certificates.ts";
export {
  hostnameOf,
  identityOf,
  LAB_NAMESPACE,
  LAB_TRUST_DOMAIN,
  type MeshConfiguration,
  type MeshService,
  type MeshWorkload,
  type PolicyDocument,
  renderConfiguration,
  serviceAccountOf,
  strictPolicy,
  writeConfiguration,
} from "./configuration.ts";
export { parseMetrics, type Sample, total } from "./metrics.ts";
export { ADMIN_PORT, READINESS_PORT, STATS_PORT, Ztunnel, type ZtunnelOptions } from "./ztunnel.ts";
