import { openFdCount, openFileLimit } from "../linux/mod.ts";
import type { MetricRegistry, Sample } from "./metrics.ts";

/**
 * process_open_fds and process_max_fds, looked up at each scrape. The original's `tokio_*` families count the workers and
 * tasks of a runtime that is not here: they have no counterpart, and nothing else is shown under their names.
 */
export function registerProcessMetrics(registry: MetricRegistry): void {
  const gauge = (name: string, help: string) => registry.family({ name, type: "gauge", help }).labels();
  const open = gauge("process_open_fds", "Open file descriptors.");
  const max = gauge("process_max_fds", "Limit of open file descriptors.");
  registry.beforeScrape(() => {
    open.value = openFdCount();
    max.value = openFileLimit().soft;
  });
}

/** istio_build = 1; `tag` is ISTIO_META_ISTIO_VERSION, `unknown` when that is not set. */
export function registerBuildMetric(registry: MetricRegistry, component: string, tag: string): void {
  registry.family({
    name: "istio_build",
    type: "gauge",
    help: "Component and version that runs.",
    labelNames: ["component", "tag"],
  }).labels([component, tag]).value = 1;
}

/** What the in-pod manager counts. Set the gauges, add to the counters. */
export interface WorkloadManagerMetrics {
  readonly activeProxies: Sample;
  readonly pendingProxies: Sample;
  readonly proxiesStarted: Sample;
  readonly proxiesStopped: Sample;
}

/** Families of shared mode only. */
export function registerWorkloadManagerMetrics(registry: MetricRegistry): WorkloadManagerMetrics {
  const series = (name: string, type: "gauge" | "counter", help: string) =>
    registry.family({ name: `workload_manager_${name}`, type, help }).labels();
  return {
    activeProxies: series("active_proxy_count", "gauge", "Pods that are proxied now (unstable)."),
    pendingProxies: series("pending_proxy_count", "gauge", "Pods whose proxy has not started yet (unstable)."),
    proxiesStarted: series("proxies_started", "counter", "Proxies started for pods (unstable)."),
    proxiesStopped: series("proxies_stopped", "counter", "Proxies of pods that have ended (unstable)."),
  };
}
