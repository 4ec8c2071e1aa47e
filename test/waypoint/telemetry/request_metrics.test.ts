import { describe, expect, test } from "bun:test";
import { newWorkload, type Workload } from "../../../src/mesh/mod.ts";
import { exposition, MetricRegistry } from "../../../src/telemetry/mod.ts";
import type { MetricOverride } from "../../../src/waypoint/snapshot/mod.ts";
import type { StreamInfo } from "../../../src/waypoint/stream_info.ts";
import { RequestMetrics } from "../../../src/waypoint/telemetry/mod.ts";
import { MAX_LABEL_SETS } from "../../../src/waypoint/telemetry/request_families.ts";
import { type ParsedSample, parseExposition } from "../../telemetry/exposition.ts";
import { CLIENT_ID, ENDPOINT, requestHead, responseHead, SERVICE, stream } from "./streams.ts";

const CLIENT = newWorkload({
  name: "cart-1",
  namespace: "shop",
  trustDomain: "cluster.local",
  serviceAccount: "cart",
  workloadName: "cart",
  canonicalName: "cart-app",
  canonicalRevision: "v1",
  clusterId: "Kubernetes",
});
const SERVER = newWorkload({
  name: "ledger-1",
  namespace: "bank",
  trustDomain: "cluster.local",
  serviceAccount: "ledger",
  workloadName: "ledger-v2",
  canonicalName: "ledger-app",
  canonicalRevision: "v2",
  clusterId: "Kubernetes",
});

function lab(
  overrides: readonly MetricOverride[] = [],
  known: Record<string, Workload> = { "10.0.0.1": CLIENT, "10.0.0.2": SERVER },
) {
  const registry = new MetricRegistry();
  const mesh = new Map(Object.entries(known));
  const metrics = new RequestMetrics(registry, (ip) => mesh.get(ip));
  const compiled = metrics.chain({ overrides });
  if (!compiled.ok) throw new Error(compiled.error);
  const scrape = () => [...exposition(registry)].join("");
  const samples = (family: string, name = family): ParsedSample[] =>
    [...parseExposition(scrape()).get(family)?.samples ?? []].filter((sample) => sample.name === name);
  const total = (family: string) => samples(family, `${family}_total`).reduce((sum, { value }) => sum + value, 0);
  return { chain: compiled.format, metrics, mesh, scrape, samples, total };
}

/** The labels of the only series of a metric. */
function only(samples: readonly ParsedSample[]): Record<string, string> {
  expect(samples.length).toBe(1);
  return Object.fromEntries(samples[0]?.labels ?? []);
}

const GRPC = requestHead({ protocol: "HTTP/2", fields: [["content-type", "application/grpc"]] });

const FULL = {
  reporter: "waypoint",
  source_workload: "cart",
  source_canonical_service: "cart-app",
  source_canonical_revision: "v1",
  source_workload_namespace: "shop",
  source_principal: CLIENT_ID,
  source_app: "cart-app",
  source_version: "v1",
  source_cluster: "Kubernetes",
  destination_workload: "ledger-v2",
  destination_workload_namespace: "bank",
  destination_principal: "spiffe://cluster.local/ns/bank/sa/ledger",
  destination_app: "ledger-app",
  destination_version: "v2",
  destination_service: "ledger.bank.svc.cluster.local",
  destination_canonical_service: "ledger-app",
  destination_canonical_revision: "v2",
  destination_service_name: "ledger",
  destination_service_namespace: "bank",
  destination_cluster: "Kubernetes",
  request_protocol: "http",
  response_code: "200",
  grpc_response_status: "",
  response_flags: "-",
  connection_security_policy: "mutual_tls",
};

const STRANGER = { peerPrincipal: undefined, sourceNamespace: undefined };
const NO_DESTINATION = {
  destination_workload: "unknown",
  destination_workload_namespace: "unknown",
  destination_principal: "unknown",
  destination_app: "unknown",
  destination_version: "unknown",
  destination_canonical_service: "unknown",
  destination_canonical_revision: "unknown",
  destination_cluster: "unknown",
};

