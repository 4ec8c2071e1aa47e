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
  ["source mapped address is IPv4", { sourceIps: ["10.0.0.0/8"] }, flow({ sourceIp: "::ffff:10.0.0.1" }), true],
  ["source mapped address is not IPv6", { sourceIps: ["::/0"] }, flow({ sourceIp: "::ffff:10.0.0.1" }), false],
  ["source mapped range is IPv4", { sourceIps: ["::ffff:10.0.0.0/104"] }, flow(), true],
  ["source host bits of a range", { sourceIps: ["10.0.0.77/24"] }, flow(), true],
  ["source first bit only", { sourceIps: ["0.0.0.0/1"] }, flow({ sourceIp: "128.0.0.1" }), false],
  ["source upper half of IPv4", { sourceIps: ["128.0.0.0/1"] }, flow({ sourceIp: "255.0.0.1" }), true],
  ["source all of IPv4", { sourceIps: ["0.0.0.0/0"] }, flow({ sourceIp: "255.0.0.1" }), true],
  ["source v6 within a word", { sourceIps: ["fd00::/63"] }, flow({ sourceIp: "fd00:0:0:1::9" }), true],
  ["source v6 past a word", { sourceIps: ["fd00::/65"] }, flow({ sourceIp: "fd00::8000:0:0:1" }), false],
  ["source v6 host", { sourceIps: ["fd00::1"] }, v6, true],
  ["source v6 other host", { sourceIps: ["fd00::2"] }, v6, false],
  ["source that is no IP is in no range", { sourceIps: ["0.0.0.0/0", "::/0"] }, flow({ sourceIp: "" }), false],
  ["not source v6 hit", { notSourceIps: ["fd00::/8"] }, v6, false],
  ["not source, several, one hits", { notSourceIps: ["1.2.3.4", "10.0.0.1"] }, flow(), false],
  ["destination v6", { destinationIps: ["fd00::2/127"] }, v6, true],
  ["destination other family", { destinationIps: ["0.0.0.0/0"] }, v6, false],
  ["not destination v6 hit", { notDestinationIps: ["fd00::2"] }, v6, false],
  ["not destination other family", { notDestinationIps: ["0.0.0.0/0"] }, v6, true],
  ["destination but not", { destinationIps: ["10.0.0.0/8"], notDestinationIps: ["10.0.1.1"] }, flow(), false],
  ["ports, both ends", { destinationPorts: [0, 65535] }, flow({ destinationPort: 65535 }), true],
  ["not ports, several, one hits", { notDestinationPorts: [80, 8080] }, flow(), false],
  ["ports but not others", { destinationPorts: [8080], notDestinationPorts: [80] }, flow(), true],
  [
    "namespace second item",
    { namespaces: [{ kind: "exact", value: "x" }, { kind: "prefix", value: "s" }] },
    flow(),
    true,
  ],
  ["namespace empty prefix, plaintext", { namespaces: [{ kind: "prefix", value: "" }] }, plaintext(), true],
  ["not namespace presence", { notNamespaces: [{ kind: "presence" }] }, flow(), false],
  ["not namespace presence, plaintext", { notNamespaces: [{ kind: "presence" }] }, plaintext(), true],
  ["not namespace prefix", { notNamespaces: [{ kind: "prefix", value: "sh" }] }, flow(), false],
  ["not namespace suffix", { notNamespaces: [{ kind: "suffix", value: "op" }] }, flow(), false],
  [
    "namespace but not",
    { namespaces: [{ kind: "presence" }], notNamespaces: [{ kind: "exact", value: "shop" }] },
    flow(),
    false,
  ],
  [
    "principal exact, part of it",
    { principals: [{ kind: "exact", value: "cluster.local/ns/shop/sa/car" }] },
    flow(),
    false,
  ],
  ["principal exact, plaintext", { principals: [{ kind: "exact", value: "" }] }, plaintext(), false],
  ["principal suffix, plaintext", { principals: [{ kind: "suffix", value: "" }] }, plaintext(), false],
  [
    "principal of another trust domain",
    { principals: [{ kind: "exact", value: "cluster.local/ns/shop/sa/cart" }] },
    flow({ identity: { trustDomain: "other", namespace: "shop", serviceAccount: "cart" } }),
    false,
  ],
  [
    "not principal exact",
    { notPrincipals: [{ kind: "exact", value: "cluster.local/ns/shop/sa/cart" }] },
    flow(),
    false,
  ],
  [
    "not principal exact miss",
    { notPrincipals: [{ kind: "exact", value: "cluster.local/ns/shop/sa/x" }] },
    flow(),
    true,
  ],
  ["not principal prefix", { notPrincipals: [{ kind: "prefix", value: "cluster.local/" }] }, flow(), false],
  ["not principal exact, plaintext", { notPrincipals: [{ kind: "exact", value: "a" }] }, plaintext(), true],
  [
    "principal and not, plaintext",
    { principals: [{ kind: "presence" }], notPrincipals: [{ kind: "exact", value: "a" }] },
    plaintext(),
    false,
  ],
  [
    "account second item",
    {
      serviceAccounts: [{ namespace: "shop", serviceAccount: "web" }, { namespace: "shop", serviceAccount: "cart" }],
    },
    flow(),
    true,
  ],
  ["account of another name", { serviceAccounts: [{ namespace: "shop", serviceAccount: "web" }] }, flow(), false],
  [
    "not account of another trust domain",
    { notServiceAccounts: [{ namespace: "shop", serviceAccount: "cart" }] },
    flow({ identity: { trustDomain: "other", namespace: "shop", serviceAccount: "cart" } }),
    false,
  ],
  ["not account miss", { notServiceAccounts: [{ namespace: "shop", serviceAccount: "web" }] }, flow(), true],
  [
    "plaintext port of a strict policy",
    { notPrincipals: [{ kind: "presence" }], destinationPorts: [8080] },
    plaintext(),
    true,
  ],
  ["mutual TLS there", { notPrincipals: [{ kind: "presence" }], destinationPorts: [8080] }, flow(), false],
  ["plaintext on another", { notPrincipals: [{ kind: "presence" }], destinationPorts: [80] }, plaintext(), false],
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
  ["an empty match beside one that hits", [[[newMatch({}), yes]]], true],
  ["an empty match alone", [[[newMatch({})]]], false],
  ["a clause without matches beside one that hits", [[[], [yes]]], true],
  ["only clauses without matches", [[[], []]], true],
  ["a rule without clauses after one that misses", [[[no]], []], true],
  ["no rule of several", [[[no]], [[no], [yes]], [[yes], [no]]], false],
  ["any match of each clause", [[[no, yes], [yes, no]]], true],
  ["a clause of two that misses", [[[no, no], [yes, no]]], false],
];

