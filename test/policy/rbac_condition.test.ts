import { describe, expect, test } from "bun:test";
import type { HeaderMatch } from "../../src/matching/mod.ts";
import { compileRbac, type Permission, type Principal, type RequestFacts } from "../../src/policy/mod.ts";
import { at, CLIENT, engine, filter, request, tcp } from "./rbac_fixtures.ts";

/** Whether one permission or principal holds. */
function holds(permission: Permission, facts: RequestFacts): boolean {
  return !engine(filter("DENY", permission)).check(facts).allowed;
}
function holdsFor(principal: Principal, facts: RequestFacts): boolean {
  return !engine(filter("DENY", { kind: "any" }, principal)).check(facts).allowed;
}

function headerMatch(given: Partial<HeaderMatch>): HeaderMatch {
  return { name: "x", match: { kind: "present" }, invert: false, treatMissingAsEmpty: false, ...given };
}

const ANY = { kind: "any" } as const;
const NEVER = { kind: "not", rule: ANY } as const;
const fields = (...values: string[]) => request({ head: { fields: values.map((value) => ["x", value]) } });

const PERMISSIONS: [string, Permission, RequestFacts, boolean][] = [
  ["any", ANY, at("/"), true],
  ["not any", NEVER, at("/"), false],
  ["and of none", { kind: "and", rules: [] }, at("/"), true],
  ["or of none", { kind: "or", rules: [] }, at("/"), false],
  ["and", { kind: "and", rules: [ANY, ANY, NEVER] }, at("/"), false],
  ["or", { kind: "or", rules: [NEVER, NEVER, ANY] }, at("/"), true],
  ["path exact", { kind: "path", match: { kind: "exact", value: "/a" } }, at("/a"), true],
  ["path without query", { kind: "path", match: { kind: "exact", value: "/a" } }, at("/a?b=c"), true],
  ["path exact, other", { kind: "path", match: { kind: "exact", value: "/a" } }, at("/a/"), false],
  ["path prefix", { kind: "path", match: { kind: "prefix", value: "/a" } }, at("/ab"), true],
  ["path prefix, shorter", { kind: "path", match: { kind: "prefix", value: "/abc" } }, at("/ab"), false],
  ["path suffix", { kind: "path", match: { kind: "suffix", value: ".js" } }, at("/a.js?v=1"), true],
  ["path contains", { kind: "path", match: { kind: "contains", value: "/b/" } }, at("/a/b/c"), true],
  ["path regex", { kind: "path", match: { kind: "regex", regex: "/[a-c]+" } }, at("/abc"), true],
  ["path regex matches whole", { kind: "path", match: { kind: "regex", regex: "/[a-c]+" } }, at("/abcd"), false],
  ["path regex of presence", { kind: "path", match: { kind: "regex", regex: ".+" } }, at("/"), true],
  ["path with case", { kind: "path", match: { kind: "exact", value: "/A", ignoreCase: true } }, at("/a"), true],
  [
    "path match with case",
    { kind: "path", match: { kind: "prefix", value: "/A", caseSensitive: true } },
    at("/a"),
    false,
  ],
  [
    "path match, no case",
    { kind: "path", match: { kind: "prefix", value: "/A", caseSensitive: false } },
    at("/ab"),
    true,
  ],
  [
    "path below",
    { kind: "path", match: { kind: "path-separated-prefix", value: "/a", caseSensitive: true } },
    at("/a/b"),
    true,
  ],
  [
    "path not below",
    { kind: "path", match: { kind: "path-separated-prefix", value: "/a", caseSensitive: true } },
    at("/ab"),
    false,
  ],
  ["template, one segment", { kind: "path", match: { kind: "template", template: "/a/{*}/c" } }, at("/a/b/c"), true],
  [
    "template, two segments",
    { kind: "path", match: { kind: "template", template: "/a/{*}/c" } },
    at("/a/b/b/c"),
    false,
  ],
  ["template, any number", { kind: "path", match: { kind: "template", template: "/a/{**}" } }, at("/a/b/c"), true],
  ["path of TCP", { kind: "path", match: { kind: "prefix", value: "" } }, tcp(), false],
  ["not path of TCP", { kind: "not", rule: { kind: "path", match: { kind: "exact", value: "/a" } } }, tcp(), true],
  ["destination IP", { kind: "destination-ip", cidr: "10.96.0.0/16" }, at("/"), true],
  ["destination IP outside", { kind: "destination-ip", cidr: "10.97.0.0/16" }, at("/"), false],
  ["destination IP, other family", { kind: "destination-ip", cidr: "::/0" }, at("/"), false],
  ["destination port", { kind: "destination-port", port: 80 }, at("/"), true],
  ["destination port, other", { kind: "destination-port", port: 81 }, tcp(), false],
  [
    "server name",
    { kind: "server-name", match: { kind: "suffix", value: ".example" } },
    tcp({ serverName: "a.example" }),
    true,
  ],
  ["no server name is empty", { kind: "server-name", match: { kind: "exact", value: "" } }, tcp(), true],
  ["no server name is not present", { kind: "server-name", match: { kind: "regex", regex: ".+" } }, tcp(), false],
  [
    "method",
    { kind: "header", header: headerMatch({ name: ":method", match: { kind: "exact", value: "GET" } }) },
    at("/"),
    true,
  ],
  [
    "method has case",
    { kind: "header", header: headerMatch({ name: ":method", match: { kind: "exact", value: "get" } }) },
    at("/"),
    false,
  ],
  ["method of TCP", { kind: "header", header: headerMatch({ name: ":method" }) }, tcp(), false],
  [
    "host without case",
    {
      kind: "header",
      header: headerMatch({
        name: ":authority",
        match: { kind: "exact", value: "WEB.shop.svc.cluster.LOCAL", ignoreCase: true },
      }),
    },
    at("/"),
    true,
  ],
  [
    "host with port is another",
    {
      kind: "header",
      header: headerMatch({ name: ":authority", match: { kind: "exact", value: "a.example", ignoreCase: true } }),
    },
    request({ head: { authority: "a.example:8080" } }),
    false,
  ],
];