describe("labels of a request", () => {
  test("all 25, in the original's order", () => {
    const { chain, scrape } = lab();
    chain.record(stream());
    const labels = Object.entries(FULL).map(([name, value]) => `${name}="${value}"`).join(",");
    expect(scrape()).toContain(`\nistio_requests_total{${labels}} 1\n`);
    expect(Object.keys(FULL).length).toBe(25);
  });

  const cases: readonly [string, StreamInfo, Record<string, string>, Record<string, Workload>?][] = [
    [
      "denied before an endpoint was chosen: the service is known, the workload is not",
      stream({ responseCode: 403, endpoint: undefined, upstreamAddress: "" }),
      { ...FULL, ...NO_DESTINATION, response_code: "403" },
    ],
    [
      "no route: nothing of the destination is known",
      stream({ responseCode: 404, endpoint: undefined, service: undefined, flags: ["NR"] }),
      {
        ...FULL,
        ...NO_DESTINATION,
        destination_service: "unknown",
        destination_service_name: "unknown",
        destination_service_namespace: "unknown",
        response_code: "404",
        response_flags: "NR",
      },
    ],
    [
      "a client without a record: its namespace is that of its identity, its revision latest",
      stream(),
      {
        ...FULL,
        source_workload: "unknown",
        source_canonical_service: "unknown",
        source_canonical_revision: "latest",
        source_app: "unknown",
        source_version: "unknown",
        source_cluster: "unknown",
      },
      { "10.0.0.2": SERVER },
    ],
    [
      "a client without identity: the namespace is that of its record",
      stream({}, STRANGER),
      { ...FULL, source_principal: "unknown", connection_security_policy: "none" },
    ],
    [
      "a record without revision",
      stream(),
      {
        ...FULL,
        source_canonical_revision: "latest",
        source_version: "unknown",
        destination_canonical_revision: "unknown",
        destination_version: "unknown",
      },
      { "10.0.0.1": { ...CLIENT, canonicalRevision: "" }, "10.0.0.2": { ...SERVER, canonicalRevision: "" } },
    ],
    [
      "an endpoint without a record: what its metadata says, which is neither identity nor application",
      stream({
        endpoint: {
          ...ENDPOINT,
          workload: { name: "w", namespace: "n", canonicalName: "c", canonicalRevision: "r", cluster: "k2" },
        },
      }),
      {
        ...FULL,
        destination_workload: "w",
        destination_workload_namespace: "n",
        destination_principal: "unknown",
        destination_app: "unknown",
        destination_version: "unknown",
        destination_canonical_service: "c",
        destination_canonical_revision: "r",
        destination_cluster: "k2",
      },
      { "10.0.0.1": CLIENT },
    ],
    [
      "an endpoint that nothing is known of, by a host name",
      stream({ endpoint: { ...ENDPOINT, kind: "tcp", address: "api.example.com:443" } }),
      { ...FULL, ...NO_DESTINATION },
    ],
    [
      "a direct chain: the canonical service stands for the service",
      stream({ service: undefined }),
      {
        ...FULL,
        destination_service: "ledger-app",
        destination_service_name: "ledger-app",
        destination_service_namespace: "unknown",
      },
    ],
    [
      "nothing was answered",
      stream({ responseCode: 0, response: undefined, flags: ["DC"] }),
      { ...FULL, response_code: "0", response_flags: "DC" },
    ],
    [
      "gRPC with its status in the trailers",
      stream({ request: GRPC, responseTrailers: [["grpc-status", "7"]] }),
      { ...FULL, request_protocol: "grpc", grpc_response_status: "7" },
    ],
    [
      "gRPC without an answer",
      stream({ request: GRPC, response: undefined, responseCode: 0, flags: ["DC"] }),
      { ...FULL, request_protocol: "grpc", response_code: "0", response_flags: "DC" },
    ],
    [
      "gRPC answered by HTTP alone",
      stream({ request: GRPC, responseCode: 503 }),
      { ...FULL, request_protocol: "grpc", response_code: "503", grpc_response_status: "14" },
    ],
    [
      "a gRPC status that a backend made up",
      stream({ request: GRPC, responseTrailers: [["grpc-status", "4711"]] }),
      { ...FULL, request_protocol: "grpc", grpc_response_status: "unknown" },
    ],
    [
      "two flags",
      stream({ responseCode: 503, flags: ["UF", "URX"] }),
      { ...FULL, response_code: "503", response_flags: "UF,URX" },
    ],
  ];
  for (const [what, info, labels, known] of cases) {
    test(what, () => {
      const { chain, samples } = lab([], known);
      chain.record(info);
      expect(only(samples("istio_requests", "istio_requests_total"))).toEqual(labels);
      expect(only(samples("istio_request_bytes", "istio_request_bytes_count"))).toEqual(labels);
    });
  }
});

