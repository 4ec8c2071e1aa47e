import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { sortedJson } from "../../src/admin/sorted_json.ts";
import { buildInfo } from "../../src/cli/mod.ts";
import { dumpConfig, type ZtunnelConfig } from "../../src/config/mod.ts";
import type { CacheEntrySnapshot, CertificateCache } from "../../src/identity/mod.ts";
import { MeshState, newService, newWorkload, type Service, type WorkloadUpdate } from "../../src/mesh/mod.ts";
import { dumpCertificates, dumpMesh } from "../../src/process/mod.ts";
import { newMatch, type Policy } from "../../src/policy/mod.ts";
import { decodeAddress, decodeAuthorization, decodeDeltaResponse } from "../../src/xds/mod.ts";
import { settings } from "../config/fixtures.ts";

type Shape = { readonly [key: string]: unknown };

/** The dump of the original for the mesh of test/xds/captures/wds; texts of certificates are cut short. */
const ORIGINAL = JSON.parse(read("captures/ztunnel-config_dump.json").toString()) as
  & {
    readonly [key in "workloads" | "services" | "policies" | "certificates"]: readonly Shape[];
  }
  & { readonly [key in "config" | "version" | "stagedServices"]: Shape };

function read(path: string) {
  return readFileSync(join(import.meta.dir, path));
}

/** What a reader of the dump gets. */
function printed(dump: unknown): Record<string, unknown> {
  return JSON.parse([...sortedJson(dump)].join(""));
}

function resources(file: string): Uint8Array[] {
  const pushed = decodeDeltaResponse(read(`../xds/captures/wds/${file}`));
  if (!pushed.ok) throw new Error(pushed.error);
  const { resources } = pushed.response;
  return Array.from({ length: resources.length }, (_, i) => {
    const result = resources.at(i);
    if (!result.ok) throw new Error(result.error);
    return result.resource.value;
  });
}

/** The mesh of the capture. */
function capturedMesh(): MeshState {
  const mesh = new MeshState("node-a");
  const workloads: WorkloadUpdate[] = [];
  const services: Service[] = [];
  for (const bytes of resources("delta-001-Address.pb")) {
    const result = decodeAddress(bytes);
    if (!result.ok) throw new Error(result.error);
    if (result.address.kind === "workload") workloads.push(result.address.update);
    else services.push(result.address.service);
  }
  const policies = resources("delta-002-Authorization.pb").map((bytes): Policy => {
    const result = decodeAuthorization(bytes);
    if (!result.ok) throw new Error(result.error);
    return result.policy;
  });
  mesh.apply({ workloads, services, policies });
  return mesh;
}

/** Keys and kinds of values: what a reader written for one dump needs of another one. */
function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.length === 0 ? [] : [shapeOf(value[0])];
  if (value === null || typeof value !== "object") return value === null ? "null" : typeof value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, shapeOf(inner)]));
}

describe("the dump of a mesh, beside the original's of the same mesh", () => {
  const dump = printed(dumpMesh(capturedMesh()));
  for (const key of ["services", "policies", "stagedServices"] as const) {
    test(key, () => void expect(dump[key]).toEqual(ORIGINAL[key]));
  }
  test("workloads, whose services the original has in no order", () => {
    const ordered = (workloads: readonly Shape[]) =>
      workloads.map((workload) => ({
        ...workload,
        services: (workload["services"] as string[] | undefined)?.toSorted(),
      }));
    expect(ordered(dump["workloads"] as Shape[])).toEqual(ordered(ORIGINAL.workloads));
  });
});

test("fields that the captured mesh has no example of", () => {
  const mesh = new MeshState();
  const gateway = {
    destination: { kind: "address", network: "far", ip: "10.9.0.1" },
    hboneMtlsPort: 15009,
  } as const;
  const workload = newWorkload({
    uid: "c//Pod/ns/vm",
    name: "vm",
    namespace: "ns",
    network: "far",
    networkGateway: gateway,
    nativeTunnel: true,
    applicationTunnel: { protocol: "PROXY", port: 15088 },
    status: "Unhealthy",
  });
  const service = newService({
    name: "range",
    namespace: "ns",
    hostname: "range.ns.svc",
    cidrVips: [{ network: "", cidr: "10.1.0.0/16" }],
    ports: [80, 8080],
  });
  const addresses = { sourceIps: ["10.0.0.0/8"], destinationIps: ["::/0"], notDestinationIps: ["10.0.0.1/32"] };
  const accounts = { notServiceAccounts: [{ namespace: "ns", serviceAccount: "sa" }], notDestinationPorts: [80] };
  const match = newMatch({ ...addresses, ...accounts });
  const policy = { name: "p", namespace: "ns", scope: "Namespace", action: "Deny", dryRun: true } as const;
  mesh.apply({
    workloads: [{ workload, memberships: [] }],
    services: [service],
    policies: [{ ...policy, rules: [[[match]]] }],
  });
  const dump = printed(dumpMesh(mesh));
  expect(dump["workloads"]).toMatchObject([{
    network: "far",
    networkGateway: { destination: "far/10.9.0.1", hboneMtlsPort: 15009 },
    nativeTunnel: true,
    applicationTunnel: { protocol: "PROXY", port: 15088 },
    status: "Unhealthy",
  }]);
  expect(dump["services"]).toMatchObject([{ cidrVips: ["/10.1.0.0/16"], endpoints: {} }]);
  expect(dump["policies"]).toEqual([{ ...policy, rules: [[[{ ...addresses, ...accounts }]]] }]);
  expect(dump["stagedServices"]).toEqual({});
});