const HEADERS: [string, Partial<HeaderMatch>, RequestFacts, boolean][] = [
  ["present", {}, fields("a"), true],
  ["present, empty value", {}, fields(""), true],
  ["absent", {}, fields(), false],
  ["inverted presence", { invert: true }, fields(), true],
  ["inverted presence, there", { invert: true }, fields("a"), false],
  ["exact", { match: { kind: "exact", value: "a" } }, fields("a"), true],
  ["any one value: the last", { match: { kind: "exact", value: "b" } }, fields("a", "b"), true],
  ["any one value: the first", { match: { kind: "exact", value: "a" } }, fields("a", "b"), true],
  ["no value", { match: { kind: "exact", value: "c" } }, fields("a", "b"), false],
  ["prefix of any", { match: { kind: "prefix", value: "b" } }, fields("a", "bc"), true],
  ["suffix of any", { match: { kind: "suffix", value: "c" } }, fields("bc", "a"), true],
  ["regex of any", { match: { kind: "regex", regex: "[x-z]" } }, fields("a", "y"), true],
  ["inverted: none may match", { match: { kind: "exact", value: "b" }, invert: true }, fields("a", "b"), false],
  ["inverted: none does", { match: { kind: "exact", value: "c" }, invert: true }, fields("a", "b"), true],
  ["inverted, absent", { match: { kind: "exact", value: "c" }, invert: true }, fields(), false],
  ["absent as empty", { match: { kind: "exact", value: "" }, treatMissingAsEmpty: true }, fields(), true],
  [
    "inverted, absent as empty",
    { match: { kind: "exact", value: "c" }, invert: true, treatMissingAsEmpty: true },
    fields(),
    true,
  ],
  ["of TCP", { match: { kind: "exact", value: "" }, treatMissingAsEmpty: true }, tcp(), false],
];

const PRINCIPALS: [string, Principal, RequestFacts, boolean][] = [
  ["identity", { kind: "peer-principal", match: { kind: "exact", value: CLIENT } }, at("/"), true],
  ["identity, other", { kind: "peer-principal", match: { kind: "exact", value: `${CLIENT}x` } }, at("/"), false],
  [
    "identity prefix",
    { kind: "peer-principal", match: { kind: "prefix", value: "spiffe://cluster.local/" } },
    tcp(),
    true,
  ],
  ["identity suffix", { kind: "peer-principal", match: { kind: "suffix", value: "/sa/client" } }, tcp(), true],
  [
    "identity regex",
    { kind: "peer-principal", match: { kind: "regex", regex: "spiffe://[^/]+/ns/shop/.*" } },
    tcp(),
    true,
  ],
  ["namespace", { kind: "peer-principal", match: { kind: "regex", regex: ".*/ns/shop/.*" } }, tcp(), true],
  ["namespace, other", { kind: "peer-principal", match: { kind: "regex", regex: ".*/ns/sho/.*" } }, tcp(), false],
  [
    "no identity",
    { kind: "peer-principal", match: { kind: "regex", regex: ".*" } },
    tcp({ peerPrincipal: undefined }),
    false,
  ],
  [
    "not an identity, without one",
    { kind: "not", id: { kind: "peer-principal", match: { kind: "regex", regex: ".+" } } },
    tcp({ peerPrincipal: undefined }),
    true,
  ],
  ["direct IP", { kind: "direct-remote-ip", cidr: "10.244.0.0/16" }, at("/"), true],
  ["remote IP", { kind: "remote-ip", cidr: "192.0.2.0/24" }, request({ remoteIp: "192.0.2.9" }), true],
  [
    "remote IP is not the direct one",
    { kind: "remote-ip", cidr: "10.244.0.0/16" },
    request({ remoteIp: "192.0.2.9" }),
    false,
  ],
  ["remote IP, IPv6", { kind: "remote-ip", cidr: "2001:db8::/32" }, request({ remoteIp: "2001:db8::1" }), true],
  ["and of none", { kind: "and", ids: [] }, at("/"), true],
  ["or of none", { kind: "or", ids: [] }, at("/"), false],
];