describe("values", () => {
  test("time and sizes: heads and bodies, as they were read", () => {
    const { chain, samples } = lab();
    chain.record(stream());
    chain.record(stream({ response: undefined, bytesSent: 5 }));
    const value = (family: string, name: string, bound?: string) =>
      samples(family, name).find(({ labels }) => labels.get("le") === bound)?.value;
    expect(value("istio_request_bytes", "istio_request_bytes_sum")).toBe(222);
    expect(value("istio_response_bytes", "istio_response_bytes_sum")).toBe(107);
    expect(value("istio_response_bytes", "istio_response_bytes_bucket", "5")).toBe(1);
    expect(value("istio_response_bytes", "istio_response_bytes_bucket", "250")).toBe(2);
    const duration = "istio_request_duration_milliseconds";
    expect(value(duration, `${duration}_sum`)).toBeCloseTo(25.8, 6);
    expect(value(duration, `${duration}_bucket`, "10")).toBe(0);
    expect(value(duration, `${duration}_bucket`, "25")).toBe(2);
    expect(samples(duration, `${duration}_bucket`).map(({ labels }) => labels.get("le"))).toEqual(
      ("0.5 1 5 10 25 50 100 250 500 1000 2500 5000 10000 30000 60000 300000 600000 1800000 3600000 +Inf").split(" "),
    );
  });

  test("messages are counted for gRPC only, without the outcome among their labels", () => {
    const { chain, samples, total } = lab();
    chain.record(stream({ requestMessages: 9 }));
    chain.record(stream({ request: GRPC, requestMessages: 3, responseMessages: 5 }));
    chain.record(stream({ request: GRPC, requestMessages: 1, responseMessages: 0, responseCode: 503 }));
    expect(total("istio_request_messages")).toBe(4);
    expect(total("istio_response_messages")).toBe(5);
    const { request_protocol: _p, response_code: _c, grpc_response_status: _g, response_flags: _f, ...rest } = FULL;
    const { connection_security_policy: _s, ...peers } = rest;
    expect(only(samples("istio_request_messages", "istio_request_messages_total"))).toEqual(peers);
  });

  test("requests between the same two, told apart by outcome alone", () => {
    const { chain, samples } = lab();
    for (let n = 0; n < 3; n++) chain.record(stream());
    chain.record(stream({ responseCode: 500 }));
    chain.record(stream({ flags: ["DI"] }));
    chain.record(stream({ request: GRPC, responseTrailers: [["grpc-status", "0"]] }));
    expect(samples("istio_requests", "istio_requests_total").map(({ value }) => value)).toEqual([3, 1, 1, 1]);
  });

  test("a record that is replaced while a connection lives: new labels when it says something else", () => {
    const { chain, mesh, samples } = lab();
    const first = stream();
    const again = () => Object.assign(stream(), { downstream: first.downstream });
    chain.record(first);
    mesh.set("10.0.0.1", { ...CLIENT });
    chain.record(again());
    mesh.set("10.0.0.1", { ...CLIENT, workloadName: "cart-v2" });
    chain.record(again());
    mesh.set("10.0.0.2", { ...SERVER, workloadName: "ledger-v3" });
    chain.record(again());
    mesh.delete("10.0.0.2");
    chain.record(again());
    expect(
      samples("istio_requests", "istio_requests_total").map(({ labels, value }) =>
        `${labels.get("source_workload")} ${labels.get("destination_workload")} ${value}`
      ),
    ).toEqual(["cart ledger-v2 2", "cart-v2 ledger-v2 1", "cart-v2 ledger-v3 1", "cart-v2 unknown 1"]);
  });

  test("one endpoint that serves two services", () => {
    const { chain, samples } = lab();
    const other = { host: "other.bank.svc.cluster.local", name: "other", namespace: "bank" };
    for (const service of [SERVICE, other, SERVICE]) chain.record(stream({ service }));
    expect(
      samples("istio_requests", "istio_requests_total").map(({ labels, value }) => [
        labels.get("destination_service_name") ?? "",
        value,
      ]),
    ).toEqual([["ledger", 2], ["other", 1]]);
  });
});

