import { expect, test } from "bun:test";
import { type Candidate, EndpointPool, rankEndpoint } from "../../src/mesh/load_balancing.ts";
import type { LoadBalancer, RoutingScope, Workload } from "../../src/mesh/mod.ts";
import { pod, service } from "./fixtures.ts";
import { seeded } from "./random_mesh.ts";

const source = pod("source", "10.0.0.1", {
  network: "n1",
  clusterId: "c1",
  locality: { region: "r1", zone: "z1", subzone: "s1" },
});

/** An endpoint whose place is given by what it shares with the source. */
function at(name: string, shares: RoutingScope[], given: Partial<Workload> = {}): Workload {
  const has = (scope: RoutingScope) => shares.includes(scope);
  return pod(name, `10.0.1.${name.length}`, {
    network: has("Network") ? "n1" : "n2",
    clusterId: has("Cluster") ? "c1" : "c2",
    node: has("Node") ? "node-a" : "node-b",
    locality: {
      region: has("Region") ? "r1" : "r2",
      zone: has("Zone") ? "z1" : "z2",
      subzone: has("Subzone") ? "s1" : "s2",
    },
    ...given,
  });
}

const localities: RoutingScope[] = ["Region", "Zone", "Subzone"];
const ranks: [preferences: RoutingScope[], shares: RoutingScope[], rank: number, complete: boolean][] = [
  [[], [], 0, true],
  [localities, [], 0, false],
  [localities, ["Region"], 1, false],
  [localities, ["Region", "Subzone"], 1, false],
  [localities, ["Zone", "Subzone"], 0, false],
  [localities, localities, 3, true],
  [["Node"], ["Node"], 1, true],
  [["Cluster"], ["Cluster"], 1, true],
  [["Network", "Region", "Zone"], ["Network"], 2, false],
  [["Network", "Region", "Zone"], ["Network", "Region"], 3, false],
  [["Network", "Region", "Zone"], ["Network", "Region", "Zone"], 4, true],
  [["Network", "Region", "Zone"], ["Region"], 1, false],
  [["Network", "Region", "Zone"], ["Region", "Zone"], 2, false],
  [["Region", "Network"], ["Network"], 0, false],
];
test.each(ranks)("rank for %j of an endpoint that shares %j", (preferences, shares, rank, complete) => {
  expect(rankEndpoint(preferences, source, at("e", shares))).toEqual({ rank, complete });
});

function balancer(mode: LoadBalancer["mode"], routingPreferences: RoutingScope[]): LoadBalancer {
  return { mode, routingPreferences, healthPolicy: "OnlyHealthy" };
}

/** Names of the workloads chosen for evenly spread random numbers, each once, in order. */
function chosen(pool: EndpointPool, port = 80, draws = 1000, from = source): string[] {
  const names = new Set<string>();
  for (let i = 0; i < draws; i++) {
    const found = pool.choose(from, port, { random: () => (i + 0.5) / draws });
    if (found !== undefined) names.add(found.workload.name);
  }
  return [...names].sort();
}

function pool(workloads: Workload[], loadBalancer?: LoadBalancer, ports: Record<string, number[]> = {}): EndpointPool {
  const candidates: Candidate[] = workloads.map((workload) => ({ workload, ports: ports[workload.name] ?? [] }));
  return new EndpointPool(service("s", "10.96.0.1", { loadBalancer, ports: [80, 8080, 81, 0] }), candidates);
}

const here = at("here", ["Network", "Region", "Zone"]);
const near = at("near", ["Network", "Region"]);
const nearToo = at("nearToo", ["Network", "Region"]);
const far = at("far", ["Network"]);

const modes: [name: string, of: EndpointPool, names: string[]][] = [
  ["no balancer: all", pool([here, near, far]), ["far", "here", "near"]],
  ["Standard ignores preferences", pool([here, far], balancer("Standard", ["Region"])), ["far", "here"]],
  ["Failover: the closest", pool([far, here, near], balancer("Failover", ["Region", "Zone"])), ["here"]],
  ["Failover: all of the closest", pool([far, near, nearToo], balancer("Failover", ["Region", "Zone"])), [
    "near",
    "nearToo",
  ]],
  ["Failover: far if there is nothing closer", pool([far], balancer("Failover", ["Region", "Zone"])), ["far"]],
  ["Strict: full matches", pool([far, near, here], balancer("Strict", ["Region", "Zone"])), ["here"]],
  ["Strict: none", pool([far, near], balancer("Strict", ["Region", "Zone"])), []],
];
test.each(modes)("%s", (_name, of, names) => {
  expect(chosen(of)).toEqual(names);
});

