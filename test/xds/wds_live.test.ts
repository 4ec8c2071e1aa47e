/** Later pushes over one stream: a pod and a policy came, a label of a Service went, and all was undone. */
import { describe, expect, test } from "bun:test";
import { parseIdentity } from "../../src/identity/spiffe.ts";
import type { MeshState, Service, Workload } from "../../src/mesh/mod.ts";
import { authorize } from "../../src/policy/mod.ts";
import { applyPush, LATER, loadMesh, responseOf } from "./captures.ts";
import { dumpOf } from "./dump.ts";

const LIVE = "Kubernetes//Pod/shop/live-1";
const [POD_CAME, POLICY_CAME, LABEL_WENT, UNDONE, POLICY_WENT] = LATER;

/** The mesh after the first pushes and the later ones up to the named one, and what that one changed. */
function after(last: typeof LATER[number]) {
  const mesh = loadMesh("wds-live");
  for (const name of LATER) {
    const change = applyPush(mesh, responseOf(`wds-live/${name}`));
    if (name === last) return { mesh, change };
  }
  throw new Error(`no push ${last}`);
}

function service(mesh: MeshState, name: string): Service {
  return mesh.service("shop", `${name}.shop.svc.cluster.local`)!;
}

function pod(mesh: MeshState, name: string): Workload {
  return mesh.workloadByUid(`Kubernetes//Pod/shop/${name}`)!;
}

/** What the policies of web-1 say to teller and to client. */
function verdicts(mesh: MeshState): string[] {
  return ["bank/sa/teller", "shop/sa/client"].map((account) => {
    const verdict = authorize(mesh.policiesFor(pod(mesh, "web-1")), {
      sourceIp: "10.244.0.22",
      destinationIp: "10.244.0.11",
      destinationPort: 8080,
      identity: parseIdentity(`spiffe://cluster.local/ns/${account}`),
    });
    return verdict.allowed ? "allowed" : verdict.rejection;
  });
}

describe("later pushes", () => {
  test("both streams begin with the same mesh", () => {
    expect(dumpOf(loadMesh("wds-live"))).toEqual(dumpOf(loadMesh("wds")));
  });

  test("a pod comes, and is behind the services that select it", () => {
    const before = loadMesh("wds-live");
    const { mesh, change } = after(POD_CAME);
    expect(change.unknownRemovals).toEqual([]);
    expect(change.workloads.filter((one) => one.before === undefined).map((one) => one.after?.uid)).toEqual([LIVE]);
    const live = mesh.workloadByUid(LIVE)!;
    expect(mesh.workloadByAddress("", "10.244.0.77")).toBe(live);
    expect(mesh.localWorkload({ name: "live-1", namespace: "shop", serviceAccount: "livesa" })).toBe(live);
    for (const name of ["web", "plain", "udp"]) {
      const keys = [...service(before, name).endpoints.keys()];
      expect([...service(mesh, name).endpoints.keys()].sort()).toEqual([...keys, LIVE].sort());
    }
    // Its container has no port of the name `http`, which port 80 of udp asks for.
    expect(service(mesh, "udp").endpoints.get(LIVE)?.ports).toEqual([53, 53]);
    expect(service(mesh, "udp").endpoints.get(pod(mesh, "web-1").uid)?.ports).toEqual([53, 53, 80, 8080]);
    const choice = { random: () => 0.99 };
    for (let i = 0; i < 20; i++) {
      const found = mesh.endpointPool(service(mesh, "udp")).choose(pod(mesh, "client-1"), 80, choice);
      expect(found?.workload.uid).not.toBe(LIVE);
    }
    expect(service(mesh, "reviews").endpoints.size).toBe(3);
    expect(mesh.servicesOf(live).map(({ name }) => name).sort()).toEqual(["plain", "udp", "web"]);
    // Not ready still.
    expect(mesh.servicesOf(pod(mesh, "web-notready"))).toEqual([]);
  });

  test("workloads name the policy before it is there; once it is, it denies", () => {
    const { mesh } = after(POD_CAME);
    for (const name of ["web-1", "web-2", "web-notready", "live-1"]) {
      expect(mesh.policiesFor(pod(mesh, name)).missing).toEqual(["shop/live-deny"]);
    }
    expect(mesh.policiesFor(pod(mesh, "client-1")).missing).toEqual([]);
    expect(verdicts(mesh)).toEqual(["allowed", "allowed"]);

    const { mesh: later, change } = after(POLICY_CAME);
    expect(change).toMatchObject({ policiesChanged: true, rejectedPolicies: [], workloads: [] });
    expect(later.policiesFor(pod(later, "web-1")).missing).toEqual([]);
    expect(verdicts(later)).toEqual(["explicitly denied by: shop/live-deny", "allowed"]);
  });

  test("a service loses its waypoint and keeps its endpoints", () => {
    const { mesh: before } = after(POLICY_CAME);
    expect(service(before, "reviews").waypoint).toBeDefined();
    const { mesh, change } = after(LABEL_WENT);
    expect(service(mesh, "reviews").waypoint).toBeUndefined();
    expect(service(mesh, "web").waypoint).toBeDefined();
    expect(change.policiesChanged).toBe(false);
    const endpoints = (of: MeshState, name: string) => [...service(of, name).endpoints.keys()].sort();
    for (const name of ["reviews", "local", "localonly"]) {
      expect(endpoints(mesh, name)).toEqual(endpoints(before, name));
    }
    // The pool of the new record is as good.
    const found = mesh.endpointPool(service(mesh, "reviews")).choose(pod(mesh, "client-1"), 80, { random: () => 0 });
    expect(found?.workload.serviceAccount).toBe("reviews");
  });

  test("the pod goes, by its name alone, and nothing of it is left", () => {
    const { mesh, change } = after(UNDONE);
    expect(change.unknownRemovals).toEqual([]);
    expect(change.workloads.filter((one) => one.after === undefined).map((one) => one.before?.uid)).toEqual([LIVE]);
    expect(mesh.workloadByUid(LIVE)).toBeUndefined();
    expect(mesh.workloadByAddress("", "10.244.0.77")).toBeUndefined();
    for (const of of mesh.services()) expect(of.endpoints.has(LIVE)).toBe(false);
    expect(mesh.stagedEndpoints.size).toBe(0);
    expect(service(mesh, "reviews").waypoint).toBeDefined();
    // The policy is there for a moment more; nobody names it.
    expect(verdicts(mesh)).toEqual(["allowed", "allowed"]);
  });

  test("with the policy gone, all is as it was at first", () => {
    const { mesh, change } = after(POLICY_WENT);
    expect(change.policiesChanged).toBe(true);
    expect(dumpOf(mesh)).toEqual(dumpOf(loadMesh("wds-live")));
    const services = (of: MeshState) =>
      [...of.workloads()].map((one) => [one.uid, of.servicesOf(one).map(({ name }) => name).sort()]);
    expect(new Map(services(mesh) as [string, string[]][])).toEqual(
      new Map(services(loadMesh("wds-live")) as [string, string[]][]),
    );
  });

  test("removing once more what is gone says so and does nothing", () => {
    const { mesh } = after(POLICY_WENT);
    expect(mesh.apply({ removed: [LIVE], removedPolicies: ["shop/live-deny"] })).toMatchObject({
      unknownRemovals: [LIVE],
      policiesChanged: false,
      workloads: [],
    });
    expect(dumpOf(mesh)).toEqual(dumpOf(loadMesh("wds-live")));
  });
});
