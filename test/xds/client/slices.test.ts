import { describe, expect, test } from "bun:test";
import { Pace } from "../../../src/xds/pace.ts";
import { Slices } from "../../../src/xds/slices.ts";
import { ManualClock } from "./manual_clock.ts";

/** A task of so many steps, each so long, that writes down what it does. */
function task(clock: ManualClock, done: string[], name: string, steps: number, ms: number) {
  return {
    step() {
      clock.work(ms);
      done.push(name);
      return --steps <= 0;
    },
    broken(error: unknown) {
      done.push(String(error));
    },
  };
}

describe("slices", () => {
  test("what fits into one is done at once; the rest in turns of their own", () => {
    const clock = new ManualClock();
    const slices = new Slices(clock, 1);
    const done: string[] = [];
    slices.run(task(clock, done, "a", 1, 0.1));
    slices.run(task(clock, done, "b", 20, 0.2));
    // Another step begins while half of the slice is left.
    expect(done.length).toBe(3);
    const sizes: number[] = [];
    for (let before = done.length; clock.turn(); before = done.length) sizes.push(done.length - before);
    expect(done).toEqual(["a", ...Array.from({ length: 20 }, () => "b")]);
    expect(Math.max(...sizes)).toBe(3);
  });

  test("many small tasks in one turn of the event loop are no more than a slice together", () => {
    const clock = new ManualClock();
    const slices = new Slices(clock, 1);
    const done: string[] = [];
    for (let i = 0; i < 100; i++) slices.run(task(clock, done, String(i), 1, 0.1));
    expect(done.length).toBe(5);
    clock.settle();
    expect(done).toEqual(Array.from({ length: 100 }, (_, i) => String(i)));
    // After a turn there is a whole slice again.
    slices.run(task(clock, done, "late", 1, 0.1));
    expect(done.at(-1)).toBe("late");
  });

  test("one task is finished before the next begins, also when it is asked for within a step", () => {
    const clock = new ManualClock();
    const slices = new Slices(clock, 1);
    const done: string[] = [];
    slices.run({
      step() {
        slices.run(task(clock, done, "inner", 1, 0));
        done.push("outer");
        return true;
      },
      broken: () => {},
    });
    expect(done).toEqual(["outer", "inner"]);
  });

  test("a task that throws is told so, and the next one goes on", () => {
    const clock = new ManualClock();
    const slices = new Slices(clock, 1);
    const done: string[] = [];
    const bad = {
      ...task(clock, done, "bad", 2, 0),
      step: () => {
        throw new Error("a bug");
      },
    };
    slices.run(bad);
    slices.run(task(clock, done, "good", 1, 0));
    expect(done).toEqual(["Error: a bug", "good"]);
  });
});

describe("rests", () => {
  /**
   * Runs 1 000 steps of 0.1 ms; others take so long in each turn, ms.
   *
   * @param behind more work waits until they are done
   * @returns how much of the time was ours
   */
  function share(others: number, behind = false): number {
    const clock = new ManualClock();
    const slices = new Slices(clock, 0.3);
    const done: string[] = [];
    const began = clock.elapsed();
    slices.run(task(clock, done, "", 1_000, 0.1));
    if (behind) slices.run(task(clock, [], "behind it", 1, 0));
    while (done.length < 1_000) {
      clock.work(others);
      if (clock.turn()) continue;
      const [wait = 0] = clock.waits;
      clock.work(wait);
      clock.pass(wait);
    }
    return 100 / (clock.elapsed() - began);
  }

  test("where nobody else has anything to do, there are none", () => {
    expect(share(0)).toBeCloseTo(1);
    expect(share(0.02)).toBeGreaterThan(0.85);
  });

  test("the more others have to do, the longer; but the work goes on", () => {
    const shares = [0.04, 0.05, 0.06, 0.1, 1, 10].map((others) => share(others));
    for (let i = 1; i < shares.length; i++) expect(shares[i]).toBeLessThanOrEqual(shares[i - 1] as number);
    expect(shares[1]).toBeGreaterThan(0.05);
    // A rest takes the whole turn of the others besides.
    expect(shares[3]).toBeGreaterThan(0.03);
    expect(shares[5]).toBeGreaterThan(0.005);
  });

  test("they are short where other work waits behind", () => {
    for (const others of [0.1, 1]) expect(share(others, true)).toBeGreaterThan(share(others) * 1.5);
  });

  test("what comes when the work is done does not wait", () => {
    const clock = new ManualClock();
    const slices = new Slices(clock, 0.3);
    const done: string[] = [];
    slices.run(task(clock, done, "large", 100, 0.1));
    while (clock.waits.length === 0) {
      clock.work(5);
      clock.turn();
    }
    expect(clock.waits).toEqual([3]);
    slices.run(task(clock, done, "behind it", 1, 0.1));
    expect(done).not.toContain("behind it");
    for (let i = 0; done.length < 101 && i < 1_000; i++) {
      clock.pass(1);
      clock.settle();
    }
    clock.settle();
    expect(done.at(-1)).toBe("behind it");
    slices.run(task(clock, done, "later", 1, 0.1));
    expect(done.at(-1)).toBe("later");
  });
});

describe("pace", () => {
  /** Weights of parts of an endless push on a machine that does so much in 1 ms. */
  function weights(pace: Pace, perMs: number, count: number): number[] {
    return Array.from({ length: count }, () => {
      const { weight } = pace;
      pace.took(weight, weight / perMs);
      return weight;
    });
  }

  test("grows step by step to what the target allows, and stays there", () => {
    const parts = weights(new Pace(1), 100_000, 20);
    for (let i = 1; i < parts.length; i++) expect(parts[i]!).toBeLessThanOrEqual(parts[i - 1]! * 1.5);
    expect(parts.at(-1)).toBeCloseTo(100_000, 3);
  });

  test("shrinks at once where it becomes slow, but one pause is not taken for slowness for ever", () => {
    const pace = new Pace(1);
    weights(pace, 100_000, 20);
    pace.took(pace.weight, 50);
    expect(pace.weight).toBeCloseTo(25_000, 3);
    expect(weights(pace, 100_000, 6).at(-1)).toBeCloseTo(100_000, 3);
    weights(pace, 20_000, 3);
    expect(pace.weight).toBeCloseTo(20_000, 3);
  });

  test("has bounds", () => {
    const pace = new Pace(1);
    weights(pace, 1, 20);
    expect(pace.weight).toBe(4 << 10);
    weights(pace, 1e12, 40);
    expect(pace.weight).toBe(1 << 20);
    pace.took(pace.weight, 0);
    expect(pace.weight).toBe(1 << 20);
  });

  test("small pushes do not make it larger", () => {
    const pace = new Pace(1);
    const before = pace.weight;
    for (let i = 0; i < 100; i++) pace.took(500, 0.001);
    expect(pace.weight).toBe(before);
  });
});
