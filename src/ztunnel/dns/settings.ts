/** What the DNS proxies of all workloads of the process share. */
import { readFileSync } from "node:fs";
import type { ZtunnelConfig } from "../../config/mod.ts";
import {
  clusterSearchDomains,
  type NameSettings,
  parseResolvConf,
  type ResolverConfig,
  type UpstreamSettings,
  withoutResolvConf,
} from "../../dns/mod.ts";
import type { DnsLog, DnsMetrics, LogScope } from "../../telemetry/mod.ts";
import { DnsReports } from "./reports.ts";

const RESOLV_CONF = "/etc/resolv.conf";

export interface DnsTelemetry {
  readonly metrics: DnsMetrics;
  readonly accessLog: DnsLog;
  readonly log: LogScope;
}

export interface DnsSettings extends DnsTelemetry {
  readonly names: NameSettings;
  readonly upstream: UpstreamSettings;
  /** Also the observer of `upstream`. */
  readonly reports: DnsReports;
  /** Uniform in [0, 1), for the order of addresses. */
  readonly random: () => number;
}

/** The settings as configuration and resolv.conf say them; what is wrong with the latter is logged, and stops nothing. */
export function dnsSettings(
  config: ZtunnelConfig,
  telemetry: DnsTelemetry,
  resolver: ResolverConfig = readResolvConf(),
): DnsSettings {
  const { preferredServiceNamespace, ipv6Enabled, proxyMode } = config;
  const clusterDomain = config.clusterDomain.toLowerCase().replace(/\.$/, "");
  for (const problem of resolver.problems) telemetry.log.warn("resolv.conf", [["error", problem]]);
  const { nameservers, timeoutMs, attempts, search } = resolver;
  if (nameservers.length === 0) {
    telemetry.log.warn("no name server is known: names that are not in the mesh will not be resolved");
  }
  const reports = new DnsReports(telemetry.log);
  return {
    ...telemetry,
    reports,
    names: {
      clusterDomain,
      // In dedicated mode the workload's resolv.conf is our own.
      searchDomains: proxyMode === "dedicated" ? () => search : clusterSearchDomains(clusterDomain),
      preferredNamespace: preferredServiceNamespace,
      ipv6: ipv6Enabled,
    },
    upstream: { nameservers, timeoutMs, attempts, observer: reports },
    random: Math.random,
  };
}

/** The resolv.conf of this process. A file that cannot be read names nobody. */
export function readResolvConf(path: string = RESOLV_CONF): ResolverConfig {
  try {
    return parseResolvConf(readFileSync(path, "utf8"));
  } catch (error) {
    return withoutResolvConf(path, (error as { code?: string }).code ?? String(error));
  }
}
