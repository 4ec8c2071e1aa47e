/** What the DNS proxy tells of itself. Implemented by telemetry; here are only the shapes. */
import type { Workload } from "../../mesh/mod.ts";

/** The metrics of one kind of query: type, transport and who asks (spec/ztunnel.md §10.1, DNS labels). */
export interface DnsSeries {
  /** istio_dns_requests_total: every query, also of an unknown source. */
  readonly requests: { value: number };
  /** istio_dns_upstream_requests_total: queries that were passed on. */
  readonly upstreamRequests: { value: number };
  /** istio_dns_upstream_failures_total: queries that were passed on in vain. */
  readonly upstreamFailures: { value: number };
  /** istio_dns_upstream_request_duration_seconds */
  readonly upstreamSeconds: { observe(seconds: number): void };
}

export interface DnsMetrics {
  /**
   * The series of a query. Called once for each query: to be found without building label texts.
   * @param queryType lower case: `a`, `aaaa`, `srv`, …; `type65280` for types without a name
   * @param source record of the asking pod; undefined: not known
   */
  lookup(queryType: string, protocol: "udp" | "tcp", source: Workload | undefined): DnsSeries;
  /** ambient_dns_dropped_total: queries of all pods that nobody looked at, because too many came at a time. */
  readonly dropped: { value: number };
}

/** One query as the access line shows it. */
export interface DnsQueryFacts {
  readonly source: Workload | undefined;
  /** Upper case: `A`, `AAAA`, … */
  readonly queryType: string;
  /** As asked, with its trailing dot. */
  readonly domain: string;
  /** `success`, `no records`, `forwarded`, `forwarding failed (…)`, `service does not support this record type`, … */
  readonly result: string;
  /** Addresses in the answer. */
  readonly endpoints: number;
}

/** The access line of a query: debug level, scope `dns` (spec/ztunnel.md §9). */
export interface DnsAccessLog {
  /** Whether the line would be written: facts are only gathered then. */
  enabled(): boolean;
  query(facts: DnsQueryFacts): void;
}
