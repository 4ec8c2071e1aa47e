import { expect, test } from "bun:test";
import { Versions } from "../../../src/xds/versions.ts";
import { Random } from "../../http2/random.ts";

test("is what a Map is", () => {
  const random = new Random(7);
  const [versions, map] = [new Versions(), new Map<string, string>()];
  for (let i = 0; i < 20_000; i++) {
    const name = `Kubernetes//Pod/shop/web-${random.below(3_000)}`;
    if (random.chance(40)) {
      versions.delete(name);
      map.delete(name);
    } else {
      versions.set(name, String(i));
      map.set(name, String(i));
    }
    expect(versions.size).toBe(map.size);
  }
  expect(new Map(versions)).toEqual(map);
  for (let i = 0; i < 3_000; i++) {
    const name = `Kubernetes//Pod/shop/web-${i}`;
    expect(versions.has(name)).toBe(map.has(name));
  }
});
