import { describe, expect, test } from "bun:test";
import { pickCluster } from "../../../src/waypoint/routing/mod.ts";
import { cluster, forward } from "./fixtures.ts";

function shares(weights: readonly number[], draws = 1000): number[] {
  const clusters = weights.map((weight, i) => cluster(`c${i}`, { weight }));
  const counts = weights.map(() => 0);
  for (let i = 0; i < draws; i++) {
    const picked = pickCluster(forward({ clusters }), () => (i + 0.5) / draws);
    counts[clusters.indexOf(picked)]!++;
  }
  return counts;
}

describe("weighted clusters", () => {
  test("by weight", () => {
    expect(shares([90, 10])).toEqual([900, 100]);
    expect(shares([1, 2, 1])).toEqual([250, 500, 250]);
    expect(shares([3])).toEqual([1000]);
  });

  test("a weight of zero is never drawn", () => {
    expect(shares([0, 1, 0])).toEqual([0, 1000, 0]);
    expect(shares([1, 0])).toEqual([1000, 0]);
    const clusters = [cluster("a", { weight: 0 }), cluster("b")];
    expect(pickCluster(forward({ clusters }), () => 0).cluster).toBe("b");
  });
});
