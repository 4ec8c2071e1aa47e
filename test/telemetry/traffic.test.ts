import { describe, expect, test } from "bun:test";
import { newWorkload } from "../../src/mesh/mod.ts";
import { denialFields, type PolicyDecision } from "../../src/policy/mod.ts";
import {
  AccessLog,
  type ConnectionEnds,
  exposition,
  MetricRegistry,
  type ResponseFlag,
  type TrafficFlow,
  TrafficMetrics,
} from "../../src/telemetry/mod.ts";
import { parseExposition } from "./exposition.ts";
import { keptLogger } from "./lines.ts";

const CLIENT = newWorkload({
  uid: "c//Pod/shop/cart-1",
  name: "cart-1",
  namespace: "shop",
  trustDomain: "cluster.local",
  serviceAccount: "cart",
  workloadName: "cart",
  canonicalName: "cart-app",
  canonicalRevision: "v1",
  clusterId: "Kubernetes",
  locality: { region: "r1", zone: "z1", subzone: "" },
});
const SERVER = newWorkload({
  uid: "c//Pod/bank/ledger-1",
  name: "ledger-1",
  namespace: "bank",
  trustDomain: "cluster.local",
  serviceAccount: "ledger",
  workloadName: "ledger",
  canonicalName: "ledger",
  clusterId: "Kubernetes",
  locality: { region: "r2", zone: "", subzone: "" },
});
const SERVICE = { hostname: "ledger.bank.svc.cluster.local", name: "ledger", namespace: "bank" };
const CLIENT_ID = "spiffe://cluster.local/ns/shop/sa/cart";
const SERVER_ID = "spiffe://cluster.local/ns/bank/sa/ledger";
const OUTBOUND: TrafficFlow = {
  reporter: "source",
  security: "mutual_tls",
  source: CLIENT,
  sourceIdentity: CLIENT_ID,
  destination: SERVER,
  service: SERVICE,
};
const ENDS = { source: { ip: "10.0.0.1", port: 4242 }, destination: { ip: "10.0.0.2", port: 15008 } };

/** Tells of connections as the data path does. */
class Connections {
  readonly #log: AccessLog;
  readonly metrics: TrafficMetrics;

  constructor(log: AccessLog, metrics: TrafficMetrics) {
    this.#log = log;
    this.metrics = metrics;
  }

  open(flow: TrafficFlow, ends: ConnectionEnds) {
    const traffic = this.metrics.lookup(flow);
    let [received, sent] = [0, 0];
    traffic.series.opened.value++;
    this.#log.connectionOpened(ends, traffic);
    return {
      move: (up: number, down: number) => {
        traffic.series.received.value += up;
        traffic.series.sent.value += down;
        received += up;
        sent += down;
      },
      close: (failure?: { error: string; flag: ResponseFlag }) => {
        traffic.series.close(failure?.flag ?? "-");
        this.#log.connectionComplete(ends, traffic, { received, sent, durationMs: 12.9, error: failure?.error });
      },
    };
  }
}

function lab(options: Parameters<typeof keptLogger>[0] = {}) {
  const registry = new MetricRegistry();
  const { logger, lines } = keptLogger(options);
  const log = new AccessLog(logger);
  const telemetry = new Connections(log, new TrafficMetrics(registry));
  const families = () => parseExposition([...exposition(registry)].join(""));
  const lineOf = (family: string) =>
    [...exposition(registry)].join("").split("\n").filter((line) => line.startsWith(`${family}{`));
  const total = (name: string) => (families().get(name)?.samples ?? []).reduce((sum, { value }) => sum + value, 0);
  return { registry, log, telemetry, lines, families, lineOf, total };
}