describe("TCP", () => {
  const tcp = (changes: Partial<StreamInfo> = {}) =>
    stream({ request: undefined, response: undefined, responseCode: 0, bytesReceived: 0, bytesSent: 0, ...changes });

  test("from open to close; a scrape in between shows what has moved", () => {
    const { chain, samples, total } = lab();
    const info = tcp();
    const connection = chain.opened(info);
    expect(total("istio_tcp_connections_opened")).toBe(1);
    info.bytesReceived = 10;
    info.bytesSent = 20;
    expect(total("istio_tcp_received_bytes")).toBe(10);
    expect(total("istio_tcp_sent_bytes")).toBe(20);
    info.bytesReceived = 15;
    connection.progress();
    connection.progress();
    expect(total("istio_tcp_connections_closed")).toBe(0);
    info.bytesSent = 21;
    connection.closed();
    connection.closed();
    info.bytesSent = 1000;
    expect(total("istio_tcp_received_bytes")).toBe(15);
    expect(total("istio_tcp_sent_bytes")).toBe(21);
    expect(total("istio_tcp_connections_opened")).toBe(1);
    expect(total("istio_tcp_connections_closed")).toBe(1);
    const { response_code: _c, grpc_response_status: _g, ...labels } = FULL;
    for (const name of ["connections_opened", "connections_closed", "sent_bytes", "received_bytes"]) {
      expect(only(samples(`istio_tcp_${name}`, `istio_tcp_${name}_total`))).toEqual({
        ...labels,
        request_protocol: "tcp",
      });
    }
  });

  test("it counts when its endpoint is known", () => {
    const { chain, samples, total } = lab();
    const info = tcp({ endpoint: undefined });
    const connection = chain.opened(info);
    expect(total("istio_tcp_connections_opened")).toBe(0);
    info.endpoint = ENDPOINT;
    connection.progress();
    expect(total("istio_tcp_connections_opened")).toBe(1);
    connection.closed();
    const opened = only(samples("istio_tcp_connections_opened", "istio_tcp_connections_opened_total"));
    expect(opened["destination_workload"]).toBe("ledger-v2");
  });

  test("one that never had an endpoint counts at its end, with its flags", () => {
    const { chain, samples } = lab();
    const info = tcp({ endpoint: undefined });
    const connection = chain.opened(info);
    info.flag("UH");
    connection.closed();
    for (const name of ["connections_opened", "connections_closed"]) {
      const labels = only(samples(`istio_tcp_${name}`, `istio_tcp_${name}_total`));
      expect([labels["response_flags"], labels["destination_workload"]]).toEqual(["UH", "unknown"]);
    }
  });
});

