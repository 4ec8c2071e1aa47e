import { describe, expect, test } from "bun:test";
import { compileMetadataMatch } from "../../src/matching/mod.ts";
import type { MetadataMatch } from "../../src/policy/rbac.ts";

const FILTER = "envoy.filters.http.jwt_authn";
const claims = new Map([[FILTER, { payload: { iss: "bank", groups: ["a", "é"], level: 3, nested: { a: null } } }]]);

function metadata(path: string[], match: MetadataMatch["match"], invert = false): MetadataMatch {
  return { filter: FILTER, path: ["payload", ...path], match, invert };
}

const CASES: [MetadataMatch, matches: boolean][] = [
  [metadata(["iss"], { kind: "exact", value: "bank" }), true],
  [metadata(["iss"], { kind: "prefix", value: "x" }), false],
  [metadata(["iss"], { kind: "exact", value: "bank" }, true), false],
  [metadata(["none"], { kind: "exact", value: "bank" }, true), true],
  [metadata(["groups"], { kind: "list-contains", value: { kind: "exact", value: "é" } }), true],
  [metadata(["groups"], { kind: "list-contains", value: { kind: "exact", value: "b" } }), false],
  [metadata(["groups"], { kind: "exact", value: "a" }), false],
  [metadata(["iss"], { kind: "list-contains", value: { kind: "exact", value: "bank" } }), false],
  [metadata(["level"], { kind: "exact", value: "3" }), false],
  [metadata(["level"], { kind: "present" }), true],
  [metadata(["nested", "a"], { kind: "present" }), false],
  [metadata(["constructor"], { kind: "present" }), false],
  [metadata(["groups", "length"], { kind: "present" }), false],
];

describe("MetadataMatch", () => {
  for (const [match, expected] of CASES) {
    test(JSON.stringify(match), () => {
      const matches = compileMetadataMatch(match);
      expect(matches(claims)).toBe(expected);
      expect(matches(undefined)).toBe(false); // nothing was verified
    });
  }
});