test("endpoints of services that are not there yet", () => {
  const mesh = new MeshState();
  const workload = newWorkload({ uid: "c//Pod/ns/w", namespace: "ns" });
  mesh.apply({ workloads: [{ workload, memberships: [{ service: "ns/later.ns.svc", ports: [80, 8080] }] }] });
  expect(printed(dumpMesh(mesh))["stagedServices"]).toEqual({
    "ns/later.ns.svc": { "c//Pod/ns/w": { workloadUid: "c//Pod/ns/w", port: { "80": 8080 }, status: "Healthy" } },
  });
});

/** Keys that we have and the original does not, and the other way round. */
function difference(ours: object, theirs: object): { ours: string[]; theirs: string[] } {
  const [left, right] = [new Set(Object.keys(ours)), new Set(Object.keys(theirs))];
  return { ours: [...left.difference(right)], theirs: [...right.difference(left)] };
}

test("what is pushed while a dump is written is in it once", () => {
  const mesh = new MeshState();
  const workload = (revision: number): WorkloadUpdate => ({
    workload: newWorkload({ uid: "Kubernetes//Pod/shop/w", name: `w${revision}` }),
    memberships: [],
  });
  const service = (revision: number) => newService({ name: `s${revision}`, namespace: "shop", hostname: "s.shop" });
  const policy = (revision: number): Policy => {
    const scope = revision % 2 === 0 ? "Global" : "Namespace";
    return { namespace: "shop", name: "p", scope, action: "Deny", rules: [], dryRun: false };
  };
  const rest = Array.from({ length: 6_000 }, (_, n) => n);
  mesh.apply({ workloads: [workload(0)], services: [service(0)], policies: [policy(0)] });
  mesh.apply({
    workloads: rest.map((n) => ({ workload: newWorkload({ uid: `Kubernetes//Pod/shop/r${n}` }), memberships: [] })),
    services: rest.map((n) => newService({ namespace: "shop", hostname: `r${n}.shop` })),
    policies: rest.map((n): Policy => ({ ...policy(0), name: `r${n}` })),
  });
  let text = "";
  let revision = 0;
  for (const piece of sortedJson(dumpMesh(mesh))) {
    text += piece;
    revision++;
    mesh.apply({ workloads: [workload(revision)], services: [service(revision)] });
    mesh.apply({ removedPolicies: ["shop/p"] });
    mesh.apply({ policies: [policy(revision)] });
  }
  expect(revision).toBeGreaterThan(10);
  const dump = JSON.parse(text) as Record<string, Shape[]>;
  for (const [key, name] of [["workloads", "w"], ["services", "s"], ["policies", "p"]] as const) {
    expect(dump[key]).toHaveLength(rest.length + 1);
    expect(dump[key]!.filter((item) => new RegExp(`^${name}[0-9]*$`).test(String(item["name"])))).toHaveLength(1);
  }
});