test.each(shapes)("policy: %s", (_name, rules, expected) => {
  expect(matches(policy({ rules }), flow())).toBe(expected);
});

const refused: [match: Partial<Match>, error: string][] = [
  [{ sourceIps: ["10.0.0"] }, 'sourceIps[0]: not a CIDR "10.0.0"'],
  [{ notSourceIps: ["10.0.0.0/8", "10.0.0.0/33"] }, 'notSourceIps[1]: not a CIDR "10.0.0.0/33"'],
  [{ destinationIps: ["fd00::/129"] }, 'destinationIps[0]: not a CIDR "fd00::/129"'],
  [{ notDestinationIps: [""] }, 'notDestinationIps[0]: not a CIDR ""'],
  [{ sourceIps: ["10.0.0.0/"] }, 'sourceIps[0]: not a CIDR "10.0.0.0/"'],
  [{ destinationPorts: [80, 65536 + 80] }, "destinationPorts[1]: not a port 65616"],
  [{ notDestinationPorts: [-1] }, "notDestinationPorts[0]: not a port -1"],
  [{ destinationPorts: [80.5] }, "destinationPorts[0]: not a port 80.5"],
];

test.each(refused)("%j is refused with its place", (match, error) => {
  expect(compilePolicy(policy({ rules: [[[yes]], [[yes], [yes, newMatch(match)]]] }))).toEqual({
    ok: false,
    error: `policy shop/p: rules[1][1][1].${error}`,
  });
});
