import { describe, expect, test } from "bun:test";
import {
  compilePathMatch,
  compileQueryMatch,
  MatchError,
  pathKey,
  type PathMatch,
  pathOnly,
  queryParameter,
} from "../../src/matching/mod.ts";

function separated(value: string, caseSensitive = true): PathMatch {
  return { kind: "path-separated-prefix", value, caseSensitive };
}

function template(text: string): PathMatch {
  return { kind: "template", template: text };
}

const CASES: [PathMatch, matches: string[], others: string[]][] = [
  [{ kind: "exact", value: "/a", caseSensitive: true }, ["/a"], ["/A", "/a/", "/ab", "/"]],
  [{ kind: "exact", value: "/A", caseSensitive: false }, ["/a", "/A"], ["/ab"]],
  [{ kind: "prefix", value: "/a", caseSensitive: true }, ["/a", "/ab", "/a/b"], ["/", "/A"]],
  [{ kind: "prefix", value: "/aB", caseSensitive: false }, ["/AB", "/abc"], ["/a"]],
  [separated("/foo"), ["/foo", "/foo/", "/foo/bar"], ["/foobar", "/fo", "/Foo"]],
  [separated("/foo", false), ["/FOO/bar"], ["/foobar"]],
  [{ kind: "regex", regex: "/a/[0-9]+" }, ["/a/12"], ["/a/12/", "/b/a/12", "/a/"]],
  [template("/foo/{*}"), ["/foo/bar"], ["/foo", "/foo/", "/foo/bar/baz"]],
  [template("/foo/*"), ["/foo/bar"], ["/foo/"]],
  [template("/foo/{**}"), ["/foo/", "/foo/bar", "/foo/bar/baz"], ["/foo", "/fooo/bar"]],
  [template("/foo/{**}/"), ["/foo/bar/", "/foo/bar/baz.txt/", "/foo//"], ["/foo/", "/foo/bar"]],
  [template("/foo/{**}/bar"), ["/foo/x/bar", "/foo/bar/bar", "/foo/x/bar/y/bar", "/foo//bar"], [
    "/foo/bar",
    "/foo/x/ba",
  ]],
  [template("/{*}/b/{**}/d"), ["/a/b/c/d", "/a/b/d/d/d"], ["//b/c/d", "/a/b/d"]],
  [template("/{**}/a/{**}/b"), ["/x/a/y/b", "/x/a/a/a/b", "/a/a/b/b"], ["/a/b", "/x/a/b"]],
  [template("/users/{id}/posts/{rest=**}"), ["/users/7/posts/a/b"], ["/users//posts/a"]],
  [template("/plain"), ["/plain"], ["/plain/"]],
];

describe("PathMatch", () => {
  for (const [match, matching, others] of CASES) {
    test(JSON.stringify(match), () => {
      const matches = compilePathMatch(match);
      for (const path of matching) expect([path, matches(path)]).toEqual([path, true]);
      for (const path of others) expect([path, matches(path)]).toEqual([path, false]);
    });
  }

  for (const text of ["foo", "/a{*}", "/a*b", "/{*", "/{a=b*}", "/{}", "/{***}"]) {
    test(`template ${text} is refused by name`, () => {
      expect(() => compilePathMatch(template(text))).toThrow(MatchError);
      expect(() => compilePathMatch(template(text))).toThrow(JSON.stringify(text));
    });
  }

  test("a template of many operators takes no time", () => {
    const matches = compilePathMatch(template(`${"/{**}/a".repeat(20)}/b`));
    const start = performance.now();
    expect(matches("/a".repeat(3000))).toBe(false);
    expect(performance.now() - start).toBeLessThan(500);
  });
});

describe("what a path begins with", () => {
  const starts: [regex: string, literal: string][] = [
    ["/svc/[0-9]+", "/svc/"],
    ["^/svc/a$", "/svc/a"],
    ["/svc?", "/sv"],
    ["/svc*", "/sv"],
    ["/svc{0,1}x", "/sv"],
    ["/svc+", "/svc"],
    ["/a|/b", ""],
    ["/a(b|c)", "/a"],
    ["/a[|]b", "/a"],
    ["/a[]|]b", "/a"],
    ["/a[^]|]b|/c", ""],
    ["/a\\|b", "/a"],
    ["/a[[:alpha:](]|/b", ""],
    ["/a\\Q(\\E|/b", ""],
    ["(?i)/a", ""],
    [".*", ""],
    ["/a.b", "/a"],
  ];
  for (const [regex, literal] of starts) {
    test(`${regex}: ${JSON.stringify(literal)}`, () => {
      expect(pathKey({ kind: "regex", regex })).toEqual({ kind: "prefix", value: literal, caseSensitive: true });
    });
  }
});

describe("query", () => {
  const cases: [path: string, name: string, value: string | undefined][] = [
    ["/", "a", undefined],
    ["/?a=1", "a", "1"],
    ["/?a=1&a=2", "a", "1"],
    ["/?b=2&a=1", "a", "1"],
    ["/?ab=2", "a", undefined],
    ["/?a", "a", ""],
    ["/?a&b", "a", ""],
    ["/?b&a=", "a", ""],
    ["/?a=b=c", "a", "b=c"],
    ["/?a=%31", "a", "%31"],
    ["/?x?a=1", "a", undefined],
    ["/a=1", "a", undefined],
    ["/?&&a=1&", "a", "1"],
  ];
  for (const [path, name, value] of cases) {
    test(`${name} in ${path} is ${JSON.stringify(value)}`, () => expect(queryParameter(path, name)).toBe(value!));
  }

  test("a match needs the parameter", () => {
    const present = compileQueryMatch({ name: "a", match: { kind: "present" } });
    expect([present("/?a"), present("/?b")]).toEqual([true, false]);
    const digits = compileQueryMatch({ name: "a", match: { kind: "regex", regex: "[0-9]+" } });
    expect([digits("/?a=12"), digits("/?a=1x"), digits("/?a=x&a=1")]).toEqual([true, false, false]);
  });

  test("a path ends at its query or fragment", () => {
    expect(["/a", "/a?b#c", "/a#b?c", "?"].map(pathOnly)).toEqual(["/a", "/a", "/a", ""]);
  });
});