describe("traffic series", () => {
  test("labels in the original's order", () => {
    const { telemetry, lineOf } = lab();
    telemetry.open(OUTBOUND, ENDS);
    expect(lineOf("istio_tcp_connections_opened_total")).toEqual([
      'istio_tcp_connections_opened_total{reporter="source",source_workload="cart",source_canonical_service="cart-app",' +
      'source_canonical_revision="v1",source_workload_namespace="shop",source_principal="spiffe://cluster.local/ns/shop/sa/cart",' +
      'source_app="cart-app",source_version="v1",source_cluster="Kubernetes",' +
      'destination_service="ledger.bank.svc.cluster.local",destination_service_namespace="bank",destination_service_name="ledger",' +
      'destination_workload="ledger",destination_canonical_service="ledger",destination_canonical_revision="unknown",' +
      'destination_workload_namespace="bank",destination_principal="spiffe://cluster.local/ns/bank/sa/ledger",' +
      'destination_app="ledger",destination_version="unknown",destination_cluster="Kubernetes",request_protocol="tcp",' +
      'response_flags="-",connection_security_policy="mutual_tls",source_region="r1",source_zone="z1",' +
      'destination_region="r2",destination_zone="unknown"} 1',
    ]);
  });

  test("nobody known: everything unknown and no locality", () => {
    const { telemetry, families } = lab();
    telemetry.open({
      ...OUTBOUND,
      security: "unknown",
      source: undefined,
      sourceIdentity: undefined,
      destination: undefined,
      service: undefined,
    }, ENDS);
    const labels = families().get("istio_tcp_connections_opened")?.samples[0]?.labels;
    expect([...labels ?? []].filter(([, value]) => value !== "unknown")).toEqual([
      ["reporter", "source"],
      ["request_protocol", "tcp"],
      ["response_flags", "-"],
    ]);
    expect(labels?.has("source_region")).toBe(false);
  });

  test("a record overrides baggage; baggage alone fills in, its workload name as app", () => {
    const { telemetry, families } = lab();
    const sourceBaggage = { workloadName: "dep", namespace: "ns", canonicalName: "canon", clusterId: "c2", zone: "z9" };
    telemetry.open({ ...OUTBOUND, reporter: "destination", sourceBaggage }, ENDS);
    telemetry.open({ ...OUTBOUND, reporter: "destination", source: undefined, sourceBaggage }, ENDS);
    const [record, baggage] = families().get("istio_tcp_connections_opened")?.samples ?? [];
    expect(record?.labels.get("source_workload")).toBe("cart");
    expect(record?.labels.get("source_zone")).toBe("z1");
    expect(baggage?.labels.get("source_workload")).toBe("dep");
    expect(baggage?.labels.get("source_app")).toBe("dep");
    expect(baggage?.labels.get("source_canonical_service")).toBe("canon");
    expect(baggage?.labels.get("source_principal")).toBe(CLIENT_ID);
    expect(baggage?.labels.get("source_zone")).toBe("z9");
    expect(baggage?.labels.get("source_region")).toBe("unknown");
  });

  const INNER = {
    workloadName: "far-dep",
    namespace: "far",
    canonicalName: "far-canon",
    clusterId: "c2",
    region: "r7",
  };
  const INNER_ID = "spiffe://far.local/ns/far/sa/far";

  test("through a gateway: the inner peer's words and identity are the destination's, all of them; the service stays", () => {
    const { telemetry, families } = lab();
    telemetry.open({ ...OUTBOUND, destinationBaggage: INNER, destinationIdentity: INNER_ID }, ENDS).close();
    const opened = families().get("istio_tcp_connections_opened")?.samples ?? [];
    expect(opened.length).toBe(1);
    const labels = opened[0]?.labels ?? new Map();
    expect([...labels].filter(([name]) => name.startsWith("destination_"))).toEqual([
      ["destination_service", "ledger.bank.svc.cluster.local"],
      ["destination_service_namespace", "bank"],
      ["destination_service_name", "ledger"],
      ["destination_workload", "far-dep"],
      ["destination_canonical_service", "far-canon"],
      ["destination_canonical_revision", "unknown"],
      ["destination_workload_namespace", "far"],
      ["destination_principal", INNER_ID],
      ["destination_app", "far-dep"],
      ["destination_version", "unknown"],
      ["destination_cluster", "c2"],
      ["destination_region", "r7"],
      ["destination_zone", "unknown"],
    ]);
    expect(labels.get("source_zone")).toBe("z1");
  });

  test("through a gateway without inner baggage: the record, with the identity that was proved", () => {
    const { telemetry, families } = lab();
    telemetry.open(OUTBOUND, ENDS).close();
    telemetry.open({ ...OUTBOUND, destinationIdentity: INNER_ID }, ENDS).close();
    const samples = families().get("istio_tcp_connections_closed")?.samples ?? [];
    expect(samples.map(({ labels }) => [labels.get("destination_workload"), labels.get("destination_principal")]))
      .toEqual([["ledger", SERVER_ID], ["ledger", INNER_ID]]);
  });

  test("a failed one counts with the record, opened and closed together", () => {
    const { telemetry, families, total } = lab();
    telemetry.open(OUTBOUND, ENDS).close({ error: "tls error", flag: "CONNECT" });
    expect([total("istio_tcp_connections_opened"), total("istio_tcp_connections_closed")]).toEqual([1, 1]);
    expect(families().get("istio_tcp_connections_failed")?.samples[0]?.labels.get("destination_workload")).toBe(
      "ledger",
    );
  });

  test("what peers say of themselves makes a bounded number of series", () => {
    const { telemetry, families } = lab();
    for (let n = 0; n < 5000; n++) {
      const destinationBaggage = { workloadName: `w${n}` };
      telemetry.metrics.lookup({ ...OUTBOUND, destinationBaggage }).series.opened.value++;
    }
    const opened = families().get("istio_tcp_connections_opened")?.samples ?? [];
    expect(opened.length).toBe(4097);
    const record = opened.find(({ labels }) => labels.get("destination_workload") === "ledger");
    expect(record?.value).toBe(5000 - 4096);
  });

  test("a connection from open to close", () => {
    const { telemetry, total, families } = lab();
    const record = telemetry.open(OUTBOUND, ENDS);
    record.move(11, 22);
    expect(total("istio_tcp_received_bytes")).toBe(11);
    expect(total("istio_tcp_sent_bytes")).toBe(22);
    record.close();
    expect(total("istio_tcp_connections_opened")).toBe(1);
    expect(total("istio_tcp_connections_closed")).toBe(1);
    expect(families().has("istio_tcp_connections_failed")).toBe(false);
  });

  test("the flag is on closed and failed only; a drain has none", () => {
    const { telemetry, families } = lab();
    telemetry.open(OUTBOUND, ENDS).close({ error: "denied", flag: "DENY" });
    telemetry.open(OUTBOUND, ENDS).close({ error: "connection closed due to connection drain", flag: "-" });
    const flags = (family: string) =>
      families().get(family)?.samples.map(({ labels, value }) => [labels.get("response_flags") ?? "", value]);
    expect(flags("istio_tcp_connections_opened")).toEqual([["-", 2]]);
    expect(flags("istio_tcp_connections_closed")).toEqual([["-", 1], ["DENY", 1]]);
    expect(flags("istio_tcp_connections_failed")).toEqual([["DENY", 1]]);
  });

  test("equal flows share their series, also when the record was replaced by an equal one", () => {
    const { telemetry, families } = lab();
    telemetry.open(OUTBOUND, ENDS);
    telemetry.open({ ...OUTBOUND }, ENDS);
    telemetry.open({ ...OUTBOUND, source: { ...CLIENT } }, ENDS);
    telemetry.open({ ...OUTBOUND, service: undefined }, ENDS);
    telemetry.open({ ...OUTBOUND, sourceIdentity: "spiffe://other/ns/a/sa/b" }, ENDS);
    expect(families().get("istio_tcp_connections_opened")?.samples.map(({ value }) => value)).toEqual([3, 1, 1]);
  });

  test("a service whose name has changed counts under the new one", () => {
    const { telemetry, families } = lab();
    telemetry.open(OUTBOUND, ENDS);
    telemetry.open({ ...OUTBOUND, service: { ...SERVICE, name: "renamed" } }, ENDS);
    const names = families().get("istio_tcp_connections_opened")?.samples
      .map(({ labels }) => labels.get("destination_service_name"));
    expect(names).toEqual(["ledger", "renamed"]);
  });

  test("open sockets by side", () => {
    const { telemetry, families } = lab();
    telemetry.metrics.sockets.source.value += 2;
    telemetry.metrics.sockets.destination.value += 1;
    const samples = families().get("istio_tcp_sockets_open")?.samples;
    expect(samples?.map(({ labels, value }) => [labels.get("reporter") ?? "", value])).toEqual([
      ["source", 2],
      ["destination", 1],
    ]);
  });

  test("what is not in the stable list says so", () => {
    const { telemetry, families } = lab();
    telemetry.open(OUTBOUND, ENDS).close({ error: "x", flag: "CONNECT" });
    const stable = ["connections_opened", "connections_closed", "received_bytes", "sent_bytes"].map((n) =>
      `istio_tcp_${n}`
    );
    for (const { name, help } of families().values()) {
      expect(help).toEndWith(".");
      if (!stable.includes(name)) expect(help).toContain("unstable");
    }
  });
});

