import { describe, expect, test } from "bun:test";
import { denyAll, type Permission, type Rbac, type RbacPolicy, shadowMetadata } from "../../src/policy/mod.ts";
import { at, engine, filter, policyEngine, request, tcp } from "./rbac_fixtures.ts";

const ANY = { kind: "any" } as const;

function rule(name: string, path: string): RbacPolicy {
  const permission: Permission = { kind: "path", match: { kind: "prefix", value: path } };
  return { name, permissions: [permission], principals: [ANY] };
}

function enforced(action: Rbac["action"], ...policies: RbacPolicy[]): Rbac {
  return { action, policies, shadow: undefined };
}

function shadow(action: Rbac["action"], ...policies: RbacPolicy[]): Rbac {
  return { action, policies: undefined, shadow: policies };
}

describe("verdicts", () => {
  test("no filters: allowed", () => {
    const verdict = engine().check(at("/a"));
    expect(verdict).toMatchObject({ allowed: true, action: undefined, policy: "none", responseCodeDetails: "" });
    expect(verdict.audits).toEqual([]);
  });

  test("DENY without a match: allowed", () => {
    expect(engine(enforced("DENY", rule("d", "/x"))).check(at("/a")).allowed).toBe(true);
  });

  test("DENY with a match names the rule, white space replaced in the details", () => {
    const verdict = engine(enforced("DENY", rule("ns[a b]-policy[c\td]-rule[0]", "/a"))).check(at("/a"));
    expect(verdict).toMatchObject({
      allowed: false,
      action: "DENY",
      policy: "ns[a b]-policy[c\td]-rule[0]",
      responseCodeDetails: "rbac_access_denied_matched_policy[ns[a_b]-policy[c_d]-rule[0]]",
    });
  });

  test("ALLOW with a match names the rule", () => {
    const verdict = engine(enforced("ALLOW", rule("r", "/a"))).check(at("/a"));
    expect(verdict).toMatchObject({ allowed: true, action: "ALLOW", policy: "r", responseCodeDetails: "" });
    expect(verdict.reasons).toEqual(["ALLOW rule r matches"]);
  });

  test("ALLOW without a match, and ALLOW without rules: denied", () => {
    const details = "rbac_access_denied_matched_policy[none]";
    for (const filters of [enforced("ALLOW", rule("r", "/x")), enforced("ALLOW")]) {
      const verdict = engine(filters).check(at("/a"));
      expect(verdict).toMatchObject({ allowed: false, action: "ALLOW", policy: "none", responseCodeDetails: details });
    }
  });

  test("DENY and LOG without rules do nothing", () => {
    expect(engine(enforced("DENY"), enforced("LOG")).check(at("/a")).allowed).toBe(true);
  });

  test("DENY beats ALLOW, in whatever order the filters are given", () => {
    const [allow, deny] = [enforced("ALLOW", rule("a", "/")), enforced("DENY", rule("d", "/"))];
    expect(engine(allow, deny).check(at("/")).policy).toBe("d");
    expect(engine(deny, allow).check(at("/")).policy).toBe("d");
  });

  test("two ALLOW filters have to allow both", () => {
    const both = engine(enforced("ALLOW", rule("a", "/a")), enforced("ALLOW", rule("b", "/a/b")));
    expect(both.check(at("/a/b")).allowed).toBe(true);
    expect(both.check(at("/a/c")).allowed).toBe(false);
  });

  test("of several rules the first by name is told, however they are found", () => {
    const suffix: RbacPolicy = {
      name: "b",
      permissions: [{ kind: "path", match: { kind: "suffix", value: "c" } }],
      principals: [ANY],
    };
    expect(engine(enforced("DENY", rule("c", "/a"), suffix, rule("d", "/a/b"))).check(at("/a/b/c")).policy).toBe("b");
    expect(engine(enforced("DENY", rule("z", "/a"), rule("y", "/a/b"), rule("x", "/q"))).check(at("/a/b")).policy).toBe(
      "y",
    );
  });

  test("LOG never blocks, and tells all that match also where a DENY follows", () => {
    const log = enforced("LOG", rule("l2", "/a"), rule("l1", "/"), rule("l3", "/b"));
    expect(new Set(engine(log).check(at("/a")).audits)).toEqual(new Set(["l1", "l2"]));
    const verdict = engine(enforced("DENY", rule("d", "/a")), log).check(at("/a"));
    expect(verdict.allowed).toBe(false);
    expect(new Set(verdict.audits)).toEqual(new Set(["l1", "l2"]));
  });

  test("verdicts of one rule do not share what differs", () => {
    const rbac = engine(enforced("ALLOW", rule("a", "/")), enforced("LOG", rule("l", "/logged")));
    expect(rbac.check(at("/logged")).audits).toEqual(["l"]);
    expect(rbac.check(at("/other")).audits).toEqual([]);
  });

  test("more peers than are remembered", () => {
    const who = filter("ALLOW", ANY, { kind: "peer-principal", match: { kind: "suffix", value: "7" } });
    const rbac = engine(who);
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 600; i++) {
        expect(rbac.check(tcp({ peerPrincipal: `spiffe://td/ns/a/sa/${i}` })).allowed).toBe(i % 10 === 7);
      }
    }
  });

  test("denyAll lets nothing pass and says why", () => {
    const rbac = denyAll("policy shop/x: spec.rules[0]: what is wrong");
    for (const facts of [request(), tcp()]) {
      expect(rbac.check(facts)).toMatchObject({
        allowed: false,
        responseCodeDetails: "rbac_access_denied_matched_policy[none]",
        reasons: ["policy shop/x: spec.rules[0]: what is wrong"],
      });
    }
  });
});

