/** What is told of decisions, word by word. That it is true is held in differential.test.ts. */
import { expect, test } from "bun:test";
import {
  authorize,
  denialFields,
  explainPolicies,
  type Match,
  newMatch,
  type Policy,
  type PolicyFlow,
  PolicyIndex,
} from "../../src/policy/mod.ts";
import { flow, plaintext, policy, policyOf } from "./fixtures.ts";

const target = { namespace: "shop", authorizationPolicies: [] as string[] };

/** `policy` and `rule` of the line about a flow that is denied. */
function denial(policies: readonly Policy[], given: PolicyFlow = flow()): { policy: string; rule: string } | undefined {
  const verdict = authorize(new PolicyIndex(policies).for(target), given);
  return verdict.allowed ? undefined : denialFields(verdict.decision());
}

const matches: [name: string, rules: Policy["rules"], flow: PolicyFlow, rule: string][] = [
  ["one field", [[[newMatch({ notPrincipals: [{ kind: "presence" }] })]]], plaintext(), "rules[0][0][0].notPrincipals"],
  [
    "the second match of the second clause of the second rule",
    [
      [[newMatch({ destinationPorts: [1] })]],
      [[], [newMatch({ destinationPorts: [2] }), newMatch({ namespaces: [{ kind: "exact", value: "shop" }] })]],
    ],
    flow(),
    "rules[1][1][1].namespaces",
  ],
  [
    "several fields of one match",
    [[[newMatch({ sourceIps: ["10.0.0.0/8"], destinationPorts: [8080], notDestinationPorts: [1] })]]],
    flow(),
    "rules[0][0][0].destinationPorts,notDestinationPorts,sourceIps",
  ],
  [
    "several clauses",
    [[[newMatch({ destinationPorts: [8080] })], [newMatch({ sourceIps: ["10.0.0.1"] })]]],
    flow(),
    "rules[0][0][0].destinationPorts and rules[0][1][0].sourceIps",
  ],
  ["a rule that matches everything", [[]], flow(), "rules[0]"],
  ["a clause that matches everything", [[[]]], flow(), "rules[0]"],
];

test.each(matches)("the place of a DENY: %s", (_name, rules, given, rule) => {
  expect(denial([policy({ action: "Deny", rules })], given)).toEqual({ policy: "shop/p", rule });
});

const strings = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ kind: "exact", value: `n${i}` }) as const);
const misses: [match: Partial<Match>, flow: PolicyFlow, rule: string][] = [
  [
    { destinationPorts: [80] },
    flow(),
    "rules[0][0][0].destinationPorts: wants destination port 80; the flow has 8080",
  ],
  [
    { notDestinationPorts: [80, 8080] },
    flow(),
    "rules[0][0][0].notDestinationPorts: wants no destination port of 80 or 8080; the flow has 8080",
  ],
  [
    { namespaces: [{ kind: "exact", value: "bank" }, { kind: "prefix", value: "b" }, { kind: "suffix", value: "k" }] },
    flow(),
    "rules[0][0][0].namespaces: wants namespace bank, prefix b or suffix k; the flow has shop",
  ],
  [
    { principals: [{ kind: "presence" }] },
    plaintext(),
    "rules[0][0][0].principals: wants principal any; the flow has no identity",
  ],
  [
    { notPrincipals: [{ kind: "presence" }] },
    flow(),
    "rules[0][0][0].notPrincipals: wants no principal of any; the flow has cluster.local/ns/shop/sa/cart",
  ],
  [
    { serviceAccounts: [{ namespace: "bank", serviceAccount: "teller" }] },
    flow(),
    "rules[0][0][0].serviceAccounts: wants service account bank/teller; the flow has shop/cart",
  ],
  [
    { sourceIps: ["10.9.0.0/16", "fd00::/8"] },
    flow(),
    "rules[0][0][0].sourceIps: wants source IP 10.9.0.0/16 or fd00::/8; the flow has 10.0.0.1",
  ],
  [
    { notDestinationIps: ["10.0.0.0/8"] },
    flow(),
    "rules[0][0][0].notDestinationIps: wants no destination IP of 10.0.0.0/8; the flow has 10.0.1.1",
  ],
  [
    { namespaces: strings(7) },
    flow(),
    "rules[0][0][0].namespaces: wants namespace n0, n1, n2, n3 or 3 others; the flow has shop",
  ],
  [
    { destinationPorts: [8080], namespaces: strings(1) },
    flow(),
    "rules[0][0][0].namespaces: wants namespace n0; the flow has shop",
  ],
  [{}, flow(), "rules[0][0][0]: names nothing, so nothing matches it"],
];

test.each(misses)("what an ALLOW lacked: %j", (match, given, rule) => {
  expect(denial([policyOf(match)], given)).toEqual({ policy: "shop/p", rule });
});

