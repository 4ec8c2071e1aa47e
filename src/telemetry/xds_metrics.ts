import type { Family, MetricRegistry, Sample } from "./metrics.ts";

/**
 * Why a stream to the control plane ended: no connection, one to be expected (istiod closes streams when they are old),
 * an error, or an end without one (spec/ztunnel.md §3.2).
 */
export type XdsTermination = "ConnectionError" | "Reconnect" | "Error" | "Complete";

/** What is counted of one type of resources. Add to the samples. */
export interface XdsTypeSeries {
  /** Responses. */
  readonly messages: Sample;
  /** Of the resources in them, as they are inside. */
  readonly bytes: Sample;
  /** Resources that were not taken into service. */
  readonly refused: Sample;
}

/** The families istio_xds_* (spec/ztunnel.md §10.1), and two of our own. */
export class XdsMetrics {
  readonly #terminations: Family;
  readonly #messages: Family;
  readonly #bytes: Family;
  readonly #refused: Family;
  readonly #connected: Family;

  constructor(registry: MetricRegistry) {
    const counter = (name: string, help: string, labelNames: readonly string[]) =>
      registry.family({ name, type: "counter", help, labelNames });
    this.#terminations = counter(
      "istio_xds_connection_terminations",
      "Streams to the control plane that ended, by why (unstable).",
      ["reason"],
    );
    this.#messages = counter("istio_xds_message", "Responses of the control plane, by type (unstable).", ["url"]);
    this.#bytes = registry.family({
      name: "istio_xds_message_bytes",
      type: "counter",
      help: "Size of the resources that the control plane sent, by type (unstable).",
      unit: "bytes",
      labelNames: ["url"],
    });
    this.#refused = counter(
      "ambient_xds_resources_refused",
      "Resources of the control plane that were not taken into service, by type (unstable).",
      ["url"],
    );
    this.#connected = registry.family({
      name: "ambient_xds_connected",
      type: "gauge",
      help: "1 while there is a stream to the control plane, else 0 (unstable).",
    });
  }

  terminated(reason: XdsTermination): void {
    this.#terminations.labels([reason]).value++;
  }

  set connected(connected: boolean) {
    this.#connected.labels().value = connected ? 1 : 0;
  }

  /** The series of a type of resources. Families appear with their first count, so ask where there is one. */
  type(typeUrl: string): XdsTypeSeries {
    const [messages, bytes, refused] = [this.#messages, this.#bytes, this.#refused];
    const values = [typeUrl];
    return {
      get messages() {
        return messages.labels(values);
      },
      get bytes() {
        return bytes.labels(values);
      },
      get refused() {
        return refused.labels(values);
      },
    };
  }
}
