import { expect, test } from "bun:test";
import { newWorkload } from "../../src/mesh/mod.ts";
import { infoOf, mesh, pod, service } from "./fixtures.ts";

test("a workload is found by uid and by each of its addresses in its network", () => {
  const a = pod("a", ["10.0.0.1", "fd00::1"], { network: "n1" });
  const state = mesh({ workloads: [a] });
  expect(state.workloadByUid(a.uid)).toBe(a);
  expect(state.workloadByAddress("n1", "10.0.0.1")).toBe(a);
  expect(state.workloadByAddress("n1", "fd00::1")).toBe(a);
  expect(state.workloadByAddress("", "10.0.0.1")).toBeUndefined();
});

test("host network workloads own no address", () => {
  const state = mesh({ workloads: [pod("a", "10.0.0.1", { networkMode: "HostNetwork" })] });
  expect(state.workloadByAddress("", "10.0.0.1")).toBeUndefined();
});

const entry = (uid: string, protocol: "TCP" | "HBONE") =>
  newWorkload({ uid, name: uid, namespace: "shop", addresses: ["10.0.0.1"], protocol });
const podTcp = entry("c//Pod/shop/a", "TCP");
const podHbone = entry("c//Pod/shop/b", "HBONE");
const vmTcp = entry("c/entry/a", "TCP");
const vmHbone = entry("c/entry/b", "HBONE");
const secondPod = entry("c//Pod/shop/c", "HBONE");

const shared: [name: string, workloads: ReturnType<typeof entry>[], winner: ReturnType<typeof entry>][] = [
  ["a pod before an HBONE entry", [podTcp, vmHbone], podTcp],
  ["the same the other way round", [vmHbone, podTcp], podTcp],
  ["HBONE before TCP", [podHbone, podTcp], podHbone],
  ["an HBONE entry before a TCP entry", [vmHbone, vmTcp], vmHbone],
  ["of equals the last", [podHbone, secondPod], secondPod],
];
test.each(shared)("one address, several workloads: %s", (_name, workloads, winner) => {
  expect(mesh({ workloads }).workloadByAddress("", "10.0.0.1")).toBe(winner);
});

test("local workloads are those of our node, matched by name, namespace and service account", () => {
  const here = pod("a", "10.0.0.1");
  const there = pod("b", "10.0.0.2", { node: "node-b" });
  const state = mesh({ workloads: [here, there], nodeName: "node-a" });
  expect(state.localWorkload(infoOf(here))).toBe(here);
  expect(state.localWorkload(infoOf(there))).toBeUndefined();
  expect(state.localWorkload({ ...infoOf(here), serviceAccount: "other" })).toBeUndefined();
  expect(state.localWorkload({ ...infoOf(here), namespace: "bank" })).toBeUndefined();
});

test("without a node name every workload is local", () => {
  const there = pod("b", "10.0.0.2", { node: "node-b" });
  expect(mesh({ workloads: [there] }).localWorkload(infoOf(there))).toBe(there);
});

const shop = service("s", "10.96.0.1", { namespace: "shop", hostname: "s" });
const bank = service("s", "10.96.0.1", { namespace: "bank", hostname: "s" });
const canonical = service("s", "10.96.0.1", { namespace: "infra", hostname: "s", canonical: true });
const later = service("s", "10.96.0.1", { namespace: "later", hostname: "s", canonical: true });
const secret = service("s", "10.96.0.1", { namespace: "secret", hostname: "s", visibility: "Namespace" });

const precedence: [
  name: string,
  services: typeof shop[],
  client: string | undefined,
  found: typeof shop | undefined,
][] = [
  ["own namespace", [canonical, bank, shop], "shop", shop],
  ["canonical", [bank, canonical, shop], "elsewhere", canonical],
  ["the last canonical", [bank, canonical, later], "elsewhere", later],
  ["the first", [bank, shop], "elsewhere", bank],
  ["the first, nobody in particular", [bank, shop], undefined, bank],
  ["one for its namespace only, asked from outside", [secret], "shop", undefined],
  ["one for its namespace only, asked from inside", [secret], "secret", secret],
  ["one for its namespace only, nobody in particular", [secret], undefined, secret],
  ["visible ones only count", [secret, shop], "elsewhere", shop],
];
test.each(precedence)("services that share a name and a VIP: %s", (_name, services, client, found) => {
  const state = mesh({ services });
  expect(state.serviceByHostname("s", client)?.namespace).toBe(found?.namespace);
  expect(state.serviceByVip("", "10.96.0.1", client)?.namespace).toBe(found?.namespace);
});

const range = (namespace: string, cidr: string, more: Partial<typeof shop> = {}) =>
  service("r", "", { namespace, hostname: `${namespace}-${cidr}`, cidrVips: [{ network: "", cidr }], ...more });
