import { expect, test } from "bun:test";
import { formatTraceParent, newTraceParent, parseTraceParent } from "../../src/hbone/traceparent.ts";

test("a new trace has ids of the random bytes", () => {
  const trace = newTraceParent((length) => Uint8Array.from({ length }, (_, i) => i));
  expect(formatTraceParent(trace)).toBe("00-000102030405060708090a0b0c0d0e0f-1011121314151617-00");
});

test("what is written is read", () => {
  const trace = newTraceParent();
  expect(parseTraceParent(formatTraceParent(trace))).toEqual(trace);
  expect(newTraceParent()).not.toEqual(trace);
});

const id = "0af7651916cd43dd8448eb211c80319c";
const headers: [header: string, valid: boolean][] = [
  [`00-${id}-b7ad6b7169203331-01`, true],
  [`00-${id}-b7ad6b7169203331-00`, true],
  [`00-${id}-b7ad6b7169203331-0`, false],
  [`00-${id}-b7ad6b7169203331-000`, false],
  [`01-${id}-b7ad6b7169203331-00`, false],
  [`00-${id.toUpperCase()}-b7ad6b7169203331-00`, false],
  [`00-${"0".repeat(32)}-b7ad6b7169203331-00`, false],
  [`00-${id}-${"0".repeat(16)}-00`, false],
  [`00_${id}_b7ad6b7169203331_00`, false],
  ["", false],
];
test.each(headers)("%s", (header, valid) => {
  expect(parseTraceParent(header)?.traceId).toBe(valid ? id : undefined);
});
