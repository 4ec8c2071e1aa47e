/** Istio's metrics of a waypoint: istio_requests_total and its kin (spec/waypoint.md §4.1, §4.2). */
import type { Workload } from "../../mesh/mod.ts";
import type { MetricRegistry } from "../../telemetry/mod.ts";
import type { ChainTelemetry } from "../snapshot/mod.ts";
import type { StreamInfo } from "../stream_info.ts";
import type { Compiled } from "./format.ts";

/** The record of the workload that has an IP now; asked for each request, so it must be one look-up. */
export type MeshLookup = (ip: string) => Workload | undefined;

/** Counts of one TCP connection. Every byte that was counted by its StreamInfo is reported once. */
export interface TcpMetrics {
  /** Reports what the connection has moved since the last report; also done by itself before each scrape. */
  progress(): void;
  /** The last report, and the connection counts as closed. */
  closed(): void;
}

/** The metrics of one chain, with its overrides. */
export interface ChainMetrics {
  /** Counts one HTTP request that has ended. */
  record(info: StreamInfo): void;
  /** Counts a TCP connection as opened and follows it until `closed`. */
  opened(info: StreamInfo): TcpMetrics;
}

export class RequestMetrics {
  constructor(_registry: MetricRegistry, _lookup: MeshLookup) {
  }

  /** The metrics of a chain; equal overrides give the same object. undefined: the chain has none. Refuses CEL that is not known, by label and expression. */
  chain(_telemetry: ChainTelemetry["metrics"]): Compiled<ChainMetrics> {
    return { ok: false, error: "not built yet" };
  }
}
