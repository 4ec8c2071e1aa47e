import { describe, expect, test } from "bun:test";
import { MeshState, type Service, serviceKey, type Workload, type WorkloadUpdate } from "../../src/mesh/mod.ts";
import { newMatch, type Policy } from "../../src/policy/mod.ts";
import { infoOf, pod, service } from "./fixtures.ts";

function member(workload: Workload, ...of: Service[]): WorkloadUpdate {
  return { workload, memberships: of.map((service) => ({ service: serviceKey(service), ports: [] })) };
}

const ALLOW_ALL = { mode: "Standard", routingPreferences: [], healthPolicy: "AllowAll" } as const;

function endpointsOf(state: MeshState, { namespace, hostname }: Service): string[] {
  return [...state.service(namespace, hostname)?.endpoints.keys() ?? []].sort();
}

function stagedFor(state: MeshState, of: Service): string[] | undefined {
  const waiting = state.stagedEndpoints.get(serviceKey(of));
  return waiting && [...waiting.keys()].sort();
}

const a = pod("a", "10.0.0.1");
const b = pod("b", "10.0.0.2");
const web = service("web", "10.96.0.1");
const api = service("api", "10.96.0.2");

describe("workloads", () => {
  test("come, change and go, and every batch says which", () => {
    const state = new MeshState("node-a");
    expect(state.apply({ workloads: [member(a)] }).workloads).toEqual([{ after: a }]);
    const moved = { ...a, addresses: ["10.0.0.9"], node: "node-b" };
    expect(state.apply({ workloads: [member(moved)] }).workloads).toEqual([{ before: a, after: moved }]);
    expect(state.workloadByUid(a.uid)).toBe(moved);
    expect(state.workloadByAddress("", "10.0.0.1")).toBeUndefined();
    expect(state.workloadByAddress("", "10.0.0.9")).toBe(moved);
    expect(state.localWorkload(infoOf(a))).toBeUndefined();
    expect(state.apply({ removed: [a.uid] }).workloads).toEqual([{ before: moved }]);
    expect([...state.workloads()]).toEqual([]);
    expect(state.workloadByAddress("", "10.0.0.9")).toBeUndefined();
  });

  test("of another node that change keep the texts by which they are found", () => {
    const state = new MeshState("node-b");
    const addresses = ["10.0.0.1", "fd00::1"];
    state.apply({ workloads: [member({ ...a, addresses })] });
    const after = { ...a, addresses: [...addresses], status: "Unhealthy" } as const;
    state.apply({ workloads: [member(after)] });
    for (const ip of addresses) expect(state.workloadByAddress("", ip)).toBe(after);
    expect(after).toEqual({ ...a, addresses, status: "Unhealthy" });
    // One list, with its texts: there may be a hundred thousand of them.
    expect(after.addresses).toBe(addresses);
  });

  test("of one address: the next best owns it once the best has gone", () => {
    const share = (uid: string, protocol: "TCP" | "HBONE") => pod(uid, "10.0.0.1", { uid, protocol });
    const entry = share("c/entry/x", "HBONE");
    const plain = share("c//Pod/shop/plain", "TCP");
    const first = share("c//Pod/shop/first", "HBONE");
    const last = share("c//Pod/shop/last", "HBONE");
    const state = new MeshState();
    state.apply({ workloads: [first, entry, plain, last].map((workload) => member(workload)) });
    const owner = () => state.workloadByAddress("", "10.0.0.1");
    for (const next of [last, first, plain, entry]) {
      expect(owner()).toBe(next);
      state.apply({ removed: [next.uid] });
    }
    expect(owner()).toBeUndefined();
  });

  test("that turn to the host's network give their address up, and take it again", () => {
    const state = new MeshState();
    state.apply({ workloads: [member(a)] });
    state.apply({ workloads: [member({ ...a, networkMode: "HostNetwork" })] });
    expect(state.workloadByAddress("", "10.0.0.1")).toBeUndefined();
    state.apply({ workloads: [member(a)] });
    expect(state.workloadByAddress("", "10.0.0.1")).toBe(a);
  });

  test("are found by hostname, the earliest first", () => {
    const named = (name: string) => pod(name, [], { hostname: "db.example" });
    const [one, two] = [named("one"), named("two")];
    const state = new MeshState();
    state.apply({ workloads: [member(one), member(two)] });
    expect(state.workloadByHostname("shop", "db.example")).toBe(one);
    expect(state.workloadByHostname("bank", "db.example")).toBeUndefined();
    state.apply({ removed: [one.uid] });
    expect(state.workloadByHostname("shop", "db.example")).toBe(two);
    state.apply({ removed: [two.uid] });
    expect(state.workloadByHostname("shop", "db.example")).toBeUndefined();
  });

  test("that change are in new services, and no longer in old ones", () => {
    const state = new MeshState();
    state.apply({ services: [web, api], workloads: [member(a, web)] });
    state.apply({ workloads: [member(a, api)] });
    expect([endpointsOf(state, web), endpointsOf(state, api)]).toEqual([[], [a.uid]]);
    expect(state.servicesOf(a).map(({ name }) => name)).toEqual(["api"]);
  });
});

