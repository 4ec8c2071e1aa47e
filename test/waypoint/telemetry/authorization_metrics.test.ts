import { describe, expect, test } from "bun:test";
import type { RbacVerdict } from "../../../src/policy/mod.ts";
import { exposition, MetricRegistry } from "../../../src/telemetry/mod.ts";
import { AuthorizationMetrics } from "../../../src/waypoint/telemetry/mod.ts";
import { parseExposition } from "../../telemetry/exposition.ts";

type Shadow = { allowed: boolean; policy: string } | undefined;

function verdict(allow: Shadow, deny: Shadow, audits: readonly string[] = []): RbacVerdict {
  return {
    allowed: true,
    action: undefined,
    policy: "none",
    responseCodeDetails: "",
    reasons: [],
    audits,
    shadow: { allow, deny },
  };
}

function lab() {
  const registry = new MetricRegistry();
  const metrics = new AuthorizationMetrics(registry);
  const samples = (family: string) => parseExposition([...exposition(registry)].join("")).get(family)?.samples ?? [];
  return { metrics, samples };
}

const RULE = "ns[shop]-policy[p]-rule[0]";

describe("authorization that blocks nothing", () => {
  test("dry runs by action, policy and result", () => {
    const { metrics, samples } = lab();
    metrics.count(verdict(undefined, { allowed: false, policy: RULE }));
    metrics.count(verdict({ allowed: false, policy: "none" }, { allowed: false, policy: RULE }));
    metrics.count(verdict({ allowed: true, policy: RULE }, { allowed: true, policy: "none" }));
    metrics.count(verdict(undefined, undefined));
    expect(samples("ambient_authorization_dry_run").map(({ labels, value }) => [...labels.values(), value])).toEqual([
      ["deny", RULE, "denied", 2],
      ["allow", "none", "denied", 1],
      ["allow", RULE, "allowed", 1],
      ["deny", "none", "allowed", 1],
    ]);
  });

  test("audits by policy", () => {
    const { metrics, samples } = lab();
    metrics.count(verdict(undefined, undefined, [RULE, "b"]));
    metrics.count(verdict(undefined, undefined, ["b"]));
    expect(samples("ambient_authorization_audit").map(({ labels, value }) => [...labels.values(), value])).toEqual([
      [RULE, 1],
      ["b", 2],
    ]);
  });

  test("policies beyond the bound count together", () => {
    const { metrics, samples } = lab();
    for (let n = 0; n < 1200; n++) metrics.count(verdict({ allowed: true, policy: `p${n}` }, undefined));
    const series = samples("ambient_authorization_dry_run");
    expect(series.length).toBe(1001);
    expect(series.find(({ labels }) => labels.get("policy") === "other")?.value).toBe(200);
  });
});
