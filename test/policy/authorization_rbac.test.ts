import { describe, expect, test } from "bun:test";
import {
  type AuthorizationOperation,
  type AuthorizationPolicySpec,
  type AuthorizationRule,
  type AuthorizationSource,
  authorizationToRbac,
  formatProblem,
  type Permission,
  type Principal,
  readsServerName,
  type RequestFacts,
} from "../../src/policy/mod.ts";
import { at, authorization, CLIENT, engine, policyEngine, request, tcp } from "./rbac_fixtures.ts";

function convert(spec: AuthorizationPolicySpec, forHttp = true, trustDomains = ["cluster.local"]) {
  return authorizationToRbac([authorization(spec)], {
    trustDomains,
    forHttp,
    readsServerName: true,
    chain: "the chain",
    port: undefined,
  });
}

function problems(spec: AuthorizationPolicySpec, forHttp = true): string[] {
  return convert(spec, forHttp).problems.map((problem) => `${problem.kind} ${formatProblem(problem)}`);
}

const header = (name: string, match: object) => ({
  kind: "header",
  header: { name, match, invert: false, treatMissingAsEmpty: false },
});
const ANY = { kind: "and", rules: [{ kind: "any" }] };
const ANYBODY = { kind: "and", ids: [{ kind: "any" }] };

/** [values of the field, a request that they match, one that they do not] */
type Case = [string, RequestFacts, RequestFacts];
const OPERATIONS: [keyof AuthorizationOperation & ("hosts" | "ports" | "methods" | "paths"), Case[]][] = [
  ["hosts", [
    ["web.shop.svc.cluster.LOCAL", request(), request({ head: { authority: "web.shop.svc.cluster.local:80" } })],
    ["*.example", request({ head: { authority: "A.Example" } }), request({ head: { authority: "a.example:80" } })],
    ["web.*", request({ head: { authority: "WEB.shop:80" } }), request({ head: { authority: "aweb.shop" } })],
    ["*", request(), tcp()],
  ]],
  ["ports", [["80", request(), request({ destination: { ip: "10.96.0.10", port: 8080 } })]]],
  ["methods", [
    ["GET", request(), request({ head: { method: "get" } })],
    ["P*", request({ head: { method: "PUT" } }), request()],
    ["*T", request(), request({ head: { method: "DELETE" } })],
    ["*", request(), tcp()],
  ]],
  ["paths", [
    ["/items", at("/items?x=1"), at("/items/")],
    ["/items*", at("/items/1"), at("/item")],
    ["*.js", at("/a.js?x"), at("/a.jsx")],
    ["*", at("/"), tcp()],
    ["/a/{*}/c", at("/a/b/c"), at("/a/b/b/c")],
    ["/a/{**}", at("/a/b/c"), at("/b")],
    ["/{**}/c", at("/a/b/c"), at("/a/b")],
  ]],
];

const nobody = tcp({ peerPrincipal: undefined });
const who = (peerPrincipal: string) => tcp({ peerPrincipal });
const SOURCES: ["principals" | "namespaces" | "serviceAccounts" | "trustDomains" | "remoteIpBlocks", Case[]][] = [
  ["principals", [
    ["cluster.local/ns/shop/sa/client", who(CLIENT), who(`${CLIENT}2`)],
    ["cluster.local/ns/shop/*", who(CLIENT), who("spiffe://cluster.local/ns/shopping/sa/client")],
    ["*/sa/client", who(CLIENT), who(`${CLIENT}2`)],
    ["*", who(CLIENT), nobody],
  ]],
  ["namespaces", [
    ["shop", who(CLIENT), who("spiffe://cluster.local/ns/bank/sa/shop")],
    ["sh*", who(CLIENT), who("spiffe://cluster.local/ns/ashop/sa/x")],
    ["*op", who(CLIENT), nobody],
  ]],
  ["serviceAccounts", [
    ["client", who(CLIENT), who("spiffe://cluster.local/ns/bank/sa/client")],
    ["shop/client", who("spiffe://other/ns/shop/sa/client"), who("spiffe://cluster.local/ns/shop/sa/client2")],
    ["bank/a.b", who("spiffe://td/ns/bank/sa/a.b"), who("spiffe://td/ns/bank/sa/axb")],
  ]],
  ["trustDomains", [
    ["cluster.local", who(CLIENT), who("spiffe://cluster.local2/ns/shop/sa/client")],
    ["*.local", who(CLIENT), who("spiffe://td/ns/shop/sa/a.local")],
    ["cluster*", who(CLIENT), who("spiffe://td/ns/shop/sa/cluster")],
    ["*", who(CLIENT), nobody],
  ]],
  ["remoteIpBlocks", [
    ["192.0.2.0/24", request({ remoteIp: "192.0.2.1" }), request()],
    ["192.0.2.1", request({ remoteIp: "192.0.2.1" }), request({ remoteIp: "192.0.2.2" })],
    ["2001:db8::/32", request({ remoteIp: "2001:db8::1" }), request()],
  ]],
];

