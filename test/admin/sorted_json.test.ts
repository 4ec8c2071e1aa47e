import { expect, test } from "bun:test";
import { sortedJson } from "../../src/admin/sorted_json.ts";

function text(value: unknown): string {
  return [...sortedJson(value)].join("");
}

test("keys in alphabetical order at every level, also those that look like numbers; absent values left out", () => {
  const dump = {
    b: [{ y: 1, x: undefined }, 3, []],
    a: { "80": true, "443": null, z: {} },
    c: { d: { "9": [], "10": {} } },
  };
  expect(text(dump).split("\n")).toEqual([
    "{",
    '  "a": {',
    '    "443": null,',
    '    "80": true,',
    '    "z": {}',
    "  },",
    '  "b": [',
    "    {",
    '      "y": 1',
    "    },",
    "    3,",
    "    []",
    "  ],",
    '  "c": {',
    '    "d": {',
    '      "10": {},',
    '      "9": []',
    "    }",
    "  }",
    "}",
  ]);
});

test("empty ones, and bare values", () => {
  expect([text({}), text([]), text(null), text('a"b')]).toEqual(["{}", "[]", "null", '"a\\"b"']);
});

test("maps are objects, generators are arrays", () => {
  function* twice() {
    yield { a: new Map([["y", 1], ["x", 2]]) };
    yield 2;
  }
  expect(JSON.parse(text({ list: twice(), map: new Map([["k", [1]]]) }))).toEqual({
    list: [{ a: { y: 1, x: 2 } }, 2],
    map: { k: [1] },
  });
});

test("a large dump comes in pieces that together are what JSON.parse reads back", () => {
  const workloads = Array.from({ length: 5000 }, (_, n) => ({ uid: `w${n}`, addresses: [`10.0.0.${n}`] }));
  const pieces = [...sortedJson({ workloads })];
  expect(pieces.length).toBeGreaterThan(3);
  expect(JSON.parse(pieces.join(""))).toEqual({ workloads });
});
