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

test("names are told apart by their ends, however long, and whatever comes between them", () => {
  const versions = new Versions();
  const names = ["世", "é", "x", "😀"].flatMap((letter) =>
    [1_000, 3_000, 100_000].flatMap((length) => [1, 2].map((end) => `${letter.repeat(length)}${end}`))
  );
  for (const name of names) {
    versions.set(name, `version of ${name}`);
    expect(versions.has("a short one")).toBe(false);
  }
  expect(versions.size).toBe(names.length);
  for (const [name, version] of versions) expect(version === `version of ${name}`).toBe(true);
});

test("what has been replaced or deleted takes no memory for long", () => {
  const used = () => {
    Bun.gc(true);
    return process.memoryUsage().external;
  };
  const versions = new Versions();
  const version = "v".repeat(10_000);
  const before = used();
  let most = 0;
  // 200 MB each time.
  for (let i = 0; i < 20_000; i++) {
    versions.set(`replaced ${i % 7}`, version);
    if (i % 4_000 === 0) most = Math.max(most, used() - before);
  }
  for (let i = 0; i < 20_000; i++) {
    versions.set(`deleted ${i}`, version);
    versions.delete(`deleted ${i}`);
    if (i % 4_000 === 0) most = Math.max(most, used() - before);
  }
  expect(versions.size).toBe(7);
  expect(most).toBeLessThan(32 << 20);
  for (let i = 0; i < 4_000; i++) versions.set(`deleted ${i}`, version);
  expect(used() - before).toBeGreaterThan(32 << 20);
  for (let i = 0; i < 4_000; i++) versions.delete(`deleted ${i}`);
  expect(used() - before).toBeLessThan(8 << 20);
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