describe("endpoints", () => {
  test("of a service that is not known are staged, and its own once it comes", () => {
    const state = new MeshState();
    state.apply({ workloads: [member(a, web), member(b, web)] });
    expect(stagedFor(state, web)).toEqual([a.uid, b.uid]);
    expect(state.servicesOf(a)).toEqual([]);
    state.apply({ services: [web] });
    expect(stagedFor(state, web)).toBeUndefined();
    expect(endpointsOf(state, web)).toEqual([a.uid, b.uid]);
    expect(state.servicesOf(a).map(({ name }) => name)).toEqual(["web"]);
  });

  test("staged ones go with their workload", () => {
    const state = new MeshState();
    state.apply({ workloads: [member(a, web), member(b, web)] });
    state.apply({ removed: [a.uid] });
    expect(stagedFor(state, web)).toEqual([b.uid]);
    state.apply({ removed: [b.uid] });
    expect(stagedFor(state, web)).toBeUndefined();
    state.apply({ services: [web] });
    expect(endpointsOf(state, web)).toEqual([]);
  });

  test("staged ones change with their workload", () => {
    const state = new MeshState();
    state.apply({ workloads: [member(a, web)] });
    state.apply({ workloads: [member(a, api)] });
    expect([stagedFor(state, web), stagedFor(state, api)]).toEqual([undefined, [a.uid]]);
  });

  test("wait again when their service goes: their workloads still name it", () => {
    const state = new MeshState();
    state.apply({ services: [web], workloads: [member(a, web)] });
    state.apply({ removed: [serviceKey(web)] });
    expect(stagedFor(state, web)).toEqual([a.uid]);
    expect(state.serviceByVip("", "10.96.0.1")).toBeUndefined();
    state.apply({ services: [web] });
    expect(endpointsOf(state, web)).toEqual([a.uid]);
  });

  test("stay when their service changes", () => {
    const state = new MeshState();
    state.apply({ services: [web], workloads: [member(a, web)] });
    state.apply({ services: [{ ...web, vips: [{ network: "", ip: "10.96.0.9" }] }] });
    expect(state.serviceByVip("", "10.96.0.1")).toBeUndefined();
    expect([...state.serviceByVip("", "10.96.0.9")!.endpoints.keys()]).toEqual([a.uid]);
  });

  const sick = pod("sick", "10.0.0.3", { status: "Unhealthy" });
  test("unhealthy ones are not stored, and come not back when the service allows all later", () => {
    const state = new MeshState();
    state.apply({ services: [web], workloads: [member(a, web), member(sick, web)] });
    expect(endpointsOf(state, web)).toEqual([a.uid]);
    state.apply({ services: [{ ...web, loadBalancer: ALLOW_ALL }] });
    expect(endpointsOf(state, web)).toEqual([a.uid]);
    state.apply({ workloads: [member(sick, web)] });
    expect(endpointsOf(state, web)).toEqual([a.uid, sick.uid]);
    state.apply({ services: [web] });
    expect(endpointsOf(state, web)).toEqual([a.uid]);
  });

  test("unhealthy ones that are staged count if the service that comes allows all", () => {
    const cases: [of: Service, endpoints: string[]][] = [[web, []], [{ ...web, loadBalancer: ALLOW_ALL }, [sick.uid]]];
    for (const [of, expected] of cases) {
      const state = new MeshState();
      state.apply({ workloads: [member(sick, web)] });
      state.apply({ services: [of] });
      expect(endpointsOf(state, web)).toEqual(expected);
    }
  });

  test("that turn unhealthy and healthy again leave and come back", () => {
    const state = new MeshState();
    state.apply({ services: [web], workloads: [member(a, web)] });
    const pool = state.endpointPool(state.service("shop", web.hostname)!);
    state.apply({ workloads: [member({ ...a, status: "Unhealthy" }, web)] });
    expect([endpointsOf(state, web), pool.size]).toEqual([[], 0]);
    state.apply({ workloads: [member(a, web)] });
    expect([endpointsOf(state, web), pool.size]).toEqual([[a.uid], 1]);
  });

  test("of one batch are applied together, to known and unknown services", () => {
    const state = new MeshState();
    const gone = pod("gone", "10.0.0.4");
    state.apply({ services: [web], workloads: [member(gone, web), member(a, web)] });
    const late = service("late", "10.96.0.3");
    state.apply({
      removed: [gone.uid],
      services: [api],
      workloads: [member({ ...a, capacity: 5 }, web, api), member(b, web, late)],
    });
    expect(endpointsOf(state, web)).toEqual([a.uid, b.uid]);
    expect(endpointsOf(state, api)).toEqual([a.uid]);
    expect(stagedFor(state, late)).toEqual([b.uid]);
    expect(state.servicesOf(b).map(({ name }) => name)).toEqual(["web"]);
  });

  test("a pool that was asked before follows, and chooses by the record of now", () => {
    const state = new MeshState();
    state.apply({ services: [web], workloads: [member(a, web)] });
    const pool = () => state.endpointPool(state.service("shop", web.hostname)!);
    const choose = () => pool().choose(b, 80, { random: () => 0 })?.workload;
    const before = pool();
    expect(choose()).toBe(a);
    const next = { ...a, canonicalRevision: "v2" };
    state.apply({ workloads: [member(next, web)] });
    expect(pool()).toBe(before);
    expect(choose()).toBe(next);
    state.apply({ removed: [a.uid] });
    expect(choose()).toBeUndefined();
  });

  test("listed in a file for a workload that comes later can be chosen then", () => {
    const endpoint = { ports: [], status: "Healthy" } as const;
    const state = MeshState.fromDocument({
      workloads: [],
      services: [web],
      policies: [],
      memberships: [{ service: serviceKey(web), workloadUid: a.uid, endpoint }],
    }, undefined);
    const pool = state.endpointPool(state.service("shop", web.hostname)!);
    expect(pool.size).toBe(0);
    state.apply({ workloads: [member(a)] });
    expect(pool.size).toBe(1);
    expect(state.servicesOf(a).map(({ name }) => name)).toEqual(["web"]);
  });
});

