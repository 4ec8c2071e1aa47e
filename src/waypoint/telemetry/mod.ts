/** What a waypoint tells of its requests: format strings, access logs, metrics. */
export { type Compiled, compileFormat, compileHeaderFormat, compileJsonFormat, type TextFormat } from "./format.ts";
export { type AccessLogWriter, compileAccessLogs } from "./access_log.ts";
export { ISTIO_JSON_FORMAT, ISTIO_TEXT_FORMAT } from "./default_formats.ts";
export { type LogOutputs, systemOutputs } from "./log_outputs.ts";
export { type ChainMetrics, type MeshLookup, RequestMetrics, type TcpMetrics } from "./request_metrics.ts";
export { compileDimension, type Dimension, inspectDimension } from "./dimension.ts";
export { inspectLogExpression } from "./access_log_filter.ts";
export { type DryRunCounts, registerDryRunMetrics } from "./dry_run.ts";
export { isGrpcRequest } from "./grpc_status.ts";
