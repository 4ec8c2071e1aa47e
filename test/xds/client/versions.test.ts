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

test("names and versions of any length and alphabet, replaced many times, one by one and all at once", () => {
  const random = new Random(11);
  const names = Array.from(
    { length: 400 },
    (_, i) => `${i % 3 === 0 ? "Köln/" : "shop/"}${"x".repeat(i * 7 % 900)}😀${i}`,
  );
  const [versions, map] = [new Versions(), new Map<string, string>()];
  for (let round = 0; round < 60; round++) {
    for (const name of names) {
      if (random.chance(10)) continue;
      const version = "é".repeat(random.below(300)) + round;
      versions.set(name, version);
      map.set(name, version);
    }
    expect(new Map(versions)).toEqual(map);
    if (round % 20 !== 19) continue;
    for (const name of names) versions.delete(name);
    map.clear();
    expect([...versions]).toEqual([]);
    expect(versions.size).toBe(0);
  }
});

test("names that end alike, as those of a namespace with a long name, cost no more than others", () => {
  const versions = new Versions();
  const namespace = "n".repeat(63);
  const began = performance.now();
  for (let i = 0; i < 50_000; i++) {
    versions.set(`${namespace}/s${String(i).padStart(6, "0")}.${namespace}.svc.cluster.local`, "1");
  }
  // In one chain they would take minutes.
  expect(performance.now() - began).toBeLessThan(10_000);
  expect(versions.size).toBe(50_000);
});

test("what is deleted is not found behind others of its place, and an empty name is a name", () => {
  const versions = new Versions();
  for (let i = 0; i < 5_000; i++) versions.set(`a${i}`, "");
  for (let i = 0; i < 5_000; i += 2) versions.delete(`a${i}`);
  versions.delete("a0");
  expect(versions.size).toBe(2_500);
  for (let i = 0; i < 5_000; i++) expect(versions.has(`a${i}`)).toBe(i % 2 === 1);
  expect(versions.has("")).toBe(false);
  versions.set("", "v");
  expect(versions.has("")).toBe(true);
  expect([...versions].find(([name]) => name === "")).toEqual(["", "v"]);
});
