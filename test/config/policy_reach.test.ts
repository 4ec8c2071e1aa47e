import { describe, expect, test } from "bun:test";
import { compileAll, GATEWAY, object, OPTIONS, show } from "../waypoint/local/fixture.ts";
import { parseLocalState } from "../../src/config/local_parse.ts";

const policy = (spec: string, metadata = "name: p, namespace: shop") =>
  object("security.istio.io/v1", "AuthorizationPolicy", spec, metadata);
const GATEWAY_REF = "group: gateway.networking.k8s.io, kind: Gateway";
const ASSUMED = ' (namespace "default" was assumed: metadata.namespace is missing)';

/** Errors as `! …`, else warnings, without their places. */
function told(objects: readonly string[]): string[] {
  const result = compileAll(objects);
  return result.ok ? result.warnings.map(({ message }) => message) : result.errors.map(({ message }) => `! ${message}`);
}

const rows: [name: string, text: string, ...expected: string[]][] = [
  ["a service that is there", policy("{targetRefs: [{kind: Service, name: web}]}")],
  ["our Gateway", policy(`{targetRef: {${GATEWAY_REF}, name: wp}}`)],
  [
    "a slip in a service's name",
    policy("{targetRefs: [{kind: Service, name: web}, {kind: Service, name: wbe}]}"),
    "! AuthorizationPolicy shop/p: spec.targetRefs[1].name: no service shop/wbe in the mesh documents: " +
    "the policy would protect nothing",
  ],
  [
    "a slip in a Gateway's name",
    policy(`{targetRef: {${GATEWAY_REF}, name: pw}}`),
    "! AuthorizationPolicy shop/p: spec.targetRef.name: no Gateway shop/pw in the local state: " +
    "the policy would protect nothing",
  ],
  [
    "a namespace that was forgotten",
    policy("{targetRefs: [{kind: Service, name: web}]}", "name: p"),
    "! AuthorizationPolicy default/p: spec.targetRefs[0].name: no service default/web in the mesh documents: " +
    `the policy would protect nothing${ASSUMED}`,
  ],
  [
    "a service without waypoint",
    policy("{targetRefs: [{kind: Service, name: far}]}", "name: p, namespace: other"),
    "AuthorizationPolicy other/p: spec.targetRefs[0].name: service other/far.other.svc.cluster.local has no waypoint: " +
    "it protects nothing",
  ],
  [
    "Telemetry of a Gateway that is not there",
    object("telemetry.istio.io/v1", "Telemetry", `{targetRefs: [{${GATEWAY_REF}, name: pw}]}`),
    "Telemetry shop/o: spec.targetRefs[0].name: no Gateway shop/pw in the local state: no effect",
  ],
  ["a selector that selects", policy("{selector: {matchLabels: {app: web}}, action: DENY}")],
  [
    "a selector that selects nothing",
    policy("{selector: {matchLabels: {app: wbe}}, action: DENY}"),
    "AuthorizationPolicy shop/p: spec.selector: matches no workload: it protects nothing",
  ],
  [
    "a selector in a namespace that was forgotten",
    policy("{selector: {matchLabels: {app: web}}, action: DENY}", "name: p"),
    `AuthorizationPolicy default/p: spec.selector: matches no workload: it protects nothing${ASSUMED}`,
  ],
  [
    "a selector for all namespaces",
    policy("{selector: {matchLabels: {app: web}}}", "name: p, namespace: istio-system"),
  ],
  ["all of the mesh", policy("{action: DENY}", "name: p, namespace: istio-system")],
  [
    "a namespace without workloads",
    policy("{action: DENY}", "name: p, namespace: spoh"),
    "AuthorizationPolicy spoh/p: metadata: no workload is in namespace spoh: it protects nothing",
  ],
  [
    "PeerAuthentication",
    object("security.istio.io/v1", "PeerAuthentication", "{selector: {matchLabels: {app: x}}, mtls: {mode: STRICT}}"),
    "PeerAuthentication shop/o: spec.selector: matches no workload: it protects nothing",
  ],
  [
    "principals as URIs never match",
    policy(
      "{targetRefs: [{kind: Service, name: web}], rules: [{from: [{source: {principals: ['spiffe://a/ns/b/sa/c']}}], " +
        "when: [{key: source.principal, notValues: ['spiffe://a/*']}]}]}",
    ),
    "! AuthorizationPolicy shop/p: spec.rules[0].from[0].source.principals[0]: " +
    "principals are written without spiffe://: a/ns/b/sa/c",
    "! AuthorizationPolicy shop/p: spec.rules[0].when[0].notValues[0]: principals are written without spiffe://: a/*",
  ],
  [
    "methods in lower case",
    policy("{targetRefs: [{kind: Service, name: web}], rules: [{to: [{operation: {methods: [POST, get]}}]}]}"),
    "AuthorizationPolicy shop/p: spec.rules[0].to[0].operation.methods[1]: " +
    "HTTP methods are case-sensitive: did you mean GET?",
  ],
];

test.each(rows)("%s", (_name, text, ...expected) => expect(told([text]).toSorted()).toEqual(expected.toSorted()));

describe("a waypoint's listener", () => {
  const listeners = (text: string) => {
    const gateway = GATEWAY.replace(/listeners: .*\]/, `listeners: [${text}]`);
    const result = parseLocalState([{ path: "a.yaml", text: `workloads: []\n---${gateway}` }], { waypoint: OPTIONS });
    return result.ok ? [] : result.errors.map(show);
  };
  const WANTED = "a waypoint has one listener: {name: mesh, port: 15008, protocol: HBONE}";
  const good = "{name: mesh, port: 15008, protocol: HBONE}";

  test.each<[listeners: string, ...expected: string[]]>([
    [good],
    ["", `a.yaml:6:53: Gateway shop/wp: spec.listeners: ${WANTED}`],
    [
      "{name: mesh, port: 15009, protocol: HBONE}",
      `a.yaml:6:73: Gateway shop/wp: spec.listeners[0].port: ${WANTED}, not port 15009`,
    ],
    [
      "{name: http, port: 15008, protocol: HTTP}",
      `a.yaml:6:90: Gateway shop/wp: spec.listeners[0].protocol: ${WANTED}, not HTTP`,
    ],
    [`${good}, {name: http, port: 80, protocol: HTTP}`, `a.yaml:6:98: Gateway shop/wp: spec.listeners[1]: ${WANTED}`],
  ])("%s", (text, ...expected) => expect(listeners(text)).toEqual(expected));

  test("Gateways of other classes have what listeners they like", () => {
    const ingress = object(
      "gateway.networking.k8s.io/v1",
      "Gateway",
      "{gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}]}",
    );
    expect(compileAll([ingress]).ok).toBe(true);
  });
});
