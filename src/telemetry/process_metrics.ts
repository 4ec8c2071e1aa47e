import { readdirSync, readFileSync, statSync } from "node:fs";
import type { MetricRegistry, Sample } from "./metrics.ts";

/** File descriptors this process has open. */
export function openFileDescriptors(): number {
  // Since Linux 6.2 the size of the directory is the count; reading it would take a descriptor of its own.
  const { size } = statSync("/proc/self/fd");
  return size > 0 ? size : readdirSync("/proc/self/fd").length - 1;
}

/** Soft limit of open files (RLIMIT_NOFILE); Infinity when there is none. */
export function maxFileDescriptors(): number {
  const soft = /^Max open files\s+(\S+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
  return soft === "unlimited" ? Infinity : Number(soft);
}

/** process_open_fds and process_max_fds, looked up at each scrape. */
export function registerProcessMetrics(registry: MetricRegistry): void {
  const gauge = (name: string, help: string) => registry.family({ name, type: "gauge", help }).labels();
  const open = gauge("process_open_fds", "Open file descriptors.");
  const max = gauge("process_max_fds", "Limit of open file descriptors.");
  registry.beforeScrape(() => {
    open.value = openFileDescriptors();
    max.value = maxFileDescriptors();
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
