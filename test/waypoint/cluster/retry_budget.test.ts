import { expect, test } from "bun:test";
import { RetryBudget } from "../../../src/waypoint/cluster/mod.ts";
import type { CircuitBreakers } from "../../../src/waypoint/snapshot/mod.ts";

const BREAKERS: CircuitBreakers = {
  maxConnections: 1,
  maxPendingRequests: 1,
  maxRequests: 1,
  maxRetries: 2,
  retryBudget: undefined,
};

test("without a budget: at most maxRetries at once", () => {
  const budget = new RetryBudget(BREAKERS);
  expect([budget.tryRetry(), budget.tryRetry(), budget.tryRetry()]).toEqual([true, true, false]);
  budget.retryEnded();
  expect(budget.tryRetry()).toBe(true);
  expect(budget.activeRetries).toBe(2);
});

test.each([
  [0, 3],
  [10, 3],
  [15, 3],
  [19, 3],
  [20, 4],
  [100, 20],
])("a budget of 20 %% and at least 3: %i requests → %i retries", (requests, limit) => {
  const budget = new RetryBudget({ ...BREAKERS, retryBudget: { percent: 20, minConcurrency: 3 } });
  for (let i = 0; i < requests; i++) budget.requestStarted();
  let granted = 0;
  while (budget.tryRetry()) granted++;
  expect(granted).toBe(limit);
  for (let i = 0; i < requests; i++) budget.requestEnded();
  expect(budget.activeRequests).toBe(0);
});

test("new settings count at once", () => {
  const budget = new RetryBudget(BREAKERS);
  budget.tryRetry();
  budget.tryRetry();
  budget.update({ ...BREAKERS, maxRetries: 3 });
  expect(budget.tryRetry()).toBe(true);
  expect(budget.tryRetry()).toBe(false);
});
