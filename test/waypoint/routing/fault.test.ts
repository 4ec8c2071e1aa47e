import { describe, expect, test } from "bun:test";
import { decideFault } from "../../../src/waypoint/routing/mod.ts";
import type { Fault } from "../../../src/waypoint/snapshot/mod.ts";

const delay = { ms: 250, fraction: 500_000 };
const abort = { status: 418, grpcStatus: undefined, fraction: 250_000 };

/** Numbers that are drawn, one after the other. */
function drawn(...numbers: number[]): () => number {
  return () => numbers.shift()!;
}

const CASES: [what: string, fault: Fault, random: () => number, ms: number, status: number | undefined][] = [
  ["nothing configured", { delay: undefined, abort: undefined }, drawn(), 0, undefined],
  ["delay below its fraction", { delay, abort: undefined }, drawn(0.499999), 250, undefined],
  ["delay at its fraction", { delay, abort: undefined }, drawn(0.5), 0, undefined],
  ["abort below its fraction", { delay: undefined, abort }, drawn(0.2499), 0, 418],
  ["abort at its fraction", { delay: undefined, abort }, drawn(0.25), 0, undefined],
  ["both", { delay, abort }, drawn(0.1, 0.1), 250, 418],
  ["each is drawn for itself", { delay, abort }, drawn(0.9, 0.1), 0, 418],
  ["always", { delay: { ms: 1, fraction: 1_000_000 }, abort: undefined }, drawn(0.9999999), 1, undefined],
  ["never", { delay: { ms: 1, fraction: 0 }, abort: undefined }, drawn(0), 0, undefined],
];

describe("faults", () => {
  for (const [what, fault, random, ms, status] of CASES) {
    test(what, () => {
      const decided = decideFault(fault, random);
      expect([decided.delayMs, decided.abort?.status]).toEqual([ms, status]);
    });
  }

  test("a gRPC status comes in a 200", () => {
    const grpc = { status: undefined, grpcStatus: 14, fraction: 1_000_000 };
    expect(decideFault({ delay: undefined, abort: grpc }, drawn(0)).abort).toEqual({ status: 200, grpcStatus: 14 });
  });
});
