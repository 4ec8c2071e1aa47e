/** Whose certificates a node lets go of (spec/ztunnel.md §3.5). */
import { expect, test } from "bun:test";
import type { Workload } from "../../src/mesh/mod.ts";
import { leavesIdentity } from "../../src/ztunnel/local_certificates.ts";
import { pod } from "../mesh/fixtures.ts";

const web = (changes: Partial<Workload> = {}): Workload => ({
  ...pod("web-0", "10.0.0.1"),
  node: "node-a",
  serviceAccount: "web",
  ...changes,
});

test("of a workload that goes, becomes somebody else or moves to another node", () => {
  const before = web();
  expect(leavesIdentity({ before }, "node-a")).toBe(true);
  for (const change of [{ serviceAccount: "other" }, { trustDomain: "other.example" }, { node: "node-b" }]) {
    expect(leavesIdentity({ before, after: web(change) }, "node-a")).toBe(true);
  }
});

test("not of one that stays who and where it is, nor of others'", () => {
  expect(leavesIdentity({ before: web(), after: web({ workloadName: "web" }) }, "node-a")).toBe(false);
  expect(leavesIdentity({ after: web() }, "node-a")).toBe(false);
  expect(leavesIdentity({ before: web({ node: "node-b" }) }, "node-a")).toBe(false);
  expect(leavesIdentity({ before: web(), after: web({ node: "node-b" }) }, undefined)).toBe(false);
});