const headers = (...fields: [string, string][]) => request({ head: { fields } });
const CONDITIONS: [string, Case[]][] = [
  ["request.headers[X-Tenant]", [
    ["a", headers(["x-tenant", "b"], ["x-tenant", "a"]), headers(["x-tenant", "A"])],
    ["a*", headers(["x-tenant", "ab"]), headers(["x-other", "ab"])],
    ["*b", headers(["x-tenant", "ab"]), headers()],
    ["*", headers(["x-tenant", ""]), headers()],
  ]],
  ["request.headers[:path]", [["/a?b", at("/a?b"), at("/a")]]],
  ["remote.ip", [["192.0.2.0/24", request({ remoteIp: "192.0.2.1" }), request()]]],
  ["source.namespace", [["shop", who(CLIENT), nobody]]],
  ["source.principal", [["cluster.local/ns/shop/sa/*", who(CLIENT), nobody]]],
  ["source.serviceAccount", [["client", who(CLIENT), nobody]]],
  ["destination.ip", [["10.96.0.0/16", request(), request({ destination: { ip: "10.97.0.1", port: 80 } })]]],
  ["destination.port", [["80", tcp(), tcp({ destination: { ip: "10.96.0.10", port: 81 } })]]],
  ["connection.sni", [
    ["*.example", tcp({ serverName: "a.example" }), tcp()],
    ["*", tcp({ serverName: "a" }), tcp()],
  ]],
];

