/** Every family that ztunnel mode has, as a scrape shows it (spec/ztunnel.md §10.1). */
import { beforeAll, describe, expect, test } from "bun:test";
import { newWorkload } from "../../src/mesh/mod.ts";
import {
  DnsLog,
  DnsMetrics,
  exposition,
  MetricRegistry,
  OnDemandDnsMetrics,
  registerBuildMetric,
  registerConnectMetrics,
  registerHeldMetrics,
  registerProcessMetrics,
  registerWorkloadManagerMetrics,
  TrafficMetrics,
} from "../../src/telemetry/mod.ts";
import { type ParsedFamily, parseExposition } from "./exposition.ts";
import { keptLogger } from "./lines.ts";

const POD = newWorkload({
  name: "cart-1",
  namespace: "shop",
  trustDomain: "cluster.local",
  serviceAccount: "cart",
  workloadName: "cart",
  canonicalName: "cart-app",
  canonicalRevision: "v1",
  clusterId: "Kubernetes",
});

const SIDE = ["workload", "canonical_service", "canonical_revision", "workload_namespace", "principal", "app"];
const SOURCE = [...SIDE, "version", "cluster"].map((name) => `source_${name}`);
const TRAFFIC = [
  "reporter",
  ...SOURCE,
  "destination_service",
  "destination_service_namespace",
  "destination_service_name",
  ...[...SIDE, "version", "cluster"].map((name) => `destination_${name}`),
  "request_protocol",
  "response_flags",
  "connection_security_policy",
  "source_region",
  "source_zone",
  "destination_region",
  "destination_zone",
];
const DNS = ["request_query_type", "request_protocol", "source_canonical_service", "source_canonical_revision"];

/** Name, type, labels in order; those of buckets without their bound. */
const FAMILIES: readonly (readonly [name: string, type: string, labels: readonly string[]])[] = [
  ["istio_tcp_connections_opened", "counter", TRAFFIC],
  ["istio_tcp_connections_closed", "counter", TRAFFIC],
  ["istio_tcp_connections_failed", "counter", TRAFFIC],
  ["istio_tcp_received_bytes", "counter", TRAFFIC],
  ["istio_tcp_sent_bytes", "counter", TRAFFIC],
  ["istio_tcp_sockets_open", "gauge", ["reporter"]],
  ["istio_on_demand_dns", "counter", [...SOURCE, "hostname"]],
  ["istio_dns_requests", "counter", DNS],
  ["istio_dns_upstream_requests", "counter", DNS],
  ["istio_dns_upstream_failures", "counter", DNS],
  ["istio_dns_upstream_request_duration_seconds", "histogram", DNS],
  ["istio_build", "gauge", ["component", "tag"]],
  ["workload_manager_active_proxy_count", "gauge", []],
  ["workload_manager_pending_proxy_count", "gauge", []],
  ["workload_manager_proxies_started", "counter", []],
  ["workload_manager_proxies_stopped", "counter", []],
  ["process_open_fds", "gauge", []],
  ["process_max_fds", "gauge", []],
  ["ambient_held_connections", "gauge", ["reason"]],
  ["ambient_connections_held", "counter", ["reason"]],
  ["ambient_connections_held_refused", "counter", ["reason"]],
  ["ambient_endpoint_ejections", "counter", []],
  ["ambient_connect_retries", "counter", []],
  ["ambient_dns_dropped", "counter", []],
];

/** Names whose meaning will not change, in the original and here. */
const STABLE = [
  "istio_build",
  "istio_tcp_connections_opened",
  "istio_tcp_connections_closed",
  "istio_tcp_received_bytes",
  "istio_tcp_sent_bytes",
  "process_open_fds",
  "process_max_fds",
];

/** Everything, counted once. */
function everything(): MetricRegistry {
  const registry = new MetricRegistry();
  registerProcessMetrics(registry);
  registerBuildMetric(registry, "ztunnel", "1.30.0");
  registerWorkloadManagerMetrics(registry);
  registerHeldMetrics(registry);
  registerConnectMetrics(registry);
  new OnDemandDnsMetrics(registry).count(POD, "db.example.org");
  const metrics = new DnsMetrics(registry);
  metrics.dropped.value++;
  const dns = metrics.lookup("a", "udp", POD);
  dns.requests.value++;
  dns.upstreamRequests.value++;
  dns.upstreamFailures.value++;
  dns.upstreamSeconds.observe(0.02);
  const security = "mutual_tls";
  const flow = { security, source: POD, sourceIdentity: "spiffe://a", destination: POD, service: undefined } as const;
  new TrafficMetrics(registry).lookup({ ...flow, reporter: "source" }).series.close("CONNECT");
  return registry;
}