describe("access log", () => {
  test("outbound over HBONE: all fields in order, bytes as the client's side sees them", () => {
    const { telemetry, lines } = lab();
    const record = telemetry.open(OUTBOUND, ENDS);
    record.move(11, 22);
    record.close();
    expect(lines()).toEqual([
      'info\taccess\tconnection complete\tsrc.addr=10.0.0.1:4242 src.workload="cart-1" src.namespace="shop" ' +
      `src.identity="${CLIENT_ID}" src.cluster="Kubernetes" dst.addr=10.0.0.2:15008 ` +
      'dst.service="ledger.bank.svc.cluster.local" dst.workload="ledger-1" dst.namespace="bank" ' +
      `dst.identity="${SERVER_ID}" dst.cluster="Kubernetes" direction="outbound" ` +
      'bytes_sent=11 bytes_recv=22 duration="12ms"',
    ]);
  });

  test("inbound over HBONE: authority unquoted, bytes turned round, an error at level error", () => {
    const { telemetry, lines } = lab();
    const record = telemetry.open({ ...OUTBOUND, reporter: "destination" }, { ...ENDS, hboneAuthority: "10.0.0.2:80" });
    record.move(11, 22);
    record.close({ error: 'connection failed: "x"', flag: "CONNECT" });
    expect(lines()).toEqual([
      'error\taccess\tconnection complete\tsrc.addr=10.0.0.1:4242 src.workload="cart-1" src.namespace="shop" ' +
      `src.identity="${CLIENT_ID}" src.cluster="Kubernetes" dst.addr=10.0.0.2:15008 dst.hbone_addr=10.0.0.2:80 ` +
      'dst.service="ledger.bank.svc.cluster.local" dst.workload="ledger-1" dst.namespace="bank" ' +
      `dst.identity="${SERVER_ID}" dst.cluster="Kubernetes" direction="inbound" ` +
      'bytes_sent=22 bytes_recv=11 duration="12ms" error="connection failed: \\"x\\""',
    ]);
  });

  test("plaintext between strangers: no identities, absent fields left out", () => {
    const { telemetry, lines } = lab({ directives: "debug" });
    const flow: TrafficFlow = {
      reporter: "source",
      security: "unknown",
      source: CLIENT,
      sourceIdentity: undefined,
      destination: undefined,
      service: undefined,
    };
    telemetry.open(flow, { ...ENDS, destination: { ip: "fd00::1", port: 80 } }).close();
    expect(lines()).toEqual([
      'debug\taccess\tconnection opened\tsrc.addr=10.0.0.1:4242 src.workload="cart-1" src.namespace="shop" ' +
      'src.cluster="Kubernetes" dst.addr=[fd00::1]:80 direction="outbound"',
      'info\taccess\tconnection complete\tsrc.addr=10.0.0.1:4242 src.workload="cart-1" src.namespace="shop" ' +
      'src.cluster="Kubernetes" dst.addr=[fd00::1]:80 direction="outbound" bytes_sent=0 bytes_recv=0 duration="12ms"',
    ]);
  });

  test("json has the same fields, addresses as strings and bytes as numbers", () => {
    const { telemetry, lines } = lab({ format: "json" });
    telemetry.open({ ...OUTBOUND, source: undefined, sourceBaggage: { canonicalName: "canon", namespace: "far" } }, {
      ...ENDS,
      hboneAuthority: "a:1",
    }).close({ error: "e", flag: "CONNECT" });
    const [line = "{}"] = lines();
    expect(JSON.parse(line)).toEqual({
      level: "error",
      scope: "access",
      message: "connection complete",
      "src.addr": "10.0.0.1:4242",
      "src.workload": "canon",
      "src.namespace": "far",
      "src.identity": CLIENT_ID,
      "dst.addr": "10.0.0.2:15008",
      "dst.hbone_addr": "a:1",
      "dst.service": "ledger.bank.svc.cluster.local",
      "dst.workload": "ledger-1",
      "dst.namespace": "bank",
      "dst.identity": SERVER_ID,
      "dst.cluster": "Kubernetes",
      direction: "outbound",
      bytes_sent: 0,
      bytes_recv: 0,
      duration: "12ms",
      error: "e",
    });
  });

  test("after an inner tunnel the destination is who answered in it", () => {
    const { telemetry, lines } = lab();
    telemetry.open({
      ...OUTBOUND,
      destinationBaggage: { workloadName: "far-dep", namespace: "far", canonicalName: "far-canon", clusterId: "c2" },
      destinationIdentity: "spiffe://far.local/ns/far/sa/far",
    }, ENDS).close();
    expect(lines()[0]).toContain(
      'dst.service="ledger.bank.svc.cluster.local" dst.workload="far-dep" dst.namespace="far" ' +
        'dst.identity="spiffe://far.local/ns/far/sa/far" dst.cluster="c2" direction="outbound"',
    );
  });

  const DECISIONS: readonly PolicyDecision[] = [
    { policy: "bank/a", rule: "rules[0][0][0].principals", reason: "wants x; the flow has y", more: 0 },
    { policy: "bank/b", rule: undefined, reason: undefined, more: 2 },
  ];
  const { policy: POLICY, rule: RULE } = denialFields(DECISIONS);

  test("a denial says which policy and which rule, behind everything else", () => {
    const { log, telemetry, lines } = lab();
    const traffic = telemetry.metrics.lookup({ ...OUTBOUND, reporter: "destination" });
    const figures = { received: 0, sent: 0, durationMs: 1, error: "denied" };
    log.connectionComplete({ ...ENDS, hboneAuthority: "10.0.0.2:80" }, traffic, { ...figures, decisions: DECISIONS });
    log.connectionComplete(ENDS, traffic, { ...figures, decisions: [] });
    const [denied, bare] = lines();
    expect(denied).toEndWith(
      `dst.identity="${SERVER_ID}" dst.cluster="Kubernetes" direction="inbound" bytes_sent=0 bytes_recv=0 ` +
        `duration="1ms" error="denied" policy="${POLICY}" rule="${RULE}"`,
    );
    expect(bare).toEndWith('error="denied"');
    expect(POLICY).toContain("bank/a; bank/b");
  });

  test("another try: the fields of the connection, why, and where it goes now", () => {
    const { log, telemetry, lines } = lab();
    const next = { ip: "10.0.0.3", port: 15008 };
    log.connectionRetried(ENDS, telemetry.metrics.lookup(OUTBOUND), "io error: Connection refused", next);
    expect(lines()).toEqual([
      'warn\taccess\tconnection retried\tsrc.addr=10.0.0.1:4242 src.workload="cart-1" src.namespace="shop" ' +
      `src.identity="${CLIENT_ID}" src.cluster="Kubernetes" dst.addr=10.0.0.2:15008 ` +
      'dst.service="ledger.bank.svc.cluster.local" dst.workload="ledger-1" dst.namespace="bank" ' +
      `dst.identity="${SERVER_ID}" dst.cluster="Kubernetes" direction="outbound" ` +
      'error="io error: Connection refused" retry=10.0.0.3:15008',
    ]);
  });

  test("a refusal of which much is known says it, each field in its place", () => {
    for (const format of ["plain", "json"] as const) {
      const { log, lines } = lab({ format });
      const { reporter: _, ...known } = OUTBOUND;
      log.connectionFailed(ENDS.source, ENDS.destination, "inbound", "why", {
        ...known,
        hboneAuthority: "a:1",
        decisions: DECISIONS,
      });
      const fields = [
        ["src.addr", "10.0.0.1:4242"],
        ["src.workload", "cart-1"],
        ["src.namespace", "shop"],
        ["src.identity", CLIENT_ID],
        ["src.cluster", "Kubernetes"],
        ["dst.addr", "10.0.0.2:15008"],
        ["dst.hbone_addr", "a:1"],
        ["dst.service", "ledger.bank.svc.cluster.local"],
        ["dst.workload", "ledger-1"],
        ["dst.namespace", "bank"],
        ["dst.identity", SERVER_ID],
        ["dst.cluster", "Kubernetes"],
        ["direction", "inbound"],
        ["error", "why"],
        ["policy", POLICY],
        ["rule", RULE],
      ] satisfies [string, string][];
      const [line = ""] = lines();
      if (format === "json") {
        const entries = Object.entries(JSON.parse(line) as Record<string, unknown>);
        expect(entries).toEqual([["level", "warn"], ["scope", "access"], ["message", "connection failed"], ...fields]);
      } else {
        const texts = fields.map(([key, value]) => key.endsWith("addr") ? `${key}=${value}` : `${key}="${value}"`);
        expect(line).toBe(`warn\taccess\tconnection failed\t${texts.join(" ")}`);
      }
    }
  });

  test("a refusal: no identities without TLS, baggage where there is no record", () => {
    const { log, lines } = lab();
    log.connectionFailed(ENDS.source, ENDS.destination, "outbound", "why", {
      source: CLIENT,
      sourceIdentity: CLIENT_ID,
      destination: SERVER,
    });
    log.connectionFailed(ENDS.source, ENDS.destination, "inbound", "why", {
      security: "mutual_tls",
      sourceBaggage: { canonicalName: "canon", namespace: "far" },
      sourceIdentity: CLIENT_ID,
    });
    const [plain, tunnel] = lines();
    expect(plain).not.toContain("identity");
    expect(plain).toContain('dst.workload="ledger-1"');
    expect(tunnel).toContain(`src.workload="canon" src.namespace="far" src.identity="${CLIENT_ID}" dst.addr`);
  });

  test("lines below the level are not written", () => {
    const { log, telemetry, lines } = lab({ directives: "access=error" });
    const traffic = telemetry.metrics.lookup(OUTBOUND);
    log.connectionOpened(ENDS, traffic);
    log.connectionRetried(ENDS, traffic, "e", ENDS.source);
    log.connectionFailed(ENDS.source, ENDS.destination, "inbound", "e");
    const figures = { received: 0, sent: 0, durationMs: 0 };
    log.connectionComplete(ENDS, traffic, { ...figures, error: undefined });
    expect(lines()).toEqual([]);
    log.connectionComplete(ENDS, traffic, { ...figures, error: "e" });
    expect(lines().length).toBe(1);
  });

  test("an early refusal", () => {
    const { log, lines } = lab();
    log.connectionFailed(ENDS.source, ENDS.destination, "inbound", "attempted recursive call to ourselves");
    expect(lines()).toEqual([
      "warn\taccess\tconnection failed\tsrc.addr=10.0.0.1:4242 dst.addr=10.0.0.2:15008 " +
      'direction="inbound" error="attempted recursive call to ourselves"',
    ]);
  });
});
