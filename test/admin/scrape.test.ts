import { expect, test } from "bun:test";
import { ENCODINGS, measureExposition } from "../bench/core/exposition.ts";

/** The aim is 200 ms and 12 ms (test/bench/core/exposition.ts); a machine that runs other tests is given more. */
const WALL = 1500;
const TURN = 60;

test("a scrape of 50 000 series is quick in every encoding, and the event loop stays free", async () => {
  const figures = await measureExposition(50_000, 3);
  expect(figures.map(({ encoding }) => encoding)).toEqual([...ENCODINGS]);
  for (const { encoding, bytes, wall, longestTurn } of figures) {
    expect([encoding, wall < WALL, longestTurn < TURN]).toEqual([encoding, true, true]);
    expect(bytes).toBeGreaterThan(100_000);
  }
}, 60_000);
