import { expect, test } from "bun:test";
import type { ZtunnelConfig } from "../../../src/config/mod.ts";
import { parseResolvConf } from "../../../src/dns/mod.ts";
import { DnsLog, DnsMetrics, Logger, MetricRegistry } from "../../../src/telemetry/mod.ts";
import { type DnsSettings, dnsSettings, readResolvConf } from "../../../src/ztunnel/dns/mod.ts";

function settingsOf(
  proxyMode: "shared" | "dedicated",
  resolvConf: ReturnType<typeof parseResolvConf>,
): { settings: DnsSettings; lines: string[] } {
  const lines: string[] = [];
  const logger = new Logger({ write: (text: string) => void lines.push(text), flush() {} });
  const config = {
    proxyMode,
    clusterDomain: "Cluster.Local.",
    preferredServiceNamespace: "preferred",
    ipv6Enabled: false,
  } as unknown as ZtunnelConfig;
  const telemetry = {
    metrics: new DnsMetrics(new MetricRegistry()),
    accessLog: new DnsLog(logger),
    log: logger.scope("ztunnel::dns::server"),
  };
  return { settings: dnsSettings(config, telemetry, resolvConf), lines };
}

const FILE = parseResolvConf("search corp.example\nnameserver 10.96.0.10\noptions timeout:2 attempts:3\n");

test("search domains: a pod's in shared mode, the proxy's own in dedicated mode", () => {
  const shared = settingsOf("shared", FILE);
  expect(shared.settings.names.searchDomains("ns1")).toEqual([
    "ns1.svc.cluster.local",
    "svc.cluster.local",
    "cluster.local",
  ]);
  expect(settingsOf("dedicated", FILE).settings.names.searchDomains("ns1")).toEqual(["corp.example"]);
  expect(shared.settings).toMatchObject({
    names: { clusterDomain: "cluster.local", preferredNamespace: "preferred", ipv6: false },
    upstream: { nameservers: ["10.96.0.10"], timeoutMs: 2000, attempts: 3, observer: shared.settings.reports },
  });
  expect(shared.lines).toEqual([]);
});

test("a file that is not there is told, and nobody can be asked", () => {
  const { settings, lines } = settingsOf("shared", readResolvConf("/nowhere/resolv.conf"));
  expect(settings.upstream.nameservers).toEqual([]);
  expect(lines.join("")).toMatch(/warn.*\/nowhere\/resolv\.conf: ENOENT[\s\S]*warn.*no name server is known/);
});