const ranges: [name: string, services: typeof shop[], client: string, found: string | undefined][] = [
  ["inside", [range("a", "10.1.0.0/16")], "x", "a-10.1.0.0/16"],
  ["outside", [range("a", "10.2.0.0/16")], "x", undefined],
  ["longest prefix", [range("a", "10.1.2.0/24"), range("b", "10.1.0.0/16")], "x", "a-10.1.2.0/24"],
  ["own namespace before prefix", [range("a", "10.1.2.0/24"), range("b", "10.1.0.0/16")], "b", "b-10.1.0.0/16"],
  [
    "canonical among equals",
    [range("a", "10.1.0.0/16", { canonical: true }), range("b", "10.1.0.0/16")],
    "x",
    "a-10.1.0.0/16",
  ],
  ["the last of equals", [range("a", "10.1.0.0/16"), range("b", "10.1.0.0/16")], "x", "b-10.1.0.0/16"],
  ["everything", [range("a", "0.0.0.0/0")], "x", "a-0.0.0.0/0"],
  ["another family", [range("a", "::/0")], "x", undefined],
  [
    "exact VIP before range",
    [range("x", "10.1.2.0/24"), service("e", "10.1.2.3", { hostname: "exact" })],
    "x",
    "exact",
  ],
  [
    "an invisible exact VIP does not hide a range",
    [range("x", "10.1.2.0/24"), service("e", "10.1.2.3", { visibility: "Namespace" })],
    "x",
    "x-10.1.2.0/24",
  ],
  ["invisible range", [range("a", "10.1.0.0/16", { visibility: "Namespace" })], "x", undefined],
];
test.each(ranges)("VIP ranges: %s", (_name, services, client, found) => {
  expect(mesh({ services }).serviceByVip("", "10.1.2.3", client)?.hostname).toBe(found);
});

const sixes: [cidr: string, ip: string, found: boolean][] = [
  ["fd00::/8", "fdff::1", true],
  ["fd00::/8", "fe00::1", false],
  ["fd00:1:2:3::/64", "fd00:1:2:3:ffff::", true],
  ["fd00:1:2:3::/64", "fd00:1:2:4::", false],
  ["fd00:1:2:3::/65", "fd00:1:2:3:7fff::", true],
  ["fd00:1:2:3::/65", "fd00:1:2:3:8000::", false],
  ["fd00::10/127", "fd00::11", true],
  ["fd00::10/127", "fd00::12", false],
  ["::/0", "fd00::1", true],
  ["::/0", "no address", false],
];
test.each(sixes)("the range %s around %s: %p", (cidr, ip, found) => {
  const state = mesh({ services: [range("a", cidr)] });
  expect(state.serviceByVip("", ip, "x") !== undefined).toBe(found);
});

test("ranges whose hashes are equal are told apart, and go one by one", () => {
  const step = (word: number) => Math.imul(word ^ (word >>> 15), 0x2c1b3c6d);
  const [one, other] = [0x20010db8, 0x20010db9];
  const second = (step(one) ^ step(other) ^ 1) >>> 0;
  const cidrs = [
    "2001:db8:0:1::/64",
    `2001:db9:${(second >>> 16).toString(16)}:${(second & 0xffff).toString(16)}::/64`,
  ];
  const [first, last] = cidrs.map((cidr) => range("a", cidr));
  const state = mesh({ services: [first!, last!] });
  const found = () => cidrs.map((cidr) => state.serviceByVip("", cidr.replace("::/64", "::1"))?.hostname);
  expect(found()).toEqual([first!.hostname, last!.hostname]);
  state.apply({ removed: [`a/${last!.hostname}`] });
  expect(found()).toEqual([first!.hostname, undefined]);
});

test("endpoints: unhealthy ones only if the service allows all, those of unknown services are staged", () => {
  const a = pod("a", "10.0.0.1");
  const sick = pod("sick", "10.0.0.2", { status: "Unhealthy" });
  const strict = service("strict", "10.96.0.1");
  const lax = service("lax", "10.96.0.2", {
    loadBalancer: { routingPreferences: [], mode: "Standard", healthPolicy: "AllowAll" },
  });
  const unknown = service("unknown", "10.96.0.3");
  const members = [strict, lax, unknown].flatMap((of) => [{ of, workload: a }, { of, workload: sick }]);
  const state = mesh({ workloads: [a, sick], services: [strict, lax], members });
  const uids = (hostname: string) => [...state.serviceByHostname(hostname)!.endpoints.keys()];
  expect(uids(strict.hostname)).toEqual([a.uid]);
  expect(uids(lax.hostname)).toEqual([a.uid, sick.uid]);
  expect([...state.stagedEndpoints.keys()]).toEqual([`shop/${unknown.hostname}`]);
  expect(state.servicesOf(sick).map(({ name }) => name)).toEqual(["lax"]);
});

test("expected identities: the service's names that are SPIFFE ids, then the workload's; the same array each time", () => {
  const a = pod("a", "10.0.0.1");
  const plain = service("plain", "10.96.0.1");
  const named = service("named", "10.96.0.2", { subjectAltNames: ["dns.example", "spiffe://td/ns/x/sa/y"] });
  const state = mesh({ workloads: [a], services: [plain, named] });
  const own = "spiffe://cluster.local/ns/shop/sa/a";
  expect(state.expectedIdentities(a, undefined)).toEqual([own]);
  expect(state.expectedIdentities(a, plain)).toBe(state.expectedIdentities(a, undefined));
  expect(state.expectedIdentities(a, named)).toEqual(["spiffe://td/ns/x/sa/y", own]);
  expect(state.expectedIdentities(a, named)).toBe(state.expectedIdentities(a, named));
});