test("a port that the service does not list has no endpoint", () => {
  expect(pool([here]).choose(source, 82, { random: Math.random })).toBeUndefined();
});

test("a port without a target needs one of the endpoint's own", () => {
  expect(chosen(pool([here, near], undefined, { near: [81, 9090] }), 81)).toEqual(["near"]);
});

test("an endpoint without address and hostname is for other networks, through a gateway", () => {
  const gateway = {
    destination: { kind: "address", network: "n2", ip: "1.1.1.1" } as const,
    hboneMtlsPort: 15008,
  };
  const bare = at("bare", [], { addresses: [] });
  const gated = at("gated", [], { addresses: [], networkGateway: gateway });
  const named = at("named", ["Network"], { addresses: [], hostname: "example.org" });
  const ours = at("ours", ["Network"], { addresses: [], networkGateway: gateway });
  expect(chosen(pool([bare, gated, named, ours]))).toEqual(["gated", "named"]);
  // What cannot be used must not outrank what can.
  expect(chosen(pool([ours, here], balancer("Failover", ["Network"])))).toEqual(["here"]);
});

test("capacity weighs, zero is never chosen", () => {
  const weighted = pool([
    at("zero", [], { capacity: 0 }),
    at("one", [], { capacity: 1 }),
    at("three", [], { capacity: 3 }),
    at("last", [], { capacity: 0 }),
  ]);
  const counts = new Map<string, number>();
  for (let i = 0; i < 4000; i++) {
    const name = weighted.choose(source, 80, { random: () => i / 4000 })!.workload.name;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  expect(Object.fromEntries(counts)).toEqual({ one: 1000, three: 3000 });
});

test("only zero capacities: none", () => {
  expect(pool([at("a", [], { capacity: 0 })]).choose(source, 80, { random: () => 0 })).toBeUndefined();
});

test("equal capacities: evenly", () => {
  const counts = new Map<string, number>();
  const even = pool([here, near, far]);
  for (let i = 0; i < 3000; i++) {
    const name = even.choose(source, 80, { random: () => i / 3000 })!.workload.name;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  expect(Object.fromEntries(counts)).toEqual({ here: 1000, near: 1000, far: 1000 });
});

/** Chosen names when workloads of these names failed lately. */
function chosenAvoiding(names: string[], of: EndpointPool, port = 80): string[] {
  const found = new Set<string>();
  const avoid = ({ name }: Workload) => names.includes(name);
  for (let i = 0; i < 500; i++) {
    const candidate = of.choose(source, port, { random: () => (i + 0.5) / 500, avoid });
    found.add(candidate?.workload.name ?? "none");
  }
  return [...found].sort();
}

const placed = [here, near, nearToo, far];
const avoided: [name: string, of: EndpointPool, avoid: string[], names: string[]][] = [
  ["nobody", pool([here, near]), [], ["here", "near"]],
  ["one", pool([here, near, far]), ["near"], ["far", "here"]],
  ["all but one", pool([here, near, far]), ["near", "here"], ["far"]],
  ["never all", pool([here, near]), ["near", "here"], ["here", "near"]],
  ["the only one", pool([here]), ["here"], ["here"]],
  ["for one of no weight: no", pool([here, at("zero", [], { capacity: 0 })]), ["here"], ["here"]],
  ["among weights", pool([here, at("three", [], { capacity: 3 }), near]), ["three"], ["here", "near"]],
  ["Failover: another of the same rank", pool([near, nearToo, far], balancer("Failover", ["Region"])), ["near"], [
    "nearToo",
  ]],
  ["Failover: the next rank", pool(placed, balancer("Failover", ["Region", "Zone"])), ["here"], ["near", "nearToo"]],
  ["Failover: the last rank", pool(placed, balancer("Failover", ["Region", "Zone"])), ["here", "near", "nearToo"], [
    "far",
  ]],
  ["Failover: never all", pool([here, far], balancer("Failover", ["Region"])), ["here", "far"], ["here"]],
  ["Failover: over an empty rank", pool([here, far], balancer("Failover", ["Region", "Zone"])), ["here"], ["far"]],
  ["Strict: no lower rank", pool([here, near], balancer("Strict", ["Region", "Zone"])), ["here"], ["here"]],
  [
    "a better rank without weight is no rank to leave",
    pool([at("zero", ["Region"], { capacity: 0 }), far], balancer("Failover", ["Region"])),
    ["far"],
    ["none"],
  ],
];
test.each(avoided)("passed over: %s", (_name, of, avoid, names) => {
  expect(chosenAvoiding(avoid, of)).toEqual(names);
});

test("those that are not avoided keep their proportions", () => {
  const of = pool([at("one", []), at("three", [], { capacity: 3 }), at("bad", [], { capacity: 4 })]);
  const counts: Record<string, number> = {};
  const random = seeded(1);
  for (let i = 0; i < 8_000; i++) {
    const { name } = of.choose(source, 80, { random, avoid: ({ name }) => name === "bad" })!.workload;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  expect(Object.keys(counts).sort()).toEqual(["one", "three"]);
  expect(counts["three"]! / counts["one"]!).toBeCloseTo(3, 0);
});

const tunnel = { protocol: "NONE", port: 15088 } as const;
test("a waypoint's port need not be listed, if the instance has an application tunnel", () => {
  const of = pool([here, at("tunnelled", [], { applicationTunnel: tunnel })]);
  const choose = (mode: "Standard" | "Waypoint") => of.choose(source, 15008, { random: () => 0 }, mode)?.workload.name;
  expect(choose("Waypoint")).toBe("tunnelled");
  expect(choose("Standard")).toBeUndefined();
});

test("a port without target: a waypoint's application tunnel takes the port itself, nothing else does", () => {
  const named = service("way", "10.96.0.9", { ports: [15008, 0] });
  const candidates = [here, at("tunnelled", [], { applicationTunnel: tunnel })];
  const of = new EndpointPool(named, candidates.map((workload) => ({ workload, ports: [] })));
  const choose = (mode: "Standard" | "Waypoint") => of.choose(source, 15008, { random: () => 0 }, mode)?.workload.name;
  expect([choose("Standard"), choose("Waypoint"), choose("Standard")]).toEqual([undefined, "tunnelled", undefined]);
});

test("a pool follows changes in all the views that were asked for", () => {
  const of = pool([far], balancer("Failover", ["Region", "Zone"]), { near: [81, 9090] });
  expect([chosen(of), chosen(of, 81)]).toEqual([["far"], []]);
  of.put({ workload: here, ports: [] });
  of.put({ workload: near, ports: [81, 9090] });
  expect([of.size, chosen(of), chosen(of, 81)]).toEqual([3, ["here"], ["near"]]);
  of.put({ workload: { ...here, capacity: 0 }, ports: [] });
  expect([of.size, chosen(of)]).toEqual([3, []]);
  of.remove(here.uid);
  of.remove(here.uid);
  expect([of.size, chosen(of), chosen(of, 81)]).toEqual([2, ["near"], ["near"]]);
  of.remove(near.uid);
  expect([of.size, chosen(of), chosen(of, 81)]).toEqual([1, ["far"], []]);
});

test("clients of ever new places leave no views behind that are wrong", () => {
  const of = pool([here, near, far], balancer("Failover", ["Region", "Node"]));
  for (let i = 0; i < 100; i++) of.choose({ ...source, node: `node-${i}` }, 80, { random: () => 0 });
  of.remove(here.uid);
  for (let i = 0; i < 100; i++) {
    expect(chosen(of, 80, 10, { ...source, node: `node-${i}` })).toEqual(["near"]);
  }
});

test("an empty service has no endpoint", () => {
  expect(pool([]).choose(source, 80, { random: Math.random })).toBeUndefined();
});
