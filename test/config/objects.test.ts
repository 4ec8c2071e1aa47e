import { describe, expect, test } from "bun:test";
import { parseLocalState } from "../../src/config/local_parse.ts";
import { GATEWAY, OPTIONS } from "../waypoint/local/fixture.ts";

function errors(text: string): string[] {
  const result = parseLocalState([{ path: "o.yaml", text }, { path: "w.yaml", text: GATEWAY }], { waypoint: OPTIONS });
  return result.ok ? [] : result.errors.map(({ line, column, message }) => `${line}:${column} ${message}`);
}

const object = (apiVersion: string, kind: string, spec: string, metadata = "{name: o, namespace: n}") =>
  `apiVersion: ${apiVersion}\nkind: ${kind}\nmetadata: ${metadata}\nspec: ${spec}\n`;
const GATEWAY_API = "gateway.networking.k8s.io/v1";
const http = (rule: string) => object(GATEWAY_API, "HTTPRoute", `{rules: [${rule}]}`);
const grpc = (rule: string) => object(GATEWAY_API, "GRPCRoute", `{rules: [${rule}]}`);
const destination = (spec: string) => object("networking.istio.io/v1", "DestinationRule", `{host: h, ${spec}}`);
const policy = (spec: string) => object("security.istio.io/v1", "AuthorizationPolicy", spec);
const telemetry = (spec: string) => object("telemetry.istio.io/v1", "Telemetry", spec);

const ISTIOD = (kind: string, instead = "remove it") =>
  `2:7 ${kind} n/o: only istiod can compile ${kind}, it has no effect here: ${instead}`;