test("of several rules and matches the nearest is told", () => {
  const [yes, no] = [newMatch({ destinationPorts: [8080] }), newMatch({ destinationPorts: [1] })];
  const half = newMatch({ destinationPorts: [8080], sourceIps: ["1.1.1.1"] });
  const place = (rules: Policy["rules"]) => denial([policy({ rules })])?.rule.split(":")[0];
  expect(place([[[no]], [[yes], [no]], [[no], [yes]]])).toBe("rules[1][1][0].destinationPorts");
  expect(place([[[no, half]]])).toBe("rules[0][0][1].sourceIps");
  expect(place([[[no]], [[half]]])).toBe("rules[1][0][0].sourceIps");
  expect(denial([policy({ rules: [] })])?.rule).toBe("it has no rules and matches nothing");
});

test("of many policies the first eight are told, then how many more", () => {
  const several = (count: number) =>
    Array.from({ length: count }, (_, i) => policyOf({ destinationPorts: [i] }, { name: `p${i}` }));
  expect(denial(several(2))).toEqual({
    policy: "shop/p0; shop/p1",
    rule: "shop/p0 rules[0][0][0].destinationPorts: wants destination port 0; the flow has 8080; " +
      "shop/p1 rules[0][0][0].destinationPorts: wants destination port 1; the flow has 8080",
  });
  expect(denial(several(8))?.policy).toMatch(/shop\/p7$/);
  const many = denial(several(1000));
  expect(many?.policy).toMatch(/^shop\/p0; .*; shop\/p7; and 992 more$/);
  expect(many?.rule).toMatch(/shop\/p7 [^;]*; the flow has 8080; and 992 more$/);
});

test("long names are cut", () => {
  const rule = denial([policyOf({ namespaces: [{ kind: "exact", value: "n".repeat(5000) }] })])?.rule ?? "";
  expect(rule).toContain("nnn…; the flow has");
  expect(rule.length).toBeLessThan(250);
});

test("a decision is about the policies of its verdict, whatever is pushed before it is asked for", () => {
  const index = new PolicyIndex([policyOf({ destinationPorts: [1] }, { name: "old" })]);
  const verdict = authorize(index.for(target), flow());
  index.remove("shop/old");
  index.put(policy({ name: "new" }));
  expect(verdict.allowed ? undefined : denialFields(verdict.decision()).policy).toBe("shop/old");
});

test("every candidate is explained, unknown keys last", () => {
  const index = new PolicyIndex([
    policyOf({ destinationPorts: [8080] }, { name: "allow" }),
    policyOf({ destinationPorts: [1] }, { name: "deny", action: "Deny", namespace: "istio-system", scope: "Global" }),
    policy({
      name: "try",
      action: "Deny",
      dryRun: true,
      scope: "WorkloadSelector",
      rules: Array.from({ length: 10 }, (_, i) => [[newMatch({ destinationPorts: [i] })]]),
    }),
    policy({ name: "other", namespace: "bank" }),
    policy({ name: "unnamed", scope: "WorkloadSelector" }),
  ]);
  const set = index.for({ namespace: "shop", authorizationPolicies: ["shop/gone", "shop/try"] });
  const { policies: explanations } = explainPolicies(set, flow());
  expect(explanations).toEqual([
    {
      key: "istio-system/deny",
      known: true,
      scope: "Global",
      action: "Deny",
      dryRun: false,
      matched: false,
      place: undefined,
      misses: [{
        place: "rules[0][0][0].destinationPorts",
        reason: "wants destination port 1; the flow has 8080",
      }],
      moreMisses: 0,
    },
    {
      key: "shop/allow",
      known: true,
      scope: "Namespace",
      action: "Allow",
      dryRun: false,
      matched: true,
      place: "rules[0][0][0].destinationPorts",
      misses: [],
      moreMisses: 0,
    },
    expect.objectContaining({
      key: "shop/try",
      scope: "WorkloadSelector",
      dryRun: true,
      matched: false,
      moreMisses: 2,
    }),
    { key: "shop/gone", known: false },
  ]);
});

test("of thousands of policies those that match are told, and 200 at most of the others", () => {
  const many = Array.from({ length: 1_000 }, (_, i) => policyOf({ destinationPorts: [i] }, { name: `p${i}` }));
  const index = new PolicyIndex([...many, policyOf({ destinationPorts: [8080] }, { name: "last" })]);
  const { policies, more } = explainPolicies(index.for({ namespace: "shop", authorizationPolicies: [] }), flow());
  expect([policies.length, more]).toEqual([201, 800]);
  expect(policies.at(-1)).toMatchObject({ key: "shop/last", matched: true });
});
