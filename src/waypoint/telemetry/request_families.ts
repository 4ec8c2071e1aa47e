/** The families of Istio's metrics, and the one label set of given names and values. */
import type { Family, Histogram, HistogramFamily, MetricRegistry, Sample } from "../../telemetry/mod.ts";
import { LabelSet } from "../../telemetry/mod.ts";
import type { LabelPlan } from "./metric_plan.ts";

/** Envoy's default buckets, for times in ms and for sizes in bytes. */
const BUCKETS: readonly number[] = [
  0.5,
  1,
  5,
  10,
  25,
  50,
  100,
  250,
  500,
  1000,
  2500,
  5000,
  10_000,
  30_000,
  60_000,
  300_000,
  600_000,
  1_800_000,
  3_600_000,
];

/**
 * Label sets that are kept. A request has one for its counter and its three distributions: some 70 lines of a scrape,
 * 60 KB of text. What comes above is counted without its workloads and dimensions.
 */
export const MAX_LABEL_SETS = 8192;

const SEPARATOR = "\u0000";

export type CounterName =
  | "requests_total"
  | "request_messages_total"
  | "response_messages_total"
  | "tcp_connections_opened_total"
  | "tcp_connections_closed_total"
  | "tcp_sent_bytes_total"
  | "tcp_received_bytes_total";
export type HistogramName = "request_duration_milliseconds" | "request_bytes" | "response_bytes";

export class RequestFamilies {
  readonly #counters: Readonly<Record<CounterName, Family>>;
  readonly #histograms: Readonly<Record<HistogramName, HistogramFamily>>;
  readonly #sets = new Map<string, LabelSet>();
  readonly #overflow: Sample;

  constructor(registry: MetricRegistry) {
    const counter = (name: string, help: string) => registry.family({ name: `istio_${name}`, type: "counter", help });
    const histogram = (name: string, help: string) =>
      registry.histogram({ name: `istio_${name}`, help, buckets: BUCKETS });
    this.#counters = {
      requests_total: counter("requests", "Requests that have ended."),
      request_messages_total: counter("request_messages", "gRPC messages from clients."),
      response_messages_total: counter("response_messages", "gRPC messages to clients."),
      tcp_connections_opened_total: counter("tcp_connections_opened", "Connections opened."),
      tcp_connections_closed_total: counter("tcp_connections_closed", "Connections closed."),
      tcp_sent_bytes_total: counter("tcp_sent_bytes", "Bytes from upstream to the client."),
      tcp_received_bytes_total: counter("tcp_received_bytes", "Bytes from the client to upstream."),
    };
    this.#histograms = {
      request_duration_milliseconds: histogram("request_duration_milliseconds", "From the first byte to the last."),
      request_bytes: histogram("request_bytes", "Head and body of requests."),
      response_bytes: histogram("response_bytes", "Head and body of responses."),
    };
    this.#overflow = registry.family({
      name: "ambient_metric_label_sets_refused",
      type: "counter",
      help: "Label sets that were not kept apart because there are too many (unstable).",
    }).labels();
  }

  counter(name: CounterName, labels: LabelSet): Sample {
    return this.#counters[name].with(labels);
  }

  histogram(name: HistogramName, labels: LabelSet): Histogram {
    return this.#histograms[name].with(labels);
  }

  /** The set of a plan's labels. `reduced` are the values instead, when there are too many sets already. */
  labels(
    plan: LabelPlan,
    standard: readonly string[],
    dimensions: readonly string[],
    reduced: () => { readonly standard: readonly string[]; readonly dimensions: readonly string[] },
  ): LabelSet {
    const found = this.#find(plan, plan.values(standard, dimensions), this.#sets.size < MAX_LABEL_SETS);
    if (found !== undefined) return found;
    this.#overflow.value++;
    const less = reduced();
    return this.#find(plan, plan.values(less.standard, less.dimensions), true) as LabelSet;
  }

  #find(plan: LabelPlan, values: readonly string[], make: boolean): LabelSet | undefined {
    const key = plan.names.join(SEPARATOR) + SEPARATOR + values.join(SEPARATOR);
    let set = this.#sets.get(key);
    if (set === undefined && make) this.#sets.set(key, set = new LabelSet(plan.names, values));
    return set;
  }
}
