import { expect, test } from "bun:test";
import { type DocumentResult, reviveResult } from "../../src/config/local_document.ts";
import { parseLocalDocument } from "../../src/config/local_parse.ts";
import { newService, newWorkload } from "../../src/mesh/mod.ts";
import { newMatch } from "../../src/policy/mod.ts";

const FULL = `
workloads:
- uid: Kubernetes//Pod/shop/cart-1
  name: cart-1
  namespace: shop
  serviceAccount: cart
  trustDomain: cluster.local
  workloadIps: [10.0.0.1, "FD00:0::1"]
  waypoint: {destination: shop/waypoint.shop.svc.cluster.local, hboneMtlsPort: 15008}
  networkGateway: {destination: n2/192.0.2.1, hboneMtlsPort: 15009}
  protocol: HBONE
  networkMode: HostNetwork
  network: n1
  workloadName: cart
  workloadType: deployment
  canonicalName: cart
  canonicalRevision: v1
  hostname: cart-1.example
  node: node-a
  nativeTunnel: true
  applicationTunnel: {protocol: PROXY, port: 15088}
  authorizationPolicies: [shop/allow]
  status: Unhealthy
  clusterId: c1
  locality: {region: r, zone: z}
  capacity: 3
  services:
    shop/cart.shop.svc.cluster.local: {80: 8080, 443: 8443}
services:
- name: cart
  namespace: shop
  hostname: cart.shop.svc.cluster.local
  vips: [/10.96.0.1, "n1/fd00:96::1"]
  cidrVips: [/10.97.0.7/16]
  ports: {80: 8080}
  endpoints:
    Kubernetes//Pod/shop/cart-1: {workloadUid: Kubernetes//Pod/shop/cart-1, port: {80: 1}, status: Healthy}
  subjectAltNames: ["spiffe://cluster.local/ns/shop/sa/cart"]
  waypoint: {destination: /10.96.0.1, hboneMtlsPort: 15008}
  weightedWaypoints:
  - {destination: {destination: /10.96.0.1, hboneMtlsPort: 15008}, weight: 80}
  loadBalancer: {routingPreferences: [Network, Region], mode: Failover, healthPolicy: AllowAll}
  ipFamilies: Dual
  canonical: true
  visibility: Namespace
policies:
- name: allow
  namespace: shop
  scope: WorkloadSelector
  action: Allow
  dryRun: true
  rules:
  - - - namespaces: [{Exact: shop}, !Prefix ba, {Suffix: k}]
        notPrincipals: [{Presence: []}]
        sourceIps: [10.0.0.0/8]
        destinationPorts: [8080]
        serviceAccounts: [{namespace: shop, serviceAccount: cart}]
    - []
  - []
`;

const cart = "shop/cart.shop.svc.cluster.local";
const uid = "Kubernetes//Pod/shop/cart-1";

function document(result: DocumentResult) {
  if (!result.ok) throw new Error(JSON.stringify(result.errors));
  return result.document;
}

