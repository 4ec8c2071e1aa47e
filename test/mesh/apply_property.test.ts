import { expect, test } from "bun:test";
import { type Endpoint, MeshState, type Service, serviceKey } from "../../src/mesh/mod.ts";
import { pod } from "./fixtures.ts";
import { Account, HOSTNAMES, IPS, NAMESPACES, NETWORKS, RandomMesh } from "./random_mesh.ts";

const SEQUENCES = 60;
const BATCHES = 25;

/** Of those who ask for endpoints. */
const SOURCES = ["r1", "r2"].flatMap((region) =>
  NETWORKS.map((network) => pod("source", "10.9.9.9", { network, locality: { region, zone: "", subzone: "" } }))
);

/** Of a node with workloads of its own, and of one that has none: their records take each other's places in other ways. */
const NODES = ["node-a", "elsewhere"];

function fromScratch(account: Account, node: string): MeshState {
  const memberships = [...account.endpoints].flatMap(([service, members]) =>
    [...members].map(([workloadUid, endpoint]) => ({ service, workloadUid, endpoint }))
  );
  return MeshState.fromDocument({
    workloads: [...account.workloads.values()],
    services: [...account.services.values()],
    policies: [...account.policies.values()],
    memberships,
  }, node);
}

function endpointsOf(endpoints: ReadonlyMap<string, Endpoint>): [string, Endpoint][] {
  return [...endpoints].sort(([a], [b]) => a < b ? -1 : 1);
}

/** Who can be chosen for a connection, and how often of 24 times. */
function chosen(state: MeshState, service: Service, port: number): unknown {
  return SOURCES.map((source) => {
    const counts: Record<string, number> = {};
    for (let i = 0; i < 24; i++) {
      const found = state.endpointPool(service).choose(source, port, { random: () => (i + 0.5) / 24 });
      const name = found === undefined ? "none" : `${found.workload.uid}:${found.ports}`;
      counts[name] = (counts[name] ?? 0) + 1;
    }
    return counts;
  });
}

/** Everything that can be asked of a mesh, as plain data. */
function answers(state: MeshState): unknown {
  const clients = [undefined, ...NAMESPACES, "elsewhere"];
  const services = [...state.services()];
  const workloads = [...state.workloads()].sort((a, b) => a.uid < b.uid ? -1 : 1);
  const keyOf = (service: Service | undefined) => service && serviceKey(service);
  return {
    workloads,
    services: services.map((service) => ({ ...service, endpoints: endpointsOf(service.endpoints) })),
    byAddress: NETWORKS.map((network) => IPS.map((ip) => state.workloadByAddress(network, ip))),
    byWorkloadHostname: NAMESPACES.map((ns) => HOSTNAMES.map((name) => state.workloadByHostname(ns, name))),
    byVip: clients.map((client) =>
      NETWORKS.map((network) => IPS.map((ip) => keyOf(state.serviceByVip(network, ip, client))))
    ),
    byHostname: clients.map((client) => HOSTNAMES.map((name) => keyOf(state.serviceByHostname(name, client)))),
    preferred: HOSTNAMES.map((name) => keyOf(state.serviceByHostname(name, "elsewhere", { namespace: "bank" }))),
    local: [...state.localWorkloads()].sort((a, b) => a.uid < b.uid ? -1 : 1),
    localByInfo: workloads.map((workload) => state.localWorkload(workload)),
    staged: [...state.stagedEndpoints].map(([key, members]) => [key, endpointsOf(members)]).sort(),
    servicesOf: workloads.map((workload) => state.servicesOf(workload).map(serviceKey).sort()),
    identities: workloads.map((workload) =>
      [undefined, ...services].map((service) => state.expectedIdentities(workload, service))
    ),
    policies: workloads.map((workload) => {
      const set = state.policiesFor(workload);
      return [set.size, [...set.missing].sort()];
    }),
    chosen: services.map((service) => [chosen(state, service, 80), chosen(state, service, 81)]),
    poolSizes: services.map((service) => state.endpointPool(service).size),
  };
}

test("a mesh that was changed batch by batch answers as one made from what is left", () => {
  let overlaps = 0;
  let stagedOnes = 0;
  for (let seed = 1; seed <= SEQUENCES; seed++) {
    const random = new RandomMesh(seed);
    const node = NODES[seed % NODES.length]!;
    const account = new Account();
    const state = new MeshState(node);
    for (let batch = 0; batch < BATCHES; batch++) {
      const update = random.update();
      // The mesh may make equal texts of its records one, so that the account must have records of its own.
      const change = state.apply(structuredClone(update));
      const { unknownRemovals, workloads } = account.apply(update);
      expect(change.unknownRemovals).toEqual(unknownRemovals);
      expect(change.workloads).toEqual(workloads);
      const expected = fromScratch(account, node);
      try {
        // Asked after every batch: caches and pools must have followed the ones before.
        expect(answers(state)).toEqual(answers(expected));
      } catch (error) {
        throw new Error(`seed ${seed}, batch ${batch}`, { cause: error });
      }
      stagedOnes += state.stagedEndpoints.size;
      const addresses = [...state.workloads()].flatMap((workload) => workload.addresses);
      overlaps += addresses.length - new Set(addresses).size;
    }
  }
  // It was crowded enough to mean something.
  expect(overlaps).toBeGreaterThan(1_000);
  expect(stagedOnes).toBeGreaterThan(1_000);
});
