import { expect, test } from "bun:test";
import { authorize, type Match, type Policy, PolicyIndex, type PolicySet } from "../../src/policy/mod.ts";
import { type CompiledPolicy, compilePolicy } from "../../src/policy/compile.ts";
import { Facts } from "../../src/policy/flow.ts";
import { PolicyList } from "../../src/policy/policy_list.ts";
import { anyFlow, anyMatch, generator } from "./random.ts";
import { flow, policy, policyOf } from "./fixtures.ts";

const shop = { namespace: "shop", authorizationPolicies: [] as string[] };
const bank = { namespace: "bank", authorizationPolicies: ["bank/named"] };

function keys(set: PolicySet): string[] {
  return Array.from(set.all(), ({ key }) => key);
}

const everything: Policy["rules"] = [[]];

test("a policy comes, is replaced with another scope and action, and goes", () => {
  const index = new PolicyIndex();
  const denied = () => !authorize(index.for(shop), flow()).allowed;
  expect(denied()).toBe(false);
  index.put(policy({ action: "Deny", rules: everything }));
  expect(denied()).toBe(true);
  index.put(policy({ action: "Deny", rules: everything, scope: "WorkloadSelector" }));
  expect(denied()).toBe(false);
  expect(keys(index.for({ ...shop, authorizationPolicies: ["shop/p"] }))).toEqual(["shop/p"]);
  index.put(policy({ action: "Deny", rules: everything, scope: "Global" }));
  expect(denied()).toBe(true);
  expect(keys(index.for(bank))).toEqual(["shop/p"]);
  index.put(policy({ action: "Allow", rules: everything, scope: "Global" }));
  expect(denied()).toBe(false);
  expect(index.size).toBe(1);
  expect(index.remove("shop/p")).toBe(true);
  expect(index.remove("shop/p")).toBe(false);
  expect(index.size).toBe(0);
  expect(keys(index.for(shop))).toEqual([]);
});

test("a policy that does not compile is refused, and the one that was there stays", () => {
  const index = new PolicyIndex([policy({ action: "Deny", rules: everything })]);
  const { version } = index;
  const set = index.for(shop);
  expect(index.put(policyOf({ sourceIps: ["10.0.0.0/64"] }))).toEqual({
    ok: false,
    error: 'policy shop/p: rules[0][0][0].sourceIps[0]: not a CIDR "10.0.0.0/64"',
  });
  expect(index.version).toBe(version);
  expect(index.for(shop)).toBe(set);
  expect(authorize(set, flow()).allowed).toBe(false);
  expect(() => new PolicyIndex([policyOf({ sourceIps: ["x"] })])).toThrow("policy shop/p: rules[0][0][0].sourceIps[0]");
});

test("a set stays the same until something in it changes", () => {
  const index = new PolicyIndex([policy(), policy({ namespace: "bank", name: "named", scope: "WorkloadSelector" })]);
  const sets = () => [index.for(shop), index.for(bank)] as const;
  let [ofShop, ofBank] = sets();
  const changed = () => {
    const before = [ofShop, ofBank];
    [ofShop, ofBank] = sets();
    return [ofShop !== before[0], ofBank !== before[1]];
  };
  expect(changed()).toEqual([false, false]);
  const changes: [what: string, change: () => void, shopChanged: boolean, bankChanged: boolean][] = [
    ["another namespace", () => void index.put(policy({ namespace: "elsewhere" })), false, false],
    [
      "a policy nobody names",
      () => void index.put(policy({ name: "unnamed", scope: "WorkloadSelector" })),
      false,
      false,
    ],
    ["its own namespace", () => void index.put(policy({ name: "second" })), true, false],
    ["and out of it", () => void index.remove("shop/second"), true, false],
    [
      "a named one replaced",
      () => void index.put(policy({ namespace: "bank", name: "named", scope: "WorkloadSelector" })),
      false,
      true,
    ],
    ["a named one gone", () => void index.remove("bank/named"), false, true],
    ["the first of a namespace", () => void index.put(policy({ namespace: "bank" })), false, true],
    ["the last of a namespace", () => void index.remove("bank/p"), false, true],
    ["a global one", () => void index.put(policy({ namespace: "istio-system", scope: "Global" })), true, true],
    ["what was not there", () => void index.remove("no/such"), false, false],
  ];
  for (const [what, change, shopChanged, bankChanged] of changes) {
    change();
    expect([what, ...changed()]).toEqual([what, shopChanged, bankChanged]);
  }
});

