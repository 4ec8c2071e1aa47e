import { expect, test } from "bun:test";
import { authorize, newMatch, type Policy, policyEventMessage, PolicyIndex } from "../../src/policy/mod.ts";
import { flow, policy } from "./fixtures.ts";

const everything: Policy["rules"] = [[]];
const nothing: Policy["rules"] = [];
const target = { namespace: "shop", authorizationPolicies: [] as string[] };

/** Verdict of a list of policies named a, b, c … as `allow`, or the rejection; with the events beside it. */
function verdict(policies: Partial<Policy>[]) {
  const index = new PolicyIndex(policies.map((given, i) => policy({ name: "abcdef"[i]!, ...given })));
  const result = authorize(index.for(target), flow());
  const events = result.events.map((event) => `${policyEventMessage(event)} ${event.policy ?? "-"}`);
  return { result: result.allowed ? "allow" : result.rejection, events };
}

const cases: [name: string, policies: Partial<Policy>[], result: string, events: string[]][] = [
  ["no policies", [], "allow", ["no allow policies, allow -"]],
  ["a deny that misses", [{ action: "Deny", rules: nothing }], "allow", ["no allow policies, allow -"]],
  ["a deny that hits", [{ action: "Deny", rules: everything }], "explicitly denied by: shop/a", [
    "deny policy match shop/a",
  ]],
  ["an allow that hits", [{ rules: everything }], "allow", ["allow policy match shop/a"]],
  ["an allow that misses", [{ rules: nothing }], "allow policies exist, but none allowed", [
    "no allow policies matched -",
  ]],
  ["the second allow hits", [{ rules: nothing }, { rules: everything }], "allow", ["allow policy match shop/b"]],
  [
    "deny before allow",
    [{ rules: everything }, { action: "Deny", rules: everything }],
    "explicitly denied by: shop/b",
    ["deny policy match shop/b"],
  ],
  ["dry-run deny", [{ action: "Deny", dryRun: true, rules: everything }], "allow", [
    "dry-run: deny policy match shop/a",
    "no allow policies, allow -",
  ]],
  ["dry-run allow that misses denies nothing", [{ dryRun: true, rules: nothing }], "allow", [
    "dry-run: no allow policies matched -",
    "no allow policies, allow -",
  ]],
  [
    "dry-run allow does not allow",
    [{ dryRun: true, rules: everything }, { rules: nothing }],
    "allow policies exist, but none allowed",
    ["dry-run: allow policy match shop/a", "no allow policies matched -"],
  ],
  [
    "dry-run deny is told even if an enforced one denies",
    [{ action: "Deny", dryRun: true, rules: everything }, { action: "Deny", rules: everything }],
    "explicitly denied by: shop/b",
    ["dry-run: deny policy match shop/a", "deny policy match shop/b"],
  ],
];

test.each(cases)("%s", (_name, policies, result, events) => {
  expect(verdict(policies)).toEqual({ result, events });
});

test("selection: own namespace, global ones, and those that are named", () => {
  const index = new PolicyIndex([
    policy({ name: "own", scope: "Namespace" }),
    policy({ name: "other", namespace: "bank", scope: "Namespace" }),
    policy({ name: "global", namespace: "istio-system", scope: "Global" }),
    policy({ name: "named", scope: "WorkloadSelector", action: "Deny" }),
    policy({ name: "unnamed", scope: "WorkloadSelector" }),
    policy({ name: "dry", scope: "Global", dryRun: true }),
  ]);
  const set = index.for({
    namespace: "shop",
    authorizationPolicies: ["shop/named", "shop/gone", "istio-system/global"],
  });
  const keys = (list: Iterable<{ key: string }>) => Array.from(list, ({ key }) => key);
  expect(keys(set.of("allow"))).toEqual(["shop/own", "istio-system/global"]);
  expect(keys(set.of("deny"))).toEqual(["shop/named"]);
  expect(keys(set.of("dryRunAllow"))).toEqual(["shop/dry"]);
  expect(set.missing).toEqual(["shop/gone"]);
});

test("plaintext is denied by what a strict PeerAuthentication becomes, mutual TLS is not", () => {
  const strict = policy({
    namespace: "istio-system",
    name: "istio_converted_static_strict",
    scope: "WorkloadSelector",
    action: "Deny",
    rules: [[[newMatch({ notPrincipals: [{ kind: "presence" }] })]]],
  });
  const set = new PolicyIndex([strict]).for({
    namespace: "shop",
    authorizationPolicies: ["istio-system/istio_converted_static_strict"],
  });
  expect(authorize(set, flow({ identity: undefined }))).toMatchObject({
    allowed: false,
    rejection: "explicitly denied by: istio-system/istio_converted_static_strict",
  });
  expect(authorize(set, flow()).allowed).toBe(true);
});
