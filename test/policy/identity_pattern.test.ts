import { expect, test } from "bun:test";
import { RE2JS } from "re2js";
import { compileIdentityPattern } from "../../src/policy/identity_pattern.ts";

const PATTERNS = [
  ".+",
  ".*/ns/a/.*",
  ".*/ns/a-b/.*",
  ".*/ns/a\\.b/.*",
  "spiffe://.+/ns/a/(.+/|)sa/b(/.+)?",
  "spiffe://.+/ns/sa/(.+/|)sa/sa(/.+)?",
  "spiffe://.+/ns/a\\.b/(.+/|)sa/b\\.c(/.+)?",
];
const PIECES = [
  "spiffe://",
  "td",
  "/ns/a/",
  "/ns/sa/",
  "sa/b",
  "sa/sa",
  "/sa/b",
  "/",
  "//",
  "x",
  "a",
  "\n",
  "ns/a",
  "/ns/a.b/",
  "/ns/a-b/",
  "sa/b.c",
];

test.each(PATTERNS)("%s decides as RE2 does", (pattern) => {
  const matches = compileIdentityPattern(pattern)!;
  const regex = RE2JS.compile(pattern);
  let state = 7;
  const pick = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  let hits = 0;
  for (let i = 0; i < 5_000; i++) {
    let text = pick(2) === 0 ? "spiffe://td/ns/" : "";
    for (let n = pick(8); n > 0; n--) text += PIECES[pick(PIECES.length)];
    const expected = regex.matches(text);
    if (matches(text) !== expected) throw new Error(`${JSON.stringify(text)}: RE2 says ${expected}`);
    if (expected) hits++;
  }
  for (
    const text of [
      "",
      "spiffe://td/ns/a/sa/b",
      "spiffe:///ns/a/sa/b",
      "spiffe://td/ns/a/x/sa/b/y",
      "spiffe://td/ns/a/sa/bc",
    ]
  ) {
    expect(matches(text)).toBe(regex.matches(text));
  }
  expect(hits).toBeGreaterThan(0);
});

test.each([".*", "spiffe://.+", ".*/ns/a.b/.*", ".*/ns/.*/.*", "spiffe://.+/ns/a/(.+/|)sa/.*(/.+)?", ".*/ns//.*"])(
  "%s is left to the engine",
  (pattern) => {
    expect(compileIdentityPattern(pattern)).toBeUndefined();
  },
);
