import { describe, expect, test } from "bun:test";
import { parseLocalState } from "../../../src/config/local_parse.ts";
import {
  cluster,
  compile,
  errors,
  GATEWAY,
  httpChain,
  MESH,
  nameOf,
  object,
  OPTIONS,
  route,
  show,
  tcpChain,
  warnings,
} from "./fixture.ts";

const WEB_80 = { kind: "chain", chain: nameOf("web", 80) } as const;
const WEB_90 = { kind: "sniff", http: nameOf("web", 90), tcp: nameOf("web", 90, "tcp"), http10: false } as const;

describe("matcher", () => {
  test("virtual addresses and host names of served services, by declared protocol", () => {
    const { matcher, gateway } = compile([]);
    const ports = {
      "60": { kind: "chain", chain: nameOf("web", 60, "tcp") },
      "70": { kind: "chain", chain: nameOf("web", 70) },
      "80": WEB_80,
      "90": WEB_90,
    } as const;
    const api = { kind: "chain", chain: nameOf("api", 80) } as const;
    expect(gateway).toEqual({ namespace: "shop", name: "wp" });
    expect(matcher.destinations).toEqual([
      { cidrs: ["10.96.0.1/32", "fd00::1/128"], ports, any: undefined },
      { cidrs: ["10.96.0.2/32"], ports: { "80": api }, any: undefined },
    ]);
    expect(matcher.authorities["web.shop.svc.cluster.local:90"]).toEqual(WEB_90);
    expect(Object.keys(matcher.authorities)).toHaveLength(5);
  });

  test("workloads that name the waypoint, by how they are reached", () => {
    const more = `
workloads:
- {name: d1, namespace: shop, workloadIps: [10.0.1.1], protocol: HBONE, trustDomain: cluster.local, serviceAccount: d,
  services: {}, waypoint: {destination: /10.96.0.9, hboneMtlsPort: 15008}}
- {name: d2, namespace: shop, workloadIps: [10.0.1.2, "fd00::12"], services: {},
  waypoint: {destination: /10.96.0.9, hboneMtlsPort: 15008}}
`;
    const snapshot = compile([more]);
    expect(snapshot.matcher.destinations.slice(2)).toEqual([
      {
        cidrs: ["10.0.1.1/32"],
        ports: {},
        any: { kind: "sniff", http: "direct-http", tcp: "direct-tcp", http10: false },
      },
      {
        cidrs: ["10.0.1.2/32", "fd00::12/128"],
        ports: {},
        any: { kind: "sniff", http: "direct-http-plain", tcp: "direct-tcp-plain", http10: false },
      },
    ]);
    expect(cluster(snapshot, "encap").discovery).toEqual({ kind: "original-destination", hbone: true });
    expect(cluster(snapshot, "encap-plain").discovery).toEqual({ kind: "original-destination", hbone: false });
    expect(httpChain(snapshot, "direct-http").routes.virtualHosts[0]!.routes[0]!.action).toMatchObject({
      clusters: [{ cluster: "encap" }],
    });
    expect(tcpChain(snapshot, "direct-tcp").clusters).toEqual([{ cluster: "encap", weight: 1 }]);
  });

  test("one service's address is not another's", () => {
    const twin = `services: [{name: twin, namespace: shop, hostname: twin, vips: [/10.96.0.1], ports: {80: 80},
      waypoint: {destination: /10.96.0.9, hboneMtlsPort: 15008}, endpoints: {shop/web-1: {workloadUid: shop/web-1, port: {}}}}]`;
    expect(compile([twin]).matcher.destinations.map(({ cidrs }) => cidrs)).toEqual([
      ["10.96.0.1/32", "fd00::1/128"],
      ["10.96.0.2/32"],
    ]);
    expect(warnings([twin])).toEqual([
      "b.yaml:1:65: services[0].vips[0]: 10.96.0.1 is a VIP of service shop/web.shop.svc.cluster.local as well: " +
      "one of them gets its traffic",
      "service shop/twin: 10.96.0.1/32 is shop/web.shop.svc.cluster.local's already: traffic to it goes there",
    ]);
  });

  test("other networks' addresses are not ours", () => {
    const snapshot = compile([], { network: "n2" });
    expect(snapshot.matcher.destinations).toEqual([]);
  });
});

