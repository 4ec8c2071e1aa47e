/** What may keep a ztunnel from its state: its own part of it, and never a waypoint's. */
import { describe, expect, test } from "bun:test";
import type { DocumentResult } from "../../src/config/local_document.ts";
import { parseLocalState } from "../../src/config/local_parse.ts";
import { GATEWAY, MESH, object, OPTIONS } from "../waypoint/local/fixture.ts";

const STRICT = object(
  "security.istio.io/v1",
  "PeerAuthentication",
  "{mtls: {mode: STRICT}}",
  "name: s, namespace: shop",
);
const RULES = 'rules: [{from: [{source: {principals: ["cluster.local/ns/shop/sa/web"]}}]}]';

function read(objects: readonly string[], waypoint: boolean): DocumentResult {
  const files = [
    { path: "a.yaml", text: [MESH, GATEWAY, STRICT].join("\n---\n") },
    ...(objects.length === 0 ? [] : [{ path: "b.yaml", text: objects.join("\n---\n") }]),
  ];
  return parseLocalState(files, waypoint ? { waypoint: OPTIONS } : {});
}

const policy = (spec: string) => object("security.istio.io/v1", "AuthorizationPolicy", spec);
const targeted = (more: string) => policy(`{targetRefs: [{kind: Service, name: web}], ${more}}`);

const waypoints: [what: string, objects: string[], place: string, message: string][] = [
  [
    "a kind of istiod's",
    [object("networking.istio.io/v1", "VirtualService", "{}")],
    "b.yaml:3",
    "VirtualService shop/o: only istiod can compile VirtualService",
  ],
  [
    "a kind that comes later",
    [object("security.istio.io/v1", "RequestAuthentication", "{}")],
    "b.yaml:3",
    "RequestAuthentication is not in this version",
  ],
  ["a kind of Kubernetes", ["apiVersion: v1\nkind: Service\nmetadata: {name: s}"], "b.yaml:2", "Service is not read"],
  ["an unknown kind", ["apiVersion: example.org/v1\nkind: Thing"], "b.yaml:2", "unknown kind Thing"],
  [
    "a bad route",
    [object("gateway.networking.k8s.io/v1", "HTTPRoute", "{rule: []}")],
    "b.yaml:5",
    "HTTPRoute shop/o: spec.rule: no such field here",
  ],
  [
    "a bad DestinationRule",
    [object("networking.istio.io/v1", "DestinationRule", "{host: 5}")],
    "b.yaml:5",
    "DestinationRule shop/o: spec.host: expected string, got number",
  ],
  [
    "a bad Telemetry",
    [object("telemetry.istio.io/v1", "Telemetry", "{tracing: []}")],
    "b.yaml:5",
    "tracing is not in this version",
  ],
  [
    "a bad Gateway",
    [object("gateway.networking.k8s.io/v1", "Gateway", "{}", "name: other, namespace: shop")],
    "b.yaml:5",
    "Gateway shop/other: spec.gatewayClassName: required",
  ],
  [
    "a second of a name",
    [1, 2].map(() => object("networking.istio.io/v1", "DestinationRule", "{host: web}")),
    "b.yaml:",
    "DestinationRule shop/o is already at",
  ],
  ["a bad policy with targets", [targeted("action: CUSTOM")], "b.yaml:5", "action CUSTOM"],
  [
    "a policy of a Gateway that is not there",
    [
      policy(`{targetRef: {group: gateway.networking.k8s.io, kind: Gateway, name: gone}, ${RULES}}`),
    ],
    "b.yaml:5",
    "no Gateway shop/gone",
  ],
];

describe("a waypoint's part: a warning with its place, and the rest holds", () => {
  test.each(waypoints)("%s", (_what, objects, place, message) => {
    const good = read([], false);
    const result = read(objects, false);
    if (!good.ok || !result.ok) throw new Error("refused");
    expect(result.document.policies).toEqual(good.document.policies);
    expect(result.document.workloads).toEqual(good.document.workloads);
    const told = result.warnings.filter((warning) => warning.message.includes("(the waypoint's part"));
    expect(told).toHaveLength(1);
    expect(`${told[0]?.path}:${told[0]?.line}`).toStartWith(place);
    expect(told[0]?.message).toContain(message);
  });

  test.each(waypoints)("%s: a waypoint refuses it", (_what, objects, _place, message) => {
    const result = read(objects, true);
    expect(result.ok ? [] : result.errors.map((error) => error.message).join("\n")).toContain(message);
  });
});

const ztunnels: [what: string, text: string, message: string][] = [
  ["a bad policy without targets", policy("{action: CUSTOM}"), "action CUSTOM"],
  ["one whose targets are empty", policy("{targetRefs: [], action: CUSTOM}"), "action CUSTOM"],
  ["one whose targets are none", policy("{targetRefs: web, action: DENY}"), "targetRefs"],
  [
    "one with selector and targets",
    policy(`{selector: {}, targetRefs: [{kind: Service, name: web}], ${RULES}}`),
    "not with selector",
  ],
  ["one without spec", policy("[]"), "spec"],
  ["a policy of an unknown group", object("security.example/v1", "AuthorizationPolicy", "{}"), "unknown kind"],
  ["a kind that may be a slip", object("security.istio.io/v1", "AuthorisationPolicy", "{}"), "unknown kind"],
  ["a bad PeerAuthentication", object("security.istio.io/v1", "PeerAuthentication", "{mtls: {mode: ON}}"), "expected"],
  ["a second PeerAuthentication of a name", STRICT, "PeerAuthentication shop/s is already at a.yaml"],
  ["an object without kind", "apiVersion: v1", "an object needs kind"],
  ["an object without apiVersion", "kind: HTTPRoute", "an object needs apiVersion"],
  ["a List of nothing", "apiVersion: v1\nkind: List", "a List needs items"],
  ["YAML that cannot be read", "kind: {", ""],
  ["a bad mesh document", "workloads: 5", "expected array"],
];

describe("a ztunnel's part refuses the state", () => {
  test.each(ztunnels)("%s", (_what, text, message) => {
    const result = read([text], false);
    expect(result.ok ? undefined : result.errors[0]?.message).toContain(message);
  });
});
