// Metrics, log and access log, readiness.
export {
  AccessLog,
  type ConnectionEnds,
  type ConnectionFigures,
  type Direction,
  type FailedConnection,
} from "./access_log.ts";
export {
  type ConnectMetrics,
  type HeldMetrics,
  type HeldReason,
  registerConnectMetrics,
  registerHeldMetrics,
} from "./connect_metrics.ts";
export { type CrlMetrics, registerCrlMetrics } from "./crl_metrics.ts";
export { DnsLog, type DnsQueryFacts } from "./dns_log.ts";
export { DnsMetrics, type DnsProtocol, type DnsSeries, type DnsSource, OnDemandDnsMetrics } from "./dns_metrics.ts";
export { exposition } from "./exposition.ts";
export { GatheredSink } from "./gathered_sink.ts";
export { log, Logger, type LoggerOptions, type LogScope, standardOutput } from "./log.ts";
export { type Level, LogFilter } from "./log_filter.ts";
export type { Field, FieldValue, LogFormat, Span } from "./log_format.ts";
export { DescriptorSink, type LogSink } from "./log_sink.ts";
export { Histogram, HistogramFamily, type HistogramOptions } from "./histogram.ts";
export { LabelSchema, LabelSet } from "./labels.ts";
export { Family, type FamilyOptions, MetricRegistry, type Sample } from "./metrics.ts";
export * from "./process_metrics.ts";
export { Readiness, type ReadinessTask } from "./readiness.ts";
export { type KnownTraffic, TrafficMetrics, type TrafficSeries } from "./traffic.ts";
export type {
  BaggageWorkload,
  Reporter,
  ResponseFlag,
  SecurityPolicy,
  TrafficFlow,
  TrafficWorkload,
} from "./traffic_labels.ts";
export { XdsMetrics, type XdsTermination, type XdsTypeSeries } from "./xds_metrics.ts";
