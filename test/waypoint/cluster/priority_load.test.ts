/** Priorities: Envoy's documented tables, and properties of any. */
import { expect, test } from "bun:test";
import { type PriorityHealth, priorityLoad, retryLoads } from "../../../src/waypoint/cluster/priority_load.ts";
import { seeded } from "./fixtures.ts";

/** Priorities of 100 hosts each, by how many of them are healthy. */
function healthy(...percents: number[]): PriorityHealth[] {
  return percents.map((percent) => ({ healthy: percent, total: 100 }));
}

const spills: [percents: number[], loads: number[]][] = [
  [[100, 100], [100, 0]],
  [[72, 100], [100, 0]],
  [[71, 100], [99, 1]],
  [[50, 100], [70, 30]],
  [[25, 100], [35, 65]],
  [[0, 100], [0, 100]],
  [[100, 100, 100], [100, 0, 0]],
  [[72, 72, 100], [100, 0, 0]],
  [[71, 71, 100], [99, 1, 0]],
  [[50, 50, 100], [70, 30, 0]],
  [[25, 100, 100], [35, 65, 0]],
  [[25, 25, 100], [35, 35, 30]],
  // Together less than everything: in proportion.
  [[25, 25], [50, 50]],
  [[20, 25], [45, 55]],
  [[1, 0], [100, 0]],
  [[0, 0], [0, 0]],
  [[], []],
];
test.each(spills)("healthy %j → load %j", (percents, loads) => {
  expect(priorityLoad(healthy(...percents), 140, 0)).toEqual({ loads, panic: percents.map(() => false) });
});

const panics: [percents: number[], panic: boolean[], loads: number[]][] = [
  [[72, 72], [false, false], [100, 0]],
  [[71, 71], [false, false], [99, 1]],
  [[50, 60], [false, false], [70, 30]],
  [[25, 100], [false, false], [35, 65]],
  [[25, 25], [true, true], [50, 50]],
  [[5, 65], [true, false], [8, 92]],
  [[0, 0], [true, true], [50, 50]],
];
test.each(panics)("panic below 50 %%: healthy %j → panic %j, load %j", (percents, panic, loads) => {
  expect(priorityLoad(healthy(...percents), 140, 50)).toEqual({ loads, panic });
});

test("total panic: by the number of hosts", () => {
  const sizes = [{ healthy: 0, total: 30 }, { healthy: 0, total: 0 }, { healthy: 1, total: 60 }];
  expect(priorityLoad(sizes, 140, 50)).toEqual({ loads: [34, 0, 66], panic: [true, true, true] });
  expect(priorityLoad([{ healthy: 0, total: 0 }], 140, 50).loads).toEqual([0]);
});

test("another overprovisioning factor", () => {
  expect(priorityLoad(healthy(50, 100), 100, 0).loads).toEqual([50, 50]);
  expect(priorityLoad(healthy(50, 100), 200, 0).loads).toEqual([100, 0]);
});

test("any priorities: loads add up to 100 where something is healthy, and nothing ill gets a share", () => {
  const random = seeded(5);
  const upTo = (limit: number) => Math.floor(random() * (limit + 1));
  for (let i = 0; i < 3000; i++) {
    const priorities = Array.from({ length: 1 + upTo(4) }, () => {
      const total = upTo(20);
      return { healthy: upTo(total), total };
    });
    const { loads } = priorityLoad(priorities, 100 + upTo(100), 0);
    const available = priorities.some(({ healthy }) => healthy > 0);
    expect(loads.reduce((sum, load) => sum + load, 0)).toBe(available ? 100 : 0);
    for (const [index, load] of loads.entries()) {
      expect(load).toBeGreaterThanOrEqual(0);
      if (load > 0) expect(priorities[index]!.healthy).toBeGreaterThan(0);
    }
  }
});

test("a retry goes to priorities that were not tried; after all were, as before", () => {
  const priorities = healthy(100, 50, 100);
  const { loads } = priorityLoad(priorities, 140, 0);
  const without = (...tried: number[]) => retryLoads(priorities, 140, (index) => tried.includes(index), loads);
  expect(without(0)).toEqual([0, 70, 30]);
  expect(without(0, 1)).toEqual([0, 0, 100]);
  expect(without(0, 1, 2)).toEqual([100, 0, 0]);
});
