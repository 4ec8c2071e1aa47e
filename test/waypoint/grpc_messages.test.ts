import { expect, test } from "bun:test";
import { GrpcMessageCounter } from "../../src/waypoint/grpc_messages.ts";

/** Messages of the given lengths, as they are on the wire. */
function body(lengths: readonly number[]): Uint8Array {
  return Uint8Array.from(
    lengths.flatMap((length) => [
      0,
      (length >>> 24) & 255,
      (length >>> 16) & 255,
      (length >>> 8) & 255,
      length & 255,
      ...new Array<number>(length).fill(7),
    ]),
  );
}

test("messages are counted however the body is cut", () => {
  const lengths = [0, 1, 300, 0, 5];
  const bytes = body(lengths);
  for (let size = 1; size <= bytes.length; size++) {
    const counter = new GrpcMessageCounter();
    for (let at = 0; at < bytes.length; at += size) counter.add(bytes.subarray(at, at + size));
    expect(counter.count).toBe(lengths.length);
  }
});
