import { describe, expect, test } from "bun:test";
import { Random } from "./random.ts";
import { type Point, slopeOf } from "./slope.ts";

const line = (count: number, value: (index: number) => number): Point[] =>
  Array.from({ length: count }, (_, index) => ({ at: index / count, value: value(index / count) }));

describe("the slope", () => {
  test("of a line is the line's, to the hour", () => {
    const slope = slopeOf(line(20, (at) => 5 + 3 * at));
    expect(slope?.perHour).toBeCloseTo(3, 9);
    expect(slope?.least).toBeCloseTo(3, 9);
    expect(slope?.most).toBeCloseTo(3, 9);
  });

  test("of what stays the same is none", () => {
    expect(slopeOf(line(10, () => 7))).toEqual({ perHour: 0, least: 0, most: 0 });
  });

  test("is not led astray by readings that are far off", () => {
    const slope = slopeOf(line(30, (at) => (Math.round(at * 30) % 7 === 3 ? 900 : 50 + 2 * at)));
    expect(slope?.perHour).toBeWithin(1.9, 2.2);
  });

  test("of few readings there is none", () => {
    expect(slopeOf([])).toBeUndefined();
    expect(slopeOf(line(2, (at) => at))).toBeUndefined();
  });

  test("of noise alone is within its interval nearly always, and growth beyond the noise nearly never", () => {
    const random = new Random(5);
    let wrong = 0;
    let missed = 0;
    const runs = 200;
    for (let run = 0; run < runs; run++) {
      const noise = () => random.between(-1, 1);
      const flat = slopeOf(line(20, noise));
      if (flat === undefined || flat.least > 0 || flat.most < 0) wrong++;
      const growing = slopeOf(line(20, (at) => 6 * at + noise()));
      if (growing === undefined || growing.least <= 3) missed++;
    }
    // 5 % by its definition.
    expect(wrong / runs).toBeLessThan(0.1);
    expect(missed / runs).toBeLessThan(0.1);
  });

  test("of thousands of readings takes no longer than of some hundreds", () => {
    expect(slopeOf(line(5000, (at) => 2 * at))?.perHour).toBeCloseTo(2, 6);
  });
});
