import { expect, test } from "bun:test";
import { exposition, MetricRegistry } from "../../../src/telemetry/mod.ts";
import { registerDryRunMetrics } from "../../../src/waypoint/telemetry/mod.ts";
import { parseExposition } from "../../telemetry/exposition.ts";

const RULE = "ns[shop]-policy[p]-rule[0]";

test("dry runs by action, policy and result; policies beyond the bound together", () => {
  const registry = new MetricRegistry();
  const counts = registerDryRunMetrics(registry);
  counts.count("deny", RULE, "denied");
  counts.count("deny", RULE, "denied");
  counts.count("allow", "none", "denied");
  counts.count("deny", "none", "allowed");
  for (let n = 0; n < 1200; n++) counts.count("allow", `p${n}`, "allowed");
  const samples = parseExposition([...exposition(registry)].join("")).get("ambient_authorization_dry_run")?.samples ??
    [];
  expect(samples.slice(0, 3).map(({ labels, value }) => [...labels.values(), value])).toEqual([
    ["deny", RULE, "denied", 2],
    ["allow", "none", "denied", 1],
    ["deny", "none", "allowed", 1],
  ]);
  expect(samples.length).toBe(3 + 1000 + 1);
  expect(samples.find(({ labels }) => labels.get("policy") === "other")?.value).toBe(200);
});
