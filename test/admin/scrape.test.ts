import { expect, test } from "bun:test";
import { exposition } from "../../src/telemetry/mod.ts";
import { ENCODINGS, measureExposition, registryOf } from "../bench/core/exposition.ts";

const SERIES = 50_000;
/** The aims are 200 ms and 12 ms (test/bench/core/exposition.ts); a machine that runs other tests is given more. */
const WALL = 3000;
const TURN = 60;

test("a scrape of 50 000 series is quick in every encoding, and the event loop stays free", async () => {
  const figures = await measureExposition(SERIES, 5);
  expect(figures.map(({ encoding }) => encoding)).toEqual([...ENCODINGS]);
  for (const { encoding, bytes, wall, bestTurn } of figures) {
    expect([encoding, wall < WALL, bestTurn < TURN]).toEqual([encoding, true, true]);
    expect(bytes).toBeGreaterThan(100_000);
  }
}, 60_000);

test("no piece of the text takes long", () => {
  const registry = registryOf(SERIES);
  // The pieces are the same each time: the least of three is what one takes of itself.
  const least: number[] = [];
  let characters = 0;
  for (let round = 0; round < 3; round++) {
    const pieces = exposition(registry);
    for (let n = 0;; n++) {
      const began = performance.now();
      const { done, value } = pieces.next();
      if (done) break;
      characters += value.length;
      least[n] = Math.min(least[n] ?? Infinity, performance.now() - began);
    }
  }
  expect(characters).toBeGreaterThan(100_000_000);
  expect(Math.max(...least)).toBeLessThan(12);
}, 60_000);