test("a policy that is named and selects by its scope counts once", () => {
  const index = new PolicyIndex([
    policy({ name: "own" }),
    policy({ name: "global", namespace: "istio-system", scope: "Global" }),
    policy({ name: "other", namespace: "bank" }),
  ]);
  const authorizationPolicies = [
    "istio-system/global",
    "shop/own",
    "bank/other",
    "bank/other",
    "shop/gone",
    "shop/gone",
  ];
  const set = index.for({ namespace: "shop", authorizationPolicies });
  expect(keys(set)).toEqual(["shop/own", "istio-system/global", "bank/other"]);
  expect(set.size).toBe(3);
  expect(set.missing).toEqual(["shop/gone"]);
});

/** Policies asked about a flow, whatever they are found by. */
function asked(policies: readonly Policy[]): number {
  const index = new PolicyIndex(policies);
  let count = 0;
  for (const [, compiled] of index.entries()) {
    const original = compiled.matchedRule.bind(compiled);
    compiled.matchedRule = (facts) => {
      count++;
      return original(facts);
    };
  }
  authorize(index.for(shop), flow());
  return count;
}

test("policies that name others are not asked", () => {
  const named = (value: string, i: number) =>
    [
      policyOf({ principals: [{ kind: "exact", value: `td/ns/n/sa/${value}` }] }, { name: `principal${i}` }),
      policyOf({ namespaces: [{ kind: "exact", value }] }, { name: `namespace${i}` }),
      policyOf({ serviceAccounts: [{ namespace: "shop", serviceAccount: value }] }, { name: `account${i}` }),
      policyOf({ destinationPorts: [i] }, { name: `port${i}` }),
      policyOf({ sourceIps: ["1.1.1.1"], namespaces: [{ kind: "exact", value }] }, { name: `mixed${i}` }),
      policyOf({}, { name: `nothing${i}` }),
    ].map((one) => ({ ...one, action: "Deny" }) as const);
  const many = Array.from({ length: 100 }, (_, i) => named(`n${i}`, i)).flat();
  expect(asked(many)).toBe(0);
  const ways: readonly Partial<Match>[] = [
    { principals: [{ kind: "prefix", value: "cluster.local/ns/bank/" }, { kind: "suffix", value: "/sa/web" }] },
    { namespaces: [{ kind: "prefix", value: "x" }, { kind: "suffix", value: "shopping" }] },
    { sourceIps: ["10.0.0.2", "10.1.0.0/16", "::/0"] },
    { destinationIps: ["10.0.0.0/24", "fd00::1"] },
  ];
  const far = ways.map((match, i) => policyOf(match, { name: `far${i}`, action: "Deny" }));
  expect(asked([...many, ...far])).toBe(0);
  const near = [
    policyOf({ namespaces: [{ kind: "exact", value: "shop" }], destinationPorts: [1] }, { name: "near" }),
    policyOf({ notNamespaces: [{ kind: "presence" }] }, { name: "negation" }),
  ];
  expect(asked([...many, ...near])).toBe(2);
});

test("policies that share what they are found by come and go one by one", () => {
  let hits = 0;
  for (let seed = 0; seed < 500; seed++) {
    const pick = generator(seed);
    const list = new PolicyList();
    const there: CompiledPolicy[] = [];
    for (let step = 0; step < 40; step++) {
      if (there.length > 3 && pick(2) === 0) {
        list.delete(there.splice(pick(there.length), 1)[0]!);
      } else {
        const result = compilePolicy(policy({ rules: [[[anyMatch(pick)]], [[anyMatch(pick)]]] }));
        if (!result.ok) throw new Error(result.error);
        list.add(result.compiled);
        there.push(result.compiled);
      }
      const facts = new Facts(anyFlow(pick));
      const matching = there.filter((compiled) => compiled.matches(facts));
      // Compared by identity: a difference would be a page of rules.
      const same = list.matching(facts).every((compiled, i) => compiled === matching[i]);
      expect([same, list.matching(facts).length]).toEqual([true, matching.length]);
      expect(list.find(facts) === matching[0]).toBe(true);
      expect(list.size).toBe(there.length);
      hits += matching.length;
    }
  }
  expect(hits).toBeGreaterThan(1000);
});
