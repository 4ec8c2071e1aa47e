/** Records that come when a connection asks for them (XDS_ON_DEMAND). */
import { expect, test } from "bun:test";
import { MeshState } from "../../src/mesh/mod.ts";
import { Demand } from "../../src/ztunnel/demand.ts";
import { MeshSource } from "../../src/ztunnel/mesh_source.ts";
import { pod, service } from "../mesh/fixtures.ts";

function setUp() {
  const mesh = new MeshSource(new MeshState());
  const asked = new Map<string, () => void>();
  const demand = new Demand(mesh, (name) => new Promise((resolve) => void asked.set(name, resolve)));
  return { mesh, demand, asked };
}

const NONE = new Set<string>();
const look = (mesh: MeshState) => mesh.serviceByVip("", "10.1.0.1") ?? mesh.workloadByAddress("", "10.1.0.1");

test("what a read asks for and is not there is named once; what is there is not", () => {
  const { demand, mesh } = setUp();
  expect(demand.read(look, NONE).missing).toEqual(["/10.1.0.1"]);
  mesh.apply({ workloads: [{ workload: pod("w", "10.1.0.1"), memberships: [] }] });
  // The service that was asked for first is not there, but the address is known.
  expect(demand.read(look, NONE)).toMatchObject({ value: { name: "w" }, missing: [] });
  expect(demand.read((state) => state.service("ns", "a.b"), NONE).missing).toEqual(["ns/a.b"]);
  mesh.apply({ services: [service("a", "", { namespace: "ns", hostname: "a.b" })] });
  expect(demand.read((state) => state.service("ns", "a.b"), NONE).missing).toEqual([]);
});

test("a fetch ends when all its names are answered; each is asked for once, whoever waits", async () => {
  const { demand, asked } = setUp();
  const done: string[] = [];
  demand.fetch(["/10.0.0.1", "/10.0.0.2"], () => done.push("both"));
  demand.fetch(["/10.0.0.1"], () => done.push("one"));
  expect([...asked.keys()]).toEqual(["/10.0.0.1", "/10.0.0.2"]);
  asked.get("/10.0.0.1")?.();
  await Promise.resolve();
  expect(done).toEqual(["one"]);
  asked.get("/10.0.0.2")?.();
  await Promise.resolve();
  expect(done).toEqual(["one", "both"]);
});

test("one whose own work fails keeps nobody else waiting", async () => {
  const { demand, asked } = setUp();
  let done = 0;
  // With a code, as an error of the system has: one without is also given to the process as the bug that it is.
  demand.fetch(["/10.0.0.1"], () => {
    throw Object.assign(new Error("no"), { code: "EBUG" });
  });
  demand.fetch(["/10.0.0.1"], () => done++);
  asked.get("/10.0.0.1")?.();
  await Promise.resolve();
  expect(done).toBe(1);
});

test("a name that nobody has is asked for once by one decision, and again by the next", async () => {
  const { demand, asked } = setUp();
  const { missing } = demand.read(look, NONE);
  const answered = new Promise<void>((resolve) => demand.fetch(missing, resolve));
  asked.get("/10.1.0.1")?.();
  await answered;
  expect(demand.read(look, new Set(missing))).toEqual({ value: undefined, missing: [] });
  expect(demand.read(look, NONE).missing).toEqual(["/10.1.0.1"]);
});