describe("removals", () => {
  test("by uid before a service of the same name, and names that nothing has are told", () => {
    const uid = serviceKey(web);
    const twin = pod("twin", "10.0.0.5", { uid });
    const state = new MeshState();
    state.apply({ services: [web], workloads: [member(twin)] });
    expect(state.apply({ removed: [uid, "nobody"] })).toMatchObject({
      unknownRemovals: ["nobody"],
      workloads: [{ before: twin }],
    });
    expect(state.service("shop", web.hostname)).toBeDefined();
    expect(state.apply({ removed: [uid] }).unknownRemovals).toEqual([]);
    expect(state.service("shop", web.hostname)).toBeUndefined();
    expect(state.apply({ removed: [uid] }).unknownRemovals).toEqual([uid]);
  });

  test("come before what the same batch inserts", () => {
    const state = new MeshState();
    state.apply({ workloads: [member(a)] });
    state.apply({ removed: [a.uid], workloads: [member(a)] });
    expect(state.workloadByUid(a.uid)).toBe(a);
  });

  test("of a service leave no name, VIP or range", () => {
    const state = new MeshState();
    state.apply({ services: [{ ...web, cidrVips: [{ network: "", cidr: "10.97.0.0/16" }] }] });
    expect(state.serviceByVip("", "10.97.1.1")?.name).toBe("web");
    state.apply({ removed: [serviceKey(web)] });
    expect(state.serviceByHostname(web.hostname)).toBeUndefined();
    expect(state.serviceByVip("", "10.96.0.1")).toBeUndefined();
    expect(state.serviceByVip("", "10.97.1.1")).toBeUndefined();
  });
});

