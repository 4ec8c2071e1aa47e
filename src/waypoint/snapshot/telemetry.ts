/** Access logs and metrics of a chain (spec/waypoint.md §4). Plain data. */

/** envoy.config.accesslog.v3.AccessLogFilter. */
export type AccessLogFilter =
  | { readonly kind: "status"; readonly op: "GE" | "EQ" | "LE"; readonly value: number }
  | { readonly kind: "duration"; readonly op: "GE" | "EQ" | "LE"; readonly value: number }
  /** Empty: any flag. */
  | { readonly kind: "response-flag"; readonly flags: readonly string[] }
  | { readonly kind: "and" | "or"; readonly filters: readonly AccessLogFilter[] }
  | { readonly kind: "not-health-check" }
  /** Common Expression Language over Envoy's attributes. */
  | { readonly kind: "cel"; readonly expression: string };

export type JsonFormat = { readonly [key: string]: string | JsonFormat };

export interface AccessLog {
  /** Where lines go: standard output, standard error, or a file. */
  readonly path: string;
  /** Envoy's command operators; undefined: Istio's default text. A text format ends with its own line feed. */
  readonly format:
    | { readonly kind: "text"; readonly text: string }
    | { readonly kind: "json"; readonly fields: JsonFormat }
    | undefined;
  readonly filter: AccessLogFilter | undefined;
}

/** stats.PluginConfig: changes of the standard metrics. Expressions are CEL. */
export interface MetricOverride {
  /** e.g. `requests_total`; empty: all. */
  readonly name: string;
  readonly dimensions: Readonly<Record<string, string>>;
  readonly tagsToRemove: readonly string[];
  /** undefined: as the overrides before it say, without any the metric is counted. */
  readonly drop: boolean | undefined;
}

export interface ChainTelemetry {
  readonly accessLogs: readonly AccessLog[];
  /** undefined: no metrics for this chain. */
  readonly metrics: { readonly overrides: readonly MetricOverride[] } | undefined;
}
