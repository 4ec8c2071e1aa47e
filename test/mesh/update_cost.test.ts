import { expect, test } from "bun:test";
import { MeshState, type Service, serviceKey, type WorkloadUpdate } from "../../src/mesh/mod.ts";
import { pod, service } from "./fixtures.ts";

/** A cost that grew with the mesh would be up to a hundredfold; caches of the processor alone make some twofold of it. */
const MOST = 30;
const SMALL = 200;
const LARGE = 20_000;
const LOAD_BALANCER = {
  mode: "Failover",
  routingPreferences: ["Network", "Region"],
  healthPolicy: "OnlyHealthy",
} as const;
const PLACES = Array.from({ length: 4 }, (_, i) => pod("source", "10.200.0.1", { node: `node-${i}` }));

function member(index: number, revision: number, services: readonly Service[]): WorkloadUpdate {
  const workload = pod(`w${index}`, `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`, {
    canonicalRevision: String(revision),
  });
  return { workload, memberships: [{ service: serviceKey(services[index % services.length]!), ports: [] }] };
}

/** Fastest of some rounds of updates of one workload each, with a choice after each that finds the endpoint pools. */
function updateCost(workloads: number, services: readonly Service[]): number {
  const state = new MeshState();
  state.apply({ services, workloads: Array.from({ length: workloads }, (_, i) => member(i, 0, services)) });
  const choose = (index: number) => {
    const { namespace, hostname } = services[index % services.length]!;
    const pool = state.endpointPool(state.service(namespace, hostname)!);
    for (const place of PLACES) pool.choose(place, 80, { random: () => 0.5 });
  };
  for (let i = 0; i < services.length; i++) choose(i);
  const prepared = Array.from({ length: 2_000 }, (_, i) => member(Math.imul(i, 7919) % workloads, i + 1, services));
  let fastest = Infinity;
  for (let round = 0; round < 8; round++) {
    const started = Bun.nanoseconds();
    for (const [i, update] of prepared.entries()) {
      state.apply({ workloads: [update] });
      if (i % 10 === 0) choose(Math.imul(i, 7919) % workloads);
    }
    fastest = Math.min(fastest, Bun.nanoseconds() - started);
  }
  return fastest;
}

function manyServices(count: number): Service[] {
  return Array.from({ length: count }, (_, i) => service(`s${i}`, `10.96.${i >> 8}.${i & 255}`));
}

test("an update of one workload costs the same in a mesh a hundred times as large", () => {
  updateCost(SMALL, manyServices(20)); // warms up
  expect(updateCost(LARGE, manyServices(2_000))).toBeLessThan(MOST * updateCost(SMALL, manyServices(20)));
});

test("an update of one endpoint costs the same in a service with a hundred times as many", () => {
  const one = [service("s", "10.96.0.1", { loadBalancer: LOAD_BALANCER })];
  updateCost(SMALL, one);
  expect(updateCost(LARGE, one)).toBeLessThan(MOST * updateCost(SMALL, one));
});

test("a look-up among thousands of ranges costs little more than among some", () => {
  const cost = (ranges: number) => {
    const state = new MeshState();
    state.apply({
      services: Array.from({ length: ranges }, (_, i) => ({
        ...service(`s${i}`, ""),
        cidrVips: [{ network: "", cidr: `10.${i >> 8}.${i & 255}.0/${24 - i % 4}` }],
      })),
    });
    let fastest = Infinity;
    for (let round = 0; round < 8; round++) {
      const started = Bun.nanoseconds();
      for (let i = 0; i < 5_000; i++) state.serviceByVip("", `10.${(i % ranges) >> 8}.${i & 255}.7`, "shop");
      fastest = Math.min(fastest, Bun.nanoseconds() - started);
    }
    return fastest;
  };
  cost(50);
  expect(cost(5_000)).toBeLessThan(MOST * cost(50));
});

test("workloads of one address cost in proportion to their number", () => {
  const cost = (count: number) => {
    const updates = Array.from({ length: count }, (_, i) => ({ workload: pod(`w${i}`, "10.0.0.1"), memberships: [] }));
    let fastest = Infinity;
    for (let round = 0; round < 6; round++) {
      const state = new MeshState();
      const started = Bun.nanoseconds();
      state.apply({ workloads: updates });
      state.apply({ removed: updates.map(({ workload }) => workload.uid).reverse() });
      fastest = Math.min(fastest, Bun.nanoseconds() - started);
      expect(state.workloadByAddress("", "10.0.0.1")).toBeUndefined();
    }
    return fastest;
  };
  // Sixteen times as many: 256 times as long if each were held against all others.
  expect(cost(24_000)).toBeLessThan(110 * cost(1_500));
});