test("every field", () => {
  const { workloads, services, memberships, policies } = document(parseLocalDocument(FULL, "mesh.yaml"));
  expect(workloads).toEqual([{
    uid,
    name: "cart-1",
    namespace: "shop",
    serviceAccount: "cart",
    trustDomain: "cluster.local",
    addresses: ["10.0.0.1", "fd00::1"],
    waypoint: {
      destination: { kind: "hostname", namespace: "shop", hostname: "waypoint.shop.svc.cluster.local" },
      hboneMtlsPort: 15008,
    },
    networkGateway: { destination: { kind: "address", network: "n2", ip: "192.0.2.1" }, hboneMtlsPort: 15009 },
    protocol: "HBONE",
    networkMode: "HostNetwork",
    network: "n1",
    workloadName: "cart",
    workloadType: "deployment",
    canonicalName: "cart",
    canonicalRevision: "v1",
    hostname: "cart-1.example",
    node: "node-a",
    nativeTunnel: true,
    applicationTunnel: { protocol: "PROXY", port: 15088 },
    authorizationPolicies: ["shop/allow"],
    status: "Unhealthy",
    clusterId: "c1",
    locality: { region: "r", zone: "z", subzone: "" },
    capacity: 3,
    services: [],
  }]);
  const waypoint = { destination: { kind: "address", network: "", ip: "10.96.0.1" }, hboneMtlsPort: 15008 } as const;
  expect(services).toEqual([{
    name: "cart",
    namespace: "shop",
    hostname: "cart.shop.svc.cluster.local",
    vips: [{ network: "", ip: "10.96.0.1" }, { network: "n1", ip: "fd00:96::1" }],
    cidrVips: [{ network: "", cidr: "10.97.0.0/16" }],
    ports: [80, 8080],
    endpoints: new Map(),
    subjectAltNames: ["spiffe://cluster.local/ns/shop/sa/cart"],
    waypoint,
    weightedWaypoints: [{ destination: waypoint, weight: 80 }],
    loadBalancer: { routingPreferences: ["Network", "Region"], mode: "Failover", healthPolicy: "AllowAll" },
    ipFamilies: "Dual",
    canonical: true,
    visibility: "Namespace",
  }]);
  expect(memberships).toEqual([
    { service: cart, workloadUid: uid, endpoint: { ports: [80, 1], status: "Healthy" } },
    { service: cart, workloadUid: uid, endpoint: { ports: [80, 8080, 443, 8443], status: "Unhealthy" } },
  ]);
  expect(policies).toEqual([{
    name: "allow",
    namespace: "shop",
    scope: "WorkloadSelector",
    action: "Allow",
    dryRun: true,
    rules: [
      [[newMatch({
        namespaces: [{ kind: "exact", value: "shop" }, { kind: "prefix", value: "ba" }, {
          kind: "suffix",
          value: "k",
        }],
        notPrincipals: [{ kind: "presence" }],
        sourceIps: ["10.0.0.0/8"],
        destinationPorts: [8080],
        serviceAccounts: [{ namespace: "shop", serviceAccount: "cart" }],
      })], []],
      [],
    ],
  }]);
});

test("the result survives JSON, as it crosses from the child", () => {
  const result = parseLocalDocument(FULL, "mesh.yaml");
  expect(reviveResult(JSON.parse(JSON.stringify(result)))).toEqual(result);
});

test("defaults", () => {
  const text = `
workloads: [{namespace: shop, name: a, workloadIps: [], services: {}}]
services: [{name: s, namespace: shop, hostname: s, vips: [], ports: {}, loadBalancer: {}}]
`;
  const result = document(parseLocalDocument(text, "mesh.yaml"));
  expect(result.workloads).toEqual([newWorkload({ uid: "shop/a", name: "a", namespace: "shop" })]);
  expect(result.services).toEqual([newService({
    name: "s",
    namespace: "shop",
    hostname: "s",
    loadBalancer: { routingPreferences: [], mode: "Standard", healthPolicy: "OnlyHealthy" },
  })]);
  expect(result.policies).toEqual([]);
});

test("JSON is YAML", () => {
  expect(document(parseLocalDocument('{"workloads": [], "policies": []}', "mesh.json")).workloads).toEqual([]);
});

const workload = (more: string) => `workloads:\n- namespace: n\n  workloadIps: []\n  services: {}\n  ${more}`;
const service = (more: string) =>
  `services:\n- name: s\n  namespace: n\n  hostname: h\n  vips: []\n  ports: {}\n  ${more}`;
const policy = (match: string) =>
  `policies:\n- {name: p, namespace: n, scope: Global, action: Deny, dryRun: false, rules: [[[${match}]]]}`;

