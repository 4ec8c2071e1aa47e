/** The DNS proxy: port 15053 of every captured pod (spec/ztunnel.md §9). */
export { type DnsContext, DnsProxy, type ResolvedName } from "./proxy.ts";
export { DnsReports } from "./reports.ts";
export { type DnsSettings, dnsSettings, type DnsTelemetry, readResolvConf } from "./settings.ts";