describe("fields of a rule", () => {
  const rows: [string, AuthorizationRule, AuthorizationRule, RequestFacts, RequestFacts][] = [];
  const negated = (field: string) => `not${field[0]!.toUpperCase()}${field.slice(1)}`;
  for (const [field, cases] of OPERATIONS) {
    for (const [value, hit, miss] of cases) {
      const operation = (name: string): AuthorizationRule => ({ to: [{ operation: { [name]: [value] } }] });
      rows.push([`${field} ${value}`, operation(field), operation(negated(field)), hit, miss]);
    }
  }
  for (const [field, cases] of SOURCES) {
    for (const [value, hit, miss] of cases) {
      const source = (name: keyof AuthorizationSource): AuthorizationRule => ({
        from: [{ source: { [name]: [value] } }],
      });
      rows.push([`${field} ${value}`, source(field), source(negated(field) as keyof AuthorizationSource), hit, miss]);
    }
  }
  for (const [key, cases] of CONDITIONS) {
    for (const [value, hit, miss] of cases) {
      const condition = (list: object): AuthorizationRule => ({ when: [{ key, ...list }] });
      rows.push([`when ${key} ${value}`, condition({ values: [value] }), condition({ notValues: [value] }), hit, miss]);
    }
  }
  test.each(rows)("%s, with and without not", (_, rule, not, hit, miss) => {
    expect(policyEngine("ALLOW", rule).check(hit).allowed).toBe(true);
    expect(policyEngine("ALLOW", rule).check(miss).allowed).toBe(false);
    expect(policyEngine("ALLOW", not).check(hit).allowed).toBe(false);
    expect(policyEngine("ALLOW", not).check(miss).allowed).toBe(true);
    expect(policyEngine("DENY", rule).check(hit).allowed).toBe(false);
    expect(policyEngine("DENY", not).check(hit).allowed).toBe(true);
  });

  describe.each([true, false])("connection.sni where the server name is not known, HTTP: %p", (forHttp) => {
    const sni = (list: object): AuthorizationRule => ({ when: [{ key: "connection.sni", ...list }] });
    const options = { trustDomains: [], forHttp, readsServerName: false, chain: "port 80", port: 80 };
    const facts = forHttp ? request() : tcp();

    test.each(["values", "notValues"])("%s: DENY denies, ALLOW does not allow, and a warning says so", (list) => {
      const told: string[] = [];
      for (const action of ["DENY", "ALLOW"] as const) {
        const policy = authorization({ action, rules: [sni({ [list]: ["a.example"] })] });
        const { filters, problems } = authorizationToRbac([policy], options);
        expect(engine(...filters).check(facts).allowed).toBe(false);
        expect(readsServerName(filters)).toBe(false);
        told.push(...problems.map((problem) => `${problem.kind} ${formatProblem(problem)}`));
      }
      const message =
        `warning AuthorizationPolicy shop/p: spec.rules[0].when[0].${list}: at port 80 no policy can ask ` +
        "for connection.sni, which is known only on ports declared TLS or HTTPS: the rule ";
      expect(told).toEqual([`${message}applies whatever the server name is`, `${message}allows nothing`]);
    });

    test("rules for other ports are none of its business", () => {
      const told = (ports: readonly string[]) => {
        const rule = { ...sni({ values: ["a"] }), to: ports.map((port) => ({ operation: { ports: [port] } })) };
        const { filters, problems } = authorizationToRbac([authorization({ action: "DENY", rules: [rule] })], options);
        return [problems.length, engine(...filters).check(facts).allowed];
      };
      expect([told(["443"]), told(["443", "80"]), told([])]).toEqual([[0, true], [1, false], [1, false]]);
    });

    test("what else a DENY rule asks for still counts, and so do other ALLOW rules", () => {
      const from = (namespace: string) => [{ source: { namespaces: [namespace] } }];
      const rules = (namespace: string) => [{ ...sni({ values: ["a"] }), from: from(namespace) }];
      const allowed = (action: "ALLOW" | "DENY", given: readonly AuthorizationRule[]) =>
        engine(...authorizationToRbac([authorization({ action, rules: given })], options).filters).check(facts).allowed;
      expect([allowed("DENY", rules("shop")), allowed("DENY", rules("bank"))]).toEqual([false, true]);
      expect(allowed("ALLOW", [...rules("shop"), { from: from("shop") }])).toBe(true);
    });
  });

  test("connection.sni is compared in lower case, as it is read", () => {
    const rule = { when: [{ key: "connection.sni", values: ["A.Example"] }] };
    expect(policyEngine("DENY", rule, false).check(tcp({ serverName: "a.example" })).allowed).toBe(false);
  });

  test.each<[AuthorizationRule, "ALLOW" | "DENY" | "AUDIT", boolean]>([
    [{ when: [{ key: "connection.sni", values: ["a"] }] }, "DENY", true],
    [{ when: [{ key: "connection.sni", notValues: ["a"] }] }, "ALLOW", true],
    [{ when: [{ key: "connection.sni", values: ["a"] }] }, "AUDIT", false],
    [{ to: [{ operation: { ports: ["80"] } }] }, "DENY", false],
  ])("%j of %s asks for the server name: %p", (rule, action, asks) => {
    expect(readsServerName(convert({ action, rules: [rule] }, false).filters)).toBe(asks);
  });

  test("ipBlocks and source.ip never match at a waypoint, their negations always do; and a warning says so", () => {
    const facts = request({ directRemoteIp: "10.244.0.1", remoteIp: "10.244.0.1" });
    for (const [field, values] of [["ipBlocks", "values"], ["notIpBlocks", "notValues"]] as const) {
      for (
        const rule of [
          { from: [{ source: { [field]: ["10.244.0.0/16"] } }] },
          { when: [{ key: "source.ip", [values]: ["10.244.0.0/16"] }] },
        ]
      ) {
        expect(policyEngine("ALLOW", rule).check(facts).allowed).toBe(field === "notIpBlocks");
        expect(problems({ rules: [rule] })).toHaveLength(1);
      }
    }
    expect(problems({ rules: [{ from: [{ source: { ipBlocks: ["10.0.0.0/8"] } }] }] })[0]).toStartWith(
      "warning AuthorizationPolicy shop/p: spec.rules[0].from[0].source.ipBlocks: it never matches at a waypoint",
    );
  });
});