const bad: [text: string, ...at: string[]][] = [
  ["", 'the document is empty; an empty mesh is written as "workloads: []"'],
  ["# only a comment\n", 'the document is empty; an empty mesh is written as "workloads: []"'],
  ["[]", "1:1 expected object, got array"],
  ["workload: []", "1:1 workload: no such field here: did you mean workloads?"],
  ["workloads: 5", "1:12 workloads: expected array, got number"],
  ["workloads: []\nworkloads: []", "2:1 Map keys must be unique"],
  ["workloads: [", "1:13 Flow sequence in block collection must be sufficiently indented and end with a ]"],
  ["workloads: []\nx: !env HOME", "2:4 Unresolved tag: !env"],
  [
    "workloads:\n- {}",
    "2:3 workloads[0].workloadIps: required",
    "2:3 workloads[0].namespace: required",
    "2:3 workloads[0].services: required",
  ],
  [
    "workloads:\n- {namespace: n, workloadIps: [10.0.0.1, 10.0.0], services: {}}",
    '2:42 workloads[0].workloadIps[1]: not an IP address "10.0.0"',
  ],
  [workload("foo: 1"), "5:3 workloads[0].foo: no such field here"],
  [workload("protocol: hbone"), '5:13 workloads[0].protocol: expected TCP or HBONE, got "hbone"'],
  [workload("capacity: -1"), "5:13 workloads[0].capacity: must be at least 0"],
  [workload("capacity: 1.5"), "5:13 workloads[0].capacity: expected integer, got float"],
  [workload("nativeTunnel: yes"), "5:17 workloads[0].nativeTunnel: expected boolean, got string"],
  [
    workload("waypoint: {destination: x, hboneMtlsPort: 70000}"),
    '5:27 workloads[0].waypoint.destination: not a destination ("network/ip" or "namespace/hostname") "x"',
    "5:45 workloads[0].waypoint.hboneMtlsPort: must be at most 65535",
  ],
  [
    workload("authorizationPolicies: [p]"),
    '5:27 workloads[0].authorizationPolicies[0]: not a policy ("namespace/name") "p"',
  ],
  [workload("locality: {area: x}"), "5:14 workloads[0].locality.area: no such field here"],
  [
    "workloads:\n- namespace: n\n  workloadIps: []\n  services:\n    cart: {80: 80}\n    n/h: {0: 1, 80: 65536}",
    '5:11 workloads[0].services.cart: not a service ("namespace/hostname") "cart"',
    '6:14 workloads[0].services["n/h"]["0"]: not a port "0"',
    '6:21 workloads[0].services["n/h"]["80"]: must be at most 65535',
  ],
  [service("canonical: 1"), "7:14 services[0].canonical: expected boolean, got number"],
  [
    service("cidrVips: [10.0.0.0/8, /10.0.0.0/33]"),
    '7:14 services[0].cidrVips[0]: not a range in a network ("network/ip/length") "10.0.0.0/8"',
    '7:26 services[0].cidrVips[1]: not a range in a network ("network/ip/length") "/10.0.0.0/33"',
  ],
  [
    "services:\n- {name: s, namespace: n, hostname: h, vips: [10.0.0.1], ports: {}}",
    '2:47 services[0].vips[0]: not an address in a network ("network/ip") "10.0.0.1": write "/10.0.0.1"',
  ],
  [
    service("endpoints: {a: {workloadUid: b, port: {}}}"),
    "7:32 services[0].endpoints.a.workloadUid: b is not the key a that it stands under",
  ],
  [policy("{sourceIps: [10.0.0.0/33]}"), '2:94 policies[0].rules[0][0][0].sourceIps[0]: not a CIDR "10.0.0.0/33"'],
  [
    policy("{destinationPorts: [http]}"),
    "2:101 policies[0].rules[0][0][0].destinationPorts[0]: expected number, got string",
  ],
  [
    policy("{principals: [{Exact: a, Prefix: b}]}"),
    "2:106 policies[0].rules[0][0][0].principals[0].Prefix: no such field here",
  ],
  [
    policy("{principals: [{Exact: 1}, a]}"),
    "2:95 policies[0].rules[0][0][0].principals[0]: " +
    "expected one of Exact, Prefix, Suffix (with a text) and Presence (with [])",
    "2:107 policies[0].rules[0][0][0].principals[1]: " +
    "expected one of Exact, Prefix, Suffix (with a text) and Presence (with [])",
  ],
  [
    policy("{principal: []}"),
    "2:82 policies[0].rules[0][0][0].principal: no such field here: did you mean principals?",
  ],
  [
    "workloads:\n- {uid: u, namespace: n, workloadIps: [], services: {}}\n- {uid: u, namespace: m, workloadIps: [], services: {}}",
    "3:9 workloads[1].uid: workload u is already at workloads[0].uid",
  ],
  [
    "services:\n- &s {name: s, namespace: n, hostname: h, vips: [], ports: {}}\n- *s",
    "3:3 services[1].hostname: service n/h is already at services[0].hostname",
  ],
  [
    "policies:\n" + "- {name: p, namespace: n, scope: Global, action: Deny, dryRun: false, rules: []}\n".repeat(2),
    "3:10 policies[1].name: policy n/p is already at policies[0].name",
  ],
];
test.each(bad)("refused, row %#", (...[text, ...expected]) => {
  const result = parseLocalDocument(text, "mesh.yaml");
  if (result.ok) throw new Error("not refused");
  expect(
    result.errors.map(({ line, column, message }) => line === undefined ? message : `${line}:${column} ${message}`),
  )
    .toEqual(expected);
  expect(result.errors.every(({ path }) => path === "mesh.yaml")).toBe(true);
});