const refused: [text: string, ...at: string[]][] = [
  // kinds
  [
    object("networking.istio.io/v1", "VirtualService", "{}"),
    ISTIOD("VirtualService", "use an HTTPRoute, GRPCRoute or TCPRoute"),
  ],
  [object("networking.istio.io/v1alpha3", "EnvoyFilter", "{}"), ISTIOD("EnvoyFilter")],
  [object("networking.istio.io/v1", "Sidecar", "{}"), ISTIOD("Sidecar")],
  [
    object("networking.istio.io/v1", "ServiceEntry", "{}"),
    ISTIOD("ServiceEntry", "write a service in a mesh document"),
  ],
  [
    object("networking.istio.io/v1", "WorkloadEntry", "{}"),
    ISTIOD("WorkloadEntry", "write a workload in a mesh document"),
  ],
  [
    object("networking.istio.io/v1", "WorkloadGroup", "{}"),
    ISTIOD("WorkloadGroup", "write workloads in a mesh document"),
  ],
  [object("networking.istio.io/v1", "Gateway", "{}"), ISTIOD("Gateway", "use a Gateway of gateway.networking.k8s.io")],
  [object("networking.istio.io/v1beta1", "ProxyConfig", "{}"), ISTIOD("ProxyConfig")],
  [object("extensions.istio.io/v1alpha1", "WasmPlugin", "{}"), ISTIOD("WasmPlugin")],
  [object("extensions.istio.io/v1alpha1", "TrafficExtension", "{}"), ISTIOD("TrafficExtension")],
  [
    object("security.istio.io/v1", "RequestAuthentication", "{}"),
    "2:7 RequestAuthentication n/o: RequestAuthentication is not in this version",
  ],
  [object(GATEWAY_API, "TLSRoute", "{}"), "2:7 TLSRoute n/o: TLSRoute is not in this version"],
  [
    "apiVersion: v1\nkind: Service\nmetadata: {name: s}",
    "2:7 Service default/s: Service is not read: write workloads and services as a mesh document (without apiVersion)",
  ],
  [
    "apiVersion: example.org/v1\nkind: Thing\n",
    "2:7 unknown kind Thing of example.org/v1; there are Gateway (gateway.networking.k8s.io), " +
    "HTTPRoute (gateway.networking.k8s.io), GRPCRoute (gateway.networking.k8s.io), TCPRoute (gateway.networking.k8s.io), " +
    "ReferenceGrant (gateway.networking.k8s.io), DestinationRule (networking.istio.io), " +
    "AuthorizationPolicy (security.istio.io), PeerAuthentication (security.istio.io), Telemetry (telemetry.istio.io) and List",
  ],
  // near names
  [
    http("{backendRef: [{name: a, port: 1}]}"),
    "4:17 HTTPRoute n/o: spec.rules[0].backendRef: no such field here: did you mean backendRefs?",
  ],
  [
    http("{backendRefs: [{naem: a, name: a, prot: 1}]}"),
    "4:32 HTTPRoute n/o: spec.rules[0].backendRefs[0].naem: no such field here: did you mean name?",
    "4:50 HTTPRoute n/o: spec.rules[0].backendRefs[0].prot: no such field here: did you mean port?",
  ],
  // the shape around
  ["kind: HTTPRoute", "1:1 an object needs apiVersion"],
  ["apiVersion: v1", "1:1 an object needs kind"],
  ["apiVersion: v1\nkind: 5", "2:7 kind: an object needs kind"],
  [
    object("gateway.networking.k8s.io/v2", "HTTPRoute", "{}"),
    "1:13 HTTPRoute n/o: apiVersion: expected gateway.networking.k8s.io/v1 or gateway.networking.k8s.io/v1beta1, " +
    'got "gateway.networking.k8s.io/v2"',
  ],
  [`${object(GATEWAY_API, "HTTPRoute", "{}")}data: {}\n`, "5:1 HTTPRoute n/o: data: no such field here"],
  [object(GATEWAY_API, "HTTPRoute", "{}", "{}"), "3:11 HTTPRoute: metadata.name: required"],
  [
    object(GATEWAY_API, "HTTPRoute", "{}", "{name: A b}"),
    '3:18 HTTPRoute default/A b: metadata.name: not a name "A b"',
  ],
  [
    object(GATEWAY_API, "HTTPRoute", "{}", "{name: o, creationTimestamp: soon}"),
    '3:40 HTTPRoute default/o: metadata.creationTimestamp: not a time (RFC 3339) "soon"',
  ],
  ["apiVersion: v1\nkind: List\nitems: 5", "3:8 items: a List needs items"],
  ["apiVersion: v1\nkind: List\nitems: [5]", "3:9 expected an object of Kubernetes"],
  ["apiVersion: v1\nkind: List\nitems: []\nitem: 1", "4:7 item: no such field here"],
  [
    `apiVersion: v1\nkind: List\nitems:\n- apiVersion: ${GATEWAY_API}\n  kind: HTTPRoute\n  metadata: {name: o}\n  spec: {rule: []}`,
    "7:10 HTTPRoute default/o: spec.rule: no such field here: did you mean rules?",
  ],
  [
    object(GATEWAY_API, "HTTPRoute", "{}") + "---\n" + object(GATEWAY_API, "HTTPRoute", "{}"),
    "8:18 metadata.name: HTTPRoute n/o is already at o.yaml:1:1",
  ],

  // HTTPRoute
  [
    http("{sessionPersistence: {}}"),
    "4:37 HTTPRoute n/o: spec.rules[0].sessionPersistence: session persistence is not in this version",
  ],
  [
    http("{filters: [{type: ExtensionRef, extensionRef: {}}]}"),
    '4:34 HTTPRoute n/o: spec.rules[0].filters[0].type: filter "ExtensionRef" is not in this version here; there are ' +
    "RequestHeaderModifier, ResponseHeaderModifier, RequestMirror, RequestRedirect, URLRewrite, CORS",
    "4:62 HTTPRoute n/o: spec.rules[0].filters[0].extensionRef: a filter by extensionRef is not in this version",
  ],
  [
    http("{filters: [{type: ExternalAuth}]}"),
    '4:34 HTTPRoute n/o: spec.rules[0].filters[0].type: filter "ExternalAuth" is not in this version here; there are ' +
    "RequestHeaderModifier, ResponseHeaderModifier, RequestMirror, RequestRedirect, URLRewrite, CORS",
  ],
  [
    http("{filters: [{type: URLRewrite, cors: {}}]}"),
    "4:27 HTTPRoute n/o: spec.rules[0].filters[0].urlRewrite: required with type URLRewrite",
    "4:52 HTTPRoute n/o: spec.rules[0].filters[0].cors: not with type URLRewrite",
  ],
  [
    http("{filters: [{type: CORS, cors: {}}, {type: CORS, cors: {}}]}"),
    "4:58 HTTPRoute n/o: spec.rules[0].filters[1].type: a second CORS in one rule",
  ],
  [
    http("{filters: [{type: URLRewrite, urlRewrite: {}}, {type: RequestRedirect, requestRedirect: {}}]}"),
    "4:34 HTTPRoute n/o: spec.rules[0].filters[0].type: URLRewrite and RequestRedirect exclude each other",
  ],
  [
    http("{filters: [{type: RequestRedirect, requestRedirect: {statusCode: 300}}], backendRefs: [{name: a, port: 1}]}"),
    "4:81 HTTPRoute n/o: spec.rules[0].filters[0].requestRedirect.statusCode: expected 301, 302, 303, 307 or 308",
  ],
  [
    http("{filters: [{type: RequestRedirect, requestRedirect: {}}], backendRefs: [{name: a, port: 1}]}"),
    "4:87 HTTPRoute n/o: spec.rules[0].backendRefs: a rule with RequestRedirect has no backends",
  ],
  [
    http(
      "{matches: [{path: {type: Exact, value: /a}}], " +
        'filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: "/"}}}]}',
    ),
    "4:72 HTTPRoute n/o: spec.rules[0].filters[0]: ReplacePrefixMatch needs matches of type PathPrefix",
  ],
  [
    http("{backendRefs: [{name: a, port: 1, filters: [{type: CORS}]}]}"),
    '4:67 HTTPRoute n/o: spec.rules[0].backendRefs[0].filters[0].type: filter "CORS" is not in this version here; ' +
    "there are RequestHeaderModifier, ResponseHeaderModifier, URLRewrite",
  ],
  [
    http(
      "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: 'a b', value: c}], remove: [Host]}}]}",
    ),
    '4:94 HTTPRoute n/o: spec.rules[0].filters[0].requestHeaderModifier.set[0].name: not a header name "a b"',
    '4:122 HTTPRoute n/o: spec.rules[0].filters[0].requestHeaderModifier.remove[0]: not a header that can be removed "Host"',
  ],
  [
    http("{timeouts: {request: 1 s, backendRequest: 1m}}"),
    '4:37 HTTPRoute n/o: spec.rules[0].timeouts.request: not a duration such as "1m30s", "2.5s" or "100ms" "1 s"',
  ],
  [
    http("{timeouts: {request: 1s, backendRequest: 1m}}"),
    "4:57 HTTPRoute n/o: spec.rules[0].timeouts.backendRequest: longer than request",
  ],
  [http("{retry: {codes: [200]}}"), "4:33 HTTPRoute n/o: spec.rules[0].retry.codes[0]: must be at least 400"],
  [
    http("{matches: [{path: {value: a}, method: get}]}"),
    '4:42 HTTPRoute n/o: spec.rules[0].matches[0].path.value: not a path beginning with / "a"',
    "4:54 HTTPRoute n/o: spec.rules[0].matches[0].method: " +
    'expected GET or HEAD or POST or PUT or DELETE or CONNECT or OPTIONS or TRACE or PATCH, got "get"',
  ],
  [
    object(GATEWAY_API, "HTTPRoute", "{parentRefs: [{name: a, sectionName: b}]}"),
    "4:44 HTTPRoute n/o: spec.parentRefs[0].sectionName: services of the mesh document have no names of ports: use port",
  ],
  // GRPCRoute, TCPRoute
  [grpc("{matches: [{method: {}}]}"), "4:36 GRPCRoute n/o: spec.rules[0].matches[0].method: needs service or method"],
  [
    grpc("{filters: [{type: URLRewrite}], timeouts: {request: 1s}}"),
    '4:34 GRPCRoute n/o: spec.rules[0].filters[0].type: filter "URLRewrite" is not in this version here; ' +
    "there are RequestHeaderModifier, ResponseHeaderModifier, RequestMirror",
    "4:48 GRPCRoute n/o: spec.rules[0].timeouts: no such field here",
  ],
  [
    object("gateway.networking.k8s.io/v1alpha2", "TCPRoute", "{rules: []}"),
    "4:15 TCPRoute n/o: spec.rules: must not be empty",
  ],

  // DestinationRule
  [
    destination("trafficPolicy: {outlierDetection: {}}"),
    "4:51 DestinationRule n/o: spec.trafficPolicy.outlierDetection: outlier detection is not in this version",
  ],
  [
    destination("trafficPolicy: {tunnel: {}}"),
    "4:41 DestinationRule n/o: spec.trafficPolicy.tunnel: a tunnel is not in this version",
  ],
  [
    destination("trafficPolicy: {retryBudget: {percent: 101}}"),
    "4:56 DestinationRule n/o: spec.trafficPolicy.retryBudget.percent: must be at most 100",
  ],
  [
    destination(
      "trafficPolicy: {connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1, " +
        "http2MaxRequests: 1, maxRetries: 1, maxConcurrentStreams: 1}}}",
    ),
    ...[
      ["72", "tcp.maxConnections", "maxConnections"],
      ["108", "http.http1MaxPendingRequests", "http1MaxPendingRequests"],
      ["129", "http.http2MaxRequests", "http2MaxRequests"],
      ["144", "http.maxRetries", "maxRetries"],
      ["169", "http.maxConcurrentStreams", "maxConcurrentStreams"],
    ].map(([column, path, name]) =>
      `4:${column} DestinationRule n/o: spec.trafficPolicy.connectionPool.${path}: ` +
      `circuit breaking (${name}) is not in this version`
    ),
  ],
  [
    destination("trafficPolicy: {portLevelSettings: [{port: {number: 1}, outlierDetection: {}}]}"),
    "4:91 DestinationRule n/o: spec.trafficPolicy.portLevelSettings[0].outlierDetection: outlier detection is not in this version",
  ],
  [
    destination("trafficPolicy: {loadBalancer: {localityLbSetting: {}}}"),
    "4:67 DestinationRule n/o: spec.trafficPolicy.loadBalancer.localityLbSetting: " +
    "locality load balancing by DestinationRule is not in this version",
  ],
  [
    destination("trafficPolicy: {loadBalancer: {consistentHash: {maglev: {tableSize: 100}}}}"),
    "4:64 DestinationRule n/o: spec.trafficPolicy.loadBalancer.consistentHash: " +
    "needs exactly one of httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName",
    "4:85 DestinationRule n/o: spec.trafficPolicy.loadBalancer.consistentHash.maglev.tableSize: must be a prime",
  ],
  [
    destination("trafficPolicy: {tls: {mode: MUTUAL, credentialName: c}}"),
    "4:69 DestinationRule n/o: spec.trafficPolicy.tls.credentialName: a certificate by credentialName is not in this version",
  ],
  [
    destination("trafficPolicy: {tls: {mode: MUTUAL}}"),
    "4:38 DestinationRule n/o: spec.trafficPolicy.tls.clientCertificate: required with mode MUTUAL",
    "4:38 DestinationRule n/o: spec.trafficPolicy.tls.privateKey: required with mode MUTUAL",
  ],
  [
    destination("workloadSelector: {}"),
    "4:35 DestinationRule n/o: spec.workloadSelector: " +
    "a waypoint is not selected by workloadSelector: such a rule is for sidecars",
  ],
  [destination("subsets: [{name: a}, {name: a}]"), "4:45 DestinationRule n/o: spec.subsets[1].name: a second subset a"],

  // AuthorizationPolicy, PeerAuthentication
  [
    policy("{action: CUSTOM, provider: {name: p}}"),
    "4:16 AuthorizationPolicy n/o: spec.action: action CUSTOM (external authorization) is not in this version",
    "4:34 AuthorizationPolicy n/o: spec.provider: an authorization provider is not in this version",
  ],
  [
    policy(
      "{rules: [{from: [{source: {requestPrincipals: ['*']}}], when: [{key: 'request.auth.claims[a]', values: [b]}, {key: c}]}]}",
    ),
    "4:53 AuthorizationPolicy n/o: spec.rules[0].from[0].source.requestPrincipals: " +
    "a token's claim (RequestAuthentication) is not in this version",
    "4:76 AuthorizationPolicy n/o: spec.rules[0].when[0].key: a token's claim (RequestAuthentication) is not in this version",
    "4:116 AuthorizationPolicy n/o: spec.rules[0].when[1]: needs values or notValues",
  ],
  [
    policy("{selector: {matchLabels: {a: b}}, targetRefs: [{kind: Service, name: s}]}"),
    "4:53 AuthorizationPolicy n/o: spec.targetRefs: not with selector",
  ],
  [
    policy("{targetRefs: [{group: networking.istio.io, kind: ServiceEntry, name: s}]}"),
    "4:56 AuthorizationPolicy n/o: spec.targetRefs[0].kind: expected Service, Gateway or GatewayClass",
  ],
  [
    policy("{rules: [{from: [{source: {ipBlocks: [10.0.0.0/40]}}]}]}"),
    '4:45 AuthorizationPolicy n/o: spec.rules[0].from[0].source.ipBlocks[0]: not an address or CIDR "10.0.0.0/40"',
  ],
  [
    object("security.istio.io/v1", "PeerAuthentication", "{portLevelMtls: {0: {mode: STRICT}}}"),
    '4:27 PeerAuthentication n/o: spec.portLevelMtls["0"]: not a port "0"',
  ],

  // Telemetry
  [telemetry("{tracing: []}"), "4:17 Telemetry n/o: spec.tracing: tracing is not in this version"],
  [
    telemetry("{accessLogging: [{providers: [{name: otel}], filter: {expression: 1, a: b}}]}"),
    "4:44 Telemetry n/o: spec.accessLogging[0].providers[0].name: the only provider in this version is envoy",
    "4:73 Telemetry n/o: spec.accessLogging[0].filter.expression: expected string, got number",
    "4:76 Telemetry n/o: spec.accessLogging[0].filter.a: no such field here",
  ],
  [
    telemetry("{metrics: [{reportingInterval: 5s, overrides: [{match: {customMetric: x}, tagOverrides: {a: {}}}]}]}"),
    "4:38 Telemetry n/o: spec.metrics[0].reportingInterval: a reporting interval is not in this version",
    "4:77 Telemetry n/o: spec.metrics[0].overrides[0].match.customMetric: a custom metric is not in this version",
    "4:99 Telemetry n/o: spec.metrics[0].overrides[0].tagOverrides.a.value: required to set a tag",
  ],
];