describe("dry runs", () => {
  test("are told and not enforced", () => {
    const rbac = engine(shadow("DENY", rule("d", "/a")), shadow("ALLOW", rule("a", "/b")));
    expect(rbac.check(at("/a"))).toMatchObject({
      allowed: true,
      policy: "none",
      shadow: { deny: { allowed: false, policy: "d" }, allow: { allowed: false, policy: "none" } },
    });
    expect(rbac.check(at("/b")).shadow).toEqual({
      deny: { allowed: true, policy: "none" },
      allow: { allowed: true, policy: "a" },
    });
  });

  test("stand beside enforced rules of the same filter", () => {
    const rbac = engine({ action: "ALLOW", policies: [rule("a", "/")], shadow: [rule("s", "/s")] });
    expect(rbac.check(at("/x"))).toMatchObject({ allowed: true, policy: "a", shadow: { allow: { allowed: false } } });
    expect(rbac.check(at("/s"))).toMatchObject({ allowed: true, policy: "a", shadow: { allow: { policy: "s" } } });
  });

  test("after an enforced denial are not run, the ones before it are", () => {
    const deny: Rbac = { action: "DENY", policies: [rule("d", "/a")], shadow: [rule("s", "/a")] };
    const verdict = engine(deny, shadow("ALLOW", rule("a", "/"))).check(at("/a"));
    expect(verdict.shadow).toEqual({ deny: { allowed: false, policy: "s" }, allow: undefined });
  });

  test("are told as Envoy's metadata", () => {
    const rbac = engine(
      shadow("DENY", rule("d", "/a")),
      shadow("ALLOW", rule("a", "/b")),
      enforced("LOG", rule("l", "/b")),
    );
    expect(shadowMetadata(rbac.check(at("/a")).shadow)).toEqual({
      istio_dry_run_allow_shadow_engine_result: "denied",
      istio_dry_run_allow_shadow_effective_policy_id: "none",
      istio_dry_run_deny_shadow_engine_result: "denied",
      istio_dry_run_deny_shadow_effective_policy_id: "d",
    });
    expect(shadowMetadata(engine().check(at("/a")).shadow)).toBeUndefined();
  });
});

describe("slashes", () => {
  const EVASIONS = ["//denied", "/denied", "///denied", "//denied?q=//x"];
  test.each(EVASIONS)("%s does not evade a DENY", (path) => {
    expect(policyEngine("DENY", { to: [{ operation: { paths: ["/denied"] } }] }).check(at(path)).allowed).toBe(false);
    expect(policyEngine("DENY", { to: [{ operation: { paths: ["/deni*"] } }] }).check(at(path)).allowed).toBe(false);
    expect(policyEngine("DENY", { to: [{ operation: { notPaths: ["/public"] } }] }).check(at(path)).allowed).toBe(
      false,
    );
  });
  test.each(EVASIONS)("%s does not evade notPaths of an ALLOW", (path) => {
    expect(policyEngine("ALLOW", { to: [{ operation: { notPaths: ["/denied"] } }] }).check(at(path)).allowed).toBe(
      false,
    );
  });
  test.each(["/a//b", "//a/b", "/a/b//"])("%s is not allowed by the merged path alone", (path) => {
    expect(policyEngine("ALLOW", { to: [{ operation: { paths: ["/a/b", "/a/b/"] } }] }).check(at(path)).allowed).toBe(
      false,
    );
  });
  test("what both readings allow passes, by different rules too", () => {
    expect(policyEngine("ALLOW", { to: [{ operation: { paths: ["/a*"] } }] }).check(at("/a//b")).allowed).toBe(true);
    const either = engine(enforced("ALLOW", rule("merged", "/x/"), rule("raw", "//x")));
    expect(either.check(at("//x/1"))).toMatchObject({ allowed: true, policy: "raw" });
    expect(either.check(at("//x")).allowed).toBe(false);
  });
  test("an exact DENY of a path with empty segments still counts", () => {
    expect(policyEngine("DENY", { to: [{ operation: { paths: ["/a//b"] } }] }).check(at("/a//b")).allowed).toBe(false);
    expect(policyEngine("DENY", { to: [{ operation: { paths: ["/a//b"] } }] }).check(at("/a/b")).allowed).toBe(true);
  });
  test(":path as a header is merged up to its query", () => {
    const rbac = policyEngine("DENY", { when: [{ key: "request.headers[:path]", values: ["/denied?u=a//b"] }] });
    expect(rbac.check(at("//denied?u=a//b")).allowed).toBe(false);
    expect(rbac.check(at("//denied?u=a/b")).allowed).toBe(true);
  });
  test("audits and dry runs read both ways", () => {
    const rbac = engine(
      enforced("LOG", rule("l", "/a/b")),
      shadow("DENY", rule("d", "/a/b")),
      shadow("ALLOW", rule("w", "/a//")),
    );
    const verdict = rbac.check(at("/a//b"));
    expect(verdict.audits).toEqual(["l"]);
    expect(verdict.shadow).toEqual({
      deny: { allowed: false, policy: "d" },
      allow: { allowed: false, policy: "none" },
    });
  });
});

