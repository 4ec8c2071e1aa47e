/** The policies that do not hash: shares, turns, load, warm-up. */
import { expect, test } from "bun:test";
import { Schedule } from "../../../src/waypoint/cluster/schedule.ts";
import { slowStartFactor } from "../../../src/waypoint/cluster/slow_start.ts";
import { type HostState, LoadBalancedCluster } from "../../../src/waypoint/cluster/mod.ts";
import type { LoadBalancing } from "../../../src/waypoint/snapshot/mod.ts";
import { chiSquare, cluster, host, locality, seeded, sharesOf, tally, weighted } from "./fixtures.ts";

const LEAST_REQUEST: LoadBalancing = { kind: "least-request", choices: 2 };
const ROUND_ROBIN: LoadBalancing = { kind: "round-robin" };
const RANDOM: LoadBalancing = { kind: "random" };

function balance(weights: readonly number[], loadBalancing: LoadBalancing, seed = 1): LoadBalancedCluster {
  return new LoadBalancedCluster(cluster([locality(weighted(weights))], { loadBalancing }), { random: seeded(seed) });
}

test.each([
  ["RANDOM, equal", RANDOM, [1, 1, 1, 1]],
  ["RANDOM, weighted", RANDOM, [1, 5, 10, 4]],
  ["LEAST_REQUEST, equal, idle", LEAST_REQUEST, [1, 1, 1, 1]],
])("%s: shares as weights", (_name, policy, weights) => {
  const counts = tally(balance(weights, policy), 10_000);
  // Four hosts: mean 3, the value that chance exceeds once in 10 000 is 21.
  expect(chiSquare(counts, sharesOf(weighted(weights)))).toBeLessThan(21);
});

test.each([
  ["ROUND_ROBIN", ROUND_ROBIN, [1, 2, 7]],
  ["ROUND_ROBIN, far apart", ROUND_ROBIN, [1, 1000, 10]],
  ["LEAST_REQUEST, idle", LEAST_REQUEST, [1, 2, 7]],
])("%s, weighted: each prefix of turns is within one or two of its share", (_name, policy, weights) => {
  const balanced = balance(weights, policy);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const counts = new Map<string, number>();
  for (let i = 1; i <= 3 * total; i++) {
    const { address } = balanced.pick({})!.endpoint;
    counts.set(address, (counts.get(address) ?? 0) + 1);
    for (const [one, weight] of sharesOf(weighted(weights))) {
      expect(Math.abs((counts.get(one) ?? 0) - (i * weight) / total)).toBeLessThan(weights.length);
    }
  }
});

test("ROUND_ROBIN, equal: strictly in turn, from a random start", () => {
  const starts = new Set<string>();
  for (let seed = 0; seed < 30; seed++) {
    const balanced = balance([1, 1, 1], ROUND_ROBIN, seed);
    const order = Array.from({ length: 6 }, () => balanced.pick({})!.endpoint.address);
    expect(new Set(order.slice(0, 3)).size).toBe(3);
    expect(order.slice(3)).toEqual(order.slice(0, 3));
    starts.add(order[0]!);
  }
  expect(starts.size).toBe(3);
});

test("LEAST_REQUEST: a busy host is chosen only when drawn twice", () => {
  const balanced = balance([1, 1, 1, 1], LEAST_REQUEST);
  host(balanced, "10.0.0.2:80").activeRequests = 10;
  const counts = tally(balanced, 16_000);
  // 1 in 16 with two draws.
  expect(counts.get("10.0.0.2:80")).toBeGreaterThan(850);
  expect(counts.get("10.0.0.2:80")).toBeLessThan(1150);
});

test("LEAST_REQUEST: more choices see more", () => {
  const balanced = balance([1, 1, 1, 1], { kind: "least-request", choices: 20 });
  for (const one of balanced.hosts()) one.activeRequests = 5;
  host(balanced, "10.0.0.3:80").activeRequests = 1;
  expect(tally(balanced, 1000).get("10.0.0.3:80")).toBeGreaterThan(980);
});

test("LEAST_REQUEST: requests that stay spread evenly", () => {
  const balanced = balance(new Array<number>(10).fill(1), LEAST_REQUEST);
  for (let i = 0; i < 1000; i++) balanced.pick({})!.activeRequests++;
  const loads = [...balanced.hosts()].map(({ activeRequests }) => activeRequests);
  expect(Math.min(...loads)).toBeGreaterThanOrEqual(96);
  expect(Math.max(...loads)).toBeLessThanOrEqual(104);
});

test("LEAST_REQUEST, weighted: a host's turns are weight / (active + 1)", () => {
  const balanced = balance([1, 3], LEAST_REQUEST);
  host(balanced, "10.0.0.2:80").activeRequests = 2; // 3 / 3: as good as the other
  const counts = tally(balanced, 1000);
  expect(counts.get("10.0.0.1:80")).toBeGreaterThan(490);
  expect(counts.get("10.0.0.1:80")).toBeLessThan(510);
});

test("weights are those of the newest update", () => {
  const balanced = balance([1, 1], ROUND_ROBIN);
  balanced.update(cluster([locality(weighted([1, 9]))]));
  expect(tally(balanced, 100).get("10.0.0.2:80")).toBe(90);
});

test("a schedule asks for a weight when it was its turn", () => {
  const weights = [1, 1];
  const schedule = new Schedule(2, (i) => weights[i]!, () => 0.5);
  const turns = () => Array.from({ length: 100 }, () => schedule.next()).filter((index) => index === 0).length;
  expect(turns()).toBe(50);
  weights[0] = 4;
  expect(turns()).toBeGreaterThanOrEqual(78);
});

test.each([
  [0, 1, 0.1],
  [1000, 1, 0.1],
  [5000, 1, 0.5],
  [9999, 1, 0.9999],
  [10_000, 1, 1],
  [99_999, 1, 1],
  [2500, 2, 0.5],
  [5000, 0.5, 0.25],
])("slow start: %i ms of 10 s with aggression %d → %d", (elapsed, aggression, expected) => {
  const factor = slowStartFactor({ windowMs: 10_000, aggression, minWeightPercent: 10 }, elapsed);
  expect(factor).toBeCloseTo(expected, 3);
});

test.each([ROUND_ROBIN, LEAST_REQUEST])("$kind: a new host warms up, one that was ill again", (loadBalancing) => {
  let now = 0;
  const slowStart = { windowMs: 10_000, aggression: 1, minWeightPercent: 10 };
  const settings = { loadBalancing, slowStart };
  const balanced = new LoadBalancedCluster(cluster([locality(weighted([1]))], settings), {
    random: seeded(3),
    now: () => now,
  });
  const both = weighted([1, 1]);
  now = 20_000;
  balanced.update(cluster([locality(both)], settings));
  const share = () => tally(balanced, 1100).get("10.0.0.2:80") ?? 0;
  expect(share()).toBeCloseTo(100, -1);
  now = 25_000;
  expect(share()).toBeCloseTo(1100 / 3, -2);
  now = 30_000;
  const warm = share();
  expect(warm).toBeGreaterThan(450);
  expect(warm).toBeLessThan(650);
  balanced.update(cluster([locality([both[0]!, { ...both[1]!, health: "unhealthy" }])], settings));
  expect(share()).toBe(0);
  balanced.update(cluster([locality(both)], settings));
  expect(share()).toBeCloseTo(100, -1);
});

test("requests are counted on the host itself", () => {
  const balanced = balance([1], LEAST_REQUEST);
  const chosen = balanced.pick({}) as HostState;
  chosen.activeRequests++;
  expect(host(balanced, "10.0.0.1:80").activeRequests).toBe(1);
});
