import { describe, expect, test } from "bun:test";
import type { Reset, ResetReason } from "../../../src/http/exchange.ts";
import type { HeaderList } from "../../../src/http2/mod.ts";
import { RetryState } from "../../../src/waypoint/routing/mod.ts";
import { exactHeader, request, response } from "./fixtures.ts";
import { retryPolicy } from "./retry_policy.ts";

function reset(reason: ResetReason, unsent = false): Reset {
  return { reason, detail: "", unsent };
}

const DEFAULT = retryPolicy().on;

describe("responses", () => {
  const cases: [on: readonly string[], status: number, fields: HeaderList, retried: boolean][] = [
    [DEFAULT, 503, [], false],
    [DEFAULT, 418, [], true], // one of the policy's codes
    [["5xx"], 418, [], false],
    [["5xx"], 500, [], true],
    [["5xx"], 599, [], true],
    [["5xx"], 499, [], false],
    [["gateway-error"], 501, [], false],
    [["gateway-error"], 502, [], true],
    [["gateway-error"], 504, [], true],
    [["gateway-error"], 505, [], false],
    [["retriable-4xx"], 409, [], true],
    [["retriable-4xx"], 404, [], false],
    [DEFAULT, 200, [["grpc-status", "14"]], true],
    [DEFAULT, 200, [["grpc-status", "1"]], true],
    [DEFAULT, 200, [["grpc-status", "4"]], false],
    [["deadline-exceeded"], 200, [["grpc-status", "4"]], true],
    [["resource-exhausted"], 200, [["grpc-status", "8"]], true],
    [["internal"], 200, [["grpc-status", "13"]], true],
    [["internal"], 200, [["grpc-status", "0"]], false],
    [["5xx"], 503, [["x-envoy-overloaded", "true"]], true],
    [["5xx"], 503, [["x-envoy-ratelimited", "true"]], false],
    [["envoy-ratelimited"], 429, [["x-envoy-ratelimited", "true"]], true],
    [["no-such-condition"], 503, [], false],
    [[], 503, [], false],
  ];
  for (const [on, status, fields, retried] of cases) {
    test(`${on} ${status} ${JSON.stringify(fields)}: ${retried}`, () => {
      const state = new RetryState(retryPolicy({ on, statusCodes: [418] }), request("/"));
      expect(state.wantsResponse(response(status, fields))).toBe(retried);
    });
  }
});

describe("tries without a response", () => {
  const cases: [on: readonly string[], reason: ResetReason, retried: boolean][] = [
    [DEFAULT, "connection-failure", true],
    [DEFAULT, "remote-refused-stream", true],
    [DEFAULT, "remote-reset", false],
    [DEFAULT, "connection-termination", false],
    [DEFAULT, "protocol-error", false],
    [["reset"], "remote-reset", true],
    [["5xx"], "connection-termination", true],
    [["gateway-error"], "remote-reset", true],
    [["refused-stream"], "connection-failure", false],
    [["connect-failure"], "remote-refused-stream", false],
    [["reset-before-request"], "remote-reset", false],
  ];
  for (const [on, reason, retried] of cases) {
    test(`${on} ${reason}: ${retried}`, () => {
      const state = new RetryState(retryPolicy({ on }), request("/"));
      expect(state.wantsReset(reset(reason))).toBe(retried);
    });
  }

  test("the time of a try is over", () => {
    const wants = (on: readonly string[]) => new RetryState(retryPolicy({ on }), request("/")).wantsTimeout();
    expect([["5xx"], ["gateway-error"], ["reset"], ["retriable-status-codes"], DEFAULT].map(wants))
      .toEqual([true, true, true, false, false]);
  });
});

/** How many retries a request gets when every try ends that way. */
function retries(state: RetryState, end: Reset): number {
  let count = 0;
  while (state.wantsReset(end) && state.take()) count++;
  return count;
}

describe("number of retries", () => {
  const unsent = reset("connection-failure", true);
  const sent = reset("connection-failure");
  const head = request("/");

  test("as the policy says", () => {
    expect(retries(new RetryState(retryPolicy(), head), sent)).toBe(2);
    expect(retries(new RetryState(retryPolicy({ count: 5 }), head), sent)).toBe(5);
    expect(retries(new RetryState(retryPolicy({ count: 5 }), head), unsent)).toBe(5);
    expect(retries(new RetryState(retryPolicy({ count: 0 }), head), sent)).toBe(0);
  });

  test("what was never sent may go to another host without any policy", () => {
    expect(retries(new RetryState(undefined, head), unsent)).toBe(2);
    expect(retries(new RetryState(retryPolicy({ count: 0 }), head), unsent)).toBe(2);
    expect(retries(new RetryState(retryPolicy({ count: 1 }), head), unsent)).toBe(2);
    expect(retries(new RetryState(undefined, head), sent)).toBe(0);
  });

  test("what was sent uses up the policy's alone", () => {
    const state = new RetryState(retryPolicy({ count: 1, on: ["5xx"] }), head);
    expect([state.wantsReset(unsent), state.take()]).toEqual([true, true]);
    expect([state.wantsResponse(response(503)), state.take()]).toEqual([true, false]);
    expect([state.wantsReset(unsent), state.take()]).toEqual([true, true]);
    expect([state.wantsReset(unsent), state.take()]).toEqual([true, false]);
  });

  test("only for requests that the policy is for", () => {
    const policy = retryPolicy({ on: ["5xx"], requestHeaders: [exactHeader(":method", "GET"), exactHeader("x", "1")] });
    const wants = (of: typeof head) => new RetryState(policy, of).wantsResponse(response(503));
    expect(wants(head)).toBe(true);
    expect(wants(request("/", [], { method: "POST" }))).toBe(false);
    expect(wants(request("/", [["x", "1"]], { method: "POST" }))).toBe(true);
  });
});

describe("back-off", () => {
  const most = () => 0.999999;

  test("full jitter below an interval that doubles up to the maximum", () => {
    const state = new RetryState(retryPolicy(), request("/"));
    expect(Array.from({ length: 6 }, () => state.backOffMs(most))).toEqual([24, 49, 99, 199, 249, 249]);
    expect(state.backOffMs(() => 0)).toBe(0);
  });

  test("a maximum below the base", () => {
    const state = new RetryState(retryPolicy({ backOffBaseMs: 100, backOffMaxMs: 10 }), request("/"));
    expect([state.backOffMs(most), state.backOffMs(most)]).toEqual([99, 99]);
  });

  test("without a policy as Envoy's default", () => {
    const state = new RetryState(undefined, request("/"));
    expect([state.backOffMs(most), state.backOffMs(most)]).toEqual([24, 49]);
  });
});
