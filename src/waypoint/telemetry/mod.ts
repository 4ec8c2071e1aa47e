/** What a waypoint tells of its requests: format strings, access logs, metrics. */
export { type Compiled, compileFormat, compileHeaderFormat, compileJsonFormat, type TextFormat } from "./format.ts";
export { type AccessLogWriter, compileAccessLogs, type LogOutputs } from "./access_log.ts";
export { type ChainMetrics, type MeshLookup, RequestMetrics, type TcpMetrics } from "./request_metrics.ts";
export { type DryRunCounts, registerDryRunMetrics } from "./dry_run.ts";
