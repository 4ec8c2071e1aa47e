import { expect, test } from "bun:test";
import { HostnameResolver, type LookupAnswer } from "../../src/dns/mod.ts";
import { MetricRegistry, registerHeldMetrics } from "../../src/telemetry/mod.ts";
import type { DataPlane } from "../../src/ztunnel/data_plane.ts";
import { WorkloadContext } from "../../src/ztunnel/workload_context.ts";

/** A pod whose names are answered when the test says so. */
function lab() {
  const { promise, resolve } = Promise.withResolvers<LookupAnswer>();
  const plane = {
    hostnames: new HostnameResolver({ ipv6: false, lookup: () => promise }),
    held: registerHeldMetrics(new MetricRegistry()),
    config: { idleTimeout: undefined },
  } as unknown as DataPlane;
  const context = new WorkloadContext(plane, { name: "w", namespace: "n", serviceAccount: "s" }, undefined, undefined);
  const heard: unknown[] = [];
  const connection = { abort: () => void heard.push("aborted") };
  const fail = (error: string) => {
    throw new Error(error);
  };
  const ask = () => context.address(connection, "db.example", "IPv4", (result) => heard.push(result), fail);
  const answer = async () => {
    resolve({ exists: true, addresses: [{ ip: "192.0.2.1", ttl: 60 }] });
    // Once another asker has heard, so has the one before it.
    await new Promise((done) => plane.hostnames.resolve("db.example", "IPv4", done));
  };
  return { context, heard, ask, answer };
}

test("a connection that waits for a name goes on with its address", async () => {
  const { heard, ask, answer } = lab();
  ask();
  await answer();
  expect(heard).toEqual([{ ip: "192.0.2.1" }]);
});

test("one whose pod goes meanwhile is aborted at once and never goes on", async () => {
  const { context, heard, ask, answer } = lab();
  ask();
  context.close();
  expect(heard).toEqual(["aborted"]);
  await answer();
  expect(heard).toEqual(["aborted"]);
});
