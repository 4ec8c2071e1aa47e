import { describe, expect, test } from "bun:test";
import { GrpcError, type GrpcErrorKind, GrpcStatus } from "../../../src/grpc/mod.ts";
import type { XdsTermination } from "../../../src/telemetry/mod.ts";
import { Backoff, terminationOf } from "../../../src/xds/backoff.ts";

const error = (kind: GrpcErrorKind, code: keyof typeof GrpcStatus, message = "so") =>
  new GrpcError(kind, GrpcStatus[code], message);
const clean = { error: undefined, stable: true };
const refused = { error: error("connect", "unavailable"), stable: false };

describe("how a stream ended", () => {
  const ENDS: [end: GrpcError | undefined, reason: XdsTermination, wait: number, next: number][] = [
    // What comes after three failed connections, and the wait after one more: of a stable stream each, no jitter.
    [undefined, "Complete", 0, 20],
    [error("connect", "unavailable"), "ConnectionError", 20, 40],
    [error("connect", "unauthenticated"), "ConnectionError", 20, 40],
    [error("status", "unknown"), "Reconnect", 10, 20],
    [error("status", "cancelled"), "Reconnect", 10, 20],
    [error("status", "deadlineExceeded"), "Reconnect", 10, 20],
    [error("status", "unavailable", "UNAVAILABLE: transport is closing"), "Reconnect", 10, 20],
    [error("status", "unavailable", "UNAVAILABLE: received prior goaway: code: NO_ERROR"), "Reconnect", 10, 20],
    [error("status", "unavailable", "UNAVAILABLE: no healthy upstream"), "Error", 20, 40],
    [error("status", "permissionDenied"), "Error", 20, 40],
    [error("status", "resourceExhausted"), "Error", 20, 40],
    [error("protocol", "unavailable", "lost the connection"), "Reconnect", 10, 20],
    [error("protocol", "unknown"), "Reconnect", 10, 20],
    [error("protocol", "internal"), "Error", 20, 40],
  ];
  for (const [end, reason, wait, next] of ENDS) {
    test(`${end === undefined ? "clean" : `${end.kind} ${end.code} ${end.message}`}: ${reason}, ${wait} ms`, () => {
      expect(terminationOf(end)).toBe(reason);
      const backoff = new Backoff();
      for (let i = 0; i < 3; i++) backoff.after(refused, 0);
      expect(backoff.after({ error: end, stable: true }, 0)).toBe(wait);
      expect(backoff.after(refused, 0)).toBe(next);
    });
  }
});

describe("back-off", () => {
  test("twice as long each time, up to 15 s, until a stream was stable", () => {
    const backoff = new Backoff();
    const waits = Array.from({ length: 12 }, () => backoff.after(refused, 0));
    expect(waits).toEqual([20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10240, 15000, 15000]);
    expect(backoff.after(clean, 0)).toBe(0);
    expect(backoff.after(refused, 0)).toBe(20);
  });

  test("a stream that ended at once is a failure, however it ended", () => {
    for (const end of [undefined, error("status", "unknown"), error("protocol", "unavailable")]) {
      const backoff = new Backoff();
      const waits = Array.from({ length: 4 }, () => backoff.after({ error: end, stable: false }, 0));
      expect(waits).toEqual([20, 40, 80, 160]);
    }
  });

  test("chance takes up to half of a wait away, and of the next one nothing", () => {
    const backoff = new Backoff();
    expect(backoff.after(refused, 0.5)).toBe(15);
    expect(backoff.after(refused, 0.9999)).toBeCloseTo(20, 1);
    expect(backoff.after(refused, 0)).toBe(80);
  });
});
