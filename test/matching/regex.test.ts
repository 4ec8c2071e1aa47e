import { describe, expect, test } from "bun:test";
import { MatchError, octetsOf, regexOf } from "../../src/matching/mod.ts";

function replaced(regex: string, text: string, substitution: string): string {
  const compiled = regexOf(regex);
  return compiled.replaceAll(text, compiled.substitution(substitution));
}

describe("regex substitution", () => {
  const cases: [regex: string, text: string, substitution: string, result: string][] = [
    ["^/service/([^/]+)(/.*)$", "/service/foo/v1/api", "\\2/instance/\\1", "/v1/api/instance/foo"],
    ["one", "/xxx/one/yyy/one/zzz", "two", "/xxx/two/yyy/two/zzz"],
    ["^(.*?)one(.*)$", "/xxx/one/yyy/one/zzz", "\\1two\\2", "/xxx/two/yyy/one/zzz"],
    ["(?i)/xxx/", "/aaa/XxX/bbb", "/yyy/", "/aaa/yyy/bbb"],
    [".*", "/a/b", "/x", "/x"],
    ["a*", "baac", "-", "-b-c-"],
    ["^/prefix(/?)(.*)", "/prefix/a/b", "/\\2", "/a/b"],
    ["b", "/a", "x", "/a"],
    ["a", "/a", "\\\\\\0$1", "/\\a$1"],
    ["(x)?a", "/a", "<\\1>", "/<>"],
    ["ü", octetsOf("/ü/é"), "ö", octetsOf("/ö/é")],
  ];
  for (const [regex, text, substitution, result] of cases) {
    test(`${regex} → ${substitution} in ${text}`, () => expect(replaced(regex, text, substitution)).toBe(result));
  }

  for (const substitution of ["\\2", "\\", "\\x"]) {
    test(`${substitution} is refused for one group`, () => {
      expect(() => regexOf("(a)").substitution(substitution)).toThrow(MatchError);
    });
  }

  test("one object for each pattern", () => {
    const first = regexOf("/a/[0-9]{3}");
    expect(regexOf("/a/[0-9]{3}")).toBe(first);
  });
});