describe("rules", () => {
  test("values are alternatives, fields and conditions all needed, sources and operations alternatives", () => {
    const rbac = policyEngine("ALLOW", {
      from: [{ source: { namespaces: ["a", "b"], notPrincipals: ["*/sa/bad"] } }, { source: { namespaces: ["c"] } }],
      to: [{ operation: { methods: ["GET"], paths: ["/x", "/y"] } }, { operation: { ports: ["9"] } }],
      when: [{ key: "request.headers[k]", values: ["1", "2"] }, { key: "destination.ip", values: ["10.0.0.0/8"] }],
    });
    const check = (sa: string, path: string, key: string, port = 80) =>
      rbac.check(request({
        peerPrincipal: `spiffe://td/${sa}`,
        head: { path, fields: [["k", key]] },
        destination: { ip: "10.0.0.1", port },
      })).allowed;
    expect(check("ns/a/sa/s", "/x", "1")).toBe(true);
    expect(check("ns/b/sa/s", "/y", "2")).toBe(true);
    expect(check("ns/c/sa/bad", "/y", "2")).toBe(true);
    expect(check("ns/a/sa/bad", "/x", "1")).toBe(false);
    expect(check("ns/d/sa/s", "/x", "1")).toBe(false);
    expect(check("ns/a/sa/s", "/z", "1")).toBe(false);
    expect(check("ns/a/sa/s", "/z", "1", 9)).toBe(true);
    expect(check("ns/a/sa/s", "/x", "3")).toBe(false);
  });

  test.each<[AuthorizationPolicySpec, boolean]>([
    [{}, false],
    [{ rules: [] }, false],
    [{ rules: [{}] }, true],
    [{ action: "DENY" }, true],
    [{ action: "DENY", rules: [{}] }, false],
    [{ action: "AUDIT", rules: [{}] }, true],
    [{ action: "AUDIT" }, true],
  ])("%j allows everything: %p", (spec, allowed) => {
    for (const forHttp of [true, false]) {
      const { filters, problems } = convert(spec, forHttp);
      expect(problems).toEqual([]);
      expect(engine(...filters).check(forHttp ? request() : tcp()).allowed).toBe(allowed);
    }
  });

  test("names, order of filters, a policy given twice", () => {
    const spec = (action: "ALLOW" | "DENY" | "AUDIT") => ({ action, rules: [{}, {}] });
    const policies = [
      authorization(spec("ALLOW"), { name: "a" }),
      authorization(spec("DENY"), { name: "d", namespace: "istio-system" }),
      authorization(spec("AUDIT"), { name: "l" }),
      authorization(spec("ALLOW"), { name: "a" }),
    ];
    const { filters } = authorizationToRbac(policies, {
      trustDomains: [],
      forHttp: true,
      readsServerName: true,
      chain: "the chain",
      port: undefined,
    });
    expect(filters.map(({ action, policies }) => [action, policies?.map(({ name }) => name)])).toEqual([
      ["LOG", ["ns[shop]-policy[l]-rule[0]", "ns[shop]-policy[l]-rule[1]"]],
      ["DENY", ["ns[istio-system]-policy[d]-rule[0]", "ns[istio-system]-policy[d]-rule[1]"]],
      ["ALLOW", ["ns[shop]-policy[a]-rule[0]", "ns[shop]-policy[a]-rule[1]"]],
    ]);
  });

  test("dry run goes to the shadow, alone or beside enforced policies", () => {
    const dry = authorization({ rules: [{}] }, { name: "dry", annotations: { "istio.io/dry-run": "true" } });
    const off = authorization({ rules: [{}] }, { name: "off", annotations: { "istio.io/dry-run": "false" } });
    const unclear = authorization({ rules: [{}] }, { name: "unclear", annotations: { "istio.io/dry-run": "yes" } });
    const names = (...policies: (typeof dry)[]) => {
      const { filters, problems } = authorizationToRbac(policies, {
        trustDomains: [],
        forHttp: true,
        readsServerName: true,
        chain: "the chain",
        port: undefined,
      });
      const [{ policies: enforced, shadow } = { policies: undefined, shadow: undefined }] = filters;
      const short = (list: typeof enforced) => list?.map(({ name }) => name.split(/[[\]]/)[3]);
      return [short(enforced), short(shadow), problems.length];
    };
    expect(names(dry)).toEqual([undefined, ["dry"], 0]);
    expect(names(dry, off)).toEqual([["off"], ["dry"], 0]);
    expect(names(unclear)).toEqual([["unclear"], undefined, 1]);
  });
});