describe("reasons", () => {
  test("of a DENY: rule, permission and principal that matched", () => {
    const rbac = policyEngine("DENY", {
      from: [{ source: { namespaces: ["bank"] } }, { source: { namespaces: ["shop"] } }],
      to: [{ operation: { paths: ["/admin*"], methods: ["DELETE", "GET"] } }],
    });
    expect(rbac.check(at("/admin/x")).reasons).toEqual([
      "DENY rule ns[shop]-policy[p]-rule[0] matches: " +
      'permissions[0]: :method is "DELETE" or :method is "GET" and path begins with "/admin"; ' +
      "principals[1]: peer identity matches .*/ns/shop/.*",
    ]);
  });

  test("of an ALLOW without match: the field that fails and what is there", () => {
    const rbac = policyEngine("ALLOW", {
      from: [{ source: { principals: ["cluster.local/ns/shop/sa/web"] } }],
      to: [{ operation: { methods: ["GET"] } }],
    });
    expect(rbac.check(request()).reasons).toEqual([
      "ALLOW rule ns[shop]-policy[p]-rule[0] does not match: principals[0]: " +
      'wanted peer identity is "spiffe://cluster.local/ns/shop/sa/web", got "spiffe://cluster.local/ns/shop/sa/client"',
    ]);
    const other = request({ peerPrincipal: "spiffe://cluster.local/ns/shop/sa/web", head: { method: "DELETE" } });
    expect(rbac.check(other).reasons[0]).toEndWith('permissions[0]: wanted :method is "GET", got "DELETE"');
  });

  test("do not show values of headers", () => {
    const rbac = policyEngine("ALLOW", { when: [{ key: "request.headers[authorization]", values: ["Basic abc"] }] });
    const facts = request({ head: { fields: [["authorization", "Basic secret"]] } });
    expect(rbac.check(facts).reasons.join()).not.toContain("secret");
  });

  test("are few, the rules that came close first", () => {
    const rules = Array.from({ length: 30 }, (_, i) => ({
      ...rule(`r${String(i).padStart(2, "0")}`, "/x"),
      principals: [{ kind: "peer-principal", match: { kind: "exact", value: `p${i}` } } as const],
    }));
    const { reasons } = engine(enforced("ALLOW", ...rules)).check(tcp({ peerPrincipal: "p21" }));
    expect(reasons).toHaveLength(5);
    expect(reasons[0]).toStartWith("ALLOW rule r21 does not match: permissions[0]");
    expect(reasons[4]).toBe("and 26 more ALLOW rules do not match");
  });
});

test("a request that none of 500 rules matches costs less than 20 µs", () => {
  const rules = Array.from({ length: 500 }, (_, i): RbacPolicy => ({
    name: `r${i}`,
    permissions: [{
      kind: "and",
      rules: [
        {
          kind: "header",
          header: {
            name: ":method",
            match: { kind: "exact", value: "GET" },
            invert: false,
            treatMissingAsEmpty: false,
          },
        },
        {
          kind: "or",
          rules: [
            { kind: "path", match: { kind: "prefix", value: `/a${i}/` } },
            { kind: "path", match: { kind: "exact", value: `/b${i}` } },
          ],
        },
      ],
    }],
    principals: [{ kind: "peer-principal", match: { kind: "regex", regex: ".*/ns/shop/.*" } }],
  }));
  const rbac = engine(enforced("DENY", ...rules));
  const facts = at("/api/v1/items");
  let best = Infinity;
  for (let round = 0; round < 20; round++) {
    const started = performance.now();
    for (let i = 0; i < 200; i++) if (!rbac.check(facts).allowed) throw new Error("denied");
    best = Math.min(best, (performance.now() - started) / 200);
  }
  expect(best).toBeLessThan(0.02);
});