const METADATA: [string, Extract<Permission, { kind: "metadata" }>["metadata"], boolean][] = [
  ["text", { filter: "f", path: ["a", "b"], match: { kind: "exact", value: "v" }, invert: false }, true],
  ["text, other", { filter: "f", path: ["a", "b"], match: { kind: "exact", value: "w" }, invert: false }, false],
  ["inverted", { filter: "f", path: ["a", "b"], match: { kind: "exact", value: "w" }, invert: true }, true],
  ["present", { filter: "f", path: ["a"], match: { kind: "present" }, invert: false }, true],
  ["absent", { filter: "f", path: ["a", "z"], match: { kind: "present" }, invert: false }, false],
  ["other filter", { filter: "g", path: ["a"], match: { kind: "present" }, invert: false }, false],
  ["list", {
    filter: "f",
    path: ["l"],
    match: { kind: "list-contains", value: { kind: "prefix", value: "y" } },
    invert: false,
  }, true],
  ["list, none", {
    filter: "f",
    path: ["l"],
    match: { kind: "list-contains", value: { kind: "exact", value: "z" } },
    invert: false,
  }, false],
  ["a list is no text", { filter: "f", path: ["l"], match: { kind: "exact", value: "x" }, invert: false }, false],
  ["nothing inherited", { filter: "f", path: ["constructor"], match: { kind: "present" }, invert: false }, false],
];

describe("conditions of RBAC", () => {
  test.each(PERMISSIONS)("permission: %s", (_, permission, facts, expected) => {
    expect(holds(permission, facts)).toBe(expected);
  });
  test.each(HEADERS)("header: %s", (_, given, facts, expected) => {
    expect(holds({ kind: "header", header: headerMatch(given) }, facts)).toBe(expected);
    expect(holdsFor({ kind: "header", header: headerMatch(given) }, facts)).toBe(expected);
  });
  test.each(PRINCIPALS)("principal: %s", (_, principal, facts, expected) => {
    expect(holdsFor(principal, facts)).toBe(expected);
  });
  test.each(METADATA)("metadata: %s", (_, metadata, expected) => {
    const facts = request({ metadata: new Map([["f", { a: { b: "v" }, l: ["x", "yy"] }]]) });
    expect(holds({ kind: "metadata", metadata }, facts)).toBe(expected);
    expect(holdsFor({ kind: "metadata", metadata }, facts)).toBe(expected);
    expect(holds({ kind: "metadata", metadata }, request())).toBe(false);
  });

  test.each<[string, Permission, string]>([
    [
      "regex",
      { kind: "and", rules: [ANY, { kind: "path", match: { kind: "regex", regex: "(" } }] },
      "DENY rule: permissions[0].rules[1].match: ",
    ],
    [
      "CIDR",
      { kind: "not", rule: { kind: "destination-ip", cidr: "10.0.0/8" } },
      "DENY rule: permissions[0].rule.cidr: ",
    ],
    ["template", { kind: "path", match: { kind: "template", template: "a/{*}" } }, "DENY rule: permissions[0].match: "],
    [
      "header's regex",
      { kind: "header", header: headerMatch({ match: { kind: "regex", regex: "a{2,1}" } }) },
      "DENY rule: permissions[0].header: ",
    ],
  ])("a bad %s is told with its place", (_, permission, expected) => {
    const result = compileRbac([filter("DENY", permission)]);
    expect(result.ok ? "" : result.error).toStartWith(expected);
  });

  test("a bad principal, also of a dry run, is told with its place", () => {
    const bad: Principal = { kind: "or", ids: [{ kind: "any" }, { kind: "remote-ip", cidr: "x" }] };
    const policies = [{ name: "r", permissions: [ANY], principals: [bad] }];
    const result = compileRbac([{ action: "ALLOW", policies: undefined, shadow: policies }]);
    expect(result).toEqual({ ok: false, error: 'ALLOW r: principals[0].ids[1].cidr: not a CIDR "x"' });
  });
});