describe("as istiod writes it", () => {
  test("exact, prefix, suffix; hosts, methods, paths and ports in this order; JWT", () => {
    const { filters } = convert({
      rules: [
        {
          from: [{ source: { principals: ["cluster.local/ns/shop/sa/client"] } }],
          to: [{
            operation: {
              paths: ["/api/*", "/re/{*}"],
              methods: ["GET"],
              hosts: ["web.shop", "*.example"],
              ports: ["80"],
            },
          }],
        },
        {
          from: [{ source: { requestPrincipals: ["testing@secure.istio.io/*"], remoteIpBlocks: ["10.0.0.0/8"] } }],
          to: [{ operation: { notMethods: ["DELETE"], notPaths: ["/admin"] } }],
          when: [
            { key: "request.auth.claims[groups]", values: ["admins"] },
            { key: "request.headers[x-tenant]", notValues: ["evil"] },
          ],
        },
      ],
    });
    const claim = (path: string[], match: object) => ({
      kind: "metadata",
      metadata: { filter: "envoy.filters.http.jwt_authn", path: ["payload", ...path], match, invert: false },
    });
    const not = (rule: object) => ({ kind: "not", rule: { kind: "or", rules: [rule] } });
    const expected = [
      {
        name: "ns[shop]-policy[p]-rule[0]",
        permissions: [{
          kind: "and",
          rules: [
            {
              kind: "or",
              rules: [
                header(":authority", { kind: "exact", value: "web.shop", ignoreCase: true }),
                header(":authority", { kind: "suffix", value: ".example", ignoreCase: true }),
              ],
            },
            { kind: "or", rules: [header(":method", { kind: "exact", value: "GET" })] },
            {
              kind: "or",
              rules: [
                { kind: "path", match: { kind: "prefix", value: "/api/" } },
                { kind: "path", match: { kind: "template", template: "/re/{*}" } },
              ],
            },
            { kind: "or", rules: [{ kind: "destination-port", port: 80 }] },
          ],
        }],
        principals: [{
          kind: "and",
          ids: [{
            kind: "or",
            ids: [{
              kind: "peer-principal",
              match: { kind: "exact", value: "spiffe://cluster.local/ns/shop/sa/client" },
            }],
          }],
        }],
      },
      {
        name: "ns[shop]-policy[p]-rule[1]",
        permissions: [{
          kind: "and",
          rules: [
            not(header(":method", { kind: "exact", value: "DELETE" })),
            not({ kind: "path", match: { kind: "exact", value: "/admin" } }),
          ],
        }],
        principals: [{
          kind: "and",
          ids: [
            {
              kind: "or",
              ids: [{
                kind: "and",
                ids: [
                  claim(["iss"], { kind: "exact", value: "testing@secure.istio.io" }),
                  claim(["sub"], { kind: "regex", regex: ".+" }),
                ],
              }],
            },
            { kind: "or", ids: [{ kind: "remote-ip", cidr: "10.0.0.0/8" }] },
            {
              kind: "or",
              ids: [{
                kind: "or",
                ids: [
                  claim(["groups"], { kind: "list-contains", value: { kind: "exact", value: "admins" } }),
                  claim(["groups"], { kind: "exact", value: "admins" }),
                ],
              }],
            },
            { kind: "not", id: { kind: "or", ids: [header("x-tenant", { kind: "exact", value: "evil" })] } },
          ],
        }],
      },
    ];
    expect(filters as unknown).toEqual([{ action: "ALLOW", policies: expected, shadow: undefined }]);
  });

  test("a policy without rules never matches, one that restricts nothing matches anybody", () => {
    expect(convert({}).filters[0]?.policies as unknown).toEqual([{
      name: "ns[shop]-policy[p]-rule[0]",
      permissions: [{ kind: "not", rule: { kind: "any" } }],
      principals: [{ kind: "not", id: { kind: "any" } }],
    }]);
    expect(convert({ rules: [{}] }).filters[0]?.policies as unknown).toEqual([
      { name: "ns[shop]-policy[p]-rule[0]", permissions: [ANY], principals: [ANYBODY] },
    ]);
  });

  test.each<[string, string]>([
    ["namespaces a.b*", ".*/ns/a\\.b.*/.*"],
    ["serviceAccounts sa.1", "spiffe://.+/ns/shop/(.+/|)sa/sa\\.1(/.+)?"],
    ["trustDomains *.td", "spiffe://[^/]*\\.td/.*"],
  ])("%s is the pattern %s", (given, regex) => {
    const [field, value] = given.split(" ") as ["namespaces", string];
    const { filters } = convert({ rules: [{ from: [{ source: { [field]: [value] } }] }] });
    const principal: Principal = { kind: "peer-principal", match: { kind: "regex", regex } };
    expect(filters[0]?.policies?.[0]?.principals).toEqual([{ kind: "and", ids: [{ kind: "or", ids: [principal] }] }]);
  });

  test("principals of the own trust domain stand for its aliases too", () => {
    const source = { principals: ["new/ns/a/sa/b"], notPrincipals: ["cluster.local/ns/a/sa/c"] };
    const when = [{ key: "source.principal", values: ["old/ns/a/sa/b"] }];
    const { filters } = convert({ rules: [{ from: [{ source }], when }] }, true, ["new", "old"]);
    const check = (peerPrincipal: string) => engine(...filters).check(tcp({ peerPrincipal })).allowed;
    expect(check("spiffe://new/ns/a/sa/b")).toBe(true);
    expect(check("spiffe://old/ns/a/sa/b")).toBe(true);
    expect(check("spiffe://foreign/ns/a/sa/b")).toBe(false);
    expect(check("spiffe://old/ns/a/sa/c")).toBe(false);
  });
});