test("a CIDR VIP that cannot be read throws before anything is changed", () => {
  const state = new MeshState();
  const bad = { ...api, cidrVips: [{ network: "", cidr: "10.0.0.0/33" }] };
  expect(() => state.apply({ workloads: [member(a)], services: [web, bad] })).toThrow(
    `service ${serviceKey(api)}: not a CIDR 10.0.0.0/33`,
  );
  expect([...state.workloads(), ...state.services()]).toEqual([]);
});

describe("policies", () => {
  const policy = (name: string, sourceIp = "10.0.0.0/8"): Policy => ({
    name,
    namespace: "shop",
    scope: "Namespace",
    action: "Deny",
    rules: [[[newMatch({ sourceIps: [sourceIp] })]]],
    dryRun: false,
  });

  test("come and go, and a batch says whether any did", () => {
    const state = new MeshState();
    expect(state.apply({ policies: [policy("p")] }).policiesChanged).toBe(true);
    expect(state.policiesFor(a).size).toBe(1);
    expect(state.apply({ workloads: [member(a)], removedPolicies: ["shop/q"] }).policiesChanged).toBe(false);
    expect(state.apply({ removedPolicies: ["shop/p"] }).policiesChanged).toBe(true);
    expect(state.policiesFor(a).size).toBe(0);
  });

  test("that cannot be read are refused, each by itself: its forerunner and the rest of the batch count", () => {
    const state = new MeshState();
    state.apply({ policies: [policy("p")] });
    const change = state.apply({ policies: [policy("p", "10.0.0.0/64"), policy("q")], workloads: [member(a)] });
    expect(change.rejectedPolicies.map(({ policy }) => policy)).toEqual(["shop/p"]);
    expect(change.rejectedPolicies[0]!.error).toContain("10.0.0.0/64");
    expect(state.policiesFor(a).size).toBe(2);
    expect(state.workloadByUid(a.uid)).toBe(a);
  });
});

test("expected identities are the same array for the same contents, whatever has been changed meanwhile", () => {
  const named = { ...web, subjectAltNames: ["spiffe://td/ns/x/sa/y"] };
  const state = new MeshState();
  state.apply({ services: [named], workloads: [member(a, named), member(b)] });
  const identities = () => {
    const of = state.workloadByUid(a.uid)!;
    return [state.expectedIdentities(of, undefined), state.expectedIdentities(of, state.service("shop", web.hostname))];
  };
  const before = identities();
  state.apply({ removed: [b.uid], services: [{ ...named, canonical: true }, api] });
  state.apply({ workloads: [member({ ...a, addresses: ["10.0.0.8"] }, named)] });
  const after = identities();
  expect(after[0]).toBe(before[0]!);
  expect(after[1]).toBe(before[1]!);
  state.apply({ workloads: [member({ ...a, serviceAccount: "other" }, named)] });
  expect(identities()[0]).toEqual(["spiffe://cluster.local/ns/shop/sa/other"]);
});

test("a hostname in several namespaces, as DNS asks: own, canonical, preferred, first; of those that count", () => {
  const state = new MeshState();
  const of = (namespace: string, more: Partial<Service> = {}) =>
    service("s", "10.96.0.1", { namespace, hostname: "s.example", ...more });
  state.apply({ services: [of("first"), of("second"), of("own"), of("chosen", { canonical: true })] });
  const ask = (client: string, namespace?: string, accepts?: (service: Service) => boolean) =>
    state.serviceByHostname("s.example", client, { namespace, ...(accepts && { accepts }) })?.namespace;
  expect(ask("own", "second")).toBe("own");
  expect(ask("elsewhere", "second")).toBe("chosen");
  expect(ask("own", "second", ({ namespace }) => namespace !== "own")).toBe("chosen");
  state.apply({ removed: ["chosen/s.example"] });
  expect(ask("elsewhere", "second")).toBe("second");
  expect(ask("elsewhere")).toBe("first");
});
