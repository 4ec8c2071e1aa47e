/** Fields that Envoy keeps as one value. */
import { expect, test } from "bun:test";
import type { HeaderList } from "../../src/http2/mod.ts";
import { joinRequestFields, joinResponseFields } from "../../src/waypoint/inline_fields.ts";
import { isValidReferer } from "../../src/waypoint/referer.ts";

function joined(join: (fields: HeaderList) => void, fields: HeaderList): HeaderList {
  join(fields);
  return fields;
}

test("several of a request become one, at the place of the first; others stay", () => {
  const fields: HeaderList = [
    ["x-forwarded-for", "1"],
    ["x-a", "1"],
    ["accept", "a"],
    ["x-a", "2"],
    ["x-forwarded-for", "2"],
    ["cookie", "a"],
    ["accept", "b"],
    ["cookie", "b"],
    ["x-request-id", "r"],
    ["x-request-id", "s"],
  ];
  expect(joined(joinRequestFields, fields)).toEqual([
    ["x-forwarded-for", "1,2"],
    ["x-a", "1"],
    ["accept", "a,b"],
    ["x-a", "2"],
    ["cookie", "a"],
    ["cookie", "b"],
    ["x-request-id", "r,s"],
  ]);
});

test("of a response other names", () => {
  const fields: HeaderList = [["vary", "a"], ["set-cookie", "a"], ["vary", "b"], ["set-cookie", "b"], ["accept", "1"], [
    "accept",
    "2",
  ]];
  expect(joined(joinResponseFields, fields)).toEqual([
    ["vary", "a,b"],
    ["set-cookie", "a"],
    ["set-cookie", "b"],
    ["accept", "1"],
    ["accept", "2"],
  ]);
});

test("a section that repeats nothing is left alone", () => {
  const fields: HeaderList = [["vary", "a"], ["accept", "a"], ["x", "1"], ["x", "2"]];
  expect(joined(joinRequestFields, [...fields])).toEqual(fields);
});

test("which referers go on", () => {
  const good = ["http://a/b?c", "https://a", "/a/b?c=d", "a/b", "", "http://a:80/:x", "?x"];
  const bad = ["http://a/b#c", "http://u@a/", "http://", "a:b", "#x", "a b", 'a"b'];
  expect(good.filter(isValidReferer)).toEqual(good);
  expect(bad.filter(isValidReferer)).toEqual([]);
});
