/** The proxies of a lab: executable, configuration, processes, and what they say. */
export { isAccessLine, type LogLine, parseLogLine } from "./access_log.ts";
export { ambientBinary, PROJECT } from "./binary.ts";
export { type LeafPlan, OpensslAuthority, type PeerCertificate } from "./certificates.ts";
export {
  hostnameOf,
  identityOf,
  type KubernetesObject,
  LAB_NAMESPACE,
  LAB_TRUST_DOMAIN,
  type MeshConfiguration,
  type MeshService,
  type MeshWorkload,
  objectFile,
  type PolicyDocument,
  renderConfiguration,
  serviceAccountOf,
  serviceKeyOf,
  strictPolicy,
  waypointGateway,
  writeConfiguration,
  writeFile,
} from "./configuration.ts";
export { parseMetrics, type Sample, total } from "./metrics.ts";
export { ADMIN_PORT, Proxy, READINESS_PORT, STATS_PORT } from "./proxy.ts";
export { parseRequestRecord, type RequestRecord } from "./request_log.ts";
export { HBONE_PORT, Waypoint, type WaypointOptions } from "./waypoint.ts";
export { Ztunnel, type ZtunnelOptions } from "./ztunnel.ts";
