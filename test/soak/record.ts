/** What a run has seen: readings of each ztunnel under load, and at the quiet points between. */
import type { Sample } from "../lab/mesh/mod.ts";
import { total } from "../lab/mesh/mod.ts";
import type { Census } from "./census.ts";

/** One reading under load. */
export interface Reading {
  /** Milliseconds since the start. */
  readonly at: number;
  readonly census: Census;
  /** CPU time until then, ms. */
  readonly cpuMs: number;
  /** Time without a core although there was work, until then, ms: how busy the machine is with other things. */
  readonly waitedMs: number;
}

/** One reading when nothing goes on: no traffic, no passing pods, no unused tunnels. */
export interface QuietReading extends Reading {
  /** What the proxy itself says. */
  readonly told: Readonly<Record<string, number>>;
  /** From the end of the work until everything was at the baseline, ms; undefined: it did not come to that. */
  readonly settledMs: number | undefined;
  /** What was not as at the first quiet point, sockets and other descriptors. */
  readonly changed: readonly string[];
}

export interface NodeRecord {
  readonly node: string;
  readonly busy: Reading[];
  readonly quiet: QuietReading[];
}

/** How many series of metrics there are. */
export const SERIES = "metric series";

/** What is counted of a proxy's own figures: they have to be the same at every quiet point. */
export function toldBy(metrics: readonly Sample[], dump: Readonly<Record<string, unknown>>): Record<string, number> {
  const length = (key: string) => {
    const value = dump[key];
    return Array.isArray(value) ? value.length : Object.keys((value ?? {}) as object).length;
  };
  return {
    "connections open": total(metrics, "istio_tcp_connections_opened_total") -
      total(metrics, "istio_tcp_connections_closed_total"),
    "pods served": total(metrics, "workload_manager_active_proxy_count"),
    "pods pending": total(metrics, "workload_manager_pending_proxy_count"),
    "workloads known": length("workloads"),
    "services known": length("services"),
    "policies known": length("policies"),
    "certificates": length("certificates"),
    [SERIES]: metrics.length,
  };
}
