import { expect, test } from "bun:test";
import { Facts } from "../../src/policy/flow.ts";
import { compilePolicy, type Match, newMatch, type Policy, type PolicyFlow } from "../../src/policy/mod.ts";
import { flow, plaintext, policy, policyOf } from "./fixtures.ts";

function matches(of: Policy, given: PolicyFlow): boolean {
  const result = compilePolicy(of);
  if (!result.ok) throw new Error(result.error);
  return result.compiled.matches(new Facts(given));
}

const v6 = flow({ sourceIp: "fd00::1", destinationIp: "fd00::2" });

const fields: [name: string, match: Partial<Match>, flow: PolicyFlow, expected: boolean][] = [
  ["ports hit", { destinationPorts: [80, 8080] }, flow(), true],
  ["ports miss", { destinationPorts: [80] }, flow(), false],
  ["not ports hit", { notDestinationPorts: [8080] }, flow(), false],
  ["not ports miss", { notDestinationPorts: [80] }, flow(), true],
  ["ports both", { destinationPorts: [8080], notDestinationPorts: [8080] }, flow(), false],
  ["source hit", { sourceIps: ["10.0.0.0/24"] }, flow(), true],
  ["source second range", { sourceIps: ["1.2.3.4", "10.0.0.1"] }, flow(), true],
  ["source miss", { sourceIps: ["10.0.1.0/24"] }, flow(), false],
  ["source other family", { sourceIps: ["0.0.0.0/0"] }, v6, false],
  ["source v6", { sourceIps: ["fd00::/8"] }, v6, true],
  ["source everything of v6 is not v4", { sourceIps: ["::/0"] }, flow(), false],
  ["not source hit", { notSourceIps: ["10.0.0.0/8"] }, flow(), false],
  ["not source miss", { notSourceIps: ["192.168.0.0/16"] }, flow(), true],
  ["not source other family", { notSourceIps: ["::/0"] }, flow(), true],
  ["source but not", { sourceIps: ["10.0.0.0/8"], notSourceIps: ["10.0.0.1/32"] }, flow(), false],
  ["destination hit", { destinationIps: ["10.0.1.1"] }, flow(), true],
  ["destination miss", { destinationIps: ["10.0.0.1"] }, flow(), false],
  ["not destination hit", { notDestinationIps: ["10.0.1.0/24"] }, flow(), false],
  ["not destination miss", { notDestinationIps: ["10.0.0.0/24"] }, flow(), true],
  ["namespace exact", { namespaces: [{ kind: "exact", value: "shop" }] }, flow(), true],
  ["namespace exact miss", { namespaces: [{ kind: "exact", value: "sho" }] }, flow(), false],
  ["namespace prefix", { namespaces: [{ kind: "prefix", value: "sh" }] }, flow(), true],
  ["namespace prefix miss", { namespaces: [{ kind: "prefix", value: "hop" }] }, flow(), false],
  ["namespace suffix", { namespaces: [{ kind: "suffix", value: "op" }] }, flow(), true],
  ["namespace suffix miss", { namespaces: [{ kind: "suffix", value: "sho" }] }, flow(), false],
  ["namespace presence", { namespaces: [{ kind: "presence" }] }, flow(), true],
  ["namespace presence, plaintext", { namespaces: [{ kind: "presence" }] }, plaintext(), false],
  ["namespace of plaintext is empty", { namespaces: [{ kind: "exact", value: "" }] }, plaintext(), true],
  ["not namespace hit", { notNamespaces: [{ kind: "exact", value: "shop" }] }, flow(), false],
  ["not namespace miss", { notNamespaces: [{ kind: "exact", value: "bank" }] }, flow(), true],
  ["not namespace, plaintext", { notNamespaces: [{ kind: "exact", value: "bank" }] }, plaintext(), true],
  ["principal exact", { principals: [{ kind: "exact", value: "cluster.local/ns/shop/sa/cart" }] }, flow(), true],
  ["principal with scheme", { principals: [{ kind: "prefix", value: "spiffe://" }] }, flow(), false],
  ["principal prefix", { principals: [{ kind: "prefix", value: "cluster.local/ns/shop/" }] }, flow(), true],
  ["principal suffix", { principals: [{ kind: "suffix", value: "/sa/cart" }] }, flow(), true],
  ["principal presence", { principals: [{ kind: "presence" }] }, flow(), true],
  ["principal presence, plaintext", { principals: [{ kind: "presence" }] }, plaintext(), false],
  ["principal empty prefix, plaintext", { principals: [{ kind: "prefix", value: "" }] }, plaintext(), false],
  ["not principal hit", { notPrincipals: [{ kind: "suffix", value: "/sa/cart" }] }, flow(), false],
  ["not principal presence", { notPrincipals: [{ kind: "presence" }] }, flow(), false],
  ["not principal presence, plaintext", { notPrincipals: [{ kind: "presence" }] }, plaintext(), true],
  ["account hit", { serviceAccounts: [{ namespace: "shop", serviceAccount: "cart" }] }, flow(), true],
  ["account of another namespace", { serviceAccounts: [{ namespace: "bank", serviceAccount: "cart" }] }, flow(), false],
  ["account, plaintext", { serviceAccounts: [{ namespace: "shop", serviceAccount: "cart" }] }, plaintext(), false],
  ["not account hit", { notServiceAccounts: [{ namespace: "shop", serviceAccount: "cart" }] }, flow(), false],
  [
    "not account, plaintext",
    { notServiceAccounts: [{ namespace: "shop", serviceAccount: "cart" }] },
    plaintext(),
    true,
  ],
  [
    "account of another trust domain",
    { serviceAccounts: [{ namespace: "shop", serviceAccount: "cart" }] },
    flow({ identity: { trustDomain: "other", namespace: "shop", serviceAccount: "cart" } }),
    true,
  ],
  ["two types, both hit", { destinationPorts: [8080], sourceIps: ["10.0.0.1"] }, flow(), true],
  ["two types, one misses", { destinationPorts: [8080], sourceIps: ["10.0.0.2"] }, flow(), false],
  ["nothing named", {}, flow(), false],
];

test.each(fields)("match: %s", (_name, match, given, expected) => {
  expect(matches(policyOf(match), given)).toBe(expected);
});

const yes = newMatch({ destinationPorts: [8080] });
const no = newMatch({ destinationPorts: [1] });
const shapes: [name: string, rules: Policy["rules"], expected: boolean][] = [
  ["no rules", [], false],
  ["a rule without clauses", [[]], true],
  ["a clause without matches", [[[]]], true],
  ["a clause without matches beside one that misses", [[[], [no]]], false],
  ["any match of a clause", [[[no, yes]]], true],
  ["all clauses of a rule", [[[yes], [no]]], false],
  ["any rule", [[[no]], [[yes]]], true],
  ["an empty match beside one that misses", [[[newMatch({}), no]]], false],
];

test.each(shapes)("policy: %s", (_name, rules, expected) => {
  expect(matches(policy({ rules }), flow())).toBe(expected);
});

test("a bad range is refused with its place", () => {
  const bad = newMatch({ notSourceIps: ["10.0.0.0/8", "10.0.0.0/33"] });
  expect(compilePolicy(policy({ rules: [[[yes]], [[yes], [yes, bad]]] }))).toEqual({
    ok: false,
    error: 'policy shop/p: rules[1][1][1].notSourceIps[1]: not a CIDR "10.0.0.0/33"',
  });
});