describe("overrides", () => {
  const override = (changes: Partial<MetricOverride>): MetricOverride => ({
    name: "",
    dimensions: {},
    tagsToRemove: [],
    drop: undefined,
    ...changes,
  });

  test("a dropped metric, a removed label, an added one, a replaced one", () => {
    const { chain, samples, scrape } = lab([
      override({ name: "request_bytes", drop: true }),
      override({ tagsToRemove: ["source_principal", "no_such_label"] }),
      override({
        name: "requests_total",
        dimensions: {
          request_host: "request.host",
          env: "'prod'",
          destination_cluster: '"here"',
          agent: "request.headers['User-Agent']",
          nothing: "request.referer",
        },
      }),
    ]);
    chain.record(stream());
    const { source_principal: _p, ...without } = FULL;
    expect(scrape()).not.toContain("istio_request_bytes");
    expect(only(samples("istio_response_bytes", "istio_response_bytes_count"))).toEqual(without);
    expect(only(samples("istio_requests", "istio_requests_total"))).toEqual({
      ...without,
      destination_cluster: "here",
      agent: "curl/8",
      env: "prod",
      nothing: "unknown",
      request_host: "ledger.bank",
    });
  });

  test("the last word on a metric counts, and changes of its labels hold whoever has it", () => {
    const { chain, samples, scrape } = lab([
      override({ drop: true, tagsToRemove: ["source_principal"] }),
      override({ name: "requests_total", drop: false, dimensions: { env: "'prod'" } }),
      override({ name: "request_bytes", tagsToRemove: ["response_code"] }),
    ]);
    chain.record(stream());
    const { source_principal: _p, ...without } = FULL;
    expect(only(samples("istio_requests", "istio_requests_total"))).toEqual({ ...without, env: "prod" });
    expect(scrape()).not.toContain("istio_request_bytes");
    expect(scrape()).not.toContain("istio_response_bytes");
  });

  test("requests that differ in a dimension only are told apart; series that a removed label told apart are one", () => {
    const { chain, samples, mesh } = lab([
      override({ tagsToRemove: ["source_workload"] }),
      override({ name: "requests_total", dimensions: { path: "request.url_path" } }),
    ]);
    chain.record(stream());
    mesh.set("10.0.0.1", { ...CLIENT, workloadName: "other" });
    chain.record(stream());
    chain.record(stream({ request: requestHead({ path: "/b?c" }) }));
    expect(
      samples("istio_requests", "istio_requests_total").map(({ labels, value }) => [
        labels.get("path") ?? "",
        value,
      ]),
    ).toEqual([["/accounts", 2], ["/b", 1]]);
    expect(samples("istio_request_bytes", "istio_request_bytes_count").map(({ value }) => value)).toEqual([3]);
  });

  test("every attribute", () => {
    const expressions: Record<string, string> = {
      "request.host": "ledger.bank",
      "request.method": "GET",
      "request.path": "/accounts?limit=3",
      "request.url_path": "/accounts",
      "request.scheme": "http",
      "request.protocol": "HTTP/1.1",
      "request.id": "id-1",
      "request.useragent": "curl/8",
      "request.referer": "unknown",
      "request.size": "11",
      "response.code": "200",
      "response.code_details": "via_upstream",
      "response.size": "22",
      "response.grpc_status": "2",
      "response.headers['Content-Type']": "text/plain",
      "source.address": "10.0.0.1:4242",
      "source.port": "4242",
      "destination.address": "10.96.0.12:80",
      "destination.port": "80",
      "connection.requested_server_name": "",
      "connection.termination_details": "unknown",
      "upstream.address": "10.0.0.2:8080",
      "upstream.transport_failure_reason": "",
      "upstream.request_attempt_count": "1",
      "xds.cluster_name": "inbound-vip|80|http|ledger.bank.svc.cluster.local",
      "xds.route_name": "default",
      " ' spaced ' ": " spaced ",
    };
    const names = Object.keys(expressions);
    const dimensions = Object.fromEntries(names.map((expression, n) => [`d${n}`, expression]));
    const { chain, samples } = lab([override({ name: "requests_total", dimensions })]);
    chain.record(stream());
    const labels = only(samples("istio_requests", "istio_requests_total"));
    expect(Object.fromEntries(names.map((expression, n) => [expression, labels[`d${n}`]]))).toEqual(expressions);
  });

  test("CEL: what has no value is unknown, what is long is cut, labels stay within their bound", () => {
    const dimensions = {
      path: "request.headers['a'] + request.url_path",
      class: "response.code >= 500 ? 'bad' : 'good'",
      none: "request.referer + 'x'",
    };
    const { chain, samples } = lab([override({ name: "requests_total", dimensions })]);
    const request = (path: string) => stream({ request: requestHead({ path, fields: [["a", "b"]] }) });
    chain.record(request(`/${"x".repeat(2000)}`));
    const labels = only(samples("istio_requests", "istio_requests_total"));
    expect(labels).toMatchObject({ path: `b/${"x".repeat(1022)}`, class: "good", none: "unknown" });
    for (let i = 0; i < MAX_LABEL_SETS + 10; i++) chain.record(request(`/${i}`));
    expect(samples("istio_requests", "istio_requests_total").length).toBeLessThanOrEqual(MAX_LABEL_SETS + 1);
  });

  for (
    const [what, bad, error] of [
      [
        "an expression",
        override({ name: "request_bytes", dimensions: { a: "request.host + " } }),
        'metric override 0 (request_bytes), label a: CEL expression "request.host + ": ' +
        "syntax error at character 14: found + but expecting end of input",
      ],
      ["a metric that is none", override({ name: "no" }), "metric override 0 (no): there is no such metric"],
      [
        "a label that is none",
        override({ dimensions: { "a-b": "'x'" } }),
        'metric override 0 (all metrics): "a-b" is no label name',
      ],
      [
        "the buckets' label",
        override({ dimensions: { le: "'x'" } }),
        'metric override 0 (all metrics): "le" is no label name',
      ],
    ] as const
  ) {
    test(`refused: ${what}`, () => {
      const metrics = new RequestMetrics(new MetricRegistry(), () => undefined);
      expect(metrics.chain({ overrides: [bad] })).toEqual({ ok: false, error });
    });
  }

  test("equal overrides are the same metrics; none at all count nothing", () => {
    const { metrics, chain, scrape } = lab();
    const same = metrics.chain({ overrides: [] });
    expect(same.ok && same.format).toBe(chain);
    const none = metrics.chain(undefined);
    if (!none.ok) throw new Error(none.error);
    none.format.record(stream());
    none.format.opened(stream()).closed();
    expect(scrape()).not.toContain("istio_");
  });
});

