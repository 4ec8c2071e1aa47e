import { expect, test } from "bun:test";
import { exposition, MetricRegistry } from "../../../src/telemetry/mod.ts";
import { registerDryRunMetrics } from "../../../src/waypoint/telemetry/mod.ts";
import { parseExposition } from "../../telemetry/exposition.ts";

test("verdicts of dry runs by action, policy and result; policies beyond the bound together", () => {
  const registry = new MetricRegistry();
  const counts = registerDryRunMetrics(registry);
  counts.count("deny", "ns[shop]-policy[p]-rule[0]", "denied");
  counts.count("deny", "ns[shop]-policy[p]-rule[0]", "denied");
  counts.count("allow", "none", "denied");
  for (let n = 0; n < 2500; n++) counts.count("allow", `p${n}`, "allowed");
  const samples = parseExposition([...exposition(registry)].join("")).get("ambient_authorization_dry_run")?.samples ??
    [];
  expect(samples.slice(0, 2).map(({ labels, value }) => [...labels.values(), value])).toEqual([
    ["deny", "ns[shop]-policy[p]-rule[0]", "denied", 2],
    ["allow", "none", "denied", 1],
  ]);
  expect(samples.length).toBe(2001);
  expect(samples.find(({ labels }) => labels.get("policy") === "other")?.value).toBe(502);
});
