import type { RetryPolicy } from "../../../src/waypoint/snapshot/mod.ts";

/** Istio's default, changed where the test says so. */
export function retryPolicy(more: Partial<RetryPolicy> = {}): RetryPolicy {
  return {
    on: ["connect-failure", "refused-stream", "unavailable", "cancelled", "retriable-status-codes"],
    count: 2,
    perTryTimeoutMs: undefined,
    statusCodes: [],
    requestHeaders: [],
    otherHostAttempts: 5,
    otherPriorities: true,
    backOffBaseMs: 25,
    backOffMaxMs: 250,
    ...more,
  };
}
