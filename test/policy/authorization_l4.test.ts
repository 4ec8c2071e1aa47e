import { describe, expect, test } from "bun:test";
import {
  type AuthorizationPolicySpec,
  type AuthorizationRule,
  authorizationToPolicies,
  authorize,
  formatProblem,
  newMatch,
  type PolicyFlow,
  PolicyIndex,
} from "../../src/policy/mod.ts";
import { flow, plaintext } from "./fixtures.ts";
import { authorization } from "./rbac_fixtures.ts";

const OPTIONS = { rootNamespace: "istio-system" };
const SHOP = { namespace: "shop", authorizationPolicies: [] };

function convert(spec: AuthorizationPolicySpec) {
  return authorizationToPolicies([authorization(spec)], OPTIONS);
}

function allows(spec: AuthorizationPolicySpec, one: PolicyFlow): boolean {
  return authorize(new PolicyIndex(convert(spec).policies).for(SHOP), one).allowed;
}

describe("AuthorizationPolicy at layer 4", () => {
  test("as istiod writes it: ports, then sources, then conditions", () => {
    const { policies, problems } = convert({
      selector: { matchLabels: { app: "ledger" } },
      rules: [{
        from: [
          { source: { principals: ["cluster.local/ns/bank/sa/teller", "cluster.local/ns/shop/*"] } },
          { source: { namespaces: ["shop"], notPrincipals: ["*/sa/outside"] } },
          {
            source: {
              serviceAccounts: ["web", "bank/cart"],
              ipBlocks: ["10.244.0.19"],
              notIpBlocks: ["192.168.1.0/24"],
            },
          },
        ],
        to: [{ operation: { ports: ["8080", "9100"] } }],
        when: [{ key: "destination.port", notValues: ["9100"] }, { key: "source.principal", values: ["*"] }],
      }],
    });
    expect(problems).toEqual([]);
    expect(policies).toEqual([{
      namespace: "shop",
      name: "p",
      scope: "WorkloadSelector",
      action: "Allow",
      dryRun: false,
      rules: [[
        [newMatch({ destinationPorts: [8080, 9100] })],
        [
          newMatch({
            principals: [
              { kind: "exact", value: "cluster.local/ns/bank/sa/teller" },
              { kind: "prefix", value: "cluster.local/ns/shop/" },
            ],
          }),
          newMatch({
            namespaces: [{ kind: "exact", value: "shop" }],
            notPrincipals: [{ kind: "suffix", value: "/sa/outside" }],
          }),
          newMatch({
            serviceAccounts: [
              { namespace: "shop", serviceAccount: "web" },
              { namespace: "bank", serviceAccount: "cart" },
            ],
            sourceIps: ["10.244.0.19"],
            notSourceIps: ["192.168.1.0/24"],
          }),
        ],
        [newMatch({ notDestinationPorts: [9100] })],
        [newMatch({ principals: [{ kind: "presence" }] })],
      ]],
    }]);
  });

  test("scope follows selector and namespace", () => {
    const scopes = authorizationToPolicies([
      authorization({ rules: [{}] }, { name: "a" }),
      authorization({ rules: [{}] }, { name: "b", namespace: "istio-system" }),
      authorization({ rules: [{}], selector: { matchLabels: { app: "x" } } }, { name: "c", namespace: "istio-system" }),
    ], OPTIONS).policies.map(({ scope }) => scope);
    expect(scopes).toEqual(["Namespace", "Global", "WorkloadSelector"]);
  });

  test("policies for waypoints are left out", () => {
    const target = { kind: "Service", name: "web" };
    const objects = [authorization({ targetRef: target }), authorization({ targetRefs: [target] })];
    expect(authorizationToPolicies(objects, OPTIONS).policies).toEqual([]);
    expect(convert({ targetRefs: [] }).policies).toHaveLength(1);
  });

  test("workloads name the selecting policies of their own and the root namespace, sorted", () => {
    const select = (labels: Record<string, string>) => ({ selector: { matchLabels: labels } });
    const { policiesOf } = authorizationToPolicies([
      authorization(select({ app: "db" }), { name: "z" }),
      authorization(select({ app: "db", tier: "1" }), { name: "a" }),
      authorization(select({}), { name: "every" }),
      authorization(select({ app: "db" }), { name: "root", namespace: "istio-system" }),
      authorization(select({ app: "db" }), { name: "foreign", namespace: "bank" }),
      authorization({}, { name: "namespace" }),
    ], OPTIONS);
    expect(policiesOf({ namespace: "shop", labels: { app: "db" } })).toEqual([
      "istio-system/root",
      "shop/every",
      "shop/z",
    ]);
    expect(policiesOf({ namespace: "shop", labels: { app: "db", tier: "1" } })).toContain("shop/a");
    expect(policiesOf({ namespace: "shop", labels: {} })).toEqual(["shop/every"]);
    expect(policiesOf({ namespace: "bank", labels: { app: "db" } })).toEqual(["bank/foreign", "istio-system/root"]);
  });

  test.each<[AuthorizationPolicySpec, boolean]>([
    [{}, false],
    [{ rules: [{}] }, true],
    [{ action: "DENY" }, true],
    [{ action: "DENY", rules: [{}] }, false],
    [{ action: "AUDIT", rules: [{}] }, true],
    [{ action: "CUSTOM", rules: [{}] }, false],
    [{ action: "CUSTOM", rules: [{ to: [{ operation: { ports: ["1"] } }] }] }, true],
  ])("%j allows: %p", (spec, allowed) => {
    expect(allows(spec, flow())).toBe(allowed);
  });

  const HTTP: [string, AuthorizationRule][] = [
    ["methods", { to: [{ operation: { methods: ["GET"] } }] }],
    ["notPaths", { to: [{ operation: { notPaths: ["/a"] } }] }],
    ["hosts", { to: [{ operation: { hosts: ["a"] } }] }],
    ["remoteIpBlocks", { from: [{ source: { remoteIpBlocks: ["10.0.0.0/8"] } }] }],
    ["requestPrincipals", { from: [{ source: { notRequestPrincipals: ["*"] } }] }],
    ["request.headers", { when: [{ key: "request.headers[a]", values: ["b"] }] }],
    ["connection.sni", { when: [{ key: "connection.sni", values: ["b"] }] }],
  ];
  test.each(HTTP)(
    "%s: an ALLOW rule never matches, a DENY rule denies without it, a warning names the place",
    (field, rule) => {
      expect(allows({ rules: [rule] }, flow())).toBe(false);
      expect(allows({ action: "DENY", rules: [rule] }, flow())).toBe(false);
      const [problem, ...others] = convert({ rules: [rule] }).problems;
      expect(others).toEqual([]);
      expect(problem?.kind).toBe("warning");
      expect(formatProblem(problem!)).toContain(
        field.startsWith("request.") || field.startsWith("conn") ? "when[0].key" : "spec.rules[0].",
      );
    },
  );

  test("a DENY rule keeps what is left of it", () => {
    const rule: AuthorizationRule = {
      from: [{ source: { namespaces: ["shop"] } }],
      to: [{ operation: { methods: ["GET"], ports: ["8080"] } }],
      when: [{ key: "request.headers[a]", values: ["b"] }],
    };
    expect(allows({ action: "DENY", rules: [rule] }, flow())).toBe(false);
    expect(allows({ action: "DENY", rules: [rule] }, flow({ destinationPort: 1 }))).toBe(true);
    expect(allows({ action: "DENY", rules: [rule] }, plaintext())).toBe(true);
  });

  test("an ALLOW policy with HTTP in one rule keeps the others", () => {
    const rules = [{ to: [{ operation: { methods: ["GET"] } }] }, { to: [{ operation: { ports: ["8080"] } }] }];
    expect(allows({ rules }, flow())).toBe(true);
    expect(allows({ rules }, flow({ destinationPort: 1 }))).toBe(false);
  });

  test("trust domains are principals of any account in them", () => {
    const rule = (source: object) => ({ rules: [{ from: [{ source }] }] });
    expect(allows(rule({ trustDomains: ["cluster.local"] }), flow())).toBe(true);
    expect(allows(rule({ trustDomains: ["cluster"] }), flow())).toBe(false);
    expect(allows(rule({ trustDomains: ["clus*"] }), flow())).toBe(true);
    expect(allows(rule({ notTrustDomains: ["cluster.local"], namespaces: ["shop"] }), flow())).toBe(false);
    expect(allows(rule({ notTrustDomains: ["other"], namespaces: ["shop"] }), flow())).toBe(true);
    const both = rule({ trustDomains: ["cluster.local"], principals: ["*"] });
    expect(convert(both).problems.map(({ kind }) => kind)).toEqual(["unsupported"]);
    expect(allows(both, flow())).toBe(false);
    expect(convert(rule({ trustDomains: ["*.local"] })).problems.map(({ kind }) => kind)).toEqual(["invalid"]);
  });

  test("dry run", () => {
    const dry = authorization({}, { annotations: { "istio.io/dry-run": "true" } });
    expect(authorizationToPolicies([dry], OPTIONS).policies[0]).toMatchObject({ dryRun: true, action: "Allow" });
  });

  test.each<[AuthorizationPolicySpec, string, string]>([
    [
      { rules: [{ to: [{ operation: { ports: ["1", "70000"] } }] }] },
      "invalid",
      "spec.rules[0].to[0].operation.ports[1]",
    ],
    [
      { rules: [{ from: [{ source: { ipBlocks: ["10.0.0"] } }] }] },
      "invalid",
      "spec.rules[0].from[0].source.ipBlocks[0]",
    ],
    [
      { rules: [{ from: [{ source: { principals: [""] } }] }] },
      "invalid",
      "spec.rules[0].from[0].source.principals[0]",
    ],
    [{ rules: [{ from: [{}] }] }, "invalid", "spec.rules[0].from[0].source"],
    [{ rules: [{ when: [{ key: "source.ip" }] }] }, "invalid", "spec.rules[0].when[0]"],
    [{ action: "CUSTOM", rules: [{}] }, "unsupported", "spec.action"],
    [{ action: "AUDIT", rules: [{}] }, "warning", "spec.action"],
  ])("%j is %s at %s", (spec, kind, place) => {
    const { problems } = convert(spec);
    expect(problems.map((problem) => problem.kind as string)).toEqual([kind]);
    expect(formatProblem(problems[0]!)).toStartWith(`AuthorizationPolicy shop/p: ${place}: `);
  });

  test("an invalid value never widens an ALLOW and never narrows a DENY", () => {
    for (const field of ["ports", "notPorts"]) {
      const rules = [{ to: [{ operation: { [field]: ["http"] } }] }];
      expect(allows({ rules }, flow())).toBe(false);
      expect(allows({ action: "DENY", rules }, flow())).toBe(false);
    }
  });
});