describe("TCP chains", () => {
  const HTTP: [string, AuthorizationRule][] = [
    ["methods", { to: [{ operation: { methods: ["GET"], ports: ["80"] } }] }],
    ["notMethods", { to: [{ operation: { notMethods: ["GET"], ports: ["80"] } }] }],
    ["paths", { to: [{ operation: { paths: ["/a"], ports: ["80"] } }] }],
    ["notHosts", { to: [{ operation: { notHosts: ["a"], ports: ["80"] } }] }],
    ["headers", { when: [{ key: "request.headers[a]", values: ["a"] }, { key: "destination.port", values: ["80"] }] }],
    ["JWT", { from: [{ source: { requestPrincipals: ["a/b"] } }], to: [{ operation: { ports: ["80"] } }] }],
    ["claims", {
      when: [{ key: "request.auth.claims[a]", notValues: ["a"] }, { key: "destination.port", values: ["80"] }],
    }],
  ];
  test.each(HTTP)("%s: an ALLOW rule never matches, a DENY rule matches by the rest", (_, rule) => {
    const here = tcp();
    const elsewhere = tcp({ destination: { ip: "10.96.0.10", port: 81 } });
    expect(problems({ rules: [rule] }, false)).toEqual([]);
    expect(policyEngine("ALLOW", rule, false).check(here).allowed).toBe(false);
    expect(policyEngine("DENY", rule, false).check(here).allowed).toBe(false);
    expect(policyEngine("DENY", rule, false).check(elsewhere).allowed).toBe(true);
  });

  test("one operation with HTTP takes the whole ALLOW rule with it, not the other rules", () => {
    const spec: AuthorizationPolicySpec = {
      rules: [
        { to: [{ operation: { methods: ["GET"] } }, { operation: { ports: ["80"] } }] },
        { to: [{ operation: { ports: ["81"] } }] },
      ],
    };
    expect(convert(spec, false).filters[0]?.policies?.map(({ name }) => name)).toEqual(["ns[shop]-policy[p]-rule[1]"]);
  });

  test("an HTTP-only ALLOW denies every connection, as does an HTTP-only DENY", () => {
    const rules = [{ to: [{ operation: { methods: ["GET"] } }] }];
    for (const action of ["ALLOW", "DENY"] as const) {
      expect(engine(...convert({ action, rules }, false).filters).check(tcp()).allowed).toBe(false);
    }
  });
});

