import type { Workload } from "../mesh/mod.ts";
import type { Logger, LogScope } from "./log.ts";

/** One DNS query as its line shows it. */
export interface DnsQueryFacts {
  /** Record of the asking pod. */
  readonly source: Pick<Workload, "name" | "namespace"> | undefined;
  /** Upper case: `A`, `AAAA`, … */
  readonly queryType: string;
  /** As asked, with its trailing dot. */
  readonly domain: string;
  /** `success`, `no records`, `forwarded`, `forwarding failed (…)`, `service does not support this record type`, … */
  readonly result: string;
  /** Addresses in the answer. */
  readonly endpoints: number;
}

/** Lines about DNS queries: at debug, in scope `dns` (spec/ztunnel.md §9). */
export class DnsLog {
  readonly #scope: LogScope;

  constructor(logger: Logger) {
    this.#scope = logger.scope("dns");
  }

  /** Whether a line would be written: what it tells need only be gathered then. */
  enabled(): boolean {
    return this.#scope.enabled("debug");
  }

  query({ source, queryType, domain, result, endpoints }: DnsQueryFacts): void {
    this.#scope.debug("dns query", [
      ["src.workload", source?.name || "unknown"],
      ["src.namespace", source?.namespace || "unknown"],
      ["query", queryType],
      ["domain", domain],
      ["result", result],
      ["endpoints", endpoints],
    ]);
  }
}
