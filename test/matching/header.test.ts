import { describe, expect, test } from "bun:test";
import {
  compileAnyHeaderMatch,
  compileHeaderMatch,
  type HeaderMatch,
  type ValueMatch,
} from "../../src/matching/mod.ts";
import type { HeaderList } from "../../src/http2/mod.ts";
import { request } from "../waypoint/routing/fixtures.ts";

function header(name: string, match: ValueMatch, more: Partial<HeaderMatch> = {}): HeaderMatch {
  return { name, match, invert: false, treatMissingAsEmpty: false, ...more };
}

const ONE: ValueMatch = { kind: "exact", value: "one" };
const EMPTY: ValueMatch = { kind: "exact", value: "" };
const PRESENT: ValueMatch = { kind: "present" };
const INVERT = { invert: true };
const AS_EMPTY = { treatMissingAsEmpty: true };

/** joined: as routes see it; any: as authorization does. */
const CASES: [HeaderMatch, HeaderList, joined: boolean, any: boolean][] = [
  [header("x", ONE), [["x", "one"]], true, true],
  [header("x", ONE), [["x", "two"]], false, false],
  [header("x", ONE), [["y", "one"]], false, false],
  [header("x", ONE), [["x", "two"], ["x", "one"]], false, true],
  [header("x", { kind: "exact", value: "two,one" }), [["x", "two"], ["x", "one"]], true, true],
  [header("x", { kind: "prefix", value: "two" }), [["x", "two"], ["x", "one"]], true, true],
  [header("x", ONE, INVERT), [["x", "two"]], true, true],
  [header("x", ONE, INVERT), [["x", "one"]], false, false],
  [header("x", ONE, INVERT), [["x", "two"], ["x", "one"]], true, false],
  // What is not there fails either way, unless it counts as empty.
  [header("x", ONE, INVERT), [], false, false],
  [header("x", ONE, { ...INVERT, ...AS_EMPTY }), [], true, true],
  [header("x", EMPTY), [], false, false],
  [header("x", EMPTY, AS_EMPTY), [], true, true],
  [header("x", EMPTY), [["x", ""]], true, true],
  [header("x", PRESENT), [["x", ""]], true, true],
  [header("x", PRESENT), [], false, false],
  [header("x", PRESENT, INVERT), [], true, true],
  [header("x", PRESENT, INVERT), [["x", "one"]], false, false],
  [header(":method", { kind: "exact", value: "GET" }), [], true, true],
  [header(":authority", { kind: "exact", value: "web:8080" }), [], true, true],
  [header("host", { kind: "prefix", value: "web" }), [], true, true],
  [header(":scheme", { kind: "exact", value: "http" }), [], true, true],
  [header(":path", { kind: "exact", value: "/a?b" }), [], true, true],
  [header(":method", { kind: "exact", value: "GET" }, INVERT), [], false, false],
];

describe("HeaderMatch", () => {
  for (const [match, fields, joined, any] of CASES) {
    test(`${JSON.stringify(match)} on ${JSON.stringify(fields)}`, () => {
      const head = request("/a?b", fields, { authority: "web:8080" });
      expect(compileHeaderMatch(match)(head)).toBe(joined);
      expect(compileAnyHeaderMatch(match)(head)).toBe(any);
    });
  }
});