test("aliases that multiply are refused", () => {
  const lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"];
  for (let i = 1; i < 9; i++) lines.push(`a${i}: &a${i} [${Array(10).fill(`*a${i - 1}`).join()}]`);
  expect(parseLocalDocument(lines.join("\n"), "mesh.yaml").ok).toBe(false);
});

test("references that lead nowhere are doubts, not errors", () => {
  const text = `
workloads:
- namespace: n
  name: w
  protocol: HBONE
  workloadIps: [10.0.0.1]
  waypoint: {destination: /10.0.0.9, hboneMtlsPort: 15008}
  services: {n/gone: {80: 80}}
- {namespace: n, name: fine, workloadIps: [], services: {}, waypoint: {destination: /10.0.0.1, hboneMtlsPort: 1}}
services:
- name: s
  namespace: n
  hostname: h
  vips: []
  ports: {}
  subjectAltNames: [example.org]
  endpoints: {gone: {workloadUid: gone, port: {}}}
`;
  const result = parseLocalDocument(text, "mesh.yaml");
  expect(result.ok && result.warnings.map(({ line, column, message }) => `${line}:${column} ${message}`)).toEqual([
    "3:3 workloads[0]: spiffe:///ns/n/sa/ is no SPIFFE id: HBONE needs trustDomain and serviceAccount",
    '8:22 workloads[0].services["n/gone"]: no such service in the local state',
    "7:27 workloads[0].waypoint.destination: nothing in the local state is at /10.0.0.9",
    "17:21 services[0].endpoints.gone: no such workload in the local state",
    "16:21 services[0].subjectAltNames[0]: example.org is no SPIFFE id; ignored",
  ]);
});

test("addresses of two owners are doubts: one of them gets no traffic", () => {
  const text = `
workloads:
- {namespace: n, name: a, workloadIps: [10.0.0.1, 10.0.0.2], services: {}}
- {namespace: n, name: b, workloadIps: [10.0.0.3, 10.0.0.1], services: {}}
- {namespace: n, name: elsewhere, network: east, workloadIps: [10.0.0.1], services: {}}
- {namespace: n, name: host, networkMode: HostNetwork, workloadIps: [10.0.0.1], services: {}}
services:
- {name: s, namespace: n, hostname: s, vips: [/10.96.0.1, east/10.96.0.2], ports: {}}
- {name: t, namespace: n, hostname: t, vips: [/10.96.0.2, /10.96.0.1], ports: {}}
- {name: u, namespace: n, hostname: u, vips: [/10.0.0.1], ports: {}}
`;
  const result = parseLocalDocument(text, "mesh.yaml");
  expect(result.ok && result.warnings.map(({ line, column, message }) => `${line}:${column} ${message}`)).toEqual([
    "4:51 workloads[1].workloadIps[1]: 10.0.0.1 is an address of workload n/a as well: one of them gets its traffic",
    "9:59 services[1].vips[1]: 10.96.0.1 is a VIP of service n/s as well: one of them gets its traffic",
  ]);
});

test("a policy that is not in the file is an error: without it the workload would be open", () => {
  const text = `
workloads:
- {namespace: n, name: w, workloadIps: [10.0.0.1], services: {}, authorizationPolicies: [n/there, n/gone]}
policies:
- {namespace: n, name: there, scope: WorkloadSelector, action: Deny, rules: [], dryRun: false}
`;
  const result = parseLocalDocument(text, "mesh.yaml");
  expect(result.ok ? [] : result.errors.map(({ line, message }) => `${line} ${message}`)).toEqual([
    "3 workloads[0].authorizationPolicies[1]: no policy n/gone in the local state",
  ]);
});
