import type { MetricRegistry, Sample } from "./metrics.ts";

/** What a connection waits for: its pod's certificate, its pod's record, the address of a name, or records on demand. */
export type HeldReason = "certificate" | "workload" | "name" | "resource";

type ByReason = Readonly<Record<HeldReason, Sample>>;

/** Connections that cannot be decided about yet. Change the samples. */
export interface HeldMetrics {
  /** Those that wait now. */
  readonly waiting: ByReason;
  /** Those that ever had to. */
  readonly total: ByReason;
  /** Those that were refused because too many waited already. */
  readonly refused: ByReason;
}

export function registerHeldMetrics(registry: MetricRegistry): HeldMetrics {
  const family = (name: string, type: "gauge" | "counter", help: string): ByReason => {
    const made = registry.family({ name: `ambient_${name}`, type, help, labelNames: ["reason"] });
    return {
      certificate: made.labels(["certificate"]),
      workload: made.labels(["workload"]),
      name: made.labels(["name"]),
      resource: made.labels(["resource"]),
    };
  };
  return {
    // A gauge and a counter cannot share a name (OpenMetrics 1.0, MetricFamily): hence the two orders of words.
    waiting: family("held_connections", "gauge", "Connections that wait now, by what they wait for (unstable)."),
    total: family("connections_held", "counter", "Connections that had to wait, by what they waited for (unstable)."),
    refused: family(
      "connections_held_refused",
      "counter",
      "Connections refused because too many waited already, by what they would have waited for (unstable).",
    ),
  };
}

/** What choosing endpoints by experience does. Add to the samples. */
export interface ConnectMetrics {
  /** Endpoints that are passed over for a while from now on. */
  readonly endpointEjections: Sample;
  /** Connects that failed before any byte and went to another endpoint. */
  readonly connectRetries: Sample;
}

export function registerConnectMetrics(registry: MetricRegistry): ConnectMetrics {
  const counter = (name: string, help: string) =>
    registry.family({ name: `ambient_${name}`, type: "counter", help }).labels();
  return {
    endpointEjections: counter(
      "endpoint_ejections",
      "Times an endpoint was passed over for a while because connecting to it failed (unstable).",
    ),
    connectRetries: counter(
      "connect_retries",
      "Connections that were tried again at another endpoint because connecting failed (unstable).",
    ),
  };
}
