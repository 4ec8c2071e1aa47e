/** A map in parts answers as one map does. */
import { expect, test } from "bun:test";
import { TextMap } from "../../src/mesh/text_map.ts";

test("it holds what a Map holds, whatever is put, replaced and deleted", () => {
  const map = new TextMap<number>();
  const model = new Map<string, number>();
  let seed = 7;
  const next = (below: number) => (seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fff_ffff) % below;
  for (let i = 0; i < 20_000; i++) {
    const key = `Kubernetes//Pod/shop/web-${next(3_000)}`;
    if (next(3) === 0) expect(map.delete(key)).toBe(model.delete(key));
    else {
      map.set(key, i);
      model.set(key, i);
    }
    expect(map.size).toBe(model.size);
  }
  for (const [key, value] of model) expect(map.get(key)).toBe(value);
  expect([...map.values()].sort((a, b) => a - b)).toEqual([...model.values()].sort((a, b) => a - b));
  expect(map.get("")).toBeUndefined();
});

test("keys of one kind are spread over its parts: none takes long to be built anew", () => {
  const map = new TextMap<number>();
  let longest = 0;
  for (let i = 0; i < 200_000; i++) map.set(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`, i);
  for (const shard of map.shards()) longest = Math.max(longest, shard.size);
  expect(longest).toBeLessThan(200_000 / 64 * 2);
});
