import { describe, expect, test } from "bun:test";
import { PAUSE, SortedEntries, SortedList } from "../../src/admin/sorted_items.ts";
import { sortedJson } from "../../src/admin/sorted_json.ts";

function read(value: unknown): unknown {
  return JSON.parse([...sortedJson(value)].join(""));
}

/** Park and Miller. */
function random(seed: number): () => number {
  let state = seed;
  return () => (state = state * 48271 % 2147483647) / 2147483647;
}

describe("lists", () => {
  test("as long as they may be, in the order of their keys; equal keys as they came", () => {
    const next = random(5);
    for (const length of [0, 1, 2, 3, 2047, 2048, 2049, 4096, 5000, 20_000]) {
      const items = Array.from({ length }, (_, n) => ({ key: `k${Math.floor(next() * length / 2)}`, n }));
      const list = SortedList.of(items, ({ key }) => key, (item) => item);
      const expected = items.toSorted((a, b) => a.key < b.key ? -1 : a.key > b.key ? 1 : 0);
      expect(read({ list })).toEqual({ list: expected });
    }
  });

  test("what has gone meanwhile is left out", () => {
    const there = new Map([["a", 1], ["b", 2], ["c", 3]]);
    const list = SortedList.of([...there.keys()], (key) => key, (key) => there.get(key));
    const pieces = sortedJson({ list });
    there.delete("b");
    expect(JSON.parse([...pieces].join(""))).toEqual({ list: [1, 3] });
    there.clear();
    expect(read({ list: SortedList.of(["a"], (key) => key, (key) => there.get(key)) })).toEqual({ list: [] });
  });

  test("nothing is read before it is written, and pauses come often", () => {
    let read = 0;
    const source = (function* () {
      for (; read < 100_000; read++) yield String(read);
    })();
    const items = SortedList.of(source, (key) => key, (key) => key).items();
    expect(read).toBe(0);
    let [pauses, before] = [0, 0];
    for (let step = items.next(); !step.done && step.value === PAUSE; step = items.next()) {
      pauses++;
      expect(read - before).toBeLessThan(5000);
      before = read;
    }
    expect(pauses).toBeGreaterThan(100);
  });
});

describe("objects", () => {
  test("keys in order, of one that comes twice the last, those without value left out", () => {
    const entries = [["b", 1], ["80", 2], ["443", 3], ["b", 4], ["gone", undefined]] as const;
    const object = SortedEntries.of<number | undefined>(
      entries,
      (value) => value === undefined ? undefined : { value },
    );
    const text = [...sortedJson({ object })].join("");
    expect(JSON.parse(text)).toEqual({ object: { "443": { value: 3 }, "80": { value: 2 }, "b": { value: 4 } } });
    expect(text.indexOf('"443"')).toBeLessThan(text.indexOf('"80"'));
    expect(read({ object: SortedEntries.of([], () => 1) })).toEqual({ object: {} });
  });

  test("a large Map", () => {
    const map = new Map(Array.from({ length: 10_000 }, (_, n) => [`k${(n * 7919) % 10_000}`, n]));
    const object = read(SortedEntries.of(map, (value) => [value])) as Record<string, number[]>;
    expect(Object.keys(object)).toEqual([...map.keys()].toSorted());
    expect(object["k7919"]).toEqual([1]);
  });
});