describe("bounds", () => {
  test("a label that clients choose does not grow for ever, and no request is lost", () => {
    const { chain, samples, total } = lab([
      { name: "requests_total", dimensions: { host: "request.host" }, tagsToRemove: [], drop: false },
    ]);
    const requests = MAX_LABEL_SETS + 500;
    for (let n = 0; n < requests; n++) chain.record(stream({ request: requestHead({ authority: `h${n}` }) }));
    const series = samples("istio_requests", "istio_requests_total");
    expect(series.length).toBeLessThanOrEqual(MAX_LABEL_SETS);
    expect(total("istio_requests")).toBe(requests);
    const rest = series.find(({ labels }) => labels.get("host") === "unknown");
    expect(rest?.value).toBeGreaterThanOrEqual(500);
    expect(rest?.labels.get("source_workload")).toBe("unknown");
    expect(rest?.labels.get("destination_service")).toBe(SERVICE.host);
    expect(total("ambient_metric_label_sets_refused")).toBe(rest?.value ?? 0);
  });

  test("more identities at one address than are kept at hand", () => {
    const { chain, scrape } = lab([], {});
    const identities = 1100;
    for (let round = 0; round < 2; round++) {
      for (let n = 0; n < identities; n++) chain.record(stream({}, { peerPrincipal: `spiffe://td/ns/a/sa/${n}` }));
    }
    const lines = scrape().split("\n").filter((line) => line.startsWith("istio_requests_total{"));
    expect(lines.length).toBe(identities);
    expect(lines.every((line) => line.endsWith("} 2"))).toBe(true);
  });
});

test("a response's head counts with what was read of it", () => {
  const { chain, samples } = lab();
  chain.record(stream({ response: responseHead({ wireBytes: 1000 }), bytesSent: 0 }));
  expect(samples("istio_response_bytes", "istio_response_bytes_sum")[0]?.value).toBe(1000);
});
