import { describe, expect, test } from "bun:test";
import type { HeaderList } from "../../../src/http2/mod.ts";
import {
  expectedTimeout,
  formatGrpcTimeout,
  parseGrpcTimeout,
  requestTimeouts,
} from "../../../src/waypoint/routing/mod.ts";
import { forward, request } from "./fixtures.ts";
import { retryPolicy } from "./retry_policy.ts";

describe("grpc-timeout", () => {
  const cases: [text: string, ms: number | undefined][] = [
    ["1H", 3_600_000],
    ["2M", 120_000],
    ["3S", 3000],
    ["99999999m", 99_999_999],
    ["1500u", 2],
    ["1n", 1],
    ["2000000n", 2],
    ["0m", 0],
    ["", undefined],
    ["m", undefined],
    ["1", undefined],
    ["1s", undefined],
    ["1.5S", undefined],
    ["-1S", undefined],
    [" 1S", undefined],
    ["123456789m", undefined],
    ["1mm", undefined],
  ];
  for (const [text, ms] of cases) {
    test(`${JSON.stringify(text)} is ${ms} ms`, () => expect(parseGrpcTimeout(text)).toBe(ms!));
  }

  test("written so that it can be read", () => {
    for (const ms of [1, 1500, 99_999_999]) expect(parseGrpcTimeout(formatGrpcTimeout(ms))).toBe(ms);
    expect(formatGrpcTimeout(1.2)).toBe("2m");
    expect(parseGrpcTimeout(formatGrpcTimeout(2e8))).toBe(2e8);
    expect(formatGrpcTimeout(1e12)).toBe("99999999S");
  });
});

describe("timeouts of a request", () => {
  const CALL: HeaderList = [["content-type", "application/grpc"], ["grpc-timeout", "3S"]];
  const NO_DEADLINE: HeaderList = [["content-type", "application/grpc"]];
  const cases: [
    what: string,
    timeoutMs: number,
    cap: number | undefined,
    perTry: number | undefined,
    fields: HeaderList | undefined,
    total: number,
    each: number,
  ][] = [
    ["the route's", 1000, 0, undefined, undefined, 1000, 0],
    ["none", 0, 0, undefined, undefined, 0, 0],
    ["per try", 1000, 0, 300, undefined, 1000, 300],
    ["per try alone", 0, 0, 300, undefined, 0, 300],
    ["per try is nothing that ends after the whole", 300, 0, 300, undefined, 300, 0],
    ["a gRPC deadline without a cap", 1000, 0, undefined, CALL, 3000, 0],
    ["a gRPC deadline above the cap", 1000, 2000, undefined, CALL, 2000, 0],
    ["a gRPC deadline below the cap", 1000, 5000, undefined, CALL, 3000, 0],
    ["gRPC without a deadline: the cap", 1000, 5000, undefined, NO_DEADLINE, 5000, 0],
    ["gRPC without a deadline nor a cap", 1000, 0, undefined, NO_DEADLINE, 0, 0],
    ["gRPC deadlines do not count", 1000, undefined, undefined, CALL, 1000, 0],
  ];
  for (const [what, timeoutMs, maxGrpcTimeoutMs, perTryTimeoutMs, fields, totalMs, perTryMs] of cases) {
    test(what, () => {
      const retry = perTryTimeoutMs === undefined ? undefined : retryPolicy({ perTryTimeoutMs });
      const action = forward({ timeoutMs, maxGrpcTimeoutMs, retry });
      const timeouts = requestTimeouts(action, request("/", fields ?? []), fields !== undefined);
      expect(timeouts).toEqual({ totalMs, perTryMs });
      expect(expectedTimeout(timeouts)).toBe(perTryMs || totalMs);
    });
  }
});