describe("the Gateway", () => {
  const gateway = (name: string, more = "") =>
    object(
      "gateway.networking.k8s.io/v1",
      "Gateway",
      "{gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}",
      `name: ${name}, namespace: shop${more}`,
    );

  test("none", () => {
    const result = parseLocalState([{ path: "a.yaml", text: MESH }], { waypoint: OPTIONS });
    expect(result.ok ? [] : result.errors.map(show)).toEqual([
      "--config: waypoint mode needs a Gateway of class istio-waypoint; there is none",
    ]);
  });

  test("none, but one of another class", () => {
    const text = [MESH, GATEWAY.replace("istio-waypoint,", "istio,")].join("\n---\n");
    const result = parseLocalState([{ path: "a.yaml", text }], { waypoint: OPTIONS });
    expect(result.ok ? [] : result.errors.map(show)).toEqual([
      "--config: waypoint mode needs a Gateway of class istio-waypoint; there is none; Gateway shop/wp is of class istio",
    ]);
  });

  test("one of several must be chosen", () => {
    expect(errors([gateway("second")])).toEqual([
      "b.yaml:4:18: Gateway shop/second: metadata.name: " +
      "one of shop/wp, shop/second must be chosen: --gateway NAMESPACE/NAME",
    ]);
    expect(compile([gateway("second")], { gateway: { namespace: "shop", name: "wp" } }).gateway.name).toBe("wp");
    expect(errors([], { gateway: { namespace: "shop", name: "x" } })).toEqual([
      "--gateway shop/x: no such Gateway of class istio-waypoint; there are shop/wp",
    ]);
  });

  test("of another class: no effect, and told", () => {
    const ingress = object(
      "gateway.networking.k8s.io/v1",
      "Gateway",
      "{gatewayClassName: istio}",
      "name: in, namespace: shop",
    );
    expect(compile([ingress]).gateway.name).toBe("wp");
    expect(warnings([ingress])).toEqual([
      "b.yaml:5:26: Gateway shop/in: spec.gatewayClassName: class istio is no waypoint's (istio-waypoint): no effect here",
    ]);
  });

  test("what it is for", () => {
    const compiled = (label: string) => {
      const text = GATEWAY.replace("waypoint-for: all", `waypoint-for: ${label}`);
      return parseLocalState([{ path: "a.yaml", text: [MESH, text].join("\n---\n") }], { waypoint: OPTIONS });
    };
    const chains = (label: string) => {
      const result = compiled(label);
      return result.ok ? Object.keys(result.waypoint!.chains).length : result.errors.map(show);
    };
    expect(chains("service")).toBe(6);
    expect(chains("none")).toBe(0);
    expect(chains("workload")).toBe(0);
    expect(chains("pods")).toEqual([
      'a.yaml:25:71: Gateway shop/wp: metadata.labels["istio.io/waypoint-for"]: ' +
      'expected service, workload, all, none, got "pods"',
    ]);
    const result = compiled("workload");
    expect(result.ok && result.warnings.map(({ message }) => message)).toEqual([
      "Gateway shop/wp: metadata.labels: Gateway shop/wp is for workload: traffic of 2 service(s) that name it as " +
      "waypoint, e.g. web.shop.svc.cluster.local, is refused",
      "Gateway shop/wp: metadata.name: no service or workload goes through this waypoint: it serves nothing",
    ]);
  });
});

test("an HTTP chain is as istiod has it", () => {
  const chain = httpChain(compile([]), nameOf("web", 80));
  expect({ ...chain, routes: undefined }).toEqual({
    kind: "http",
    name: nameOf("web", 80),
    service: { host: "web.shop.svc.cluster.local", name: "web", namespace: "shop" },
    authorization: [],
    unsupported: [],
    telemetry: { accessLogs: [], metrics: { overrides: [] } },
    options: {
      serverName: "istio-envoy",
      serverHeader: "overwrite",
      acceptHttp10: false,
      preserveHeaderCase: false,
      normalizePath: true,
      mergeSlashes: false,
      escapedSlashes: "keep",
      generateRequestId: true,
      suppressEnvoyHeaders: false,
      proxy100Continue: false,
      forwardClientIdentity: false,
      upgrades: ["websocket"],
      idleTimeoutMs: 3_600_000,
      streamIdleTimeoutMs: 0,
      requestTimeoutMs: 0,
      requestHeadersTimeoutMs: 0,
      maxStreamDurationMs: 0,
      maxRequestHeaderBytes: 61_440,
      maxHeaderCount: 100,
    },
    routes: undefined as never,
  });
  expect(chain.routes).toMatchObject({
    name: nameOf("web", 80),
    virtualHosts: [{ name: "inbound|http|80", domains: ["*"] }],
  });
});