describe("families", () => {
  let families: Map<string, ParsedFamily>;
  beforeAll(() => {
    families = parseExposition([...exposition(everything())].join(""));
  });

  test("all of them are there, and no other", () => {
    expect([...families.keys()].toSorted()).toEqual(FAMILIES.map(([name]) => name).toSorted());
  });

  test.each([...FAMILIES])("%s: type, labels in their order", (name, type, labels) => {
    const family = families.get(name);
    expect(family?.type).toBe(type);
    for (const sample of family?.samples ?? []) {
      expect([...sample.labels.keys()].filter((label) => label !== "le")).toEqual([...labels]);
    }
  });

  test("every help ends with a period, and says so where the metric is not stable", () => {
    for (const { name, help } of families.values()) {
      expect(help).toEndWith(".");
      expect([name, help.includes("unstable")]).toEqual([name, !STABLE.includes(name)]);
    }
  });

  test("a name ends with its unit", () => {
    expect(families.get("istio_dns_upstream_request_duration_seconds")?.unit).toBe("seconds");
  });

  test("nothing is shown of what has not happened, but what always has a value", () => {
    const registry = new MetricRegistry();
    new TrafficMetrics(registry);
    new DnsMetrics(registry).lookup("a", "udp", POD);
    new OnDemandDnsMetrics(registry);
    const shown = parseExposition([...exposition(registry)].join(""));
    expect([...shown.keys()]).toEqual(["istio_tcp_sockets_open"]);
  });
});

describe("DNS", () => {
  function scrape(count: (metrics: DnsMetrics) => void): Map<string, ParsedFamily> {
    const registry = new MetricRegistry();
    count(new DnsMetrics(registry));
    return parseExposition([...exposition(registry)].join(""));
  }

  test("labels say who asks for what and how; what is not known is unknown", () => {
    const families = scrape((metrics) => {
      metrics.lookup("a", "udp", POD).requests.value += 2;
      metrics.lookup("a", "udp", { ...POD }).requests.value++;
      metrics.lookup("aaaa", "tcp", newWorkload({ name: "bare" })).requests.value++;
      metrics.lookup("a", "udp", undefined).requests.value++;
      for (const type of ["type65280", "type65281", "__proto__"]) metrics.lookup(type, "udp", POD).requests.value++;
    });
    const samples = families.get("istio_dns_requests")?.samples ?? [];
    expect(samples.map(({ labels, value }) => [...labels.values(), value])).toEqual([
      ["a", "udp", "cart-app", "v1", 3],
      ["aaaa", "tcp", "unknown", "unknown", 1],
      ["a", "udp", "unknown", "unknown", 1],
      ["unknown", "udp", "cart-app", "v1", 3],
    ]);
    expect(families.size).toBe(1);
  });

  test("the same record is found without its labels being made again", () => {
    const metrics = new DnsMetrics(new MetricRegistry());
    expect(metrics.lookup("a", "udp", POD)).toBe(metrics.lookup("a", "udp", POD));
  });

  test("buckets of the duration", () => {
    const families = scrape((metrics) => {
      for (const seconds of [0.0005, 0.0006, 3, 7]) metrics.lookup("a", "udp", POD).upstreamSeconds.observe(seconds);
    });
    const buckets = families.get("istio_dns_upstream_request_duration_seconds")?.samples ?? [];
    expect(buckets.filter(({ name }) => name.endsWith("_bucket")).map(({ labels, value }) => [labels.get("le"), value]))
      .toEqual([["0.0005", 1], ["0.001", 2], ["0.01", 2], ["0.1", 2], ["1", 2], ["5", 3], ["+Inf", 4]]);
  });

  test("on demand: the record's own identity, and the name", () => {
    const registry = new MetricRegistry();
    const metrics = new OnDemandDnsMetrics(registry);
    metrics.count(POD, "db.example.org");
    metrics.count(POD, "db.example.org");
    const text = [...exposition(registry)].join("");
    expect(text).toContain(
      'istio_on_demand_dns_total{source_workload="cart",source_canonical_service="cart-app",' +
        'source_canonical_revision="v1",source_workload_namespace="shop",' +
        'source_principal="spiffe://cluster.local/ns/shop/sa/cart",source_app="cart-app",source_version="v1",' +
        'source_cluster="Kubernetes",hostname="db.example.org"} 2\n',
    );
  });

  test("lines at debug", () => {
    const { logger, lines } = keptLogger({ directives: "info,dns=debug" });
    const log = new DnsLog(logger);
    expect(log.enabled()).toBe(true);
    log.query({ source: POD, queryType: "A", domain: "web.shop.", result: "success", endpoints: 2 });
    log.query({ source: undefined, queryType: "AAAA", domain: "x.", result: "no records", endpoints: 0 });
    expect(lines()).toEqual([
      'debug\tdns\tdns query\tsrc.workload="cart-1" src.namespace="shop" query="A" domain="web.shop." ' +
      'result="success" endpoints=2',
      'debug\tdns\tdns query\tsrc.workload="unknown" src.namespace="unknown" query="AAAA" domain="x." ' +
      'result="no records" endpoints=0',
    ]);
    logger.setLevels("dns=info", false);
    expect(log.enabled()).toBe(false);
  });
});
