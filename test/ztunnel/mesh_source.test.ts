import { expect, test } from "bun:test";
import { MeshState, type Workload } from "../../src/mesh/mod.ts";
import { MeshSource, type Moved } from "../../src/ztunnel/mesh_source.ts";
import { infoOf, mesh, pod } from "../mesh/fixtures.ts";

const web = pod("web", "10.0.0.1");
const db = pod("db", ["10.0.0.2", "fd00::2"]);
const IPS = ["10.0.0.1", "10.0.0.2", "fd00::2", "10.0.0.3"];

/** Which addresses each change moved. */
function moves(source: MeshSource): string[][] {
  const seen: string[][] = [];
  source.subscribe((_, moved: Moved | undefined) => void seen.push(moved === undefined ? [] : IPS.filter(moved)));
  return seen;
}

const put = (workload: Workload) => ({ workload, memberships: [] });

test("a push tells which addresses have another owner, and only those", () => {
  const source = new MeshSource(new MeshState());
  const seen = moves(source);
  source.apply({ workloads: [put(web), put(db)] });
  source.apply({ workloads: [put({ ...web, canonicalName: "web" })] });
  source.apply({ workloads: [put({ ...db, addresses: ["10.0.0.2", "10.0.0.3"] })] });
  source.apply({ removed: [web.uid] });
  expect(seen).toEqual([[], [], ["fd00::2"], ["10.0.0.1"]]);
});

test("another mesh tells the same of what it replaces", () => {
  const source = new MeshSource(mesh({ workloads: [web, db] }));
  const seen = moves(source);
  source.replace(mesh({ workloads: [web, db] }), "");
  source.replace(mesh({ workloads: [web, { ...pod("other", "10.0.0.2") }] }), "");
  expect(seen).toEqual([[], ["10.0.0.2", "fd00::2"]]);
});

test("who waits for a record of its own hears of it with the push that brings it", () => {
  const source = new MeshSource(new MeshState());
  const found: (Workload | undefined)[] = [];
  source.localWorkload(infoOf(web), (record) => found.push(record));
  source.apply({ workloads: [put(db)] });
  expect(found).toEqual([]);
  source.apply({ workloads: [put(web)] });
  source.apply({ workloads: [put(web)] });
  expect(found).toEqual([web]);
});

test("a listener that has left hears nothing more", () => {
  const source = new MeshSource(new MeshState());
  let heard = 0;
  const leave = source.subscribe(() => heard++);
  source.apply({});
  leave();
  source.apply({});
  expect(heard).toBe(1);
});

test("one who fails keeps nobody from hearing, and the change is in force", () => {
  const source = new MeshSource(new MeshState());
  // With a code, as an error of the system has: one without is also given to the process as the bug that it is.
  const fail = () => {
    throw Object.assign(new Error("no"), { code: "EBUG" });
  };
  let heard = 0;
  source.localWorkload(infoOf(web), fail);
  source.localWorkload(infoOf(web), () => heard++);
  source.subscribe(fail);
  source.subscribe(() => heard++);
  expect(source.apply({ workloads: [put(web)] }).workloads).toHaveLength(1);
  expect(heard).toBe(2);
});