describe("TCP chains", () => {
  const tcp = (rules: string, given = {}) => route(rules, { kind: "TCPRoute", ...given });
  const name = nameOf("web", 60, "tcp");

  test("without route: the service itself", () => {
    expect(tcpChain(compile([]), name)).toMatchObject({
      clusters: [{ cluster: name, weight: 1 }],
      idleTimeoutMs: 3_600_000,
      maxConnectionDurationMs: 0,
      hashSourceIp: false,
    });
  });

  test("weights of a TCPRoute; zero, invalid and further rules", () => {
    const object = tcp(
      "[{backendRefs: [{name: web, port: 60, weight: 3}, {name: web, port: 90, weight: 0}, {name: x, port: 1}]}, {}]",
    );
    expect(tcpChain(compile([object]), name).clusters).toEqual([
      { cluster: name, weight: 3 },
      { cluster: "UnknownService", weight: 1 },
    ]);
    expect(tcpChain(compile([object]), nameOf("web", 90, "tcp")).clusters).toHaveLength(2);
    expect(warnings([object]).map((text) => text.replace(/^[^ ]+ /, ""))).toEqual([
      "TCPRoute shop/r: spec.rules[0].backendRefs[2].name: no service shop/x in the mesh documents: " +
      "what goes there is answered with an error",
      "TCPRoute shop/r: spec.rules[1]: an earlier rule takes all connections of web.shop.svc.cluster.local:60",
      "TCPRoute shop/r: spec.rules[1]: an earlier rule takes all connections of web.shop.svc.cluster.local:90",
    ]);
  });

  test("the oldest counts", () => {
    const objects = [
      tcp("[{backendRefs: [{name: api, port: 80}]}]", { name: "young" }),
      tcp("[{backendRefs: [{name: web, port: 90}]}]", { name: "old", created: "2024-01-01T00:00:00Z" }),
    ];
    expect(tcpChain(compile(objects), name).clusters).toEqual([{ cluster: nameOf("web", 90, "tcp"), weight: 1 }]);
  });

  test("a consumer's is refused", () => {
    expect(errors([tcp("[{}]", { namespace: "client" })])[0]).toEndWith(
      "spec.parentRefs: a TCPRoute of a client's namespace is not in this version",
    );
  });
});

describe("policies", () => {
  const policy = (name: string, spec: string, namespace = "shop") =>
    object("security.istio.io/v1", "AuthorizationPolicy", spec, `name: ${name}, namespace: ${namespace}`);
  const RULE = "rules: [{to: [{operation: {methods: [GET]}}]}]";
  const filters = (objects: readonly string[], chain = nameOf("web", 80)) =>
    compile(objects).chains[chain]!.authorization.flatMap(({ action, policies }) =>
      (policies ?? []).map(({ name }) => `${action} ${name}`)
    );

  test("of a service, the Gateway and its class", () => {
    const objects = [
      policy("service", `{targetRefs: [{kind: Service, name: web}], ${RULE}}`),
      policy(
        "gateway",
        `{targetRef: {group: gateway.networking.k8s.io, kind: Gateway, name: wp}, action: DENY, ${RULE}}`,
      ),
      policy(
        "class",
        `{targetRefs: [{group: gateway.networking.k8s.io, kind: GatewayClass, name: istio-waypoint}], ${RULE}}`,
        "istio-system",
      ),
      policy("elsewhere", `{targetRefs: [{kind: Service, name: far}], ${RULE}}`, "other"),
      policy("nobody", `{${RULE}}`),
    ];
    expect(filters(objects).sort()).toEqual([
      "ALLOW ns[istio-system]-policy[class]-rule[0]",
      "ALLOW ns[shop]-policy[service]-rule[0]",
      "DENY ns[shop]-policy[gateway]-rule[0]",
    ]);
    expect(filters(objects, nameOf("api", 80)).sort()).toEqual([
      "ALLOW ns[istio-system]-policy[class]-rule[0]",
      "DENY ns[shop]-policy[gateway]-rule[0]",
    ]);
  });

  test("without target they are ztunnel's: by selector, namespace or mesh", () => {
    const principals = 'rules: [{from: [{source: {principals: ["cluster.local/ns/shop/sa/web"]}}]}]';
    const result = parseLocalState([{
      path: "a.yaml",
      text: [
        MESH,
        policy("select", `{selector: {matchLabels: {app: web, version: v2}}, ${principals}}`),
        policy("space", `{${principals}}`),
        policy("mesh", `{action: DENY, ${principals}}`, "istio-system"),
        policy("l7", `{targetRefs: [{kind: Service, name: web}], ${RULE}}`),
      ].join("\n---\n"),
    }]);
    if (!result.ok) throw new Error(result.errors.map(show).join("\n"));
    expect(result.document.policies.map(({ name, scope, action }) => `${name} ${scope} ${action}`).sort()).toEqual([
      "mesh Global Deny",
      "select WorkloadSelector Allow",
      "space Namespace Allow",
    ]);
    expect(result.document.workloads.map(({ name, authorizationPolicies }) => [name, authorizationPolicies])).toEqual([
      ["web-1", []],
      ["web-2", ["shop/select"]],
      ["api-1", []],
      ["wp-x", []],
    ]);
  });

  test("PeerAuthentication STRICT is ztunnel's", () => {
    const strict = object("security.istio.io/v1", "PeerAuthentication", "{mtls: {mode: STRICT}}");
    const result = parseLocalState([{ path: "a.yaml", text: `${MESH}\n---\n${strict}` }]);
    expect(
      result.ok && result.document.workloads.every(({ authorizationPolicies }) => authorizationPolicies.length === 1),
    )
      .toBe(true);
  });

  test("targets that cannot be", () => {
    expect(
      errors([policy("p", `{targetRefs: [{group: x, kind: Service, name: web, namespace: other}], ${RULE}}`)])
        .map((text) => text.replace(/^[^ ]+ /, "")),
    ).toEqual([
      'AuthorizationPolicy shop/p: spec.targetRefs[0].group: Service is of group ""',
      "AuthorizationPolicy shop/p: spec.targetRefs[0].namespace: what is targeted must be in the object's own namespace",
    ]);
    const telemetry = object(
      "telemetry.istio.io/v1",
      "Telemetry",
      "{targetRefs: [{kind: Service, name: gone}]}",
      "name: t",
    );
    expect(warnings([telemetry])[0]).toEndWith(
      "spec.targetRefs[0].name: no service default/gone in the mesh documents: no effect " +
        '(namespace "default" was assumed: metadata.namespace is missing)',
    );
  });
});