describe("what cannot be enforced", () => {
  test.each<[AuthorizationPolicySpec, string]>([
    [
      { action: "CUSTOM", provider: { name: "x" }, rules: [{}] },
      "unsupported AuthorizationPolicy shop/p: spec.action: external",
    ],
    [
      { rules: [{ from: [{ source: { requestPrincipals: ["*"] } }] }] },
      "unsupported AuthorizationPolicy shop/p: spec.rules[0].from[0].source.requestPrincipals: ",
    ],
    [
      { rules: [{ from: [{ source: { notRequestPrincipals: ["*"] } }] }] },
      "unsupported AuthorizationPolicy shop/p: spec.rules[0].from[0].source.notRequestPrincipals: ",
    ],
    [
      { rules: [{}, { when: [{ key: "request.auth.audiences", notValues: ["a"] }] }] },
      "unsupported AuthorizationPolicy shop/p: spec.rules[1].when[0].notValues: ",
    ],
    [
      { rules: [{ when: [{ key: "experimental.envoy.filters.a.b[c]", values: ["[d]"] }] }] },
      "unsupported AuthorizationPolicy shop/p: spec.rules[0].when[0].values: ",
    ],
    [
      { rules: [{ to: [{ operation: { ports: ["80", "http"] } }] }] },
      'invalid AuthorizationPolicy shop/p: spec.rules[0].to[0].operation.ports[1]: not a port "http"',
    ],
    [
      { rules: [{ from: [{ source: { notRemoteIpBlocks: ["10.0.0.0/33"] } }] }] },
      "invalid AuthorizationPolicy shop/p: spec.rules[0].from[0].source.notRemoteIpBlocks[0]: not an IP",
    ],
    [
      { rules: [{ from: [{ source: { serviceAccounts: ["a/b/c"] } }] }] },
      "invalid AuthorizationPolicy shop/p: spec.rules[0].from[0].source.serviceAccounts[0]: not a service account",
    ],
    [
      { rules: [{ to: [{ operation: { paths: [""] } }] }] },
      "invalid AuthorizationPolicy shop/p: spec.rules[0].to[0].operation.paths[0]: an empty value",
    ],
    [
      { rules: [{ from: [{ source: {} }] }] },
      "invalid AuthorizationPolicy shop/p: spec.rules[0].from[0].source: it names",
    ],
    [{ rules: [{ to: [{}] }] }, "invalid AuthorizationPolicy shop/p: spec.rules[0].to[0].operation: it names nothing"],
    [
      { rules: [{ when: [{ key: "source.namespace" }] }] },
      "invalid AuthorizationPolicy shop/p: spec.rules[0].when[0]: values or notValues are needed",
    ],
    [
      { rules: [{ when: [{ key: "source.nothing", values: ["a"] }] }] },
      'invalid AuthorizationPolicy shop/p: spec.rules[0].when[0].key: unknown attribute "source.nothing"',
    ],
    [
      { rules: [{ when: [{ key: "request.headers", values: ["a"] }] }] },
      "invalid AuthorizationPolicy shop/p: spec.rules[0].when[0].key: expected request.headers[name]",
    ],
  ])("%j", (spec, expected) => {
    expect(problems(spec)).toHaveLength(1);
    expect(problems(spec)[0]).toStartWith(expected);
  });

  test("an invalid value never widens an ALLOW and never narrows a DENY", () => {
    const rules: AuthorizationRule[] = [
      { to: [{ operation: { ports: ["http"] } }] },
      { to: [{ operation: { notPorts: ["http"] } }] },
      { when: [{ key: "unknown", values: ["a"] }] },
      { from: [{ source: { remoteIpBlocks: ["x"] } }] },
      { from: [{ source: {} }] },
    ];
    for (const rule of rules) {
      expect(engine(...convert({ rules: [rule] }).filters).check(request()).allowed).toBe(false);
      expect(engine(...convert({ action: "DENY", rules: [rule] }).filters).check(request()).allowed).toBe(false);
    }
  });

  test("CUSTOM denies what its rules match", () => {
    const spec: AuthorizationPolicySpec = {
      action: "CUSTOM",
      rules: [{ to: [{ operation: { paths: ["/checkout*"] } }] }],
    };
    const rbac = engine(...convert(spec).filters);
    expect(rbac.check(at("/checkout/1")).allowed).toBe(false);
    expect(rbac.check(at("/cart")).allowed).toBe(true);
  });
});

