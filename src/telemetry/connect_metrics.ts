import type { MetricRegistry, Sample } from "./metrics.ts";

/** Why a first connection of a pod waits. */
export type HeldReason = "certificate" | "workload";

const REASONS = ["certificate", "workload"] as const;

/** First connections that wait for what the control plane still has to say of their pod. */
export class HeldConnections {
  readonly #now: Record<HeldReason, Sample>;
  readonly #total: Record<HeldReason, Sample>;
  readonly #refused: Record<HeldReason, Sample>;

  constructor(registry: MetricRegistry) {
    const family = (name: string, type: "gauge" | "counter", help: string) => {
      const made = registry.family({ name, type, help, labelNames: ["reason"] });
      return Object.fromEntries(REASONS.map((reason) => [reason, made.labels([reason])])) as Record<HeldReason, Sample>;
    };
    // A gauge and a counter cannot share a name (OpenMetrics 1.0, MetricFamily): hence the two orders of words.
    this.#now = family("ambient_held_connections", "gauge", "Connections that wait for it now (unstable).");
    this.#total = family("ambient_connections_held", "counter", "Connections that had to wait for it (unstable).");
    this.#refused = family(
      "ambient_connections_held_refused",
      "counter",
      "Connections that were refused because too many waited for it already (unstable).",
    );
  }

  /** One more waits. Followed by exactly one `released`. */
  held(reason: HeldReason): void {
    this.#now[reason].value++;
    this.#total[reason].value++;
  }

  /** One waits no longer, whatever came of it. */
  released(reason: HeldReason): void {
    this.#now[reason].value--;
  }

  /** One was turned away because of the bound. */
  refused(reason: HeldReason): void {
    this.#refused[reason].value++;
  }
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
