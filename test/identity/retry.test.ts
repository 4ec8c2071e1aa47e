import { expect, test } from "bun:test";
import { retryDelay } from "../../src/identity/retry.ts";

test("doubles from one second up to 150 s", () => {
  const delays = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((failures) => retryDelay(failures, 0, 0.5));
  expect(delays).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 150, 150].map((seconds) => seconds * 1000));
});

test("spreads by a fifth either way, never above the cap", () => {
  expect(retryDelay(2, 0, 0)).toBe(3200);
  expect(retryDelay(2, 0, 1)).toBe(4800);
  expect(retryDelay(20, 0, 1)).toBe(150_000);
  expect(retryDelay(2000, 0, 0)).toBe(120_000);
});

test("is 150 s after 15 minutes of failures", () => {
  expect(retryDelay(1, 15 * 60_000, 0)).toBe(150_000);
});
