import { expect, test } from "bun:test";
import { parseDuration } from "../../src/config/duration.ts";

const durations: [text: string, milliseconds: number | undefined][] = [
  ["10s", 10_000],
  ["5m", 300_000],
  ["1h30m", 5_400_000],
  ["1h 30m", 5_400_000],
  ["500ms", 500],
  ["1d", 86_400_000],
  ["1w", 604_800_000],
  ["30", 30_000],
  ["0", 0],
  ["0s", 0],
  ["1m+30", 90_000],
  ["1m + 30s", 90_000],
  ["250us", 0.25],
  ["", undefined],
  [" ", undefined],
  ["s", undefined],
  ["+5", undefined],
  ["5+", undefined],
  ["-5s", undefined],
  ["1.5h", undefined],
  ["5 parsecs", undefined],
  ["30 10s", undefined],
  ["5m;", undefined],
  ["99999999999999999999d", undefined],
];
test.each(durations)("%j is %p", (text, milliseconds) => {
  expect(parseDuration(text)).toBe(milliseconds);
});