describe("Telemetry", () => {
  const telemetry = (name: string, spec: string, namespace = "shop") =>
    object("telemetry.istio.io/v1", "Telemetry", spec, `name: ${name}, namespace: ${namespace}`);
  const of = (objects: readonly string[], service = "web", accessLog?: Parameters<typeof compile>[1]) =>
    httpChain(compile(objects, accessLog), nameOf(service, 80)).telemetry;
  const STDOUT = { path: "/dev/stdout", format: undefined, filter: undefined };

  test("access logs: the most specific object decides", () => {
    const on = "{accessLogging: [{providers: [{name: envoy}]}]}";
    const off = "accessLogging: [{disabled: true}]";
    expect(of([telemetry("a", on, "istio-system")]).accessLogs).toEqual([STDOUT]);
    expect(of([telemetry("a", on, "istio-system"), telemetry("b", `{${off}}`)]).accessLogs).toEqual([]);
    const objects = [telemetry("a", on), telemetry("b", `{targetRefs: [{kind: Service, name: web}], ${off}}`)];
    expect(of(objects).accessLogs).toEqual([]);
    expect(of(objects, "api").accessLogs).toEqual([STDOUT]);
    expect(of([telemetry("a", on, "other")]).accessLogs).toEqual([]);
  });

  test("the mesh's own access log, until an object says otherwise", () => {
    const accessLog = { ...STDOUT, path: "/tmp/log", format: { kind: "text", text: "x\n" } } as const;
    expect(of([], "web", { accessLog }).accessLogs).toEqual([accessLog]);
    expect(of([telemetry("a", "{accessLogging: [{disabled: true}]}")], "web", { accessLog }).accessLogs).toEqual([]);
    expect(of([telemetry("a", "{accessLogging: [{match: {mode: CLIENT}}]}")], "web", { accessLog }).accessLogs).toEqual(
      [],
    );
  });

  test("metrics", () => {
    const override = (text: string) => of([telemetry("a", `{metrics: [{overrides: [${text}]}]}`)]).metrics;
    expect(
      override("{match: {metric: REQUEST_COUNT}, tagOverrides: {x: {value: request.host}, y: {operation: REMOVE}}}"),
    )
      .toEqual({
        overrides: [{
          name: "requests_total",
          dimensions: { x: "request.host" },
          tagsToRemove: ["y"],
          drop: undefined,
        }],
      });
    expect(override("{match: {metric: TCP_SENT_BYTES}, disabled: true}")?.overrides[0]).toMatchObject({
      name: "tcp_sent_bytes_total",
      drop: true,
    });
    expect(override("{disabled: true}")).toBeUndefined();
    expect(override("{match: {mode: CLIENT}, disabled: true}")).toEqual({ overrides: [] });
    expect(override("{disabled: true, tagOverrides: {x: {operation: REMOVE}}}")).toBeUndefined();
    expect(override("{disabled: true}, {match: {metric: REQUEST_COUNT}, tagOverrides: {x: {operation: REMOVE}}}"))
      .toBeUndefined();
    expect(errors([telemetry("a", "{metrics: [{overrides: [{tagOverrides: {x: {value: has(request.x)}}}]}]}")])[0])
      .toContain("Telemetry shop/a: spec.metrics[0].overrides[0].tagOverrides.x.value: ");
  });

  test("what a wider level disables a narrower one can enable again", () => {
    const level = (name: string, overrides: string, namespace: string) =>
      telemetry(name, `{metrics: [{overrides: [${overrides}]}]}`, namespace);
    const off = level("off", "{disabled: true}", "istio-system");
    const count = "match: {metric: REQUEST_COUNT}";
    const drops = (objects: readonly string[]) => of(objects).metrics?.overrides.map(({ name, drop }) => [name, drop]);
    expect(drops([off])).toBeUndefined();
    expect(drops([off, level("on", `{${count}, disabled: false}`, "shop")])).toEqual([
      ["", true],
      ["requests_total", false],
    ]);
    expect(drops([off, level("silent", `{${count}}`, "shop")])).toBeUndefined();
    expect(drops([off, level("on", "{disabled: false}", "shop")])).toEqual([["", true], ["", false]]);
    const on = level("on", "{disabled: false}", "istio-system");
    expect(drops([on, level("off", "{disabled: true}", "shop")])).toBeUndefined();
  });

  test("the provider envoy writes as the mesh does", () => {
    const accessLogFormat = { kind: "json", fields: { a: "%PROTOCOL%" } } as const;
    const on = telemetry("a", "{accessLogging: [{providers: [{name: envoy}]}]}");
    expect(of([], "web", { accessLogFormat }).accessLogs).toEqual([]);
    expect(of([on], "web", { accessLogFormat }).accessLogs).toEqual([{ ...STDOUT, format: accessLogFormat }]);
    const accessLog = { path: "/tmp/log", format: accessLogFormat, filter: undefined };
    expect(of([on], "web", { accessLog, accessLogFormat }).accessLogs).toEqual([accessLog]);
  });

  const filtered = (expression: string) => telemetry("a", `{accessLogging: [{filter: {expression: "${expression}"}}]}`);

  test("a filter of the access log", () => {
    const cel = { kind: "cel", expression: "response.code >= 400" } as const;
    expect(of([filtered(cel.expression)]).accessLogs).toEqual([{ ...STDOUT, filter: cel }]);
    const accessLog = { ...STDOUT, filter: { kind: "response-flag", flags: ["UF"] } } as const;
    expect(of([filtered(cel.expression)], "web", { accessLog }).accessLogs).toEqual([
      { ...STDOUT, filter: { kind: "and", filters: [accessLog.filter, cel] } },
    ]);
    expect(of([telemetry("a", "{accessLogging: [{filter: {}}]}")]).accessLogs).toEqual([STDOUT]);
  });

  test("expressions are refused with their place", () => {
    expect(errors([filtered("response.code >= 400 &&")])).toEqual([
      "b.yaml:5:46: Telemetry shop/a: spec.accessLogging[0].filter.expression: CEL expression " +
      '"response.code >= 400 &&": syntax error at character 22: found & but expecting end of input',
    ]);
    expect(errors([filtered("respones.code >= 400 || request.pth == 'x'")])).toEqual([
      "b.yaml:5:46: Telemetry shop/a: spec.accessLogging[0].filter.expression: there is no attribute respones",
      "b.yaml:5:46: Telemetry shop/a: spec.accessLogging[0].filter.expression: there is no attribute request.pth",
    ]);
    const tag = (value: string) =>
      telemetry("a", `{metrics: [{overrides: [{tagOverrides: {x: {value: "${value}"}}}]}]}`);
    expect(errors([tag("request.method + ' ' + request.url_path")])).toEqual([]);
    expect(errors([tag("nope(request.path)")])[0]).toEndWith("there is no function nope");
  });

  test("attributes that only Envoy has are told and taken", () => {
    expect(warnings([filtered("xds.node.id == 'x'")])).toEqual([
      "b.yaml:5:46: Telemetry shop/a: spec.accessLogging[0].filter.expression: the attribute xds.node is not known " +
      "in this version: it never has a value",
    ]);
  });
});
