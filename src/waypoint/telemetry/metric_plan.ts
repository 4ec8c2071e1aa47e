/** What a chain's overrides make of the standard metrics: which are counted, with which labels (stats.PluginConfig). */
import type { MetricOverride } from "../snapshot/mod.ts";
import { compileDimension, type Dimension } from "./dimension.ts";
import type { Compiled } from "./format.ts";
import { HTTP_LABELS, PEER_LABELS, TCP_LABELS, UNKNOWN } from "./request_labels.ts";

/** Standard metrics and their labels. Messages are counted before the outcome of a request is known. */
const METRIC_LABELS = {
  requests_total: HTTP_LABELS,
  request_duration_milliseconds: HTTP_LABELS,
  request_bytes: HTTP_LABELS,
  response_bytes: HTTP_LABELS,
  request_messages_total: PEER_LABELS,
  response_messages_total: PEER_LABELS,
  tcp_connections_opened_total: TCP_LABELS,
  tcp_connections_closed_total: TCP_LABELS,
  tcp_sent_bytes_total: TCP_LABELS,
  tcp_received_bytes_total: TCP_LABELS,
} as const;

export type MetricName = keyof typeof METRIC_LABELS;

/** `istio_` and a name of this list is the metric. */
export const METRIC_NAMES = Object.keys(METRIC_LABELS) as readonly MetricName[];

/** Where a label's value is: among the standard ones, or among the values of the dimensions. */
type LabelSource = { readonly standard: number } | { readonly dimension: number };

/** The labels of one metric. */
export class LabelPlan {
  readonly names: readonly string[];
  readonly #sources: readonly LabelSource[];

  constructor(labels: ReadonlyMap<string, LabelSource>) {
    this.names = [...labels.keys()];
    this.#sources = [...labels.values()];
  }

  values(standard: readonly string[], dimensions: readonly string[]): string[] {
    return this.#sources.map((source) =>
      "standard" in source ? standard[source.standard] as string : dimensions[source.dimension] as string
    );
  }
}

/** Characters of a dimension's value. Clients can choose values (paths, headers), and every one of them may be kept. */
const MAX_VALUE_LENGTH = 1024;

function labelValue(value: string | undefined): string {
  if (value === undefined) return UNKNOWN;
  return value.length <= MAX_VALUE_LENGTH ? value : value.slice(0, MAX_VALUE_LENGTH);
}

/** All metrics of a chain. */
export class MetricPlan {
  readonly #labels: ReadonlyMap<MetricName, LabelPlan>;
  readonly #dimensions: readonly Dimension[];

  constructor(labels: ReadonlyMap<MetricName, LabelPlan>, dimensions: readonly Dimension[]) {
    this.#labels = labels;
    this.#dimensions = dimensions;
  }

  /** undefined: the metric is dropped. */
  labels(name: MetricName): LabelPlan | undefined {
    return this.#labels.get(name);
  }

  get hasDimensions(): boolean {
    return this.#dimensions.length > 0;
  }

  /** One text for each dimension. */
  evaluate(info: Parameters<Dimension>[0]): string[] {
    return this.#dimensions.map((dimension) => labelValue(dimension(info)));
  }
}

const LABEL_NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

/** Refuses expressions that are no CEL, and names that are none, by override and label. */
export function compileMetricPlan(overrides: readonly MetricOverride[]): Compiled<MetricPlan> {
  const labels = new Map<MetricName, Map<string, LabelSource>>();
  for (const name of METRIC_NAMES) {
    labels.set(name, new Map(METRIC_LABELS[name].map((label, standard) => [label, { standard }])));
  }
  const dropped = new Set<MetricName>();
  const dimensions: Dimension[] = [];
  const indexes = new Map<string, number>();
  for (const [index, override] of overrides.entries()) {
    const where = `metric override ${index} (${override.name || "all metrics"})`;
    const named = METRIC_NAMES.filter((name) => override.name === "" || override.name === name);
    if (named.length === 0) return { ok: false, error: `${where}: there is no such metric` };
    for (const name of override.drop === undefined ? [] : named) {
      if (override.drop) dropped.add(name);
      else dropped.delete(name);
    }
    for (const name of named) for (const label of override.tagsToRemove) labels.get(name)?.delete(label);
    for (const label of Object.keys(override.dimensions).sort()) {
      if (!LABEL_NAME.test(label) || label === "le") {
        return { ok: false, error: `${where}: "${label}" is no label name` };
      }
      const expression = override.dimensions[label] as string;
      let dimension = indexes.get(expression);
      if (dimension === undefined) {
        const compiled = compileDimension(expression);
        if (!compiled.ok) return { ok: false, error: `${where}, label ${label}: ${compiled.error}` };
        dimension = dimensions.push(compiled.format) - 1;
        indexes.set(expression, dimension);
      }
      for (const name of named) labels.get(name)?.set(label, { dimension });
    }
  }
  const plans = new Map<MetricName, LabelPlan>();
  for (const [name, sources] of labels) if (!dropped.has(name)) plans.set(name, new LabelPlan(sources));
  return { ok: true, format: new MetricPlan(plans, dimensions) };
}