test("settings: the original's keys, each with a value of the same kind, and our own", () => {
  const istiod = "https://istiod.istio-system.svc:15012";
  const config: ZtunnelConfig = {
    ...settings({
      NODE_NAME: "node-a",
      POD_NAME: "ztunnel-a",
      POD_NAMESPACE: "istio-system",
      SERVICE_ACCOUNT: "ztunnel",
      XDS_ROOT_CA: "./root.pem",
      CA_ROOT_CA: "./root.pem",
      ISTIO_META_CLUSTER_ID: "Kubernetes",
      ISTIO_META_DNS_CAPTURE: "true",
    }, { machine: { exists: () => true } }),
    xdsAddress: istiod,
    authority: { kind: "remote", address: istiod },
    altXdsHostname: "istiod",
    altCaHostname: "istiod",
  };
  const resolver = { nameservers: ["10.0.0.53"], search: [], ndots: 1, timeoutMs: 5000, attempts: 2, problems: [] };
  const dump = printed(dumpConfig(config, resolver));
  expect(difference(dump, ORIGINAL.config)).toEqual({
    ours: ["embeddedCaDirectory", "endpointEjection", "idleTimeout", "localXdsPath", "upgradeSocket"],
    theirs: [],
  });
  for (const [key, value] of Object.entries(ORIGINAL.config)) {
    if (key === "dnsResolverOpts") expect(shapeOf(value)).toMatchObject(shapeOf(dump[key]) as object);
    else expect([key, shapeOf(dump[key])]).toEqual([key, shapeOf(value)]);
  }
});

test("version: the runtime's instead of Rust's", () => {
  expect(difference(buildInfo({}), ORIGINAL.version)).toEqual({ ours: ["bunVersion"], theirs: ["rustVersion"] });
});

test("certificates: sorted, PEM as base64, times in whole seconds, and why there is none", () => {
  const certificate = {
    pem: "-----BEGIN CERTIFICATE-----\n",
    serialNumber: "280853787486873220007457554370463760175",
    notBefore: Date.parse("2026-11-21T08:34:22.9Z"),
    notAfter: Date.parse("2026-11-22T08:36:22Z"),
  };
  const entries: readonly CacheEntrySnapshot[] = [
    { identity: "spiffe://z", state: "unavailable", error: "did not find expected SAN: spiffe://z" },
    {
      identity: "spiffe://a",
      state: "available",
      certificate: { certificates: [certificate], roots: [certificate] },
    } as unknown as CacheEntrySnapshot,
    { identity: "spiffe://b", state: "initializing" },
  ];
  const cache = { snapshot: () => [...entries] } as unknown as CertificateCache;
  const dump = printed({ certificates: dumpCertificates(cache) })["certificates"] as Shape[];
  expect(dump.map(({ identity, state }) => [identity, state])).toEqual([
    ["spiffe://a", "Available"],
    ["spiffe://b", "Initializing"],
    ["spiffe://z", "Unavailable: did not find expected SAN: spiffe://z"],
  ]);
  expect(shapeOf(dump[0])).toEqual(shapeOf(ORIGINAL.certificates[0]));
  const [shown] = dump[0]?.["certChain"] as Shape[];
  expect(shown).toEqual({
    pem: "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==",
    serialNumber: "280853787486873220007457554370463760175",
    validFrom: "2026-11-21T08:34:22Z",
    expirationTime: "2026-11-22T08:36:22Z",
  });
  expect(dump[1]?.["certChain"]).toEqual([]);
});

/**
 * The longest step of a dump, ms, and its length. Steps are the same each time: the least of three runs is what a step
 * takes of itself, without what else the machine does.
 */
function longestStep(dump: () => unknown): { step: number; characters: number } {
  const steps: number[] = [];
  let characters = 0;
  for (let round = 0; round < 3; round++) {
    Bun.gc(true); // what came before is no part of this
    const pieces = sortedJson(dump());
    characters = 0;
    for (let n = 0;; n++) {
      const began = performance.now();
      const { done, value } = pieces.next();
      if (done) break;
      const took = performance.now() - began;
      steps[n] = Math.min(steps[n] ?? Infinity, took);
      characters += value.length;
    }
  }
  return { step: Math.max(...steps), characters };
}

test("a dump of 100 000 workloads is made in steps that leave the event loop to others", () => {
  const mesh = new MeshState();
  for (let start = 0; start < 100_000; start += 1000) {
    const workloads = Array.from({ length: 1000 }, (_, n) => {
      const number = (start + n) * 7919 % 100_000;
      const workload = newWorkload({
        uid: `Kubernetes//Pod/ns-${number % 100}/pod-${number}`,
        name: `pod-${number}`,
        namespace: `ns-${number % 100}`,
        addresses: [`10.${number >> 16}.${(number >> 8) & 255}.${number & 255}`],
      });
      return { workload, memberships: number % 10 === 0 ? [{ service: "ns/huge.ns.svc", ports: [80, 80] }] : [] };
    });
    mesh.apply({ workloads });
  }
  mesh.apply({ services: [newService({ name: "huge", namespace: "ns", hostname: "huge.ns.svc" })] });
  const { step, characters } = longestStep(() => dumpMesh(mesh));
  expect(characters).toBeGreaterThan(40_000_000);
  expect(step).toBeLessThan(12);
}, 30_000);
