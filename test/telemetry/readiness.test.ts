import { expect, test } from "bun:test";
import { Readiness } from "../../src/telemetry/mod.ts";

test("ready when every task is, and not again until a task that was taken back is", () => {
  const readiness = new Readiness();
  const proxy = readiness.task("workload proxy manager");
  const state = readiness.task("state manager");
  expect(readiness.pending).toEqual(["state manager", "workload proxy manager"]);
  expect(readiness.ready).toBe(false);
  state.ready();
  proxy.ready();
  expect(readiness.ready).toBe(true);
  proxy.pending();
  expect(readiness.pending).toEqual(["workload proxy manager"]);
  proxy.ready();
  proxy.ready();
  expect(readiness.ready).toBe(true);
});