describe("principals of requests", () => {
  const token = (iss: string, sub: string, more: object = {}) =>
    request({ metadata: new Map([["envoy.filters.http.jwt_authn", { payload: { iss, sub, ...more } }]]) });
  const matches = (rule: AuthorizationRule, facts: RequestFacts) =>
    engine(...convert({ rules: [rule] }).filters).check(facts).allowed;

  test.each<[string, string, string, boolean]>([
    ["*", "i", "s", true],
    ["*", "", "s", false],
    ["i/s", "i", "s", true],
    ["https://i.example/x/s", "https://i.example/x", "s", true],
    ["i/s", "i", "s2", false],
    ["i/*", "i", "s", true],
    ["i/*", "i2", "s", false],
    ["i/a*", "i", "abc", true],
    ["*/s", "anything", "s", true],
    ["*.example/s", "i.example", "s", true],
    ["*.example/s", "i.example", "t", false],
    ["*s", "i", "xs", true],
    ["i*", "ixx", "s", true],
    ["i*", "jxx", "s", false],
  ])("%s: issuer %s, subject %s", (value, issuer, subject, expected) => {
    expect(matches({ from: [{ source: { requestPrincipals: [value] } }] }, token(issuer, subject))).toBe(expected);
    expect(matches({ when: [{ key: "request.auth.principal", values: [value] }] }, token(issuer, subject))).toBe(
      expected,
    );
  });

  test("claims are texts or lists, nested by brackets", () => {
    const facts = token("i", "s", { aud: ["a", "b"], azp: "p", realm: { roles: ["admin"] } });
    expect(matches({ when: [{ key: "request.auth.audiences", values: ["b"] }] }, facts)).toBe(true);
    expect(matches({ when: [{ key: "request.auth.presenter", values: ["p"] }] }, facts)).toBe(true);
    expect(matches({ when: [{ key: "request.auth.claims[realm][roles]", values: ["adm*"] }] }, facts)).toBe(true);
    expect(matches({ when: [{ key: "request.auth.claims[realm][roles]", values: ["adm"] }] }, facts)).toBe(false);
  });

  test("metadata of filters", () => {
    const permission: Permission = {
      kind: "metadata",
      metadata: { filter: "envoy.filters.a.b", path: ["c"], match: { kind: "prefix", value: "d" }, invert: false },
    };
    const { filters } = convert({ rules: [{ when: [{ key: "experimental.envoy.filters.a.b[c]", values: ["d*"] }] }] });
    expect(filters[0]?.policies?.[0]?.permissions).toEqual([{
      kind: "and",
      rules: [{ kind: "or", rules: [permission] }],
    }]);
  });
});