describe("refused", () => {
  test.each(refused)("%s", (text, ...expected) => {
    expect(errors(text).toSorted()).toEqual(expected.toSorted());
  });
});

test("what a cluster gives back is accepted, server-side fields and all", () => {
  expect(errors(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: r
  uid: u
  resourceVersion: "1"
  generation: 3
  creationTimestamp: "2026-01-01T00:00:00Z"
  managedFields: [{manager: kubectl}]
  labels: {a: b}
  annotations: {c: d}
spec: {}
status: {parents: []}
---
apiVersion: v1
kind: List
metadata: {resourceVersion: ""}
items:
- apiVersion: gateway.networking.k8s.io/v1
  kind: HTTPRoute
  metadata: {name: s, creationTimestamp: null}
  spec: {}
`)).toEqual([]);
});

describe("several documents and files", () => {
  const service = (name: string) =>
    `services: [{name: ${name}, namespace: n, hostname: ${name}, vips: [], ports: {}}]\n`;
  const parse = (...texts: string[]) => parseLocalState(texts.map((text, i) => ({ path: `${i}.yaml`, text })));

  test("mesh documents are one mesh; empty documents between others are nothing", () => {
    const result = parse(`---\n${service("a")}---\n---\n# nothing\n---\n${service("b")}`, "policies: []\n");
    expect(result.ok && result.document.services.map(({ name }) => name)).toEqual(["a", "b"]);
  });

  test("twice the same: both places are named", () => {
    const result = parse(service("a"), `${service("b")}---\n${service("a")}`);
    expect(result.ok ? [] : result.errors).toEqual([{
      path: "1.yaml",
      line: 3,
      column: 46,
      message: "services[0].hostname: service n/a is already at 0.yaml:1:46",
    }]);
  });

  test("an empty file among others is refused", () => {
    const result = parse(service("a"), "# soon\n");
    expect(result.ok ? [] : result.errors.map(({ path }) => path)).toEqual(["1.yaml"]);
  });

  test("every wrong place of every file is told", () => {
    const result = parse("a: 1\n---\nb: [", "c: 1\n", "apiVersion: v1\nkind: List\n");
    expect(result.ok ? [] : result.errors.map(({ path, line }) => `${path}:${line}`)).toEqual([
      "0.yaml:3",
      "1.yaml:1",
      "2.yaml:1",
    ]);
  });

  test("policies may be named across documents and by their objects", () => {
    const workload =
      "workloads: [{name: w, namespace: n, workloadIps: [], services: {}, authorizationPolicies: [n/p]}]\n";
    const named =
      "policies: [{name: p, namespace: n, scope: WorkloadSelector, action: Deny, rules: [], dryRun: false}]\n";
    expect(parse(workload, named).ok).toBe(true);
    expect(parse(workload).ok).toBe(false);
    const twice = parse(named, policy("{action: DENY}").replace("name: o", "name: p"));
    expect(twice.ok ? [] : twice.errors.map(({ message }) => message)).toEqual([
      "policies[0].name: policy n/p is an object as well",
    ]);
    expect(parse(workload, policy("{action: DENY}").replace("name: o", "name: p")).ok).toBe(true);
  });
});

describe("declared protocols", () => {
  const service = (protocols: string) =>
    `services: [{name: s, namespace: n, hostname: h, vips: [], ports: {80: 80}, appProtocols: ${protocols}}]`;

  const rows: [protocols: string, ...at: string[]][] = [
    ["{80: HTTP}"],
    ["{81: HTTP}", '1:95 services[0].appProtocols["81"]: 81 is no port of this service'],
    [
      "{80: http}",
      '1:95 services[0].appProtocols["80"]: ' +
      'expected one of HTTP, HTTP2, GRPC, TCP, TLS, HTTPS, MONGO, REDIS, MYSQL, UDP, got "http"',
    ],
    ["{80: GRPC-WEB}", '1:95 services[0].appProtocols["80"]: translation of gRPC-Web is not in this version'],
  ];
  test.each(rows)("%s", (protocols, ...expected) => {
    expect(errors(service(protocols))).toEqual(expected);
  });
});
