import { expect, test } from "bun:test";
import { packedLines, Unpacker } from "../../src/config/packed.ts";

function roundTrip(value: unknown): unknown {
  const [head, ...lines] = packedLines(value);
  const unpacker = new Unpacker(head as string);
  for (const line of lines) unpacker.add(line);
  return unpacker.value;
}

test.each([
  [null],
  ["text"],
  [5],
  [true],
  [[]],
  [{}],
  [[[1], [[2, "x"]], null]],
  [{ a: { b: [{ c: 1 }, { c: 1 }] }, d: null, "": "" }],
  [{ length: 1, 0: "array-like" }],
  [[-1, 1.5, 2 ** 40]],
])("%j comes back", (value) => {
  expect(roundTrip(value)).toEqual(value);
});

test("undefined properties are left out, as JSON does", () => {
  expect(Object.keys(roundTrip({ a: undefined, b: 1 }) as object)).toEqual(["b"]);
});

test("equal parts are one object", () => {
  const part = () => ({ add: [], remove: [] });
  const [a, b, { c }] = roundTrip([part(), part(), { c: part() }]) as [object, object, { c: object }];
  expect(a).toBe(b);
  expect(a).toBe(c);
});

test("random trees, larger than one line", () => {
  let seed = 7;
  const random = (n: number) => ((seed = Math.imul(seed, 1103515245) + 12345 | 0) >>> 12) % n;
  const tree = (depth: number): unknown => {
    if (depth === 0) return [random(1000), `t${random(50)}`, random(2) === 0, null][random(4)];
    if (random(2) === 0) return Array.from({ length: random(6) }, () => tree(depth - 1));
    return Object.fromEntries(Array.from({ length: random(6) }, () => [`k${random(8)}`, tree(depth - 1)]));
  };
  const value = Array.from({ length: 3000 }, () => tree(4));
  expect([...packedLines(value)].length).toBeGreaterThan(2);
  expect(roundTrip(value)).toEqual(value);
});
