import { describe, expect, test } from "bun:test";
import {
  compileStringMatch,
  compileValueMatch,
  MatchError,
  octetsOf,
  type StringMatch,
} from "../../src/matching/mod.ts";

const CASES: [StringMatch, text: string, matches: boolean][] = [
  [{ kind: "exact", value: "a" }, "a", true],
  [{ kind: "exact", value: "a" }, "A", false],
  [{ kind: "exact", value: "A", ignoreCase: true }, "a", true],
  [{ kind: "exact", value: "" }, "", true],
  [{ kind: "prefix", value: "ab" }, "abc", true],
  [{ kind: "prefix", value: "ab" }, "a", false],
  [{ kind: "prefix", value: "AB", ignoreCase: true }, "aBc", true],
  [{ kind: "suffix", value: "bc" }, "abc", true],
  [{ kind: "suffix", value: "ab" }, "abc", false],
  [{ kind: "contains", value: "b" }, "abc", true],
  [{ kind: "contains", value: "B" }, "abc", false],
  [{ kind: "contains", value: "B", ignoreCase: true }, "abc", true],
  [{ kind: "regex", regex: "a+" }, "aaa", true],
  [{ kind: "regex", regex: "a+" }, "aaab", false],
  [{ kind: "regex", regex: "a|ab" }, "ab", true],
  [{ kind: "regex", regex: ".*" }, "", true],
  [{ kind: "regex", regex: "(?i)abc" }, "ABC", true],
  // Fields are octets: é is two of them.
  [{ kind: "exact", value: "café" }, octetsOf("café"), true],
  [{ kind: "suffix", value: "É", ignoreCase: true }, octetsOf("É"), true],
  [{ kind: "suffix", value: "É", ignoreCase: true }, octetsOf("é"), false],
  [{ kind: "regex", regex: "caf[é]" }, octetsOf("café"), true],
];

describe("StringMatch", () => {
  for (const [match, text, expected] of CASES) {
    test(`${JSON.stringify(match)} ${expected ? "matches" : "does not match"} ${JSON.stringify(text)}`, () => {
      expect(compileStringMatch(match)(text)).toBe(expected);
    });
  }

  test("present is anything", () => {
    expect(compileValueMatch({ kind: "present" })("")).toBe(true);
  });

  for (const regex of ["(", "a(?=b)", "(a)\\1", "[z-a]", "a{5000}", "(?<=a)b"]) {
    test(`${regex} is refused by name`, () => {
      const compile = () => compileStringMatch({ kind: "regex", regex });
      expect(compile).toThrow(MatchError);
      expect(compile).toThrow(JSON.stringify(regex));
    });
  }

  test("an expression that takes a backtracking engine for ever is linear", () => {
    const matches = compileStringMatch({ kind: "regex", regex: "(a+)+b" });
    const start = performance.now();
    expect(matches("a".repeat(20_000))).toBe(false);
    expect(performance.now() - start).toBeLessThan(2000);
  });
});
